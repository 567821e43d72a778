"""One run of a simulated world through the loop: scenario after scenario, answers and outcomes when they are due."""

from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
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

SCOPE = "sim"  # of a world of one scope; those of several are `sim-0`, `sim-1`, ...
MINUTE_MS = 60_000
START_MS = 1_736_121_600_000  # 2025-01-06T00:00Z
ACTION = Action("restart", blast_radius=1, reversible=True)
REWARD_MINUTES = 30.0
NOT_KEPT = frozenset({"decision", "recommendation", "judgement"})  # the many: what they tell is in the columns


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


class Prepared(NamedTuple):
    """All that is drawn ahead of a run, and the settings it runs under."""

    truth: Truth
    replies: Replies
    settings: Settings


def prepare(world: World, profile: Profile, seed: int) -> Prepared:
    """Draw a run's scenarios and what people would say of them."""
    known = truth(world, seed)
    said = replies(world.people, seed, world.name, known.classes, known.wanted, world.delay, world.outcomes)
    return Prepared(known, said, settings_of(profile, said, world, seed))


class Asked(Exception):  # noqa: N818  # no error: it ends what asks for a run, when only what it asks for is wanted
    """The world and the profile of a run that was asked for within `asking`."""

    def __init__(self, world: World, profile: Profile) -> None:
        super().__init__(world.name)
        self.world, self.profile = world, profile


_ASKING: ContextVar[bool] = ContextVar("asking", default=False)


def asked(trial: Callable[[], object]) -> Asked | None:
    """Return what a function asks `run` for first, instead of running it; None where it never does."""
    token = _ASKING.set(True)
    try:
        trial()
    except Asked as found:
        return found
    finally:
        _ASKING.reset(token)
    return None


def run(world: World, profile: Profile, seed: int, pipeline: Pipeline | None = None) -> Run:
    """Run a world once.

    Answers and outcomes that would come after the last scenario are not sent.

    Args:
        world: its parameters.
        profile: how the loop learns.
        seed: of everything that is drawn, the world's and the loop's.
        pipeline: what the events go through, under the settings that `prepare` returns; the loop of plain calls if none is given.
    """
    if _ASKING.get():
        raise Asked(world, profile)
    known, said, settings = prepare(world, profile, seed)
    through = pipeline or Loop(settings)
    due: list[list[tuple[str, Struct, str, str]]] = [[] for _ in range(world.scenarios)]
    decisions: list[Decision] = []
    emitted: list[Emitted] = []
    for number, (scope, event) in enumerate(scenarios(world, known)):
        for topic, late, whose, identity in due[number]:
            emitted += through.send(topic, late, scope=whose, identity=identity)
        due[number] = []
        written = through.send("scenario", event, scope=scope, identity=event.id)
        decision = next(each.event for each in written if isinstance(each.event, Decision))
        decisions.append(decision)
        emitted += [each for each in written if each.topic not in NOT_KEPT]
        for delay, topic, late in follows(world, known, said, number, decision):
            if number + delay < world.scenarios:
                due[number + delay].append((topic, late, scope, f"{topic}-{number}"))
    return Run(
        world=world,
        truth=known,
        replies=said,
        surfaced=np.array([decision.status == Status.SURFACED for decision in decisions]),
        blocked=np.array([decision.status == Status.BLOCKED for decision in decisions]),
        confidence=np.array([decision.confidence for decision in decisions]),
        propensity=np.array([decision.propensity for decision in decisions]),
        threshold=np.array([decision.threshold for decision in decisions]),
        alignment=[each.event for each in emitted if each.topic == "alignment"],
        commands=[each.event for each in emitted if isinstance(each.event, RetrainingCommand)],
        results=[each.event for each in emitted if isinstance(each.event, RetrainingResult)],
    )


def scope_names(world: World) -> list[str]:
    """Return the names of a world's scopes."""
    return [SCOPE] if world.scopes == 1 else [f"{SCOPE}-{number}" for number in range(world.scopes)]


def scenarios(world: World, known: Truth) -> Iterator[tuple[str, Scenario]]:
    """Give each scope and scenario as the encoder would write it: a minute after the one before, at an entity of its own."""
    symptom = Symptom("metric", "metric:up", "level", "up", z=6.0, value=6.0, usual=0.0)
    scopes, entities = scope_names(world), [f"server-{number}" for number in range(ENTITIES)]
    names = [f"class-{number}" for number in range(world.classes)]
    # Rows at once would be some hundred megabytes of Python's floats.
    for number, (place, features) in enumerate(zip(known.classes.tolist(), map(np.ndarray.tolist, known.features), strict=True)):
        scope, its_class = divmod(place, world.classes)
        time_ms = START_MS + number * MINUTE_MS
        yield (
            scopes[scope],
            Scenario(
                id=f"scenario-{number}",
                scope=scopes[scope],
                entity=entities[number % ENTITIES],
                time_ms=time_ms,
                scenario_class=names[its_class],
                score=1.0,
                symptoms=(symptom,),
                action=ACTION,
                features=dict(zip(FEATURES, features, strict=True)),
                detector_scores={},
                symptom_start_ms=time_ms,
                excerpt={},
                excerpt_times_ms=[],
                peers_alike=0,
                peers_seen=0,
                parents=(),
            ),
        )


def follows(world: World, known: Truth, said: Replies, number: int, decision: Decision) -> list[tuple[int, str, Struct]]:
    """Return what follows of a decision, and after how many scenarios: an answer if it was surfaced and somebody cares, an outcome."""
    found: list[tuple[int, str, Struct]] = []
    time_ms = START_MS + number * MINUTE_MS
    surfaced = decision.status == Status.SURFACED
    if surfaced and said.kind[number]:
        delay = int(said.delay[number])
        name = said.names[said.account[number]]
        team = world.people.teams[said.teams[said.account[number]]].name
        answer = Feedback(decision.id, name, Answer(said.kind[number]), time_ms + delay * MINUTE_MS, team=team)
        found.append((delay, "feedback", answer))
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
        found.append((delay, "outcome", outcome))
    return found
