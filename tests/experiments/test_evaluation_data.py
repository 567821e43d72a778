"""The layout of labelled telemetry: what is history, which rows are which times, and what is wrong with a folder that is none."""

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.evaluation_data import Course, load_courses, load_faults
from schemas.errors import LogFileError
from streams.logs.datasets import START_MS, Series

ROWS = {"train": 300, "test": 900}
UNSPLIT_ROWS = 800
METRICS = ("cpu_r", "mem_u", "disk_w")


def write_data(directory: Path, *, labels: bool = True) -> Path:
    """Write made-up data: `web`, two entities a minute apart a sample; `db`, without a train part, one that is called like another.

    Each now and then rises in all metrics; two in three are labelled faults, which begin sooner or later than it shows.
    """
    draw = np.random.default_rng(5)
    entities, segments = [], []
    for dataset, entity, step_s in (("web", "one", 60), ("web", "two", 60), ("db", "one", 300)):
        parts = ROWS if dataset == "web" else {"": UNSPLIT_ROWS}
        values, faults = _values(draw, sum(parts.values()))
        first = 0
        for split, count in parts.items():
            columns: dict[str, object] = {name: values[first : first + count, place] for place, name in enumerate(METRICS)}
            begin = datetime(2019, 3, 1, tzinfo=UTC).replace(tzinfo=None)
            times = [begin + timedelta(seconds=step_s * row) for row in range(count)]
            columns |= {"t": range(first, first + count)} if split else {"timestamp": times}
            columns |= {"label": [row % 2 for row in range(count)]} if labels and split != "train" else {}
            (directory / dataset).mkdir(parents=True, exist_ok=True)
            pl.DataFrame(columns).write_parquet(directory / dataset / f"{entity}{split and '.'}{split}.parquet")
            first += count
        history = parts.get("train", 0)
        entities.append([dataset, entity, history, first - history, step_s])
        segments += [[dataset, entity, s - history, e - history] for s, e in faults if s >= history and e <= first]
    _write_csv(directory / "entities.csv", ["dataset", "entity", "train_rows", "test_rows", "step_seconds"], entities)
    _write_csv(directory / "segments.csv", ["dataset", "entity", "start", "end"], segments)
    return directory


def _values(draw: np.random.Generator, count: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    values, faults = draw.normal(1.0, 0.02, (count, len(METRICS))), []
    for number, row in enumerate(range(140, count, 85)):
        length = int(draw.integers(10, 40))
        # Ever stronger: the spread that each is held against remembers those before.
        values[row : row + length] += draw.uniform(0.7, 1.0, len(METRICS)) * 1.4**number
        late = int(draw.integers(-5, 25))
        faults += [(row + late, row + late + length)] if number % 3 else []
    return values, faults


def _write_csv(path: Path, columns: list[str], rows: list[list[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def test_history_is_the_train_part_else_the_first_15_percent(tmp_path: Path) -> None:
    """Rows count from the test part; what has no train part is test from its first row, and history for 15 % of it."""
    courses = load_courses(write_data(tmp_path))
    assert list(courses) == ["web/one", "web/two", "db/one"]
    assert [(course.test, course.history) for course in courses.values()] == [(300, 300), (300, 300), (0, 120)]
    assert courses["web/two"].tested_ms == START_MS + 300 * 60_000
    faults = load_faults(tmp_path, courses)
    assert faults.keys() == courses.keys()


@given(
    times=st.lists(st.integers(0, 40), min_size=1, max_size=30),
    test=st.integers(0, 10),
    extra=st.integers(0, 5),
    span=st.tuples(st.integers(-5, 45), st.integers(0, 20)),
)
def test_rows_of_a_span_are_those_at_which_it_was_so(times: list[int], test: int, extra: int, span: tuple[int, int]) -> None:
    """A span's rows are those after history by whose time, or by that of an earlier row, it had begun and had not ended."""
    clock = np.maximum.accumulate(np.array(times, np.int64))
    course = Course("one", Series("web", "web/one", ("cpu",), np.array(times), np.zeros((len(times), 1))), clock, test, test + extra)
    start, end = course.rows(span[0], span[0] + span[1])
    expected = [row - test for row in range(test + extra, len(times)) if span[0] <= clock[row] < span[0] + span[1]]
    assert list(range(start, end)) == expected


@pytest.mark.parametrize(
    ("file", "wrong", "says"),
    [
        ("entities.csv", "dataset,entity,step_seconds\nweb,one,60\nweb,two,60\n", "db/one"),
        ("entities.csv", "set,entity,step_seconds\nweb,one,60\n", "no column dataset"),
        ("entities.csv", None, "cannot read"),
        ("segments.csv", "dataset,entity,start,end\nweb,three,1,2\n", "web/three"),
        ("segments.csv", "dataset,entity,start,end\nweb,one,5,5\n", r"rows \[5, 5\)"),
        ("segments.csv", "dataset,entity,start,end\nweb,one,1,901\n", "test part of 900 rows"),
        ("segments.csv", "dataset,entity,start,end\nweb,one,x,7\n", "whole numbers"),
        ("web/one.train.parquet", "no parquet", "as telemetry"),
    ],
)
def test_a_folder_that_is_wrong_is_named(tmp_path: Path, file: str, wrong: str | None, says: str) -> None:
    """What does not fit the layout is an error that names file and value."""
    write_data(tmp_path)
    if wrong is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text(wrong)
    with pytest.raises(LogFileError, match=says):
        load_faults(tmp_path, load_courses(tmp_path))
