"""The demo's telemetry: the simulated world as JSON records on Kafka, paced, and held back where the pipeline is behind."""

import asyncio
import time
from collections.abc import Callable

from aiokafka import AIOKafkaProducer
from msgspec import Struct, field

from experiments.world import MINUTE_MS, NAMES, SCOPES, STEP_MS, World, entity_name, telemetry, time_of
from schemas.codecs import encode
from schemas.events import Sample
from schemas.identity import partition_of
from schemas.settings import Deployment
from schemas.topics import TELEMETRY, physical
from streams.clients import client_options

TICK_S = 0.05
BATCH_BYTES = 512 * 1024
# How far telemetry may run ahead of what is decided: during warm-up, when nobody answers, and after.
WARM_UP_AHEAD_MS_MAX = 6 * 60 * MINUTE_MS
AHEAD_MS_MAX = 100 * MINUTE_MS
WARM_UP_STEPS_A_TICK = 12


class Feed(Struct):
    """What has been sent so far; `waited_s` is the time for which telemetry waited for the pipeline."""

    world: World
    sent: int = 0
    step: int = 0
    waited_s: float = 0.0
    entities: list[tuple[str, str, int, int]] = field(default_factory=list)

    @property
    def time_ms(self) -> int:
        """Event time of what has been sent."""
        return time_of(self.step)

    @property
    def warming_up(self) -> bool:
        """Whether nothing can have happened yet."""
        return self.time_ms < self.world.busy_ms

    @property
    def done(self) -> bool:
        """Whether all has been sent."""
        return self.step >= self.world.steps


async def send(deployment: Deployment, feed: Feed, pace: float, decided_ms: Callable[[], int]) -> None:
    """Send the world's telemetry under both scopes: the warm-up as fast as it is taken, the rest `pace` times as fast as real time.

    Telemetry waits, and nothing is dropped, while its time is more than `AHEAD_MS_MAX` ahead of what has been decided.
    """
    feed.entities = [
        (entity_name(scope, server), scope, server, partition_of(entity_name(scope, server).encode(), deployment.partitions))
        for scope in SCOPES
        for server in range(feed.world.servers)
    ]
    producer = AIOKafkaProducer(acks=1, max_batch_size=BATCH_BYTES, linger_ms=5, **client_options(deployment))
    last_s = time.monotonic()
    credit_ms = 0.0
    async with producer:
        while not feed.done:
            await asyncio.sleep(TICK_S)
            now_s = time.monotonic()
            passed_s, last_s = now_s - last_s, now_s
            limit_ms = WARM_UP_AHEAD_MS_MAX if feed.warming_up else AHEAD_MS_MAX
            if feed.time_ms - max(decided_ms(), time_of(0)) > limit_ms:
                feed.waited_s += passed_s
                continue
            # A tick that came late is not made up for at once.
            credit_ms += min(passed_s, 3 * TICK_S) * 1000 * pace
            steps = WARM_UP_STEPS_A_TICK if feed.warming_up else int(credit_ms // STEP_MS)
            credit_ms = 0.0 if feed.warming_up else credit_ms - steps * STEP_MS
            await _send_steps(producer, physical(TELEMETRY.name, deployment.topic_prefix), feed, min(steps, feed.world.steps - feed.step))


async def _send_steps(producer: AIOKafkaProducer, topic: str, feed: Feed, steps: int) -> None:
    """Send the next steps of all entities, one batch a partition."""
    values = telemetry(feed.world, feed.step, feed.step + steps).tolist() if steps else []
    batches = {partition: producer.create_batch() for partition in {partition for *_, partition in feed.entities}}
    for ordinal, servers in enumerate(values):
        time_ms = time_of(feed.step + ordinal)
        for entity, scope, server, partition in feed.entities:
            key, value = entity.encode(), encode(Sample(entity, time_ms, dict(zip(NAMES, servers[server], strict=True)), scope))
            if batches[partition].append(timestamp=None, key=key, value=value) is None:
                await producer.send_batch(batches[partition], topic, partition=partition)
                batches[partition] = producer.create_batch()
                batches[partition].append(timestamp=None, key=key, value=value)
    for partition, batch in batches.items():
        if batch.record_count():
            await producer.send_batch(batch, topic, partition=partition)
    feed.step += steps
    feed.sent += steps * len(feed.entities)
