"""Bounded reads of topics: what is committed, from the first offset that is held to the end as of the start, as blocks."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from agents.step import Block
from schemas import topics
from schemas.errors import PositionError, TopologyError
from schemas.settings import Deployment
from streams.admin import open_admin
from streams.clients import client_options

BLOCK_RECORDS = 4_000
WAIT_MS = 50
# A broker that hands out nothing for so long below an end that it named itself is not going to.
STALLED_READS = 600


class Bounds(NamedTuple):
    """What a partition holds: the first offset and the one after the last committed record or marker."""

    first: int
    end: int


@asynccontextmanager
async def open_reader(deployment: Deployment, *, committed: bool = True) -> AsyncIterator[AIOKafkaConsumer]:
    """Open a consumer of no group that sees committed records only, or all that is appended."""
    consumer = AIOKafkaConsumer(
        **client_options(deployment),
        isolation_level="read_committed" if committed else "read_uncommitted",
        enable_auto_commit=False,
        auto_offset_reset="none",
        max_partition_fetch_bytes=4 << 20,
        fetch_max_wait_ms=WAIT_MS,
    )
    try:
        await consumer.start()
        # A consumer that is stopped before its background task has had its first turn raises that task's cancellation.
        await asyncio.sleep(0)
        yield consumer
    finally:
        await consumer.stop()


async def partition_counts(deployment: Deployment) -> dict[str, int]:
    """Count the partitions of every topic of the deployment that exists on the broker, by short name.

    Raises:
        StackError: the broker does not answer.
    """
    async with open_admin(deployment) as admin:
        described = await admin.describe_topics()
    counts = {topic["topic"]: len(topic["partitions"]) for topic in described}
    known = [name for topic in topics.TOPICS for name in (topic.name, topics.dead_letter(topic.name))]
    physical = {name: topics.physical(name, deployment.topic_prefix) for name in known}
    return {name: counts[physical[name]] for name in known if physical[name] in counts}


def require(counts: dict[str, int], names: Iterable[str], deployment: Deployment) -> None:
    """Check that topics exist.

    Raises:
        TopologyError: one of them does not.
    """
    absent = [topics.physical(name, deployment.topic_prefix) for name in names if name not in counts]
    if absent:
        raise TopologyError(f"{deployment.broker} has no topic {', '.join(absent)}; create them with `npo topics apply` or `npo up`")


async def bounds(consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> dict[TopicPartition, Bounds]:
    """Ask what partitions hold at this moment; the end is the last stable offset, below any open transaction."""
    if not partitions:
        return {}
    first = await consumer.beginning_offsets(partitions)
    end = await consumer.end_offsets(partitions)
    return {partition: Bounds(first[partition], end[partition]) for partition in partitions}


async def committed_positions(deployment: Deployment, groups: Iterable[str]) -> dict[TopicPartition, int]:
    """Ask for the positions that consumer groups have committed; partitions without one are absent.

    Raises:
        StackError: the broker does not answer.
    """
    async with open_admin(deployment) as admin:
        found = [await admin.list_consumer_group_offsets(group) for group in groups]
    return {partition: position.offset for positions in found for partition, position in positions.items() if position.offset >= 0}


async def read_blocks(consumer: AIOKafkaConsumer, name: str, partition: TopicPartition, start: int, end: int) -> AsyncIterator[Block]:
    """Read one partition's committed records with offsets in [start, end), in order.

    Args:
        consumer: as `open_reader` gives it; its assignment is replaced.
        name: the topic's short name, which the blocks carry.
        partition: what to read.
        start: the first offset.
        end: the offset to stop before; at most the one that `bounds` gave.

    Raises:
        PositionError: the broker hands out nothing more although the end is not reached, or deletes what is being read.
    """
    # aiokafka's fetcher loses the cancellation of a `stop` that comes while it takes up a new assignment, and then never
    # ends: so nothing is assigned of which nothing will be read.
    if start >= end:
        return
    consumer.assign([partition])
    consumer.seek(partition, start)
    stalled, position = 0, start
    while position < end:
        try:
            fetched = await consumer.getmany(partition, timeout_ms=WAIT_MS, max_records=BLOCK_RECORDS)
        except OffsetOutOfRangeError as error:
            raise PositionError(
                f"{partition.topic}-{partition.partition}: offset {position} was deleted while it was read; raise the topic's "
                "retention.ms (`npo topics plan`) and start again"
            ) from error
        records = [record for record in fetched.get(partition, ()) if record.offset < end]
        if records:
            yield Block(
                topic=name,
                partition=partition.partition,
                offsets=[record.offset for record in records],
                timestamps_ms=[record.timestamp for record in records],
                keys=[record.key for record in records],
                values=[record.value for record in records],
                headers=[record.headers for record in records],
            )
        before, position = position, await consumer.position(partition)
        stalled = stalled + 1 if position == before else 0
        if stalled >= STALLED_READS:
            raise PositionError(f"{partition.topic}-{partition.partition}: nothing more is handed out at offset {position}, end is {end}")
