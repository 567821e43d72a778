"""What a study writes: its numbers as JSON, its picture, its page, and the index of all pages."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import msgspec

from experiments.pictures_of_rules_card import style
from experiments.studies.study import DIGITS, RECALL, Measure, Results, Study, StudyError, Summary
from experiments.studies.table import STUDIES, load

PAGE_WIDTH = 134
GROUPED = 1000  # from here on whole numbers are shown


def write(study: Study, results: Results, directory: Path) -> None:
    """Write numbers, picture and page of a study, each file whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    drawing = directory / f"{study.name}.svg.part"
    with style():
        study.draw(results).savefig(drawing, format="svg", metadata={"Date": None, "Creator": "npo"})
    drawing.replace(directory / f"{study.name}.svg")
    _write(directory / f"{study.name}.md", page(study, results))
    _write(directory / f"{study.name}.json", encoded(results))


def write_index(directory: Path) -> None:
    """Write README.md of a folder of results from the numbers that are there."""
    _write(directory / "README.md", index(directory))


def encoded(results: Results) -> str:
    """Return results as JSON, each list of numbers on a line."""
    lines = msgspec.json.format(msgspec.json.encode(results), indent=1).decode()
    return re.sub(r"\[\s+([^\[\]{}\"]+?)\s+\]", lambda found: f"[{re.sub(chr(10) + ' *', ' ', found[1])}]", lines) + "\n"


def decoded(data: bytes) -> Results:
    """Return results from their JSON."""
    return msgspec.json.decode(data, type=Results)


def read(name: str, directory: Path) -> Results:
    """Return the results of a study that a folder holds.

    Raises:
        StudyError: It does not, or they are not of today's conditions and measures.
    """
    path = directory / f"{name}.json"
    try:
        results = decoded(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise StudyError(f"cannot read {path}: {error}; `npo simulate {name}` makes it") from error
    study = load(name)
    measures = [measure.name for measure in study.measures]
    if [*results.numbers] != [*study.conditions] or any([*each] != measures for each in results.numbers.values()):
        raise StudyError(f"{path} has other conditions or measures than the study; run `npo simulate {name}` again")
    return results


def page(study: Study, results: Results) -> str:
    """Return the page of a study."""
    sentences = study.words(results)
    return "\n".join(
        (
            f"# {study.name}",
            "",
            f"*{study.question}*",
            "",
            _wrapped(f"Simulated, {len(results.seeds)} seeds, profile `{results.profile}`. " + " ".join(sentences)),
            "",
            f"![{study.question} {sentences[0]}]({study.name}.svg)",
            "",
            *_table(study, results),
            "",
            "Mean over seeds ± standard deviation over seeds, and the 95 % t-interval of the mean.",
            "",
            "| measure | is | better |",
            "|---|---|---|",
            *(f"| {each.title} | {each.words}{f' ({each.unit})' if each.unit else ''} | {each.better} |" for each in study.measures),
            "",
            "## What is simulated",
            "",
            study.setup.strip(),
            "",
            "## Reproduce",
            "",
            f"    {results.command}",
            "",
            f"writes this page, its picture and [all numbers]({study.name}.json) of each condition, measure and seed, with {DIGITS}",
            "significant digits: the same bytes on the same machine, whatever `--jobs`.",
            "",
        )
    )


def _table(study: Study, results: Results) -> Iterator[str]:
    shown = ordered(study)
    yield "| condition | " + " | ".join(measure.title for measure in shown) + " |"
    yield "|---|" + "--:|" * len(shown)
    for condition in study.conditions:
        cells = (cell(results.summary(condition, measure.name), len(results.seeds)).replace("\n", "<br>") for measure in shown)
        yield f"| {condition} | " + " | ".join(cells) + " |"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, PAGE_WIDTH, break_long_words=False, break_on_hyphens=False)


def ordered(study: Study) -> list[Measure]:
    """Return the measures as they are tabled: recall before all others, so that it stands beside the override rates."""
    return sorted(study.measures, key=lambda measure: measure.name != RECALL)


def cell(summary: Summary, seeds: int) -> str:
    """Return what a table shows of a measure: mean ± standard deviation, and on the next line the interval."""
    few = f" ({summary.seeds} seeds)" if summary.seeds < seeds else ""
    if summary.seeds == 0:
        return "undefined"
    if summary.seeds == 1:
        return f"{plain(summary.mean)} (1 seed)"
    return f"{plain(summary.mean)} ± {plain(summary.deviation)}{few}\n{plain(summary.low)} to {plain(summary.high)}"


def plain(value: float) -> str:
    """Write a number with three significant digits, from a thousand on as a whole number."""
    if abs(value) >= GROUPED:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.1e}"  # noqa: PLR2004  # below it digits are lost in zeros


def index(directory: Path) -> str:
    """Return the index: the headline of each study of whose conditions and measures of today the folder holds the numbers."""
    lines = []
    for name in STUDIES:
        try:
            results = read(name, directory)
        except StudyError:
            continue
        headline = load(name).words(results)[0]
        lines.append(f"| [{name}]({name}.md) | {headline} | {len(results.seeds)} |")
    return "\n".join(
        (
            "# Results of the simulated studies",
            "",
            "All of it is simulated: nobody has answered anything here. Each page has the question, a picture, a table with mean, standard",
            "deviation and 95 % interval over seeds, what was simulated, and the command that makes it.",
            "",
            "[What the learning rules reach](evidence.md) holds them all against numbers that were to be reached.",
            "",
            "| study | what it shows | seeds |",
            "|---|---|--:|",
            *lines,
            "",
            "    npo simulate list",
            "    npo simulate all",
            "",
            "show the studies, and run them all anew.",
            "",
        )
    )


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
