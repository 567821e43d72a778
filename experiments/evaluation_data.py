"""The data that an evaluation runs over: telemetry of every entity, where its test part begins, and the labelled faults.

    DIR/entities.csv    dataset, entity, step_seconds, ...
    DIR/segments.csv    dataset, entity, start, end, ...: labelled faults as rows [start, end) of the test part

The telemetry itself is in the files that `streams.logs.datasets` reads.
"""

import csv
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import LogFileError
from streams.logs import datasets
from streams.logs.datasets import CATALOGUE, Series

SEGMENTS = "segments.csv"
# History of an entity without a train part.
HISTORY_SHARE = 0.15

Rows = tuple[int, int]


class Course(NamedTuple):
    """One entity from its first row to its last.

    Attributes:
        entity: its name in the data set; in the pipeline it is `key`, because another data set may have one of that name.
        series: its telemetry, train part and test part; the scope is the data set's name.
        clock_ms: the latest time up to each row, shape (rows,).
        test: where the test part begins, from which labels and alerts count their rows.
        history: where history ends: nobody answers what is surfaced before, and it is no alert.
    """

    entity: str
    series: Series
    clock_ms: npt.NDArray[np.int64]
    test: int
    history: int

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return self.series.scope

    @property
    def key(self) -> str:
        """The entity's name in the pipeline."""
        return self.series.entity

    @property
    def tested_ms(self) -> int:
        """The time of the first row after history."""
        return int(self.clock_ms[min(self.history, len(self.clock_ms) - 1)])

    def rows(self, start_ms: int, end_ms: int) -> Rows:
        """Return the rows [start, end) after history whose times are in [start_ms, end_ms), counted from the start of the test part."""
        start, end = np.searchsorted(self.clock_ms, (start_ms, end_ms)).tolist()
        return max(start, self.history) - self.test, max(end, self.history) - self.test


def load_courses(directory: Path) -> dict[str, Course]:
    """Read the telemetry of every entity that `entities.csv` lists, by the entity's name in the pipeline.

    Raises:
        LogFileError: not a folder of this layout, or an entity that is listed has no file; files that are not listed are left out.
    """
    # The folders that are listed, and no others: alerts may lie beside them.
    listed = [(row["dataset"], row["entity"]) for row in _table(directory / CATALOGUE, ("dataset", "entity", "step_seconds"))]
    if not listed:
        raise LogFileError(f"{directory / CATALOGUE} lists no entity; write a row for each: dataset, entity, step_seconds")
    folders = dict.fromkeys(dataset for dataset, _ in listed)
    found = {(dataset, series.entity): series for dataset in folders for series in datasets.load(directory / dataset)}
    if absent := sorted(set(listed) - found.keys()):
        names = ", ".join(f"{dataset}/{entity}" for dataset, entity in absent[:5])
        raise LogFileError(f"{directory / CATALOGUE} lists {names}, of which there is no parquet file; add it or remove the row")
    return {course.key: course for course in (_course(directory, *name, found[name]) for name in dict.fromkeys(listed))}


def load_faults(directory: Path, courses: dict[str, Course]) -> dict[str, list[Rows]]:
    """Read the labelled faults: rows [start, end) of each entity's test part.

    Raises:
        LogFileError: no such file, an entity that is not there, or rows outside its test part.
    """
    path, faults = directory / SEGMENTS, defaultdict(list)
    for row in _table(path, ("dataset", "entity", "start", "end")):
        course = courses.get(f"{row['dataset']}/{row['entity']}")
        if course is None:
            raise LogFileError(f"{path}: {row['dataset']}/{row['entity']} is not in {CATALOGUE}; correct one of them")
        try:
            start, end = int(row["start"]), int(row["end"])
        except ValueError as error:
            raise LogFileError(f"{path}: rows {row['start']!r} to {row['end']!r} are not whole numbers") from error
        if not 0 <= start < end <= len(course.clock_ms) - course.test:
            raise LogFileError(
                f"{path}: rows [{start}, {end}) of {course.key} are not in its test part of {len(course.clock_ms) - course.test} rows"
            )
        faults[course.key].append((start, end))
    return faults


def _course(directory: Path, dataset: str, entity: str, series: Series) -> Course:
    train, count = directory / dataset / f"{entity}.train.parquet", len(series.times_ms)
    try:
        test = pq.read_metadata(train).num_rows if train.exists() else 0
    except (OSError, pa.ArrowException) as error:
        raise LogFileError(f"cannot read {train} as telemetry: {error}") from error
    history = test if train.exists() else round(HISTORY_SHARE * count)
    return Course(entity, series._replace(entity=f"{dataset}/{entity}"), np.maximum.accumulate(series.times_ms), test, history)


def _table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise LogFileError(f"cannot read {path}: {error.strerror}; give the folder above the data sets") from error
    for row in rows[:1]:
        if absent := set(columns) - row.keys():
            raise LogFileError(f"{path} has no column {', '.join(sorted(absent))}; it has {', '.join(row)}")
    return rows
