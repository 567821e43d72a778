"""The publisher: keeps the read model in Redis equal to the topics, exactly once.

Redis carries its own positions: every batch of records is written in one MULTI together with the offsets to read next. Another
cluster, another version, positions that the log does not hold, or no positions at all: the read model is removed and rebuilt
from the topics' beginning. While Redis is away the publisher waits; nothing else waits for it.
"""

import asyncio
import signal
from collections import Counter
from contextlib import AsyncExitStack
from typing import cast

import stamina
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from redis.asyncio import Redis
from redis.exceptions import RedisError, WatchError

from schemas import codecs, topics
from schemas.errors import DecodeError, StackError
from schemas.settings import Deployment
from streams.admin import cluster_id
from streams.engine.probes import Probes
from streams.logs.reading import bounds, open_reader, partition_counts, require
from streams.serving.following import why_refused
from streams.serving.measures import Measures
from streams.serving.readmodel import READ, VERSION, Changes, Entry, clear

WAIT_MS = 250
BATCH_RECORDS = 500
REDIS_TIMEOUT_S = 5.0
RETRY_S_MAX = 2.0

log = structlog.get_logger()

Places = dict[TopicPartition, int]
# As the hash in Redis has them: a field for each partition, and what they belong to.
Positions = dict[bytes, bytes]


class Publisher:
    """Folds topics into the read model.

    Args:
        deployment: Where broker and Redis are.
        consumer: A consumer that reads committed records only.
        redis: A client of Redis.
        cluster: The broker's cluster id.
        partitions: All partitions to read.
        measures: What is counted.
    """

    def __init__(
        self,
        deployment: Deployment,
        consumer: AIOKafkaConsumer,
        redis: Redis,
        cluster: str,
        partitions: list[TopicPartition],
        measures: Measures,
    ) -> None:
        self.prefix = deployment.application
        self.topic_prefix = deployment.topic_prefix
        self.consumer = consumer
        self.redis = redis
        self.cluster = cluster
        self.partitions = partitions
        self.measures = measures
        self.written: Positions = {}

    async def run(self) -> None:
        """Follow the topics until cancelled."""
        own = asyncio.current_task()
        self.consumer.assign(self.partitions)
        await self.synchronise()
        # A client whose time-out comes at the same moment may swallow a cancellation, which is raised only once.
        while own is None or not own.cancelling():
            records = await self.consumer.getmany(timeout_ms=WAIT_MS, max_records=BATCH_RECORDS)
            places = {partition: await self.consumer.position(partition) for partition in self.partitions}
            entries = [entry for batch in records.values() for record in batch if (entry := self.entry(record))]
            async for attempt in retry():
                with attempt:
                    if await self.write(entries, places):
                        await self.measures.look(self.redis, self.prefix)
                        self.measures.written((record.timestamp for batch in records.values() for record in batch), self.behind(places))
                    else:
                        await self.synchronise()
        raise asyncio.CancelledError

    async def synchronise(self) -> None:
        """Go to where the read model stands, after removing one that does not belong to this log."""
        async for attempt in retry():
            with attempt:
                held = await bounds(self.consumer, self.partitions)
                self.written = await self.stored()
                places = self.places(self.written)
                if places is None or any(not held[partition].first <= place <= held[partition].end for partition, place in places.items()):
                    log.info("read model rebuilt", redis_had=len(self.written), cluster=self.cluster)
                    self.measures.rebuilds.inc()
                    await clear(self.redis, self.prefix)
                    places = {partition: held[partition].first for partition in self.partitions}
                    self.written = self.positions(places)
                    await self.redis.hset(self.position_key, items=flat(self.written))
                for partition, place in places.items():
                    self.consumer.seek(partition, place)

    async def write(self, entries: list[Entry], places: Places) -> bool:
        """Write one batch and the places after it; False, and nothing written, where Redis is not where this publisher left it."""
        positions = self.positions(places)
        async with self.redis.pipeline(transaction=True) as pipe:
            await pipe.watch(self.position_key)
            if await self.stored() != self.written:
                return False
            if positions == self.written:
                return True
            changes = Changes(self.prefix)
            await changes.read(self.redis, entries)
            for entry in entries:
                changes.fold(entry)
            pipe.multi()  # type: ignore[no-untyped-call]  # redis-py gives it no types
            changes.write(pipe)
            pipe.hset(self.position_key, items=flat(positions))
            try:
                await pipe.execute()
            except WatchError:
                return False
        self.written = positions
        return True

    def entry(self, record: ConsumerRecord) -> Entry | None:
        """Decode one record; None for one that its readers in the pipeline refuse too."""
        topic = topics.short(record.topic, self.topic_prefix)
        try:
            event = codecs.decode(topic, record.value)
        except DecodeError as error:
            event, why = None, str(error)
        else:
            partitions = sum(partition.topic == record.topic for partition in self.partitions)
            why = why_refused(topic, event, record, partitions) or ""
        if why:
            log.warning("record left out", topic=topic, partition=record.partition, offset=record.offset, why=why)
            return None
        return Entry(topic, record.partition, record.offset, record.value, event)

    def behind(self, places: Places) -> Counter[str]:
        """Count the offsets of each topic that are not read yet, as of the broker's latest answers."""
        behind: Counter[str] = Counter()
        for partition, place in places.items():
            # None before the first answer.
            end = self.consumer.last_stable_offset(partition) or place
            behind[topics.short(partition.topic, self.topic_prefix)] += max(0, end - place)
        return behind

    @property
    def position_key(self) -> str:
        """The key of the positions."""
        return f"{self.prefix}:positions"

    def field(self, partition: TopicPartition) -> bytes:
        """Name a partition in the hash of positions."""
        return f"{topics.short(partition.topic, self.topic_prefix)}:{partition.partition}".encode()

    def positions(self, places: Places) -> Positions:
        """Write places, and what they belong to, as Redis keeps them."""
        fields = {self.field(partition): str(place).encode() for partition, place in places.items()}
        return {b"version": VERSION, b"cluster": self.cluster.encode(), **fields}

    def places(self, positions: Positions) -> Places | None:
        """Read places that Redis kept; None where they belong to another version, cluster or set of partitions."""
        names = {self.field(partition): partition for partition in self.partitions}
        belongs = positions.get(b"version") == VERSION and positions.get(b"cluster") == self.cluster.encode()
        if not belongs or positions.keys() != {b"version", b"cluster", *names}:
            return None
        return {partition: int(positions[name]) for name, partition in names.items()}

    async def stored(self) -> Positions:
        """Read the positions that Redis holds."""
        # The client is asked for bytes.
        return cast("Positions", await self.redis.hgetall(self.position_key))


def flat(positions: Positions) -> list[bytes]:
    """Return fields and values in turn."""
    return [part for field in positions.items() for part in field]


def retry() -> stamina._core._RetryContextIterator:
    """Try again for ever, at most two seconds apart, while Redis or the broker is away."""
    return stamina.retry_context(on=(RedisError, OSError, KafkaError), attempts=None, timeout=None, wait_initial=0.05, wait_max=RETRY_S_MAX)


async def publish(deployment: Deployment) -> None:
    """Keep the read model equal to the topics until cancelled.

    Raises:
        StackError: no Redis, or no broker, is known.
        TopologyError: a topic does not exist.
        SettingsError: it cannot listen at its port of health.
    """
    if deployment.redis is None:
        raise StackError("no Redis for the read model: start one with `npo up`, or set NPO_REDIS=redis://host:port/0")
    measures = Measures()
    if deployment.health_port is not None:
        port = Probes(deployment.health_host, deployment.health_port, measures, measures.registry).serve()
        log.info("health", host=deployment.health_host, port=port)
    counts = await partition_counts(deployment)
    require(counts, READ, deployment)
    partitions = [
        TopicPartition(topics.physical(name, deployment.topic_prefix), partition) for name in READ for partition in range(counts[name])
    ]
    async with AsyncExitStack() as stack:
        consumer = await stack.enter_async_context(open_reader(deployment))
        redis = Redis.from_url(deployment.redis, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S)
        await stack.enter_async_context(redis)
        await Publisher(deployment, consumer, redis, await cluster_id(deployment), partitions, measures).run()


async def _publish_until_stopped(deployment: Deployment) -> None:
    publishing = asyncio.ensure_future(publish(deployment))
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, publishing.cancel)
    await asyncio.wait([publishing])
    if not publishing.cancelled():
        publishing.result()


def run_publisher(deployment: Deployment) -> None:
    """Keep the read model equal to the topics until SIGTERM or Ctrl-C; every batch is whole, so stopping loses nothing."""
    asyncio.run(_publish_until_stopped(deployment))


if __name__ == "__main__":
    run_publisher(Deployment())
