"""Events of several topics from their beginning, to their end as of now or for ever."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from aiokafka import ConsumerRecord, TopicPartition

from schemas import codecs, topics
from schemas.errors import DecodeError
from schemas.headers import find
from schemas.settings import Deployment
from streams.logs.reading import WAIT_MS, bounds, open_reader, partition_counts, require

BATCH_RECORDS = 2_000


class Told(NamedTuple):
    """One committed event: its topic's short name, its partition, and who wrote it (`ce_source`, empty where it is not said)."""

    topic: str
    partition: int
    event: Any
    source: str


async def follow(deployment: Deployment, names: Sequence[str], *, forever: bool = False) -> AsyncIterator[list[Told]]:
    """Read topics in batches, those of one partition in order; for ever, an empty batch says that nothing came for a while.

    What cannot be decoded is left out: its readers in the pipeline have sent it to a dead-letter topic.

    Raises:
        TopologyError: a topic does not exist.
    """
    counts = await partition_counts(deployment)
    require(counts, names, deployment)
    partitions = [TopicPartition(topics.physical(name, deployment.topic_prefix), index) for name in names for index in range(counts[name])]
    async with open_reader(deployment) as consumer:
        held = await bounds(consumer, partitions)
        consumer.assign(partitions)
        for partition, (first, _) in held.items():
            consumer.seek(partition, first)
        while forever or any([await consumer.position(partition) < end for partition, (_, end) in held.items()]):
            records = await consumer.getmany(timeout_ms=WAIT_MS, max_records=BATCH_RECORDS)
            yield [told for batch in records.values() for record in batch if (told := _told(record, deployment.topic_prefix))]


def _told(record: ConsumerRecord, prefix: str) -> Told | None:
    name = topics.short(record.topic, prefix)
    try:
        event = codecs.decode(name, record.value)
    except DecodeError:
        return None
    return Told(name, record.partition, event, (find(record.headers, "ce_source") or b"").decode(errors="replace"))
