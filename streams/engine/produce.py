"""Write records of one transaction in batches of many."""

import asyncio
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

from schemas import identity
from schemas.headers import Headers
from schemas.settings import Deployment
from streams.clients import client_options

# Below Kafka's default limit for a batch. A record that is larger gets a batch of its own.
BATCH_BYTES = 512 * 1024
# No limit of the producer's own: topics have theirs, and outputs are held against them.
PRODUCER_BYTES_MAX = 1 << 30
TRANSACTION_TIMEOUT_MS = 60_000
RETRY_BACKOFF_MS = 20

# Murmur2 in Python takes microseconds; keys come again and again.
partition_of = lru_cache(1 << 16)(identity.partition_of)


class Record(NamedTuple):
    """One record on its way to a partition."""

    key: bytes
    value: bytes | None
    headers: Headers
    timestamp_ms: int


class Sent(NamedTuple):
    """One batch that was handed to the producer."""

    acknowledged: asyncio.Future[RecordMetadata]
    records: int


def new_producer(deployment: Deployment, transactional_id: str) -> AIOKafkaProducer:
    """Return the producer of one task; starting it fences the task's earlier owner and ends its open transaction."""
    return AIOKafkaProducer(
        **client_options(deployment),
        transactional_id=transactional_id,
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        linger_ms=0,
        retry_backoff_ms=RETRY_BACKOFF_MS,
        max_batch_size=PRODUCER_BYTES_MAX,
    )


async def send(producer: AIOKafkaProducer, topic: str, partition: int, records: Iterable[Record]) -> list[Sent]:
    """Hand records to the producer, in order, in as few batches as their sizes allow."""
    sent = []
    batch = producer.create_batch()
    for record in records:
        size = len(record.key) + len(record.value or b"")
        if batch.record_count() and batch.size() + size > BATCH_BYTES:
            sent.append(await _send_batch(producer, topic, partition, batch))
            batch = producer.create_batch()
        batch.append(key=record.key, value=record.value, timestamp=record.timestamp_ms, headers=list(record.headers))
    if batch.record_count():
        sent.append(await _send_batch(producer, topic, partition, batch))
    return sent


async def _send_batch(producer: AIOKafkaProducer, topic: str, partition: int, batch: BatchBuilder) -> Sent:
    records = batch.record_count()
    batch.close()
    return Sent(await producer.send_batch(batch, topic, partition=partition), records)


async def last_offset(sent: list[Sent]) -> int:
    """Wait until batches are acknowledged, and return the offset of their last record."""
    acknowledged = [await one.acknowledged for one in sent]
    return int(acknowledged[-1].offset) + sent[-1].records - 1
