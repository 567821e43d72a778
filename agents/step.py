"""What every step takes and gives: a block of records in, outputs and new rows out.

A step is a pure function `step(rows, block, context) -> Result`. `rows` reads the state of the block's task, the result
holds what to write. Any cut of the same records into blocks gives the same outputs and the same rows, byte for byte.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from schemas.headers import Headers
from schemas.settings import Settings


class Block(NamedTuple):
    """The records that one partition of one topic delivered together, as columns of equal length.

    `topic` is the short name; `timestamps_ms` are the broker's append times.
    """

    topic: str
    partition: int
    offsets: list[int]
    timestamps_ms: list[int]
    keys: list[bytes | None]
    values: list[bytes | None]
    headers: list[Headers]


class Context(NamedTuple):
    """What a step may know beside its rows.

    `positions` are the next positions of each input of the task (by short name) before this block; `partitions` is the
    number of partitions of the task's topics, by which a misplaced key is told.
    """

    settings: Settings
    positions: Mapping[str, int]
    partitions: int


class Output(NamedTuple):
    """One record to write; its partition is that of its key (murmur2, as Kafka's own clients).

    `ordinal` is the index in the block of the record that caused it.
    """

    topic: str
    key: bytes
    value: bytes | None
    headers: Headers
    ordinal: int


class Result(NamedTuple):
    """Outputs in the order of the records that caused them, and rows to write (None deletes)."""

    outputs: list[Output]
    rows: dict[bytes, bytes | None]


class Rows(Protocol):
    """The committed state of one task, by key."""

    def get(self, key: bytes) -> bytes | None:
        """Return the row's bytes, or None."""
        ...


Step = Callable[[Rows, Block, Context], Result]


def dead_letter(block: Block, index: int, reason: str, detail: str) -> Output:
    """Write record `index` of the block to the dead-letter topic, unchanged, with its headers, place and reason."""
    headers = (
        *block.headers[index],
        ("npo_reason", reason.encode()),
        ("npo_detail", detail[:1000].encode(errors="replace")),
        ("npo_topic", block.topic.encode()),
        ("npo_partition", str(block.partition).encode()),
        ("npo_offset", str(block.offsets[index]).encode()),
        ("npo_timestamp_ms", str(block.timestamps_ms[index]).encode()),
    )
    return Output(f"{block.topic}.dlq", block.keys[index] or b"", block.values[index], headers, index)
