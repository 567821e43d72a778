"""What the publisher tells Prometheus: how far the read model is behind, and of each scope what stands in it now.

Alarms, commands and open recommendations are read back from Redis, so that they are there right after a restart, whoever wrote them.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, cast

import msgspec
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.asyncio import Redis

from streams.engine.probes import Check, Report
from streams.serving.force import Force

DELAY_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0)
# Between two looks at all scopes; Prometheus asks less often.
LOOK_S = 5.0
# A round takes a quarter of a second while nothing comes, and a batch's writing while something does.
ROUND_S_MAX = 10.0


class ScopeSeen(NamedTuple):
    """What stands in the read model of one scope: names of raised alarms, and how many recommendations wait for an answer."""

    alarms: tuple[str, ...]
    open: int


class Measures(Collector):
    """Counts of one publisher. Written by its event loop, read by any thread: what is read is another object after a change."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives it no types
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.rebuilds = Counter("npo_readmodel_rebuilds", "How often the read model was removed and rebuilt.", registry=self.registry)
        self._delay = Histogram(
            "npo_readmodel_append_to_write_seconds",
            "From the append time of a batch's oldest record to its being in the read model.",
            buckets=DELAY_SECONDS,
            registry=self.registry,
        )
        self._round_s: float | None = None
        self._behind: dict[str, int] = {}
        self._scopes: dict[str, ScopeSeen] = {}
        self._forces: dict[str, Force] = {}
        self._looked_s = -LOOK_S
        self.registry.register(self)

    def written(self, appended_ms: Iterable[int], behind: Mapping[str, int]) -> None:
        """Count a round that ended with the read model equal to all that was read.

        Args:
            appended_ms: Append times of the records that it wrote.
            behind: Offsets that are not read yet, by topic.
        """
        self._round_s, self._behind = time.time(), dict(behind)
        if (oldest_ms := min(appended_ms, default=None)) is not None:
            # The broker's clock may be ahead of ours.
            self._delay.observe(max(0.0, self._round_s - oldest_ms / 1000))

    async def look(self, redis: Redis, prefix: str) -> None:
        """Read what stands in every scope, at most every `LOOK_S`.

        Raises:
            RedisError: Redis is away.
        """
        if time.monotonic() - self._looked_s < LOOK_S:
            return
        scopes = cast("list[bytes]", await redis.zrange(f"{prefix}:clock", 0, -1))
        async with redis.pipeline(transaction=False) as pipe:
            for scope in scopes:
                pipe.hkeys(f"{prefix}:alarms:{scope.decode()}")
                pipe.zcard(f"{prefix}:open:{scope.decode()}")
            pipe.hgetall(f"{prefix}:control")
            *found, control = await pipe.execute()
        self._scopes = {
            scope.decode(): ScopeSeen(tuple(name.decode() for name in alarms), count)
            for scope, alarms, count in zip(scopes, found[::2], found[1::2], strict=True)
        }
        forces = ((place.decode().rpartition(":")[0], msgspec.json.decode(force, type=Force)) for place, force in control.items())
        # A command to all is one record in every partition: in force as soon as one of them has it.
        self._forces = {scope: force for scope, force in forces if force}
        self._looked_s = time.monotonic()

    def live(self) -> Report:
        """Tell whether the process answers: one that waits for Redis or the broker is alive."""
        return Report(ok=True, checks={})

    def ready(self) -> Report:
        """Tell whether the read model follows the topics."""
        silent_s = time.time() - self._round_s if self._round_s is not None else None
        if silent_s is None:
            check = Check(ok=False, value="", reason="the read model has not been written yet: no broker, no topics or no Redis")
        else:
            late = "" if silent_s <= ROUND_S_MAX else f"nothing written for {silent_s:.1f} s: the broker or Redis is away, or slow"
            check = Check(not late, round(silent_s, 1), late)
        return Report(check.ok, {"read_model": check})

    def collect(self) -> Iterator[Metric]:
        """Give the gauges."""
        if self._round_s is not None:
            text = "When the read model was last equal to all that had been read."
            yield GaugeMetricFamily("npo_readmodel_round_timestamp_seconds", text, self._round_s)
        yield gauge("npo_readmodel_lag_offsets", "Offsets to the last stable one.", self._behind.items(), "topic")
        scopes = self._scopes.items()
        alarms = [((scope, name), 1) for scope, seen in scopes for name in seen.alarms]
        yield gauge("npo_scope_alarm", "1 for each alarm that is raised.", alarms, "scope", "alarm")
        waiting = [(scope, seen.open) for scope, seen in scopes]
        yield gauge("npo_scope_open", "Recommendations that wait for an answer.", waiting, "scope")
        text = "What people have commanded and not taken back, `*` for all scopes: 1, or the number of sources."
        yield gauge("npo_scope_in_force", text, in_force(self._forces), "scope", "what")


def in_force(forces: Mapping[str, Force]) -> Iterator[tuple[tuple[str, str], int]]:
    """Give what is in force by reach and kind."""
    for scope, force in forces.items():
        for name, _ in force.flags():
            yield (scope, name), 1
        for name, sources in (("quarantined", force.quarantined), ("revoked", force.revoked)):
            if sources:
                yield (scope, name), len(sources)


def gauge(name: str, documentation: str, values: Iterable[tuple[str | tuple[str, ...], float]], *labels: str) -> Metric:
    """Return a gauge with one label or several."""
    family = GaugeMetricFamily(name, documentation, labels=labels)
    for found, value in values:
        family.add_metric((found,) if isinstance(found, str) else found, value)
    return family
