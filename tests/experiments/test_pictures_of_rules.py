"""The pictures of the learning rules are drawn, and the pages show them with the numbers that they show."""

import re
from pathlib import Path

import pytest

from experiments.pictures_of_rules import DIRECTORY, DOCS, PICTURES, captioned, write

PAGES = {page: page.read_text(encoding="utf-8") for page in sorted((DOCS / "learning").glob("*.md"))}


@pytest.mark.parametrize("name", PICTURES)
def test_picture_is_drawn_alike_and_its_page_tells_its_numbers(name: str, tmp_path: Path) -> None:
    """A picture is drawn twice to the same bytes, and the page that shows it has today's numbers.

    `python -m experiments.pictures_of_rules` writes both anew.
    """
    sentence = write(name, tmp_path / "once")
    assert write(name, tmp_path / "again") == sentence
    first, second = (tmp_path / folder / f"{name}.svg" for folder in ("once", "again"))
    assert first.read_bytes() == second.read_bytes()
    assert b"<svg" in first.read_bytes()[:1000]
    shown = [text for text in PAGES.values() if f"/rules/{name}.svg)" in text]
    assert shown
    assert all(captioned(text, name, sentence) == text for text in shown)


def test_a_caption_replaces_the_paragraph_under_its_picture_alone() -> None:
    """Of a page with two pictures, the paragraph under the one that is named changes and nothing else does."""
    page = "![a](../rules/a.svg)\n\nold words\non two lines\n\n![b](../rules/b.svg)\n\nother words\n\nend\n"
    assert captioned(page, "a", "new words") == page.replace("old words\non two lines", "new words")


def test_every_picture_is_shown_and_every_shown_picture_exists() -> None:
    """The folder holds the pictures that are drawn and no other, and each is shown on a page; pages show none that does not exist."""
    assert {path.name for path in DIRECTORY.iterdir()} == {f"{name}.svg" for name in PICTURES}
    shown = {
        (page.parent / target).resolve()
        for page in DOCS.rglob("*.md")
        for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    }
    assert shown >= {DIRECTORY / f"{name}.svg" for name in PICTURES}
    assert all(path.exists() for path in shown)
