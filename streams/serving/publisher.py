"""The publisher: keeps the read model in Redis equal to the topics, exactly once.

Redis carries its own positions: every batch of records is written in one MULTI together with the offsets to read next. Another
cluster, another version, positions that the log does not hold, or no positions at all: the read model is removed and rebuilt
from the topics' beginning. While Redis is away the publisher waits; nothing else waits for it.
"""

import asyncio
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack

import stamina
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from redis.asyncio import Redis
from redis.exceptions import RedisError, WatchError

from schemas import codecs, topics
from schemas.errors import DecodeError, StackError
from schemas.identity import partition_of
from schemas.settings import Deployment
from streams.admin import cluster_id
from streams.logs.reading import bounds, open_reader, partition_counts, require
from streams.serving.readmodel import READ, VERSION, Changes, Entry, clear

WAIT_MS = 250
BATCH_RECORDS = 500
REDIS_TIMEOUT_S = 5.0
RETRY_S_MAX = 2.0

log = structlog.get_logger()

Places = dict[TopicPartition, int]


class Publisher:
    """Folds topics into the read model.

    Args:
        deployment: Where broker and Redis are.
        consumer: A consumer that reads committed records only.
        redis: A client of Redis.
        cluster: The broker's cluster id.
        partitions: All partitions to read.
    """

    def __init__(self, deployment: Deployment, consumer: AIOKafkaConsumer, redis: Redis, cluster: str, partitions: list[TopicPartition]) -> None:
        self.prefix = deployment.application
        self.topic_prefix = deployment.topic_prefix
        self.consumer = consumer
        self.redis = redis
        self.cluster = cluster
        self.partitions = partitions
        self.written: dict[str, str] = {}

    async def run(self) -> None:
        """Follow the topics until cancelled."""
        self.consumer.assign(self.partitions)
        await self.synchronise()
        while True:
            records = await self.consumer.getmany(timeout_ms=WAIT_MS, max_records=BATCH_RECORDS)
            places = {partition: await self.consumer.position(partition) for partition in self.partitions}
            entries = [entry for batch in records.values() for record in batch if (entry := self.entry(record))]
            async for attempt in retry():
                with attempt:
                    if not await self.write(entries, places):
                        await self.synchronise()

    async def synchronise(self) -> None:
        """Go to where the read model stands, after removing one that does not belong to this log."""
        async for attempt in retry():
            with attempt:
                held = await bounds(self.consumer, self.partitions)
                self.written = await self.stored()
                places = self.places(self.written)
                if places is None or any(not held[partition].first <= place <= held[partition].end for partition, place in places.items()):
                    log.info("read model rebuilt", redis_had=len(self.written), cluster=self.cluster)
                    await clear(self.redis, self.prefix)
                    places = {partition: held[partition].first for partition in self.partitions}
                    self.written = self.positions(places)
                    await self.redis.hset(self.position_key, mapping=self.written)
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
            pipe.multi()
            changes.write(pipe)
            pipe.hset(self.position_key, mapping=positions)
            try:
                await pipe.execute()
            except WatchError:
                return False
        self.written = positions
        return True
