"""Events of several topics from their beginning, to their end as of now or for ever."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from aiokafka import ConsumerRecord, TopicPartition

from schemas import codecs, topics
from schemas.errors import DecodeError
from schemas.events import ABOUT_SOURCES, Command
from schemas.headers import find
from schemas.identity import SEPARATOR, partition_of
from schemas.settings import Deployment
from streams.logs.deploying import NOTE
from streams.logs.reading import WAIT_MS, bounds, open_reader, partition_counts, require

BATCH_RECORDS = 2_000
# People write these: their tasks refuse what stands under a key that is not its own.
KEYED_BY_PEOPLE = frozenset({topics.MODEL.name, topics.CONTROL.name, topics.RETRAINING_COMMAND.name})


class Told(NamedTuple):
    """One committed event: its topic's short name, its partition, who wrote it (`ce_source`) and why; empty where it is not said."""

    topic: str
    partition: int
    event: Any
    source: str
    note: str = ""


async def follow(deployment: Deployment, names: Sequence[str], *, forever: bool = False) -> AsyncIterator[list[Told]]:
    """Read topics in batches, those of one partition in order; for ever, an empty batch says that nothing came for a while.

    What its readers in the pipeline refuse is left out: they have sent it to a dead-letter topic.

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
            yield [told for batch in records.values() for record in batch if (told := _told(record, deployment.topic_prefix, counts))]


def why_refused(topic: str, event: Any, record: ConsumerRecord, partitions: int) -> str | None:  # noqa: ANN401 - an event of any topic
    """Say why the tasks that read an event refuse it, or None; only of what people write: what tasks write is in its place."""
    if topic not in KEYED_BY_PEOPLE:
        return None
    commanded = topic == topics.CONTROL.name
    about = event.subject if commanded and event.command in ABOUT_SOURCES else None
    if about == "" or (commanded and event.command is Command.REOPEN and not event.reason):
        return "no source that it is about" if about == "" else "no reason"
    if SEPARATOR in (event.scope or "") or SEPARATOR in (about or ""):
        return "a name with the control character U+001F"
    if event.scope is not None and partition_of(event.scope.encode(), partitions) != record.partition:
        return "another partition than its scope's"
    # A command takes effect where it stands: it is not its key that says its scope, and its clock does not matter.
    if not commanded and (record.key or b"").decode(errors="replace") != event.scope:
        return "a key that is not its scope"
    return "a time over an hour ahead" if not commanded and event.time_ms - record.timestamp > codecs.HOUR_MS else None


def _told(record: ConsumerRecord, prefix: str, counts: dict[str, int]) -> Told | None:
    name = topics.short(record.topic, prefix)
    try:
        event = codecs.decode(name, record.value)
    except DecodeError:
        return None
    if why_refused(name, event, record, counts[name]):
        return None
    source, note = ((find(record.headers, header) or b"").decode(errors="replace") for header in ("ce_source", NOTE))
    return Told(name, record.partition, event, source, note)
