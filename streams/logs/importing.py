"""From an exported log to another Kafka: the inputs, in the order in which they came."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct

from schemas import topics
from schemas.codecs import decode
from schemas.errors import DecodeError, LogFileError
from schemas.headers import Headers, event_id
from schemas.identity import partition_of, source_name
from schemas.settings import Deployment
from streams.groups import TaskGroup
from streams.logs.files import Log
from streams.logs.precedence import decisions, read_precedence
from streams.logs.reading import BLOCK_RECORDS, WAIT_MS, bounds, open_reader, partition_counts, require
from streams.logs.replay import written_by_task
from streams.logs.sending import open_sender

WAIT_S = 30.0


class Original(NamedTuple):
    """One record of a log, at the place where it was; sorts by the time at which it was appended."""

    timestamp_ms: int
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def named_headers(self) -> Headers:
        """Its headers, with its name in the log as `ce_id` where it has none: then all that derives from it has the same names."""
        if event_id(self.headers) is not None:
            return self.headers
        return (("ce_id", source_name(self.topic, self.partition, self.offset).encode()), *self.headers)


class Imported(Struct):
    """What was sent, by topic.

    Attributes:
        records: Records by topic.
        waited: Of these, held back until a decision had appeared.
        not_found: Of these, sent although it had not appeared in time.
        left_out: Records that tasks wrote: the deployment's own tasks write theirs.
    """

    records: dict[str, int]
    waited: int = 0
    not_found: int = 0
    left_out: int = 0


async def import_log(
    deployment: Deployment,
    topology: Iterable[TaskGroup],
    log: Log,
    names: Iterable[str],
    show: Callable[[int], object],
    wait_s: float = WAIT_S,
) -> Imported:
    """Produce what people and other systems wrote to the input topics of a log to a deployment, by original append time.

    What tasks wrote there is left out: the models that the trainer put in force, the deployment's own trainer makes again. A record
    that came after a decision (`streams.logs.precedence`) is held back until that is on the deployment's decision topic, or until no
    decision has appeared for `wait_s`; one whose decision the log itself lacks is not waited for. With the same number of partitions
    each record goes to the partition that it was in; else to that of its key, of its scope (control), or to all (global control).

    Args:
        deployment: where to.
        topology: the groups whose records are left out.
        log: what to send.
        names: the input topics to send.
        show: called with the number of records that were sent.
        wait_s: see above.

    Raises:
        LogFileError: the log lacks one of the topics, or it is no input.
        TopologyError: the deployment lacks one of the topics.
    """
    names = tuple(dict.fromkeys(names))
    known = [topic.name for topic in topics.INPUTS if topic.name in log.manifest.topics]
    if wrong := [name for name in names if name not in known]:
        raise LogFileError(f"cannot import {', '.join(wrong)}: the inputs that this log holds are {', '.join(known)}")
    counts = await partition_counts(deployment)
    require(counts, [*names, *([topics.DECISION.name] if topics.FEEDBACK.name in names else [])], deployment)
    imported = Imported(dict.fromkeys(names, 0))
    groups, precedence = tuple(topology), read_precedence(log)
    async with open_sender(deployment) as sender, watch_decisions(deployment, counts) as appeared:
        for record in by_append_time(log, names):
            if written_by_task(groups, record.topic, record.headers):
                imported.left_out += 1
                show(1)
                continue
            decision = precedence.before(record.topic, record.partition, record.timestamp_ms, record.value)
            if decision is not None and decision not in appeared.seen:
                await sender.flush()
                imported.waited += 1
                imported.not_found += not await appeared.wait_for(decision, wait_s)
            if record.topic != topics.FEEDBACK.name:
                appeared.caused()
            for partition in targets(record, len(log.manifest.topics[record.topic]), counts[record.topic]):
                await sender.send(record.topic, partition, record.key, record.value, record.named_headers)
                imported.records[record.topic] += 1
            show(1)
    return imported


def by_append_time(log: Log, names: Iterable[str]) -> Iterator[Original]:
    """Merge the partitions of topics by the time at which records were appended; inside a partition order stays."""
    streams = [_originals(log, name, partition) for name in names for partition in range(len(log.manifest.topics[name]))]
    return heapq.merge(*streams, key=lambda record: record[:4])


def targets(record: Original, source_partitions: int, target_partitions: int) -> list[int]:
    """Return the partitions of the target that take a record.

    A global control command is one record in each partition: with another number of partitions, copies of those at hand go
    to all of them, one each.
    """
    if source_partitions == target_partitions:
        return [record.partition]
    if record.topic != topics.CONTROL.name:
        return [record.partition % target_partitions if record.key is None else partition_of(record.key, target_partitions)]
    try:
        scope = decode(record.topic, record.value).scope
    except DecodeError:
        return [record.partition % target_partitions]
    if scope is not None:
        return [partition_of(scope.encode(), target_partitions)]
    return list(range(record.partition, target_partitions, source_partitions))


class Decisions:
    """The decisions that have appeared on the target so far; `watch_decisions` keeps it up to date."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._arrived = asyncio.Event()
        self._last_s = asyncio.get_running_loop().time()
        self._gave_up_at = -1
        self._failure: BaseException | None = None

    def caused(self) -> None:
        """Note that something was sent from which decisions may follow; of no use where none has followed for a whole wait."""
        if len(self.seen) != self._gave_up_at:
            self._last_s = asyncio.get_running_loop().time()

    async def wait_for(self, decision: str, quiet_s: float) -> bool:
        """Wait until a decision has appeared (true), or none at all has for a time (false)."""
        while decision not in self.seen:
            if self._failure is not None:
                raise self._failure
            remaining_s = self._last_s + quiet_s - asyncio.get_running_loop().time()
            if remaining_s <= 0:
                self._gave_up_at = len(self.seen)
                return False
            self._arrived.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), remaining_s)
        return True

    async def follow(self, consumer: AIOKafkaConsumer) -> None:
        """Note decisions as they appear, until cancelled; an error is raised by `wait_for`."""
        try:
            while True:
                fetched = await consumer.getmany(timeout_ms=WAIT_MS, max_records=BLOCK_RECORDS)
                if fetched:
                    self.seen.update(each.id for each in decisions(record.value for records in fetched.values() for record in records))
                    self._last_s = asyncio.get_running_loop().time()
                    self._arrived.set()
        except Exception as error:  # noqa: BLE001 - it is raised again where the decisions are waited for
            self._failure = error
            self._arrived.set()


@asynccontextmanager
async def watch_decisions(deployment: Deployment, counts: dict[str, int]) -> AsyncIterator[Decisions]:
    """Follow the decision topic from its beginning for as long as the context lasts."""
    name = topics.physical(topics.DECISION.name, deployment.topic_prefix)
    places = [TopicPartition(name, partition) for partition in range(counts.get(topics.DECISION.name, 0))]
    async with open_reader(deployment) as consumer:
        seen = Decisions()
        consumer.assign(places)
        for place, held in (await bounds(consumer, places)).items():
            consumer.seek(place, held.first)
        following = asyncio.create_task(seen.follow(consumer))
        try:
            yield seen
        finally:
            following.cancel()
            await asyncio.wait([following])


def _originals(log: Log, topic: str, partition: int) -> Iterator[Original]:
    for block in log.read(topic, partition):
        for timestamp_ms, offset, key, value, headers in zip(
            block.timestamps_ms, block.offsets, block.keys, block.values, block.headers, strict=True
        ):
            yield Original(timestamp_ms, topic, partition, offset, key, value, headers)
