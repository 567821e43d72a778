"""One run of a simulated world through the loop: scenario after scenario, answers and outcomes when they are due."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from agents.loop import Loop
from agents.turn import Emitted
from experiments.simulator.people import Replies, replies
from experiments.simulator.world import ENTITIES, FEATURES, Truth, World, truth
from schemas.alignment import AlignmentEvent, RetrainingCommand, RetrainingResult
from schemas.events import Action, Answer, Decision, Feedback, Outcome, Scenario, Status, Symptom, Verdict
from schemas.settings import DEPLOY, Catalogue, CatalogueAction, Policy, Profile, Settings, read_yaml

SCOPE = "sim"
MINUTE_MS = 60_000
START_MS = 1_736_121_600_000  # 2025-01-06T00:00Z
ACTION = Action("restart", blast_radius=1, reversible=True)
REWARD_MINUTES = 30.0


class Pipeline(Protocol):
    """What takes one event and gives all that came of it: `agents.loop.Loop`, or the real topics in lockstep."""

    def send(self, topic: str, event: Struct, *, scope: str | None = None, identity: str = "") -> Sequence[Emitted]:
        """Hand in an event, let everything settle, return what was written."""
        ...


class Run(NamedTuple):
    """What happened, as columns of one row a scenario.

    Attributes:
        world: that was run.
        truth: what was wanted.
        replies: what people would say.
        surfaced: whether each was, shape (scenarios,).
        blocked: whether the policy refused it, shape (scenarios,).
        confidence: R of each, shape (scenarios,).
        propensity: as logged, shape (scenarios,).
        threshold: as logged, shape (scenarios,).
        alignment: events of the alignment topic, in order.
        commands: retraining commands, in order.
        results: what came of them, in order.
    """

    world: World
    truth: Truth
    replies: Replies
    surfaced: NDArray[np.bool_]
    blocked: NDArray[np.bool_]
    confidence: NDArray[np.float64]
    propensity: NDArray[np.float64]
    threshold: NDArray[np.float64]
    alignment: list[AlignmentEvent]
    commands: list[RetrainingCommand]
    results: list[RetrainingResult]


def profile_of(name: str, **changes: Any) -> Profile:  # noqa: ANN401  # fields of a profile
    """Return a profile of `deploy/profiles` as the studies run it: windows of 1000 scenarios, a price of 100, no model at the start."""
    studied = {"window_scenarios": 1000, "retraining_price": 100.0, "initial_intercept": 0.0, "initial_weights": {}}
    return replace(read_yaml(DEPLOY / "profiles" / f"{name}.yaml", Profile), **(studied | changes))


def settings_of(profile: Profile, said: Replies, world: World, seed: int) -> Settings:
    """Return the settings of a run: a profile, no policy rules, the accounts that are known on the roster."""
    teams = {name: world.people.teams[team].name for name, team in zip(said.names, said.teams.tolist(), strict=True)}
    roster = {name: teams[name] for name in said.known}
    catalogue = Catalogue((CatalogueAction(ACTION.name, ("*",), ACTION.blast_radius, ACTION.reversible),), operators=roster)
    return Settings(profile, Policy("none", ()), catalogue, seed=seed)


def run(world: World, profile: Profile, seed: int, pipeline: Pipeline | None = None) -> Run:
    """Run a world once.

    Args:
        world: its parameters.
        profile: how the loop learns.
        seed: of everything that is drawn, the world's and the loop's.
        pipeline: what the events go through, with `settings_of` these; the steps in memory if none is given.
    """
    known = truth(world, seed)
    said = replies(world.people, seed, world.name, known.classes, known.wanted, world.delay, world.outcomes)
    through = pipeline or Loop(settings_of(profile, said, world, seed))
    due: list[list[tuple[str, Struct, str]]] = [[] for _ in range(world.scenarios + 1)]
    decisions: list[Decision] = []
    emitted: list[Emitted] = []
    for number in range(world.scenarios):
        for topic, event, identity in due[number]:
            emitted += through.send(topic, event, scope=SCOPE, identity=identity)
        due[number] = []
        written = through.send("scenario", scenario(known, number), scope=SCOPE, identity=f"scenario-{number}")
        decision = next(each.event for each in written if isinstance(each.event, Decision))
        decisions.append(decision)
        emitted += [each for each in written if each.topic not in {"decision", "recommendation", "judgement"}]
        for delay, *what in follows(world, known, said, number, decision):
            due[min(number + delay, world.scenarios)].append(tuple(what))  # type: ignore[arg-type]  # topic, event, name
    return Run(
        world=world,
        truth=known,
        replies=said,
        surfaced=np.array([decision.status == Status.SURFACED for decision in decisions]),
        blocked=np.array([decision.status == Status.BLOCKED for decision in decisions]),
        confidence=np.array([decision.confidence for decision in decisions]),
        propensity=np.array([decision.propensity for decision in decisions]),
        threshold=np.array([decision.threshold for decision in decisions]),
        alignment=[each.event for each in emitted if each.topic == "alignment"],  # type: ignore[misc]  # the topic's type
        commands=[each.event for each in emitted if isinstance(each.event, RetrainingCommand)],
        results=[each.event for each in emitted if isinstance(each.event, RetrainingResult)],
    )


def scenario(known: Truth, number: int) -> Scenario:
    """Return one scenario as the encoder would write it: a minute after the one before, at an entity of its own."""
    time_ms = START_MS + number * MINUTE_MS
    symptom = Symptom("metric", "metric:up", "level", "up", z=6.0, value=6.0, usual=0.0)
    return Scenario(
        id=f"scenario-{number}",
        scope=SCOPE,
        entity=f"server-{number % ENTITIES}",
        time_ms=time_ms,
        scenario_class=f"class-{known.classes[number]}",
        score=1.0,
        symptoms=(symptom,),
        action=ACTION,
        features=dict(zip(FEATURES, known.features[number].tolist(), strict=True)),
        detector_scores={},
        symptom_start_ms=time_ms,
        excerpt={},
        excerpt_times_ms=[],
        peers_alike=0,
        peers_seen=0,
        parents=(),
    )


def follows(world: World, known: Truth, said: Replies, number: int, decision: Decision) -> list[tuple[int, str, Struct, str]]:
    """Return what follows of a decision: an answer if it was surfaced and somebody cares, an outcome if one will tell."""
    found: list[tuple[int, str, Struct, str]] = []
    time_ms = START_MS + number * MINUTE_MS
    surfaced = decision.status == Status.SURFACED
    if surfaced and said.kind[number]:
        delay = int(said.delay[number])
        name = said.names[said.account[number]]
        team = world.people.teams[said.teams[said.account[number]]].name
        answer = Feedback(decision.id, name, Answer(said.kind[number]), time_ms + delay * MINUTE_MS, team=team)
        found.append((delay, "feedback", answer, f"answer-{number}"))
    delay = int(said.outcome[number])
    if delay:
        incident = bool(known.incident[number])
        gains = surfaced and (incident or world.reward == "surfaced") and world.reward != "none"
        outcome = Outcome(
            entity=decision.entity,
            start_ms=time_ms,
            end_ms=time_ms + 1,
            verdict=Verdict.INCIDENT if incident else Verdict.NONE,
            time_ms=time_ms + delay * MINUTE_MS,
            reward_minutes=None if world.reward == "none" else REWARD_MINUTES * gains,
        )
        found.append((delay, "outcome", outcome, f"outcome-{number}"))
    return found
