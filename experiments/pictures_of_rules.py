"""`python -m experiments.pictures_of_rules [DIR]`: the pictures of the learning rules, drawn by the functions that decide.

The same code on the same CPU writes the same bytes. Each drawing returns the figure and a sentence with the numbers that it shows.
Without a directory the pictures go where the pages expect them, and the paragraph under each becomes its sentence.
"""

import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from experiments.pictures_of_rules_card import style
from experiments.pictures_of_rules_loop import draw_monitor, draw_signatures, draw_trainer
from experiments.pictures_of_rules_score import draw_forgetting, draw_score, draw_silence, draw_threshold
from experiments.pictures_of_rules_trust import draw_budget, draw_loss, draw_trust

DOCS = Path(__file__).resolve().parent.parent / "docs"
DIRECTORY = DOCS / "images" / "rules"
PAGE_WIDTH = 134
PICTURES: dict[str, Callable[[], tuple[Figure, str]]] = {
    "score": draw_score,
    "silence": draw_silence,
    "forgetting": draw_forgetting,
    "threshold": draw_threshold,
    "override-budget": draw_budget,
    "trust": draw_trust,
    "alignment-loss": draw_loss,
    "trainer": draw_trainer,
    "monitor": draw_monitor,
    "failure-signatures": draw_signatures,
}


def write(name: str, directory: Path) -> str:
    """Write one picture as SVG; return the sentence that goes with it."""
    with style():
        figure, sentence = PICTURES[name]()
        directory.mkdir(parents=True, exist_ok=True)
        figure.savefig(directory / f"{name}.svg", metadata={"Date": None, "Creator": "npo"})
    return sentence


def captioned(page: str, name: str, sentence: str) -> str:
    """Return a page with the paragraph under one of its pictures replaced by a sentence."""
    words = textwrap.fill(sentence, PAGE_WIDTH, break_long_words=False, break_on_hyphens=False)
    return re.sub(rf"(!\[[^\]]*\]\([^)]*/rules/{name}\.svg\)\n\n).+?(?=\n\n)", lambda found: found[1] + words, page, flags=re.DOTALL)


def main(arguments: list[str]) -> None:
    """Write all pictures to a directory, by default with their sentences to where the pages expect them."""
    for name in PICTURES:
        sentence = write(name, Path(arguments[0]) if arguments else DIRECTORY)
        for page in () if arguments else sorted((DOCS / "learning").glob("*.md")):
            page.write_text(captioned(page.read_text(encoding="utf-8"), name, sentence), encoding="utf-8")
        print(f"{name}: {sentence}")  # noqa: T201  # the result


if __name__ == "__main__":
    main(sys.argv[1:])
