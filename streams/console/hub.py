"""The hub: one tail of the topics that the page follows, for all who listen.

It keeps the newest events in a ring. A listener names the place where it stands in each partition; what the ring still has, it gets
from there, and what is older, from the topics. The ring knows for each partition from which offset on it has everything (`floors`) and
up to which it has been read (`ends`), so that no event between two places is ever lost or given twice.
"""

import asyncio
from contextlib import suppress

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from schemas import topics
from schemas.errors import NpoError, PositionError
from schemas.settings import Deployment
from streams.admin import cluster_id
from streams.console.cursor import Places
from streams.console.messages import REFUSED, Event, records_of, tell
from streams.logs.reading import bounds, open_reader, partition_counts, read_blocks, require

FOLLOWED = tuple(
    topic.name
    for topic in (
        topics.RECOMMENDATION, topics.ALIGNMENT, topics.RETRAINING_COMMAND, topics.RETRAINING_RESULT, topics.MODEL, topics.CONTROL,
        topics.DECISION,
    )
)  # fmt: skip
RING_EVENTS, RING_BYTES = 10_000, 64 << 20
CHUNK_EVENTS, CHUNK_BYTES = 2_000, 8 << 20
# So many listeners at a time read from the topics; each opens a consumer.
READERS_MAX = 4
WAIT_MS = 250
# So many records are told at a stretch, 10 to 20 ms: meanwhile nobody else is served.
BATCH_RECORDS = 200
RETRY_S = 1.0

log = structlog.get_logger()


class Hub:
    """Follows the topics and keeps the newest events.

    Args:
        deployment: Where the broker is.
        ring_events: How many events the ring keeps at most.

    Attributes:
        cluster: Identity of the cluster that is read.
        partitions: What is read, by topic and partition.
        ends: By topic and partition, the next offset to read: what comes before has been in the ring or was there before the hub.
        floors: By topic and partition, the offset from which on the ring has every event.
        epoch: Counts one up whenever the hub had to begin anew: places of before may name another log.
        oldest: Number of the oldest event in the ring; events are numbered as they come.
        next: Number of the event to come.
        ready: Set once `ends` are known.
        ended: Whether it follows the topics no longer.
    """

    def __init__(self, deployment: Deployment, ring_events: int = RING_EVENTS) -> None:
        self.deployment = deployment
        self.ring_events = ring_events
        self.cluster = ""
        self.counts: dict[str, int] = {}
        self.partitions: dict[tuple[str, int], TopicPartition] = {}
        self.ends: dict[tuple[str, int], int] = {}
        self.floors: dict[tuple[str, int], int] = {}
        self.epoch = 0
        self.oldest = self.next = 0
        self.ready = asyncio.Event()
        self.ended = False
        self._ring: dict[int, Event] = {}
        self._ring_bytes = 0
        self._news = asyncio.Event()
        self._readers = asyncio.Semaphore(READERS_MAX)

    async def run(self) -> None:
        """Follow the topics until cancelled; while the broker is away, wait for it."""
        try:
            while True:
                try:
                    async with open_reader(self.deployment) as consumer:
                        await self._begin(consumer)
                        await self._follow(consumer)
                # Offsets that the log does not hold any more come as an error of Kafka too: `_begin` sees to them.
                except (KafkaError, OSError, NpoError) as error:
                    log.warning("hub tries again", why=repr(error))
                    await asyncio.sleep(RETRY_S)
        finally:
            self.ended = True
            self._wake()

    def since(self, number: int, count: int) -> list[Event]:
        """Return at most `count` events that the ring has from a number on, `oldest` or later."""
        return [self._ring[each] for each in range(number, min(number + count, self.next))]

    async def news(self, number: int, timeout_s: float) -> None:
        """Wait until there is an event of this number, or the hub has begun anew or ended, at most so long."""
        news = self._news
        if number == self.next and not self.ended:
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), timeout_s)

    async def stored(self, places: Places) -> tuple[list[Event], dict[tuple[str, int], int]] | None:
        """Read from the topics what the ring does not have any more, a chunk of it.

        Args:
            places: Where to begin.

        Returns:
            Events, those of a partition in order, and the places after them; None where the log does not hold one of the places.

        Raises:
            KafkaError: the broker is away.
        """
        events: list[Event] = []
        after: dict[tuple[str, int], int] = {}
        async with self._readers, open_reader(self.deployment) as consumer:
            held = await bounds(consumer, [self.partitions[place] for place in places])
            limits = {place: held[self.partitions[place]] for place in places}
            if any(not limits[place].first <= offset <= limits[place].end for place, offset in places.items()):
                return None
            for (name, partition), offset in places.items():
                end = self.ends[name, partition]
                try:
                    async for block in read_blocks(consumer, name, self.partitions[name, partition], offset, end):
                        for number, record in enumerate(records_of(block), 1):
                            event = tell(name, record, self.counts[name])
                            events += [event] if event else []
                            if number % BATCH_RECORDS == 0:
                                await asyncio.sleep(0)
                        after[name, partition] = block.offsets[-1] + 1
                        if len(events) >= CHUNK_EVENTS or sum(len(event.data) for event in events) >= CHUNK_BYTES:
                            return events, after
                except PositionError:
                    return None
                # A place that is ahead of the hub stays where it is.
                after[name, partition] = max(offset, end)
        return events, after

    async def _begin(self, consumer: AIOKafkaConsumer) -> None:
        """Go to where the ring ends; where that is in another log, or there is no ring yet, begin anew at the end of this one."""
        cluster = await cluster_id(self.deployment)
        counts = await partition_counts(self.deployment)
        require(counts, FOLLOWED + REFUSED, self.deployment)
        partitions = {
            (name, partition): TopicPartition(topics.physical(name, self.deployment.topic_prefix), partition)
            for name in FOLLOWED + REFUSED
            for partition in range(counts[name])
        }
        consumer.assign(list(partitions.values()))
        held = await bounds(consumer, list(partitions.values()))
        as_before = (self.cluster, self.partitions) == (cluster, partitions) and all(
            held[partition].first <= self.ends[place] <= held[partition].end for place, partition in partitions.items()
        )
        if not as_before:
            self.cluster, self.counts, self.partitions = cluster, counts, partitions
            self.ends = {place: held[partition].end for place, partition in partitions.items()}
            self.floors = dict(self.ends)
            self._ring.clear()
            self._ring_bytes, self.oldest = 0, self.next
            self.epoch += 1
            self._wake()
        for place, partition in partitions.items():
            consumer.seek(partition, self.ends[place])
        self.ready.set()

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        """Take what comes until cancelled."""
        while True:
            records = await consumer.getmany(timeout_ms=WAIT_MS, max_records=BATCH_RECORDS)
            ends = {place: await consumer.position(partition) for place, partition in self.partitions.items()}
            self._take([record for batch in records.values() for record in batch], ends)

    def _take(self, records: list[ConsumerRecord], ends: dict[tuple[str, int], int]) -> None:
        """Put records into the ring, and the oldest out of it: without a pause, so that no listener sees it half done."""
        for record in records:
            name = topics.short(record.topic, self.deployment.topic_prefix)
            event = tell(name, record, self.counts[name])
            if event:
                self._ring[self.next] = event
                self._ring_bytes += len(event.data)
                self.next += 1
        self.ends = ends
        while len(self._ring) > self.ring_events or self._ring_bytes > RING_BYTES:
            gone = self._ring.pop(self.oldest)
            self.oldest += 1
            self._ring_bytes -= len(gone.data)
            self.floors[gone.topic, gone.partition] = gone.offset + 1
        if records:
            self._wake()

    def _wake(self) -> None:
        """Wake who waits for news."""
        self._news.set()
        self._news = asyncio.Event()
