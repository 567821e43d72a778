"""Producing many records fast and in order: whole record batches a partition, built here instead of record by record."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer

from schemas import topics
from schemas.headers import Headers
from schemas.settings import Deployment
from streams.clients import client_options

BATCH_BYTES = 512 << 10
PENDING_RECORDS = 4_096


@asynccontextmanager
async def open_sender(deployment: Deployment) -> AsyncIterator["Sender"]:
    """Open an idempotent producer; what was sent has been acknowledged when the context ends without an error."""
    producer = AIOKafkaProducer(**client_options(deployment), enable_idempotence=True, max_batch_size=BATCH_BYTES)
    await producer.start()
    try:
        sender = Sender(producer, deployment.topic_prefix)
        yield sender
        await sender.flush()
    finally:
        await producer.stop()


class Sender:
    """Collects records into one batch a partition; order inside a partition is that of the calls.

    Args:
        producer: A producer that has started.
        prefix: Begins the names of topics.

    Attributes:
        positions: The next offset after what has been acknowledged, by partition (`telemetry:3`).
    """

    def __init__(self, producer: AIOKafkaProducer, prefix: str) -> None:
        self.positions: dict[str, int] = {}
        self._producer = producer
        self._prefix = prefix
        self._open: dict[tuple[str, int], Any] = {}
        self._unacknowledged: list[tuple[int, asyncio.Future[Any]]] = []
        self._pending = 0

    async def send(self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Add one record; it is on its way at the latest with the next `push`."""
        place = (topics.physical(topic, self._prefix), partition)
        batch = self._open.get(place)
        if batch is None or batch.append(timestamp=None, key=key, value=value, headers=list(headers)) is None:
            if batch is not None:
                await self._hand_over(place)
            batch = self._open[place] = self._producer.create_batch()
            batch.append(timestamp=None, key=key, value=value, headers=list(headers))
        self._pending += 1
        if self._pending >= PENDING_RECORDS:
            await self.push()

    async def push(self) -> None:
        """Hand over what is collected, and wait until what was handed over before is acknowledged."""
        earlier, self._unacknowledged = self._unacknowledged, []
        self._pending = 0
        for place in list(self._open):
            await self._hand_over(place)
        acknowledged = await asyncio.gather(*(future for _, future in earlier))
        for (records, _), first in zip(earlier, acknowledged, strict=True):
            self.positions[f"{topics.short(first.topic, self._prefix)}:{first.partition}"] = first.offset + records

    async def flush(self) -> None:
        """Hand over what is collected and wait until all of it is acknowledged."""
        await self.push()
        await self.push()

    async def _hand_over(self, place: tuple[str, int]) -> None:
        batch = self._open.pop(place)
        topic, partition = place
        self._unacknowledged.append((batch.record_count(), await self._producer.send_batch(batch, topic, partition=partition)))
