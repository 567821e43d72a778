"""Labelled telemetry in parquet: a folder a data set, a file an entity and split, and `entities.csv` one level up.

    DIR/entities.csv                      dataset, entity, step_seconds, ...
    DIR/smd/machine-1-6.train.parquet     t, metrics...
    DIR/smd/machine-1-6.test.parquet      t, metrics..., label
    DIR/nab/rds_cpu.parquet               timestamp, value, label

`t` counts samples and goes on from train to test; t = 0 is 2020-01-01T00:00Z. Timestamps are UTC and stay as they are.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.ipc

from schemas import codecs
from schemas.errors import LogFileError
from schemas.events import Sample
from schemas.headers import ARROW, CONTENT_TYPE, Headers

START_MS = 1_577_836_800_000  # 2020-01-01T00:00Z
SPLITS = {".train": 0, ".test": 1}
NOT_METRICS = ("t", "timestamp", "label")
CATALOGUE = "entities.csv"
# A broker takes records of 1 MiB by default.
ARROW_BYTES_MAX = 768 << 10


class Series(NamedTuple):
    """One entity's samples in the order of its files: times of shape (n,), values of shape (n, metrics) with NaN for missing."""

    scope: str
    entity: str
    metrics: tuple[str, ...]
    times_ms: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


class Telemetry(NamedTuple):
    """One record for the telemetry topic and how many samples it holds; `time_ms` is that of the last."""

    time_ms: int
    key: bytes
    value: bytes
    headers: Headers
    samples: int


def load(directory: Path, entities: Iterable[str] = ()) -> list[Series]:
    """Read one data set's folder, or the folder above several.

    Args:
        directory: the folder.
        entities: names of the entities to read; none reads all.

    Raises:
        LogFileError: not a folder of this layout, or no such entity.
    """
    if not directory.is_dir():
        raise LogFileError(f"no directory {directory}; give a data set's folder, e.g. data/smd, or the folder above")
    folders = [directory] if any(directory.glob("*.parquet")) else sorted({path.parent for path in directory.glob("*/*.parquet")})
    if not folders:
        raise LogFileError(f"no parquet files in {directory} or its folders; give one with ENTITY.train.parquet and ENTITY.test.parquet")
    files = {(folder.resolve().name, entity): paths for folder in folders for entity, paths in _files_by_entity(folder).items()}
    wanted = set(entities)
    unknown = wanted - {entity for _, entity in files}
    if unknown:
        raise LogFileError(f"{directory} has no entity {', '.join(sorted(unknown))}; it has {', '.join(entity for _, entity in files)}")
    return [_series(scope, entity, paths) for (scope, entity), paths in files.items() if not wanted or entity in wanted]


def samples(series: list[Series], limit: int | None = None) -> Iterator[Telemetry]:
    """Give every row as one JSON sample, all entities interleaved in time order.

    Each is named `<dataset>/<entity>/<row>`, so that the same rows have the same names wherever they are sent.
    """
    which, rows = _interleave(series, limit)
    keys = [one.entity.encode() for one in series]
    names = [f"{one.scope}/{one.entity}/" for one in series]
    for start in range(0, len(which), 4_096):
        for entity, row in zip(which[start : start + 4_096].tolist(), rows[start : start + 4_096].tolist(), strict=True):
            one = series[entity]
            time_ms = int(one.times_ms[row])
            metrics = dict(zip(one.metrics, one.values[row].tolist(), strict=True))
            # msgspec writes NaN and infinity as null, which is a missing metric.
            value = codecs.encode(Sample(one.entity, time_ms, metrics, one.scope))
            yield Telemetry(time_ms, keys[entity], value, (("ce_id", f"{names[entity]}{row}".encode()),), 1)


def arrow_batches(series: list[Series], rows_max: int, limit: int | None = None) -> Iterator[Telemetry]:
    """Give Arrow record batches of one entity each, in the order of the time of their last row.

    A batch is an Arrow IPC stream with the columns `entity`, `scope`, `time_ms` and one column of doubles a metric; it is named
    by its first row.
    """
    which, rows = _interleave(series, limit)
    pieces: list[tuple[int, int, npt.NDArray[np.int64]]] = []
    for entity, one in enumerate(series):
        mine = rows[which == entity]
        size = max(1, min(rows_max, ARROW_BYTES_MAX // (8 * (len(one.metrics) + 2))))
        pieces += [(int(one.times_ms[cut[-1]]), entity, cut) for cut in (mine[at : at + size] for at in range(0, len(mine), size))]
    for time_ms, entity, cut in sorted(pieces, key=lambda piece: piece[:2]):
        one = series[entity]
        headers = ((CONTENT_TYPE, ARROW), ("ce_id", f"{one.scope}/{one.entity}/{cut[0]}".encode()))
        yield Telemetry(time_ms, one.entity.encode(), _arrow(one, cut), headers, len(cut))


def _arrow(one: Series, rows: npt.NDArray[np.int64]) -> bytes:
    values = one.values[rows]
    columns = {
        "entity": pa.array([one.entity] * len(rows)).dictionary_encode(),
        "scope": pa.array([one.scope] * len(rows)).dictionary_encode(),
        "time_ms": pa.array(one.times_ms[rows]),
        **{name: pa.array(values[:, index], mask=~np.isfinite(values[:, index])) for index, name in enumerate(one.metrics)},
    }
    batch = pa.record_batch(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return bytes(sink.getvalue())


def _interleave(series: list[Series], limit: int | None) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return entity and row of every sample in time order, at one time in the order of the entities; files keep their order.

    Where a clock was set back, and times with it, a row follows the one before it at once.
    """
    times = np.concatenate([np.maximum.accumulate(one.times_ms) for one in series])
    which = np.repeat(np.arange(len(series)), [len(one.times_ms) for one in series])
    rows = np.concatenate([np.arange(len(one.times_ms)) for one in series])
    order = np.argsort(times, kind="stable")[:limit]
    return which[order], rows[order]


def _files_by_entity(folder: Path) -> dict[str, list[Path]]:
    files: dict[str, list[tuple[int, Path]]] = {}
    for path in sorted(folder.glob("*.parquet")):
        name = path.name.removesuffix(".parquet")
        split = next((split for split in SPLITS if name.endswith(split)), "")
        files.setdefault(name.removesuffix(split), []).append((SPLITS.get(split, 0), path))
    return {entity: [path for _, path in sorted(paths)] for entity, paths in files.items()}


def _series(scope: str, entity: str, paths: list[Path]) -> Series:
    parts = [_part(scope, entity, path) for path in paths]
    metrics = parts[0].metrics
    for path, part in zip(paths, parts, strict=True):
        if part.metrics != metrics:
            raise LogFileError(f"{path} has other metrics than {paths[0]}: {part.metrics} and {metrics}; one entity has one set of metrics")
    return parts[0]._replace(
        times_ms=np.concatenate([part.times_ms for part in parts]), values=np.concatenate([part.values for part in parts])
    )


def _part(scope: str, entity: str, path: Path) -> Series:
    try:
        table = pl.read_parquet(path)
        metrics = tuple(name for name in table.columns if name not in NOT_METRICS)
        values = table.select(pl.col(metrics).cast(pl.Float64)).fill_null(float("nan")).to_numpy()
        if "timestamp" in table.columns:
            times = table["timestamp"].dt.epoch("ms").to_numpy()
        elif "t" in table.columns:
            times = START_MS + table["t"].cast(pl.Int64).to_numpy() * _step_ms(path, scope, entity)
        else:
            raise LogFileError(f"{path} has neither a column `t` nor `timestamp`: {table.columns}")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise LogFileError(f"cannot read {path} as telemetry: {error}") from error
    if not metrics:
        raise LogFileError(f"{path} has no metrics beside {table.columns}")
    return Series(scope, entity, metrics, times, values)


def _step_ms(path: Path, scope: str, entity: str) -> int:
    """Return the time between two samples of an entity as `entities.csv` one level above its folder gives it."""
    catalogue = path.resolve().parent.parent / CATALOGUE
    rows = pl.read_csv(catalogue, infer_schema=False).filter(pl.col("dataset") == scope, pl.col("entity") == entity)
    if rows.is_empty():
        raise LogFileError(f"{catalogue} has no row for {scope}, {entity}: a file with `t` needs its step_seconds")
    return round(float(rows["step_seconds"][0]) * 1000)
