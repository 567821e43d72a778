"""The frame of the studies: the same bytes whatever the jobs, whole files, honest tables."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.studies import pages
from experiments.studies.command import RESULTS, simulate
from experiments.studies.study import Measure, Results, Study, StudyError, collect, rounded, summarise
from experiments.studies.table import STUDIES, load

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / RESULTS
QUICK = "sign"


def files(directory: Path) -> dict[str, bytes]:
    """Return what a folder holds."""
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_jobs_change_no_byte(tmp_path: Path) -> None:
    """One process and two write the same numbers, picture, page and index, and nothing else."""
    for jobs in (1, 2):
        assert simulate(QUICK, seeds=2, jobs=jobs, out=tmp_path / str(jobs)) == 0
    first, second = (files(tmp_path / str(jobs)) for jobs in (1, 2))
    assert first == second
    assert set(first) == {"README.md", *(f"{QUICK}.{ending}" for ending in ("json", "md", "svg"))}


def test_redrawing_needs_no_run(tmp_path: Path) -> None:
    """Picture and page made anew from the numbers alone are the same bytes; without numbers it says what is missing."""
    simulate(QUICK, seeds=2, jobs=1, out=tmp_path)
    before = files(tmp_path)
    simulate(QUICK, out=tmp_path, redraw=True)
    assert files(tmp_path) == before
    (tmp_path / f"{QUICK}.json").unlink()
    with pytest.raises(StudyError, match=f"npo simulate {QUICK}"):
        simulate(QUICK, out=tmp_path, redraw=True)


def test_unknown_study_is_refused(tmp_path: Path) -> None:
    """A study that does not exist is an error that says where to look."""
    with pytest.raises(StudyError, match="simulate list"):
        simulate("nothing", out=tmp_path)


@pytest.mark.parametrize("name", STUDIES)
def test_results_that_are_published_are_todays(name: str) -> None:
    """The page and the index in docs/results tell the numbers beside them, of at least 20 seeds, as the study words them today."""
    study, results = load(name), pages.read(name, DOCS)
    assert len(results.seeds) >= 20
    assert (DOCS / f"{name}.md").read_text(encoding="utf-8") == pages.page(study, results)
    assert (DOCS / f"{name}.svg").exists()
    assert (DOCS / "README.md").read_text(encoding="utf-8") == pages.index(DOCS)


def test_override_rates_stand_beside_recall() -> None:
    """A study with an override rate and without recall cannot be made: silence would pass for alignment."""
    study = load(QUICK)
    rate, recall = Measure("overrides_per_answered", "share"), Measure("recall", "share")

    def made(*measures: Measure) -> Study:
        return Study("x", "?", "", {}, study.trial, measures, study.draw, study.words)

    with pytest.raises(AssertionError, match="recall"):
        made(rate)
    assert pages.ordered(made(rate, recall)) == [recall, rate]


def test_interval_covers_the_mean() -> None:
    """The 95 % interval of the mean of five normal numbers holds the true mean in about 95 of 100 samples."""
    samples = np.random.default_rng(1).normal(3.0, 2.0, (4000, 5))
    held = [summary.low <= 3.0 <= summary.high for summary in map(summarise, samples)]
    assert 0.94 < np.mean(held) < 0.96


@given(st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=2, max_size=5))
def test_numbers_survive_their_file(values: list[float]) -> None:
    """Numbers are written and read as the same six digits; what is undefined is left out of mean and interval, and counted out."""
    known = load(QUICK)
    study = Study("x", "?", "", {"all": {}}, known.trial, (Measure("m", "m"),), known.draw, known.words)
    results = collect(study, "npo simulate x", "default", list(range(len(values))), [{"m": value, "c": [value]} for value in values])
    again = pages.decoded(pages.encoded(results).encode())
    assert again == results
    assert again.numbers["all"]["m"] == [rounded(value) for value in values]
    assert again.summary("all", "m").seeds == np.isfinite(values).sum()
    assert isinstance(again, Results)
