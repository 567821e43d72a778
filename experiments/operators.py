"""Simulated operators: a process of its own that reads recommendations and writes feedback and outcomes, nothing else.

Each operator knows what really happens in the simulated world and answers accordingly, but with a stated error, with
silence, late by minutes, and now and then changes an answer or takes it back. Beside them, a review tells for a tenth of
all servers' time whether there was an incident. What each does is a function of seed and recommendation alone.
"""

import asyncio
import heapq
import signal
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from msgspec import Struct

from experiments.world import HOUR_MS, MINUTE_MS, SCOPES, START_MS, World, entity_name, events, last_event, server_of
from schemas.codecs import decode, encode
from schemas.errors import SettingsError
from schemas.events import Answer, Feedback, Life, Outcome, Recommendation, Verdict
from schemas.identity import generator
from schemas.settings import Catalogue, Deployment, read_yaml
from schemas.topics import FEEDBACK, OUTCOME, RECOMMENDATION, physical
from streams.clients import client_options

SLOT_MS = 4 * HOUR_MS
REVIEW_DELAY_MS = HOUR_MS // 2
POLL_MS = 40
# What has just ended still shows for some samples: a return to normal is a jump too.
LOOK_BACK_MS = 10 * MINUTE_MS
# How far the clock runs on by itself while no recommendation comes: beyond every answer's delay.
RUN_ON_MS_MAX = 8 * HOUR_MS


class Behaviour(Struct, frozen=True):
    """How operators answer; every share is of answers but `silence`, which is of recommendations that nobody answers."""

    error: float = 0.05
    silence: float = 0.2
    neutral: float = 0.05
    delay_minutes_median: float = 22.0
    delay_spread: float = 0.6
    changed: float = 0.03
    retracted: float = 0.01
    late: float = 0.01
    reviewed: float = 0.1


class Due(NamedTuple):
    """One record to send once the event clock has reached `time_ms`."""

    time_ms: int
    identity: str
    topic: str
    key: bytes
    value: bytes


def answers(behaviour: Behaviour, world: World, operator: str, team: str, roster: int, recommendation: Recommendation) -> list[Feedback]:
    """Return what one of `roster` operators says to a recommendation: nothing, an answer, or an answer and its revision.

    Everyone stays silent independently, such that nobody answers a share `behaviour.silence` of the recommendations.
    """
    draw = generator(world.seed, recommendation.id, f"operator {operator}")
    speaks, errs, shrugs, changes, retracts, comes_late = draw.random(6)
    if speaks < behaviour.silence ** (1 / roster):
        return []
    minutes = behaviour.delay_minutes_median * draw.lognormal(0.0, behaviour.delay_spread)
    if comes_late < behaviour.late:
        minutes += (recommendation.deadline_ms - recommendation.opened_ms) / MINUTE_MS
    time_ms = recommendation.opened_ms + round(minutes * MINUTE_MS)
    event = last_event(world, server_of(recommendation.entity), recommendation.scenario_ms, LOOK_BACK_MS)
    right = Answer.LIKE if event is not None and event.fault else Answer.OVERRIDE
    wrong = Answer.OVERRIDE if right is Answer.LIKE else Answer.LIKE
    said = wrong if errs < behaviour.error else right
    if shrugs < behaviour.neutral:
        said = Answer.NEUTRAL

    def feedback(kind: Answer, revision: int) -> Feedback:
        reason = ("nothing_wrong" if event is None else "planned_work") if kind is right is Answer.OVERRIDE else None
        at_ms = time_ms + (revision - 1) * MINUTE_MS
        return Feedback(recommendation.id, operator, kind, at_ms, revision=revision, team=team, reason=reason)

    first = feedback(said, 1)
    if retracts < behaviour.retracted:
        return [first, feedback(Answer.RETRACT, 2)]
    if changes < behaviour.changed:
        # On second thoughts, everyone is right.
        return [feedback(wrong if said is right else said, 1), feedback(right, 2)]
    return [first]


def is_reviewed(behaviour: Behaviour, world: World, server: int, slot: int) -> bool:
    """Tell whether a server's time slot is reviewed; the same in every scope."""
    return generator(world.seed, f"{server}", f"review {slot}").random() < behaviour.reviewed


def outcomes(world: World, scope: str, server: int, slot: int) -> Iterator[Outcome]:
    """Yield the verdicts on one slot of a server's time, which they partition: incident while a fault lasts, else none."""
    start, end = START_MS + slot * SLOT_MS, START_MS + (slot + 1) * SLOT_MS
    entity, told_ms = entity_name(scope, server), end + REVIEW_DELAY_MS
    for event in events(world, server):
        if event.fault and event.start_ms < end and event.end_ms > start:
            if event.start_ms > start:
                yield Outcome(entity, start, event.start_ms, Verdict.NONE, told_ms, source="review")
            yield Outcome(entity, max(start, event.start_ms), min(end, event.end_ms), Verdict.INCIDENT, told_ms, source="review")
            start = min(end, event.end_ms)
    if start < end:
        yield Outcome(entity, start, end, Verdict.NONE, told_ms, source="review")


class Desk:
    """What has been decided to say and is not due yet; knows the event clock, and nothing of Kafka."""

    def __init__(self, behaviour: Behaviour, world: World, roster: Mapping[str, str]) -> None:
        """Start with an empty desk, and reviews from the first busy slot on."""
        self.behaviour, self.world, self.roster = behaviour, world, roster
        self.due: list[Due] = []
        self.slot = (world.busy_ms - START_MS) // SLOT_MS
        self.seen_ms = 0

    def take(self, key: bytes, recommendation: Recommendation) -> None:
        """Read one record of the recommendation topic."""
        if recommendation.life is not Life.OPENED:
            return
        self.seen_ms = max(self.seen_ms, recommendation.time_ms)
        for operator, team in self.roster.items():
            for said in answers(self.behaviour, self.world, operator, team, len(self.roster), recommendation):
                identity = f"{said.decision}-{operator}-{said.revision}"
                heapq.heappush(self.due, Due(said.time_ms, identity, FEEDBACK.name, key, encode(said)))

    def say(self, now_ms: int) -> Iterator[Due]:
        """Yield what has become due at an event time, in order of time."""
        while START_MS + (self.slot + 1) * SLOT_MS + REVIEW_DELAY_MS <= now_ms:
            for server in range(self.world.servers):
                if is_reviewed(self.behaviour, self.world, server, self.slot):
                    self._review(server)
            self.slot += 1
        while self.due and self.due[0].time_ms <= now_ms:
            yield heapq.heappop(self.due)

    def _review(self, server: int) -> None:
        for scope in SCOPES:
            for outcome in outcomes(self.world, scope, server, self.slot):
                identity = f"{outcome.entity}-{outcome.start_ms}"
                heapq.heappush(self.due, Due(outcome.time_ms, identity, OUTCOME.name, scope.encode(), encode(outcome)))


async def attend(deployment: Deployment, desk: Desk, pace: float) -> None:
    """Read recommendations and say what is due, until cancelled; event time passes `pace` times as fast as the clock on the wall."""
    options = client_options(deployment)
    consumer = AIOKafkaConsumer(
        physical(RECOMMENDATION.name, deployment.topic_prefix), isolation_level="read_committed", auto_offset_reset="earliest", **options
    )
    producer = AIOKafkaProducer(acks="all", **options)
    seen_ms, seen_s = 0, time.monotonic()
    async with consumer, producer:
        while True:
            for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                for record in records:
                    desk.take(record.key, decode(RECOMMENDATION.name, record.value))
            if desk.seen_ms > seen_ms:
                seen_ms, seen_s = desk.seen_ms, time.monotonic()
            passed_ms = min(RUN_ON_MS_MAX, (time.monotonic() - seen_s) * 1000 * pace)
            for due in desk.say(seen_ms + round(passed_ms)):
                topic = physical(due.topic, deployment.topic_prefix)
                await producer.send(topic, key=due.key, value=due.value, headers=[("ce_id", due.identity.encode())])


def operators(*, hours: float, seed: int = 0, pace: float = 4500.0) -> None:
    """Answer recommendations as the demo's simulated operators do, until stopped.

    Uses the recommendation, feedback and outcome topics alone.

    Args:
        hours: Hours of simulated events, as the demo that sends the telemetry has them.
        seed: Seed of the simulated world and of everything that operators draw.
        pace: How many times faster than the clock on the wall event time passes.

    Raises:
        SettingsError: The catalogue names no operators.
    """
    deployment = Deployment()
    roster = read_yaml(deployment.catalogue, Catalogue).operators
    if not roster:
        raise SettingsError(f"{deployment.catalogue} names no operators; set NPO_CATALOGUE to deploy/demo/catalogue.yaml")
    desk = Desk(Behaviour(), World(seed, hours), roster)
    asyncio.run(_until_stopped(attend(deployment, desk, pace)))


async def _until_stopped(work: Coroutine[None, None, None]) -> None:
    """Run a coroutine until the process is asked to end by SIGTERM or SIGINT."""
    task = asyncio.ensure_future(work)
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, task.cancel)
    with suppress(asyncio.CancelledError):
        await task
