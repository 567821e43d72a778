"""An exported log: one parquet file a topic, sorted by partition and offset, and a manifest that says what it is.

    DIR/manifest.json
    DIR/feedback.parquet ...

Files are written under a temporary name and renamed when complete; the manifest is written last.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct

from agents.step import Block
from schemas.errors import LogFileError
from schemas.settings import Settings

SCHEMA = pa.schema(
    [
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("timestamp_ms", pa.int64(), nullable=False),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("headers", pa.list_(pa.struct([pa.field("key", pa.string()), pa.field("value", pa.binary())])), nullable=False),
    ]
)
MANIFEST = "manifest.json"
ROW_GROUP_BYTES = 32 << 20
BATCH_RECORDS = 4_096


class Part(Struct, frozen=True):
    """One partition of one topic: what the broker held when the export began, and what of it is in the file.

    `next` is the end as of then; `processed` is the position that the workers had committed, None where they had none.
    """

    first: int
    next: int
    records: int
    first_offset: int | None
    last_offset: int | None
    processed: int | None = None


class Manifest(Struct, frozen=True):
    """What a log is: topics with their partitions, and the settings it was made under.

    `quiet` says that nothing was appended while it was exported: then all of its ends fit together.
    """

    topics: dict[str, tuple[Part, ...]]
    settings: Settings
    digest: str
    topic_prefix: str
    quiet: bool
    version: int = 1


def topic_file(directory: Path, topic: str) -> Path:
    """Return where the records of a topic are."""
    return directory / f"{topic}.parquet"


def prepare(directory: Path) -> None:
    """Make the directory of a log to be.

    Raises:
        LogFileError: it holds a log already, or cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LogFileError(f"cannot make {directory}: {error.strerror}; give another directory") from error
    if (directory / MANIFEST).exists():
        raise LogFileError(f"{directory} holds a log already; give another directory")


@contextmanager
def topic_writer(directory: Path, topic: str) -> Iterator[Callable[[Block], None]]:
    """Write one topic's file: call the writer with its blocks, partition by partition in offset order.

    A row group holds records of one partition, so that a reader finds a partition without reading the others. When the
    body raises, nothing is left behind.
    """
    path = topic_file(directory, topic)
    temporary = path.with_suffix(".parquet.partial")
    pending: list[pa.RecordBatch] = []
    partition = -1

    def flush() -> None:
        if pending:
            table = pa.Table.from_batches(pending)
            file.write_table(table, row_group_size=len(table))
            pending.clear()

    def write(block: Block) -> None:
        nonlocal partition
        if block.partition != partition or sum(batch.nbytes for batch in pending) >= ROW_GROUP_BYTES:
            flush()
        partition = block.partition
        pending.append(_columns(block))

    try:
        with pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as file:
            yield write
            flush()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write the manifest, last of all: a directory without one is not a complete log."""
    temporary = directory / f"{MANIFEST}.partial"
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    temporary.replace(directory / MANIFEST)


def read_manifest(directory: Path) -> Manifest:
    """Read the manifest of an exported log and check that its files are there and hold what it says.

    Raises:
        LogFileError: no log, an incomplete one, or one that was changed.
    """
    path = directory / MANIFEST
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise LogFileError(f"cannot read {path}: {error.strerror}; give a directory that `npo export` wrote completely") from error
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise LogFileError(f"{path}: {error}; export the log again") from error
    if manifest.settings.digest != manifest.digest:
        raise LogFileError(f"{path}: its settings have digest {manifest.settings.digest}, not {manifest.digest} as it says; export again")
    for topic, parts in manifest.topics.items():
        with _open(directory, topic) as file:
            expected, found = sum(part.records for part in parts), file.metadata.num_rows
        if found != expected:
            raise LogFileError(f"{topic_file(directory, topic)} holds {found} records, {path} says {expected}; export the log again")
    return manifest


def read_partition(directory: Path, topic: str, partition: int) -> Iterator[Block]:
    """Read the records of one partition of one topic in offset order, some thousands at a time.

    Raises:
        LogFileError: the file is absent or not as `npo export` writes it.
    """
    with _open(directory, topic) as file:
        for group in range(file.num_row_groups):
            statistics = file.metadata.row_group(group).column(0).statistics
            if statistics is not None and not statistics.min <= partition <= statistics.max:
                continue
            for batch in file.iter_batches(BATCH_RECORDS, row_groups=[group]):
                mine = batch.filter(pc.equal(batch.column("partition"), partition))
                if len(mine):
                    yield _block(topic, partition, mine)


class Log(NamedTuple):
    """A log to replay: its manifest, and `read(topic, partition)`, the blocks of one partition in offset order."""

    manifest: Manifest
    read: Callable[[str, int], Iterator[Block]]


def open_log(directory: Path) -> Log:
    """Open an exported log.

    Raises:
        LogFileError: no log, an incomplete one, or one that was changed.
    """
    return Log(read_manifest(directory), partial(read_partition, directory))


def _open(directory: Path, topic: str) -> pq.ParquetFile:
    path = topic_file(directory, topic)
    try:
        file = pq.ParquetFile(path)
    except OSError as error:
        raise LogFileError(f"cannot read {path}: {error}; export the log again") from error
    except pa.ArrowInvalid as error:
        raise LogFileError(f"{path} is not a parquet file: {error}; export the log again") from error
    if not file.schema_arrow.equals(SCHEMA):
        file.close()
        raise LogFileError(f"{path} has the columns {file.schema_arrow.names}, not {SCHEMA.names} with the types of `npo export`")
    return file


def _columns(block: Block) -> pa.RecordBatch:
    headers: list[list[dict[str, Any]]] = [[{"key": key, "value": value} for key, value in headers] for headers in block.headers]
    columns = ([block.partition] * len(block.offsets), block.offsets, block.timestamps_ms, block.keys, block.values, headers)
    return pa.record_batch([pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def _block(topic: str, partition: int, batch: pa.RecordBatch) -> Block:
    offsets, timestamps_ms, keys, values, headers = (batch.column(name).to_pylist() for name in SCHEMA.names[1:])
    named = [tuple((header["key"], header["value"]) for header in of_record) for of_record in headers]
    return Block(topic, partition, offsets, timestamps_ms, keys, values, named)
