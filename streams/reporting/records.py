"""Records of an exported log, straight from its parquet files: only the columns and the rows that are asked for."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.errors import LogFileError
from schemas.headers import Headers
from streams.logs.files import BATCH_RECORDS, topic_file

POSITION, VALUE, HEADERS = ("partition", "offset"), ("value",), ("headers",)


class Record(NamedTuple):
    """One record's value, and its headers where they were asked for."""

    value: bytes | None
    headers: Headers = ()


class Where(NamedTuple):
    """Which records: those of one partition, with offsets in [start, end), with these bytes in their value; None is all."""

    partition: int | None = None
    start: int = 0
    end: int | None = None
    containing: bytes | None = None


ALL = Where()


def records(directory: Path, topic: str, where: Where = ALL, *, headers: bool = False) -> Iterator[Record]:
    """Read records of one topic in the order of the file: by partition, then by offset.

    Raises:
        LogFileError: the file is absent or not as `npo export` writes it.
    """
    path = topic_file(directory, topic)
    columns = [*POSITION, *VALUE, *(HEADERS if headers else ())]
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_RECORDS, columns=columns):
                yield from _records(batch.filter(_chosen(batch, where)), headers=headers)
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise LogFileError(f"cannot read {path}: {error}; export the log again") from error


def _chosen(batch: pa.RecordBatch, where: Where) -> pa.Array:
    chosen = pc.greater_equal(batch.column("offset"), where.start)
    if where.end is not None:
        chosen = pc.and_(chosen, pc.less(batch.column("offset"), where.end))
    if where.partition is not None:
        chosen = pc.and_(chosen, pc.equal(batch.column("partition"), where.partition))
    if where.containing is not None:
        chosen = pc.and_(chosen, pc.match_substring(batch.column("value"), where.containing))
    return pc.fill_null(chosen, fill_value=False)


def _records(batch: pa.RecordBatch, *, headers: bool) -> Iterator[Record]:
    values = batch.column("value").to_pylist()
    if not headers:
        yield from map(Record, values)
        return
    for value, named in zip(values, batch.column("headers").to_pylist(), strict=True):
        yield Record(value, tuple((header["key"], header["value"]) for header in named))
