"""The demo's telemetry: the simulated world as JSON records on Kafka, paced, and held back where the pipeline is behind."""

import asyncio
import time
from collections.abc import Callable

from msgspec import Struct

from experiments.world import HOUR_MS, MINUTE_MS, NAMES, SCOPES, START_MS, STEP_MS, World, entity_name, telemetry, time_of
from schemas.codecs import encode
from schemas.events import Sample
from schemas.identity import partition_of
from schemas.settings import Deployment
from schemas.topics import TELEMETRY
from streams.logs.sending import Sender, open_sender

TICK_S = 0.05
# How far telemetry may run ahead of what has been decided: in the warm-up, when nobody has anything to answer, and after.
WARM_UP_AHEAD_MS_MAX = 6 * HOUR_MS
AHEAD_MS_MAX = 100 * MINUTE_MS
WARM_UP_STEPS_A_TICK = 12


class Feed(Struct):
    """What has been sent so far; `waited_s` is the time for which telemetry waited for the pipeline."""

    world: World
    sent: int = 0
    step: int = 0
    waited_s: float = 0.0

    @property
    def time_ms(self) -> int:
        """Event time up to which all has been sent."""
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

    Telemetry waits, and nothing is dropped, while it is further ahead of what has been decided than it may be.
    """
    last_s = time.monotonic()
    credit_ms = 0.0
    async with open_sender(deployment) as sender:
        while not feed.done:
            await asyncio.sleep(TICK_S)
            now_s = time.monotonic()
            passed_s, last_s = now_s - last_s, now_s
            ahead_ms = feed.time_ms - max(decided_ms(), START_MS)
            if ahead_ms > (WARM_UP_AHEAD_MS_MAX if feed.warming_up else AHEAD_MS_MAX):
                feed.waited_s += passed_s
                continue
            # What a late tick missed is made up for by three ticks' worth at most.
            credit_ms += min(passed_s, 3 * TICK_S) * 1000 * pace
            steps = WARM_UP_STEPS_A_TICK if feed.warming_up else int(credit_ms // STEP_MS)
            credit_ms = 0.0 if feed.warming_up else credit_ms - steps * STEP_MS
            await _send_steps(sender, deployment.partitions, feed, min(steps, feed.world.steps - feed.step))


async def _send_steps(sender: Sender, partitions: int, feed: Feed, steps: int) -> None:
    """Send the next steps of all servers in both scopes."""
    if steps == 0:
        return
    names = [(entity_name(scope, server), scope, server) for scope in SCOPES for server in range(feed.world.servers)]
    places = [(entity, entity.encode(), partition_of(entity.encode(), partitions), scope, server) for entity, scope, server in names]
    for servers in telemetry(feed.world, feed.step, feed.step + steps).tolist():
        time_ms = feed.time_ms
        for entity, key, partition, scope, server in places:
            value = encode(Sample(entity, time_ms, dict(zip(NAMES, servers[server], strict=True)), scope))
            await sender.send(TELEMETRY.name, partition, key, value, ())
        feed.step += 1
        feed.sent += len(places)
    await sender.push()
