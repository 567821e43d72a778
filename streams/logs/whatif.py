"""What another profile or policy would have done with an exported log, and what that would have cost."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np

from agents import whatif
from agents.deciding import following
from agents.deciding.learning import TARGETS
from agents.deciding.turn import Turn
from agents.step import Block, Context, Result, Rows
from agents.turn import fold as fold_block
from agents.whatif import Scenarios, WhatIf
from schemas import topics
from schemas.codecs import HOUR_MS, decode
from schemas.errors import ReplayError
from schemas.events import Decision, JudgedAnswer, Judgement, Reason, Status
from schemas.settings import Profile, Settings
from streams.groups import TaskGroup
from streams.logs.files import Log
from streams.logs.replay import fold, require_whole, taken

DAY_MS = 24 * HOUR_MS
AS_LOGGED = ("answer_deadline_ms", "undo_window_ms", "cooldown_ms")  # they decide which answers stand and which repeats are decided


class Past(NamedTuple):
    """A decision as the log has it."""

    scope: str
    entity: str
    time_ms: int
    reason: Reason
    status: Status
    propensity: float
    confidence: float


class Future(NamedTuple):
    """The same as the other settings would have decided it."""

    propensity: float
    confidence: float
    allowed: bool


def along(settings: Settings, log: Log) -> Settings:
    """Return settings with the times of the log's profile: a repeat that was not decided, an answer that came late, stays that."""
    times = {name: getattr(log.manifest.settings.profile, name) for name in AS_LOGGED}
    return msgspec.structs.replace(settings, profile=msgspec.structs.replace(settings.profile, **times))


def what_if(
    group: TaskGroup, log: Log, settings: Settings, without: str = "", advance: Callable[[], None] = lambda: None
) -> dict[str, WhatIf]:
    """Estimate, by scope, what settings would have cost on a log's scenarios, at the costs that the log's own profile declares.

    Args:
        group: the deciding task, as the topology has it.
        log: with decisions and judgements.
        settings: to be held against the log's.
        without: operator, or source of outcomes, whose word is left out of learning and of judging alike.
        advance: called after each decision.

    Raises:
        ReplayError: the log does not start at offset 0, lacks a topic of the task, holds no decision, or no judgement of the source.
    """
    require_whole((group,), log)
    past = {decision.id: as_past(decision) for decision in events(log, topics.DECISION.name) if isinstance(decision, Decision)}
    if not past:
        raise ReplayError("the log holds no decision: there is nothing to decide otherwise; export a log of running workers")
    judged: dict[str, tuple[JudgedAnswer, ...]] = {}
    sources = set[str]()
    for judgement in events(log, topics.JUDGEMENT.name):
        assert isinstance(judgement, Judgement)
        sources.update(answer.source for answer in judgement.answers)
        judged[judgement.decision] = tuple(answer for answer in judgement.answers if answer.source != without)
    if without and without not in sources:
        raise ReplayError(
            f"nothing that {without!r} said was judged in this log; that of these was: {', '.join(sorted(sources)) or 'nobody'}"
        )
    future: dict[str, Future] = {}
    for name, each in decided_along(group, log, along(settings, log), {name: each.reason for name, each in past.items()}, without):
        future[name] = each
        advance()
    profile = log.manifest.settings.profile
    told = {}
    for scope in sorted({each.scope for each in past.values()}):
        names = [name for name, each in past.items() if each.scope == scope and name in future and counts(each, future[name])]
        if names:
            scenarios = columns([past[name] for name in names], [future[name] for name in names], [judged.get(name, ()) for name in names])
            told[scope] = whatif.compare(scenarios, profile.override_cost, profile.miss_cost)
    return told


def events(log: Log, topic: str) -> Iterator[msgspec.Struct]:
    """Read the events of one topic, partition by partition."""
    for partition in range(len(log.manifest.topics.get(topic, ()))):
        for block in log.read(topic, partition):
            yield from (decode(topic, value) for value in block.values)


def decided_along(group: TaskGroup, log: Log, settings: Settings, reasons: dict[str, Reason], without: str) -> Iterator[tuple[str, Future]]:
    """Run the deciding task along a log under other settings, and give what they would have done at each of its decisions."""
    handlers = following.handlers(reasons, without)

    def step(topic: str, rows: Rows, block: Block, context: Context) -> Result:
        return fold_block(rows, block, context, Turn, handlers[topic])

    agents = [agent._replace(reads=(topic,), step=partial(step, topic.name)) for agent in group.agents for topic in agent.reads]
    following_group = group._replace(agents=tuple(agents))
    partitions = len(log.manifest.topics[group.inputs[0].name])
    for partition in range(partitions):
        for output in fold(following_group, taken(group, partition, log), settings, partitions, {}):
            if output.topic == topics.DECISION.name:
                decision = decode(output.topic, output.value)
                yield decision.id, Future(decision.propensity, decision.confidence, decision.verdict.allowed)


def as_past(decision: Decision) -> Past:
    """Return of a logged decision what is needed of it."""
    return Past(
        decision.scope,
        decision.entity,
        decision.decided_ms,
        decision.reason,
        decision.status,
        decision.propensity,
        decision.confidence,
    )


def counts(past: Past, future: Future) -> bool:
    """Tell whether a decision is a scenario to compare on: no repeat within the cooldown, and not blocked by both policies."""
    return past.reason != Reason.COOLDOWN and (past.reason != Reason.POLICY or future.allowed)


def columns(past: list[Past], future: list[Future], judged: Iterable[tuple[JudgedAnswer, ...]]) -> Scenarios:
    """Return decisions as columns; what one outcome may have told of together is one entity's on one day."""
    said = [word(answers) for answers in judged]
    groups = {key: number for number, key in enumerate(dict.fromkeys((each.entity, each.time_ms // DAY_MS) for each in past))}
    return Scenarios(
        surfaced=np.array([float(each.status == Status.SURFACED) for each in past]),
        logged=np.array([each.propensity for each in past]),
        other=np.array([each.propensity for each in future]),
        trust=np.array([weight for weight, _ in said]),
        target=np.array([target for _, target in said]),
        unwanted=np.array([1 - (was.confidence + would.confidence) / 2 for was, would in zip(past, future, strict=True)]),
        reachable=np.array([float(each.reason != Reason.POLICY) for each in past]),
        group=np.array([float(groups[each.entity, each.time_ms // DAY_MS]) for each in past]),
    )


def word(answers: tuple[JudgedAnswer, ...]) -> tuple[float, float]:
    """Return how much those who said wanted or unwanted are trusted, 1 at most, and their trust-weighted target."""
    known = [(answer.weight, TARGETS[answer.kind]) for answer in answers if answer.kind in TARGETS]
    weight = sum(weight for weight, _ in known)
    return (min(1.0, weight), sum(weight * target for weight, target in known) / weight) if weight > 0 else (0.0, 0.0)


def notes(log: Log, profile: Profile) -> list[str]:
    """Say what of a profile is not followed along a log."""
    own = log.manifest.settings.profile
    changed = [name for name in AS_LOGGED if getattr(own, name) != getattr(profile, name)]
    lines = [f"costs: {own.override_cost:g} an unwanted recommendation, {own.miss_cost:g} a miss, as the log's profile declares"]
    if changed:
        lines.append(f"as in the log, not as in the profile: {', '.join(changed)}")
    if (own.score, own.monitor) != (profile.score, profile.monitor):
        lines.append("models are those of the log: what the other profile would have trained is not known")
    return lines
