"""From a fetch response to blocks: columns instead of record objects, which is half of what makes a worker quick.

aiokafka's own path builds a ConsumerRecord for every record; this one reads the same batches (checksums, aborted
transactions, markers) into lists.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from aiokafka.consumer.fetcher import Fetcher, FetchError, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.structs import TopicPartition

from agents.step import Block

BLOCK_RECORDS_MAX = 4_000


class Delivery(NamedTuple):
    """A block and the fetch positions before and after it: between them lie its records, markers and aborted records."""

    block: Block
    start: int
    next: int

    @property
    def load(self) -> int:
        """How much it holds: records, or KiB of values where they are large (a record may be a batch of samples)."""
        return max(len(self.block.offsets), sum(len(value) for value in self.block.values if value) >> 10)


def slice_block(block: Block, start: int, stop: int) -> Block:
    """Return the records `start` to `stop` (excluded) of a block."""
    cut = slice(start, stop)
    return Block(
        block.topic, block.partition, block.offsets[cut], block.timestamps_ms[cut], block.keys[cut], block.values[cut], block.headers[cut]
    )


def unpack(records: PartitionRecords, topic: str, partition: int) -> list[Delivery]:
    """Read what one fetch brought for a partition into blocks of at most BLOCK_RECORDS_MAX records.

    Raises:
        CorruptRecordException: a batch does not match its checksum.
    """
    start = records.next_fetch_offset
    offsets: list[int] = []
    timestamps: list[int] = []
    keys: list[bytes | None] = []
    values: list[bytes | None] = []
    headers: list[Any] = []
    for batch in _visible_batches(records):
        for record in batch:
            # A batch that was compressed or compacted may begin before the position.
            if record.offset >= start:
                offsets.append(record.offset)
                timestamps.append(record.timestamp)
                keys.append(record.key)
                values.append(record.value)
                # A header without a value is legal in Kafka; to steps it is an empty one.
                headers.append(tuple((name, value or b"") for name, value in record.headers))
    block = Block(topic, partition, offsets, timestamps, keys, values, headers)
    return list(_cut(block, start, records.next_fetch_offset))


def _cut(block: Block, start: int, end: int) -> Iterator[Delivery]:
    first = 0
    while (last := first + BLOCK_RECORDS_MAX) < len(block.offsets):
        following = block.offsets[last]
        yield Delivery(slice_block(block, first, last), start, following)
        first, start = last, following
    yield Delivery(slice_block(block, first, len(block.offsets)) if first else block, start, end)


def _visible_batches(records: PartitionRecords) -> Iterator[Any]:
    """Give the batches that a consumer of committed records sees, and move the position over all of them."""
    source = records._records
    while source.has_next():
        batch = source.next_batch()
        if records._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"{records._tp}: the batch at {batch.base_offset} does not match its checksum")
        if batch.producer_id is not None:
            records._consume_aborted_up_to(batch.base_offset)
        if batch.is_control_batch:
            if records._contains_abort_marker(batch):
                records._aborted_producers.discard(batch.producer_id)
        elif not (batch.is_transactional and batch.producer_id in records._aborted_producers):
            yield batch
        records.next_fetch_offset = batch.next_offset


async def drain(
    fetcher: Fetcher, wanted: dict[TopicPartition, str], timeout_s: float, is_current: Callable[[], bool]
) -> dict[TopicPartition, list[Delivery]]:
    """Take what has been fetched for the wanted partitions (with the topics' short names); wait if there is nothing.

    The rest stays where it is: leaving out a partition whose task is full is how a task holds its input back.

    Args:
        fetcher: aiokafka's.
        wanted: partitions to take from.
        timeout_s: how long to wait.
        is_current: whether the assignment is still the caller's; what belongs to the next one stays for it.

    Raises:
        KafkaError: the broker refused a fetch for good.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while is_current():
        found = _take(fetcher, wanted)
        remaining = deadline - loop.time()
        if found or remaining <= 0 or fetcher._closed:
            return found
        waiter = fetcher._create_fetch_waiter()
        done, _ = await asyncio.wait([waiter], timeout=remaining)
        if not done:
            waiter.cancel()
            return {}
        # Coordination errors that only the reader can hear of come this way.
        waiter.result()
    return {}


def _take(fetcher: Fetcher, wanted: dict[TopicPartition, str]) -> dict[TopicPartition, list[Delivery]]:
    found: dict[TopicPartition, list[Delivery]] = {}
    # During a rebalance what was fetched may belong to somebody else by now.
    if fetcher._subscriptions.reassignment_in_progress:
        return found
    for partition in [partition for partition in fetcher._records if partition in wanted]:
        result = fetcher._records.pop(partition)
        fetcher._notify(fetcher._wait_consume_future)
        if isinstance(result, FetchError):
            result.check_raise()
        records = result._partition_records
        # Not so after a seek or a new assignment.
        if result.check_assignment(partition):
            found[partition] = unpack(records, wanted[partition], partition.partition)
            result._assignment.state_value(partition).consumed_to(records.next_fetch_offset)
    return found
