"""What the newest records of a scope's partitions tell of it: its event time, and the settings that it decides under."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TypeVar

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct

from schemas import topics
from schemas.identity import partition_of
from streams.logs.reading import bounds, read_blocks

# Enough to hold a heartbeat of each of some hundred scopes.
TAIL_RECORDS = 2_000


class Timed(Struct):
    """What any scenario or decision tells of its scope's time."""

    scope: str
    time_ms: int
    decided_ms: int = 0


class Decided(Struct):
    """What a decision tells of the settings that it was made under."""

    scope: str
    versions: dict[str, str]


T = TypeVar("T")

_TIMED = msgspec.json.Decoder(Timed)
_DECIDED = msgspec.json.Decoder(Decided)


async def event_time(consumer: AIOKafkaConsumer, prefix: str, counts: dict[str, int], scope: str, time_ms: int = 0) -> int:
    """Return the event time of a scope, at least `time_ms`, as far as the newest records of its partition tell."""
    for name in (topics.RECOMMENDATION.name, topics.DECISION.name, topics.SCENARIO.name):
        if name in counts:
            async for _, timed in records_of(consumer, name, prefix, partition_of(scope.encode(), counts[name]), _TIMED, TAIL_RECORDS):
                if timed.scope == scope:
                    time_ms = max(time_ms, timed.time_ms, timed.decided_ms)
    return time_ms


async def settings_in_use(consumer: AIOKafkaConsumer, prefix: str, counts: dict[str, int], scope: str) -> str | None:
    """Return the digest of the settings under which a scope's latest decision was made; None where it has none of late."""
    used = None
    if topics.DECISION.name in counts:
        partition = partition_of(scope.encode(), counts[topics.DECISION.name])
        async for _, decided in records_of(consumer, topics.DECISION.name, prefix, partition, _DECIDED, TAIL_RECORDS):
            if decided.scope == scope:
                used = decided.versions.get("settings")
    return used


async def records_of(
    consumer: AIOKafkaConsumer, name: str, prefix: str, partition: int, decoder: msgspec.json.Decoder[T], last: int | None = None
) -> AsyncIterator[tuple[bytes, T]]:
    """Read a partition, or its last records, leaving out what is none of ours."""
    place = TopicPartition(topics.physical(name, prefix), partition)
    held = (await bounds(consumer, [place]))[place]
    start = held.first if last is None else max(held.first, held.end - last)
    async for block in read_blocks(consumer, name, place, start, held.end):
        for key, value in zip(block.keys, block.values, strict=True):
            with suppress(msgspec.DecodeError):
                yield key or b"", decoder.decode(value or b"")
