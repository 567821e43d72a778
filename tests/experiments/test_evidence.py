"""What is held against the points to be reached: nothing is run twice or taken from other code, and the page hides nothing."""

import inspect
from pathlib import Path

import msgspec
import numpy as np
import pytest

from experiments.evidence import running
from experiments.evidence.__main__ import PAGE
from experiments.evidence.code import MODULES, imported
from experiments.evidence.page import TITLES, limits, page
from experiments.evidence.points import CONDITIONS, POINTS, Found, point
from experiments.evidence.running import RUNS, conditions, found, gather, read, tidy
from experiments.evidence.trials import KINDS
from experiments.studies.command import RESULTS

DOCS = Path(__file__).resolve().parents[2] / RESULTS
QUICK = conditions(["sign: literal"])


def rerun(path: Path, seeds: int = 2) -> tuple[Found, int]:
    """Return the numbers of a quick condition, and how many runs they took."""
    counts = [0]
    numbers = gather(path, QUICK, range(seeds), 1, lambda count, _: counts.append(count))
    return numbers, counts[-1]


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Cut anywhere, a file of runs keeps its whole lines; only what is missing is run again, and the file ends the same."""
    path = tmp_path / RUNS
    whole, count = rerun(path)
    data = path.read_bytes()
    assert count == 2
    first = data.index(b"\n") + 1
    for cut, missing in ((0, 2), (first - 1, 2), (first, 1), (first + 10, 1), (len(data) - 1, 1), (len(data), 0)):
        path.write_bytes(data[:cut])
        again, count = rerun(path)
        assert (count, path.read_bytes()) == (missing, data)
        assert again["sign: literal"].keys() == whole["sign: literal"].keys()
        assert all(np.array_equal(again["sign: literal"][name], values) for name, values in whole["sign: literal"].items())


def test_no_run_of_today_is_missing_from_its_file(tmp_path: Path) -> None:
    """Whatever a condition sets, whole numbers too, a run that is in the file is not run again."""
    path = tmp_path / RUNS
    short = conditions(["bimodal", "sign: literal"], 300)
    counts = [0]
    for _ in range(2):
        gather(path, short, range(1), 1, lambda count, _: counts.append(count))
    assert counts == [0, 1, 2]


def test_numbers_of_other_code_are_not_taken(tmp_path: Path) -> None:
    """Runs of other code, and of a condition that sets something else, are run anew, and are gone from the file when it is tidied."""
    path = tmp_path / RUNS
    rerun(path)
    runs = read(path)
    for field in ({"code": "another"}, {"sets": runs[1].sets | {"condition": "corrected"}}):
        changed = [runs[0], msgspec.structs.replace(runs[1], **field)]
        path.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in changed))
        assert rerun(path)[1] == 1
        tidy(path, QUICK)
        assert read(path) == runs


def test_a_run_depends_on_the_code_that_it_goes_through() -> None:
    """The digest covers the rules and the simulator, of the closed loop no picture; comments and docstrings do not count."""
    loop = imported(MODULES["closed_loop"])
    assert {"agents.loop", "agents.scoring", "agents.training.fitting", "experiments.simulator.people", "schemas.events"} <= loop
    assert not any("pictures" in name for name in loop)
    assert MODULES.keys() == KINDS.keys()
    assert set(running.SHORTENED) == {name for name, trial in KINDS.items() if "scenarios" in inspect.signature(trial).parameters}


def test_points_are_computed_from_what_is_run() -> None:
    """Every condition is one of a kind and fits it, every point names conditions that there are, all are used, and no name comes twice."""
    for each in CONDITIONS.values():
        inspect.signature(KINDS[each.kind]).bind(0, **each.sets)
    assert {name for each in POINTS for name in each.conditions} == CONDITIONS.keys()
    assert len({each.name for each in POINTS}) == len(POINTS)
    assert {each.number for each in POINTS} == TITLES.keys() == set(range(1, 10))


@pytest.mark.parametrize(
    ("value", "least", "most", "met"),
    [
        (1.0, 1.0, None, True),
        (0.9, 1.0, None, False),
        (1.0, None, 1.0, True),
        (1.1, None, 1.0, False),
        (1.0, 0.9, 1.1, True),
        (np.nan, 0.0, 1.0, False),
    ],
)
def test_a_bound_is_a_bound(value: float, least: float | None, most: float | None, met: bool) -> None:  # noqa: FBT001
    """A number on its bound is within it, one beyond it is not, and what is undefined is within none."""
    assert point(1, "x", "c", "m", least=least, most=most).met({"c": {"m": np.array([value])}}) == met


def test_the_page_tells_every_point(tmp_path: Path) -> None:
    """Each point has its row with its bounds, run or not, and what is not reached is named at the top."""
    gather(tmp_path / RUNS, QUICK, range(1), 1)
    numbers = found(read(tmp_path / RUNS), QUICK)
    bad = {"sign: literal": {**numbers["sign: literal"], "recall": np.array([0.5])}}
    text = page(bad)
    for each in POINTS:
        assert f"| {each.words} |" in text
        assert f"| {limits(each)} |" in text
    assert "* 1. literal sign: recall\n" in text
    assert "* 1." not in page(numbers)


def test_the_page_that_is_published_is_that_of_its_numbers() -> None:
    """docs/results/evidence.md tells the runs in the file beside it."""
    assert (DOCS / PAGE).read_text(encoding="utf-8") == page(found(read(DOCS / RUNS), CONDITIONS))
