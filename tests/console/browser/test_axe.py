"""Every view in every state is free of what axe finds, in both themes, and fits a phone; with NPO_SCREENSHOTS=1 it makes the pictures."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from schemas.events import Reason
from tests.console.browser import samples
from tests.console.browser.conftest import watch
from tests.console.browser.fake import Fake

PICTURES = Path(__file__).parents[3] / "docs" / "images" / "console"
PICTURE_BYTES_MAX = 200_000
Theme = Literal["light", "dark"]
SIZES = {"wide": (1280, 800), "phone": (390, 844)}


def queue(page: Page, fake: Fake) -> None:
    """The queue."""
    page.goto(f"{fake.url}/queue")
    expect(page.locator(".spark canvas").nth(1)).to_be_visible()


def why(page: Page, fake: Fake, reason: Reason = Reason.PASSED) -> None:
    """Why a decision was surfaced."""
    told = samples.explanation(reason)
    samples.put_decision(fake, told)
    page.goto(f"{fake.url}/why/{told.decision}")
    expect(page.locator("article.why[aria-busy=false]")).to_contain_text("What came of it")


def blocked(page: Page, fake: Fake) -> None:
    """Why a decision was blocked, with all that can be opened open."""
    why(page, fake, Reason.POLICY)
    for each in page.locator("details").all():
        each.locator("summary").click()


def loop(page: Page, fake: Fake, scope: str = "shop") -> None:
    """The loop of a scope with an alarm."""
    second = samples.records("search", forces=samples.killed("search"), alarms=())
    samples.put(fake, samples.records(), second, samples.bare())
    page.goto(f"{fake.url}/loop/{scope}")
    expect(page.get_by_role("heading", name=f"Loop of {scope}")).to_be_visible()


def killed(page: Page, fake: Fake) -> None:
    """The loop of a scope whose kill switch is on, with all that can be opened open."""
    loop(page, fake, "search")
    for each in page.locator("details").all():
        each.locator("summary").click()


def confirming(page: Page, fake: Fake) -> None:
    """The question before the kill switch."""
    loop(page, fake)
    page.get_by_role("button", name="Kill switch").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def new(page: Page, fake: Fake) -> None:
    """The loop of a scope of which nothing is published yet."""
    loop(page, fake, "new")


def unknown(page: Page, fake: Fake) -> None:
    """An address of no decision."""
    fake.canned["/decisions/nope/why"] = (404, {"detail": "no decision begins with 'nope'"})
    page.goto(f"{fake.url}/why/nope")
    expect(page.get_by_role("alert")).to_be_visible()


STATES: tuple[Callable[[Page, Fake], None], ...] = (queue, why, blocked, loop, killed, confirming, new, unknown)
PICTURED = (queue, why, loop, confirming)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_axe_finds_nothing(chromium: Browser, fake: Fake, state: Callable[[Page, Fake], None], theme: Theme) -> None:
    """No state of any view has a violation that axe knows, in the theme that the system asks for, wide or on a phone."""
    found = {}
    for size, (width, height) in SIZES.items():
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=theme, reduced_motion="reduce")
        context.add_init_script("localStorage.setItem('npo.operator', 'emma')")
        page = context.new_page()
        faults = watch(page)
        state(page, fake)
        result = Axe().run(page)
        if result.violations_count:
            found[size] = result.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{size}: the page scrolls sideways"
        assert not faults
        if os.environ.get("NPO_SCREENSHOTS") and state in PICTURED:
            take(page, f"{state.__name__}-{theme}-{size}", whole=size == "wide" and state in {why, loop})
        context.close()
    assert not found, "\n".join(found.values())


def take(page: Page, name: str, *, whole: bool) -> None:
    """Write the picture of the window, or of the whole page, into docs, with as few colours as keep it small."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    path = PICTURES / f"{name}.png"
    page.screenshot(path=path, full_page=whole)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)


def test_pictures_in_the_docs_are_small() -> None:
    """Each picture of the page stays below 200 kB, and those of every pictured state are there."""
    sizes = {path.stem: path.stat().st_size for path in PICTURES.glob("*.png")}
    assert {f"{state.__name__}-{theme}-{size}" for state in PICTURED for theme in ("light", "dark") for size in SIZES} <= set(sizes)
    assert max(sizes.values()) < PICTURE_BYTES_MAX
