"""The simulated world of the demo: servers with noise, a daily cycle, faults, and harmless work that looks unusual.

Pure and seeded: every draw is a Philox generator keyed by seed, server and event or slice of time, so any slice of any
server's telemetry can be made again alone, byte for byte. The same world is sent under two scopes, whose entities differ
by name only. Nothing here was measured on real servers; `experiments.evaluation` is where detection is judged.
"""

from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy.signal import lfilter

from schemas.identity import generator

FloatArray = NDArray[np.float64]

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
START_MS = 1_736_121_600_000  # 2025-01-06T00:00Z, a Monday
STEP_MS = 2 * MINUTE_MS
CHUNK_STEPS = 12 * HOUR_MS // STEP_MS

SCOPE = "shop"
FROZEN_SCOPE = "shop-frozen"
SCOPES = (SCOPE, FROZEN_SCOPE)
ROLES = ("web", "app", "db", "queue")

# AR(1) noise by a recursion that starts at zero this many steps before its chunk: what was before weighs 10^-8.
PERSISTENCE = 0.7
BURN_IN_STEPS = 52

# Two events of one server are further apart than this, so that each can be told from the last.
QUIET_MS = 80 * MINUTE_MS
BACKUP_HOUR = 2.0


class Metric(NamedTuple):
    """One metric: its usual value, how strongly it follows the daily load, the spread of its noise (both on the log scale), its ceiling."""

    usual: float
    load: float
    noise: float
    ceiling: float = np.inf


METRICS: dict[str, Metric] = {
    "cpu_usage": Metric(14.0, 0.18, 0.08, 100.0),
    "memory_used": Metric(34.0, 0.03, 0.02, 100.0),
    "disk_used": Metric(55.0, 0.00, 0.006, 100.0),
    "disk_write_latency_ms": Metric(3.0, 0.05, 0.09),
    "disk_write_mb": Metric(12.0, 0.15, 0.10),
    "request_latency_ms": Metric(80.0, 0.12, 0.07),
    "requests": Metric(140.0, 0.30, 0.07),
    "error_rate": Metric(0.4, 0.05, 0.14),
    "network_in_mb": Metric(20.0, 0.28, 0.08),
    "network_out_mb": Metric(55.0, 0.28, 0.08),
    "queue_depth": Metric(30.0, 0.20, 0.12),
    "connections": Metric(180.0, 0.22, 0.06),
}
NAMES = tuple(METRICS)


class Kind(NamedTuple):
    """A sort of event: how often it comes, how many minutes it lasts, and what it moves by how many spreads at strength 1."""

    weight: float
    minutes: tuple[float, float]
    effects: dict[str, float]
    turned: dict[str, float] | None = None

    def moves(self, *, turned: bool) -> dict[str, float]:
        """Return what it moves, before the turn or after it."""
        return self.turned if turned and self.turned is not None else self.effects


def _rising(lead: str) -> dict[str, float]:
    """An event that drives the usual load up too: something more is at work."""
    return dict.fromkeys(LOAD, 6.0) | {lead: 16.0}


def _falling(lead: str) -> dict[str, float]:
    """An event at whose expense the usual load falls; no metric can fall by as many spreads as it can rise."""
    return dict.fromkeys((*LOAD, *MORE_LOAD), -16.0) | {lead: 16.0}


LOAD = ("cpu_usage", "requests", "network_out_mb", "connections", "disk_write_mb", "network_in_mb")
MORE_LOAD = ("queue_depth", "request_latency_ms", "disk_write_latency_ms", "memory_used", "disk_used")

# Operators want something done about faults and nothing about the rest. The metric that moves most names the class: several lead
# events of both sorts, so their classes stay mixed, and whether the other metrics rise or fall tells them apart. From the turn on
# it tells the opposite: services shed load when something fails then, and planned work runs on top instead of in its place.
FAULTS: dict[str, Kind] = {
    "disk_filling": Kind(
        1.5, (14, 22), {"disk_used": 16, "disk_write_latency_ms": 10, "disk_write_mb": 8, "queue_depth": 8, "request_latency_ms": 7}
    ),
    "slow_disk": Kind(1.0, (12, 20), _rising("disk_write_latency_ms"), _falling("disk_write_latency_ms")),
    "memory_leak": Kind(1.0, (10, 16), _rising("memory_used"), _falling("memory_used")),
    "bad_release": Kind(
        1.5, (10, 18), {"error_rate": 16, "request_latency_ms": 10, "requests": -8, "network_out_mb": -8, "queue_depth": 7}
    ),
    "stuck_consumer": Kind(1.0, (12, 20), _rising("queue_depth"), _falling("queue_depth")),
    "runaway_process": Kind(1.0, (12, 20), _rising("cpu_usage"), _falling("cpu_usage")),
    "flood": Kind(0.5, (10, 18), {"network_in_mb": 16, "connections": 10, "requests": 8, "cpu_usage": 8, "request_latency_ms": 7}),
}
HARMLESS: dict[str, Kind] = {
    "compaction": Kind(0.9, (12, 20), _falling("disk_write_latency_ms"), _rising("disk_write_latency_ms")),
    "cache_warming": Kind(0.9, (10, 16), _falling("memory_used"), _rising("memory_used")),
    "queue_replay": Kind(0.9, (12, 20), _falling("queue_depth"), _rising("queue_depth")),
    "batch_job": Kind(0.9, (12, 20), _falling("cpu_usage"), _rising("cpu_usage")),
    "campaign": Kind(0.3, (12, 20), {"network_in_mb": 16, "requests": 10, "connections": 8, "network_out_mb": 8, "cpu_usage": 7}),
    "deploy": Kind(0.4, (10, 16), {"connections": 16, "memory_used": -10, "requests": -8, "cpu_usage": 8, "network_in_mb": 7}),
    "report_export": Kind(0.3, (10, 18), {"network_out_mb": 16, "cpu_usage": 10, "disk_write_mb": 8, "requests": 7, "memory_used": 7}),
    "backup": Kind(
        0.0, (12, 20), {"disk_write_mb": 16, "network_out_mb": 10, "disk_write_latency_ms": 8, "cpu_usage": 7, "network_in_mb": 7}
    ),
}
KINDS = FAULTS | HARMLESS
STRENGTH = (2.0, 4.6)

# Before it goes to work every server is put to the test, one metric after the other: what the encoder takes a metric's range from.
LOAD_TEST = 28.0
LOAD_TEST_STEPS = 6 + 6 * np.arange(len(NAMES))[:, None] + np.arange(3)
_DRAWN = tuple(name for name, kind in KINDS.items() if kind.weight > 0)


class Event(NamedTuple):
    """Something that happens to one server from `start_ms` to `end_ms` (end excluded)."""

    kind: str
    start_ms: int
    end_ms: int
    strength: float

    @property
    def fault(self) -> bool:
        """Whether operators want something done about it."""
        return self.kind in FAULTS


class World(Struct, frozen=True):
    """Servers from the warm-up, in which nothing happens, over `busy_h` hours of events to a quiet end."""

    seed: int
    busy_h: float
    servers: int = 100
    warm_up_h: float = 8.0
    tail_h: float = 6.0
    gap_h: float = 0.9
    turn_share: float = 0.5

    @property
    def busy_ms(self) -> int:
        """When events begin."""
        return START_MS + round(self.warm_up_h * HOUR_MS)

    @property
    def turn_ms(self) -> int:
        """When what tells faults from harmless work begins to tell the opposite."""
        return self.busy_ms + round(self.turn_share * self.busy_h * HOUR_MS)

    @property
    def quiet_ms(self) -> int:
        """When the last event has begun."""
        return self.busy_ms + round(self.busy_h * HOUR_MS)

    @property
    def steps(self) -> int:
        """Samples of one server, from the first to the last."""
        return round((self.warm_up_h + self.busy_h + self.tail_h) * HOUR_MS) // STEP_MS


def longer(world: World, hours: float) -> World:
    """Return a world that is the same until its events end, and in which they go on for `hours` after its quiet end."""
    busy_h = world.busy_h + world.tail_h + hours
    return replace(world, busy_h=busy_h, tail_h=0.0, turn_share=world.turn_share * world.busy_h / busy_h)


def entity_name(scope: str, server: int) -> str:
    """Return a server's name in a scope, e.g. `web-04` or, where learning is off, `frozen-web-04`."""
    name = f"{ROLES[server % len(ROLES)]}-{server:02d}"
    return name if scope == SCOPE else f"frozen-{name}"


def server_of(entity: str) -> int:
    """Return the server of an entity's name: the inverse of `entity_name`, the same in both scopes."""
    return int(entity.rpartition("-")[2])


@lru_cache(maxsize=1024)
def events(world: World, server: int) -> tuple[Event, ...]:
    """Return all events of one server in order of time: nightly backups of databases, others with exponential gaps."""
    backups = tuple(_backups(world, server))
    found: list[Event] = list(backups)
    time = float(world.busy_ms)
    number = 0
    while True:
        event = _event(world, server, number, time)
        if event.start_ms >= world.quiet_ms:
            return tuple(sorted(found, key=lambda event: event.start_ms))
        if all(event.end_ms + QUIET_MS <= backup.start_ms or backup.end_ms + QUIET_MS <= event.start_ms for backup in backups):
            found.append(event)
        time = float(event.end_ms)
        number += 1


def event_at(world: World, server: int, time_ms: int) -> Event | None:
    """Return what happens to a server at a moment, if anything."""
    return last_event(world, server, time_ms, back_ms=0)


def last_event(world: World, server: int, time_ms: int, back_ms: int) -> Event | None:
    """Return the latest event that a server has had by a moment, if it was not over before `back_ms` (at most `QUIET_MS`) earlier."""
    known = events(world, server)
    index = bisect_right(known, time_ms, key=lambda event: event.start_ms) - 1
    return known[index] if index >= 0 and time_ms - back_ms < known[index].end_ms else None


def telemetry(world: World, first: int, last: int) -> FloatArray:
    """Return all servers' metrics from step `first` to `last` (excluded), shape (steps, servers, metrics), metrics as in `NAMES`."""
    pieces = []
    for chunk in range(first // CHUNK_STEPS, -(-last // CHUNK_STEPS)):
        offset = chunk * CHUNK_STEPS
        pieces.append(_chunk(world, chunk)[max(0, first - offset) : last - offset])
    return np.concatenate(pieces)


def time_of(step: int) -> int:
    """Return the event time of a step, milliseconds since 1970."""
    return START_MS + step * STEP_MS


def _event(world: World, server: int, number: int, after_ms: float) -> Event:
    """Draw the next event of a server: gap, kind, length, strength."""
    draw = generator(world.seed, f"{server}", f"event {number}")
    start = after_ms + QUIET_MS + draw.exponential(world.gap_h * HOUR_MS)
    weights = np.array([KINDS[name].weight for name in _DRAWN])
    kind = _DRAWN[draw.choice(len(_DRAWN), p=weights / weights.sum())]
    return Event(kind, int(start), int(start + draw.uniform(*KINDS[kind].minutes) * MINUTE_MS), float(draw.uniform(*STRENGTH)))


def _backups(world: World, server: int) -> Iterator[Event]:
    """Draw the nightly backups of a database server: at its own time after two, within minutes."""
    if ROLES[server % len(ROLES)] != "db":
        return
    own_ms = generator(world.seed, f"{server}", "backup").uniform(0, 2 * HOUR_MS)
    for day in range(world.steps * STEP_MS // DAY_MS + 1):
        draw = generator(world.seed, f"{server}", f"backup {day}")
        start = int(START_MS + day * DAY_MS + BACKUP_HOUR * HOUR_MS + own_ms + draw.uniform(0, 10 * MINUTE_MS))
        if world.busy_ms <= start < world.quiet_ms:
            yield Event("backup", start, int(start + draw.uniform(*KINDS["backup"].minutes) * MINUTE_MS), float(draw.uniform(*STRENGTH)))


@lru_cache(maxsize=4)
def _chunk(world: World, chunk: int) -> FloatArray:
    """Return twelve hours of all servers, shape (CHUNK_STEPS, servers, metrics)."""
    values = np.stack([_server_chunk(world, chunk, server) for server in range(world.servers)], axis=1)
    values.flags.writeable = False
    return values


def _server_chunk(world: World, chunk: int, server: int) -> FloatArray:
    """Return twelve hours of one server: usual value x load x noise x events, under the ceiling, shape (CHUNK_STEPS, metrics)."""
    table = np.array(tuple(METRICS.values()))
    usual, follows, spread, ceiling = table.T
    own = generator(world.seed, f"{server}", "server")
    usual = usual * np.exp(own.normal(0, 0.1, len(NAMES)))
    phase_h = own.normal(0, 0.7)
    times = time_of(chunk * CHUNK_STEPS) + STEP_MS * np.arange(CHUNK_STEPS)
    hours = (times - START_MS) / HOUR_MS
    load = -np.cos(2 * np.pi * (hours - 3.0 - phase_h) / 24)
    values = usual * np.exp(load[:, None] * follows + spread * _noise(world, chunk, server))
    if chunk == 0:
        values[LOAD_TEST_STEPS, np.arange(len(NAMES))[:, None]] *= 1 + LOAD_TEST * np.hypot(spread, follows / 2)[:, None]
    for event in events(world, server):
        if event.start_ms <= times[-1] and event.end_ms > times[0]:
            moves = (
                _course(event, times)[:, None] * _moves(event.kind, turned=event.start_ms >= world.turn_ms) * np.hypot(spread, follows / 2)
            )
            values *= np.where(moves >= 0, 1 + moves, 1 / (1 + np.abs(moves)))
    capped: FloatArray = np.minimum(values, ceiling)
    return capped.round(4)


def _moves(kind: str, *, turned: bool) -> FloatArray:
    """Return the effect of an event on each metric, in spreads."""
    effects = KINDS[kind].moves(turned=turned)
    return np.array([effects.get(name, 0.0) for name in NAMES])


def _course(event: Event, times: NDArray[np.int64]) -> FloatArray:
    """Return an event's course in [0, strength]: there at once, and fading over its second half."""
    course = np.clip(2 * (event.end_ms - times) / (event.end_ms - event.start_ms), 0.0, 1.0)
    return event.strength * np.where(times >= event.start_ms, course, 0.0)


def _noise(world: World, chunk: int, server: int) -> FloatArray:
    """Return AR(1) noise of unit variance, shape (CHUNK_STEPS, metrics); it runs on over the edges of chunks."""
    before = _innovations(world, chunk - 1, server)[-BURN_IN_STEPS:]
    drawn = np.concatenate([before, _innovations(world, chunk, server)])
    scale = np.sqrt(1 - PERSISTENCE**2)
    noise: FloatArray = lfilter([scale], [1.0, -PERSISTENCE], drawn, axis=0)[BURN_IN_STEPS:]
    return noise


@lru_cache(maxsize=1024)
def _innovations(world: World, chunk: int, server: int) -> FloatArray:
    """Draw the noise of one server and chunk, shape (CHUNK_STEPS, metrics)."""
    return generator(world.seed, f"{server}", f"noise {chunk}").standard_normal((CHUNK_STEPS, len(NAMES)))
