"""What the console writes with: one idempotent producer, acknowledged by all replicas, as long as the server runs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TypeVar

import structlog
from aiohttp import web
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from schemas import topics
from schemas.codecs import encode
from schemas.events import Sample
from schemas.headers import CONTENT_TYPE, JSON
from schemas.identity import partition_of
from schemas.settings import Deployment
from streams.clients import client_options
from streams.console.problems import ProblemError
from streams.console.routes import DEPLOYMENT
from streams.logs.reading import partition_counts, require
from streams.logs.sending import BATCH_BYTES, Sender
from streams.logs.taking import Letter, Sent, send_letters

WRITTEN = (topics.FEEDBACK, topics.OUTCOME, topics.TELEMETRY, topics.CONTROL, topics.AUDIT)
# A broker that is well acknowledges within milliseconds.
ACKNOWLEDGED_S, STOP_S = 10.0, 2.0

log = structlog.get_logger()
T = TypeVar("T")


class Writer:
    """Writes records, and replaces its producer where that has failed: it may have left a gap in its sequence.

    Args:
        deployment: Where to.
        counts: Partitions of the topics, by short name.
    """

    def __init__(self, deployment: Deployment, counts: dict[str, int]) -> None:
        self.counts = counts
        self._deployment = deployment
        self._producer: AIOKafkaProducer | None = None
        self._opening = asyncio.Lock()

    async def send(self, letters: Iterable[Letter]) -> list[Sent]:
        """Write records, and return where they were appended.

        Raises:
            ProblemError: 413 for one that is too large, 503 where the broker does not acknowledge them.
        """
        return await self._with_producer(lambda producer: send_letters(producer, self._deployment.topic_prefix, letters))

    async def send_samples(self, samples: Iterable[Sample]) -> dict[str, int]:
        """Write samples, each to the partition of its entity, and return the next offset of each (`telemetry:3`).

        Raises:
            ProblemError: see `send`.
        """
        name = topics.TELEMETRY.name

        async def write(producer: AIOKafkaProducer) -> dict[str, int]:
            sender = Sender(producer, self._deployment.topic_prefix)
            for sample in samples:
                key = sample.entity.encode()
                await sender.send(name, partition_of(key, self.counts[name]), key, encode(sample), ((CONTENT_TYPE, JSON),))
            await sender.flush()
            return sender.positions

        return await self._with_producer(write)

    async def open(self) -> AIOKafkaProducer:
        """Return the producer, opened where it is not.

        Raises:
            KafkaError: no broker answers.
        """
        async with self._opening:
            if self._producer is None:
                options = client_options(self._deployment)
                producer = AIOKafkaProducer(**options, enable_idempotence=True, max_batch_size=BATCH_BYTES)
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    async def close(self) -> None:
        """Close the producer, and wait a while for what is on its way."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(TimeoutError, KafkaError):
                await asyncio.wait_for(producer.stop(), STOP_S)

    async def _with_producer(self, write: Callable[[AIOKafkaProducer], Awaitable[T]]) -> T:
        producer = None
        try:
            async with asyncio.timeout(ACKNOWLEDGED_S):
                producer = await self.open()
                return await write(producer)
        except MessageSizeTooLargeError as error:
            raise ProblemError(413, f"one record is too large for the broker ({error}); send less in one", "too_large") from error
        except (TimeoutError, KafkaError) as error:
            log.warning("not acknowledged", why=repr(error))
            if isinstance(error, KafkaError) and producer is not None and producer is self._producer:
                await self.close()
            raise ProblemError(
                503,
                f"Kafka has not acknowledged it ({error or f'{ACKNOWLEDGED_S:.0f} s'}), and may have it all the same; send it again: "
                "an answer that it has is not written twice",
                "unacknowledged",
            ) from error


WRITER = web.AppKey("writer", Writer)


async def lifespan(application: web.Application) -> AsyncIterator[None]:
    """Open what an application writes with.

    Raises:
        StackError: no broker answers.
        TopologyError: it lacks a topic.
    """
    deployment = application[DEPLOYMENT]
    counts = await partition_counts(deployment)
    require(counts, [topic.name for topic in WRITTEN], deployment)
    writer = application[WRITER] = Writer(deployment, counts)
    await writer.open()
    yield
    await writer.close()
