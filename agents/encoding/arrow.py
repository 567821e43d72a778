"""One Arrow IPC stream of record batches to plain arrays, checked whole before any row of it counts."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.errors import DecodeError
from schemas.events import MEASUREMENT_MAX, METRICS_MAX, NAME_LENGTH_MAX, TIME_MS_MAX

TEXTS = (pa.string(), pa.large_string(), pa.string_view(), pa.null())
NOT_METRICS = ("time_ms", "entity", "scope")


class Batch(NamedTuple):
    """One record batch: metric names, times (rows,), values (rows, metrics) with NaN for missing, scopes or None."""

    names: tuple[str, ...]
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    scopes: list[str | None] | None


def read_batches(value: bytes | None, key: bytes | None) -> tuple[str, list[Batch]]:
    """Return the entity of an Arrow record and its batches.

    Args:
        value: an Arrow IPC stream; columns `time_ms` (integer milliseconds or timestamp), optional `entity`, `scope`, and
            metrics of any integer or floating type.
        key: the record's key: the entity; where absent, the `entity` column names it.

    Raises:
        DecodeError: not such a stream, or a row that breaks the rules of `schemas.events.Sample`.
    """
    if value is None:
        raise DecodeError("telemetry: an Arrow record without a value; send an IPC stream as docs/events.md shows")
    try:
        entities: set[str] = set() if key is None else {key.decode()}
        batches = []
        with pa.ipc.open_stream(pa.py_buffer(value)) as reader:
            for batch in reader:
                batch.validate(full=True)
                batches.append(_read(batch, entities))
    except (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise DecodeError(f"telemetry: not a readable Arrow stream: {error}") from error
    if len(entities) != 1:
        raise DecodeError(
            f"telemetry: {len(entities)} entities ({sorted(entities)[:3]}) in one Arrow record; send one, as key and in every row"
        )
    entity = entities.pop()
    _check_name(entity, "entity")
    return entity, batches


def _read(batch: pa.RecordBatch, entities: set[str]) -> Batch:
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    if len(columns) != batch.num_columns:
        raise DecodeError(f"telemetry: a column twice in {batch.schema.names[:10]}; name each metric once")
    if "time_ms" not in columns:
        raise DecodeError(f"telemetry: no column time_ms in {batch.schema.names[:10]}; send integer milliseconds or timestamps")
    if "entity" in columns:
        named = set(_texts(columns["entity"], "entity").unique().to_pylist())
        if None in named:
            raise DecodeError("telemetry: rows without entity; give it in every row or leave the column out")
        entities |= named
    names = tuple(name for name in columns if name not in NOT_METRICS)
    if len(names) > METRICS_MAX:
        raise DecodeError(f"telemetry: {len(names)} metrics, at most {METRICS_MAX} are taken; send fewer")
    values = np.empty((batch.num_rows, len(names)))
    for place, name in enumerate(names):
        _check_name(name, "metric")
        values[:, place] = _numbers(columns[name], name)
    scopes = None
    if "scope" in columns:
        scopes = _texts(columns["scope"], "scope").to_pylist()
        for scope in set(scopes) - {None}:
            _check_name(scope, "scope")
    return Batch(names, _times(columns["time_ms"]), values, scopes)


def _texts(column: pa.Array, name: str) -> pa.Array:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if kind not in TEXTS:
        raise DecodeError(f"telemetry: {name} is of type {column.type}; send strings")
    return column.cast(pa.string())


def _numbers(column: pa.Array, name: str) -> NDArray[np.float64]:
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise DecodeError(f"telemetry: metric {name} is of type {column.type}; send integers or floats")
    # Not "safe": integers above 2**53 round, as they do in JSON.
    values: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    if (np.abs(values) > MEASUREMENT_MAX).any():
        raise DecodeError(f"telemetry: metric {name} passes {MEASUREMENT_MAX:g} in size; send a finite measurement or null")
    return values


def _times(column: pa.Array) -> NDArray[np.int64]:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ms", tz=column.type.tz), safe=False)
    elif not pa.types.is_integer(column.type):
        raise DecodeError(f"telemetry: time_ms is of type {column.type}; send integer milliseconds or timestamps")
    if column.null_count:
        raise DecodeError(f"telemetry: {column.null_count} rows without time_ms; give it in every row")
    times: NDArray[np.int64] = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    if len(times) and not 0 <= times.min() <= times.max() <= TIME_MS_MAX:
        raise DecodeError(f"telemetry: time_ms from {times.min()} to {times.max()} is outside 1970 to 2199; send milliseconds")
    return times


def _check_name(name: str, what: str) -> None:
    if not 1 <= len(name) <= NAME_LENGTH_MAX:
        raise DecodeError(f"telemetry: {what} {name[:80]!r} has {len(name)} characters; give 1 to {NAME_LENGTH_MAX}")
