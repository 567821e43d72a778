"""A toy scope whose second loop runs on the project's own steps: judgements in; challengers, commands and models out.

Scenarios have two features and one of eight classes; which are wanted follows from these by a rule that turns in the middle of the
run. Everything is simulated and seeded. Trainer and monitor are those of `agents`; the decider is reduced to score and draw.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from scipy.special import expit

from agents import scoring, thresholds
from agents.monitoring.monitor import monitor
from agents.scoring import Array, Channel, Offsets
from agents.step import Block, Context, Step
from agents.training.offsets import PRIOR, move, outputs_of
from agents.training.rows import Candidate
from agents.training.trainer import train
from schemas import codecs
from schemas.alignment import ChallengerWindow, Fidelity, MonitorDecision, RetrainingCommand, RetrainingResult
from schemas.events import JudgedAnswer, Judgement, Model, Reason, Status
from schemas.identity import generator
from schemas.settings import Catalogue, Policy, Profile, Settings

FEATURES = ("x1", "x2")
SCOPE, CLASSES, WINDOW, WINDOWS, TURN = "toy", 8, 500, 22, 11
ANSWERED, REVIEWED, KEPT = 0.6, 0.15, 128
OPERATOR, REVIEW = Channel(0.97, 0.97), Channel(0.95, 0.95)
BEFORE, AFTER = np.array([1.6, 0.0]), np.array([-1.2, 1.4])
MINUTE_MS = 60_000
SETTINGS = Settings(Profile(name="toy", initial_intercept=0.0, initial_weights={}), Policy("toy", ()), Catalogue(()))

IntArray = npt.NDArray[np.int64]
Example = tuple[dict[str, float], tuple[JudgedAnswer, ...]]


@dataclass
class Task:
    """One task: a step, its rows, and the positions of its inputs."""

    step: Step
    rows: dict[bytes, bytes] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)

    def feed(self, topic: str, events: list[Any]) -> list[Any]:
        """Hand the task a block of events of one topic; return what it writes."""
        first = self.positions.get(topic, 0)
        count = len(events)
        values: list[bytes | None] = [codecs.encode(event) for event in events]
        times = [event.time_ms for event in events]
        block = Block(topic, 0, list(range(first, first + count)), times, [SCOPE.encode()] * count, values, [()] * count)
        result = self.step(self.rows, block, Context(SETTINGS, dict(self.positions), 1))
        self.positions[topic] = first + count
        for key, value in result.rows.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        return [codecs.decode(output.topic, output.value) for output in result.outputs]


class Deployment(Struct):
    """A model taken up after `window`; cost per scenario of the next window with offsets folded again, kept, and reset."""

    window: int
    costs: dict[str, float]


@dataclass
class Run:
    """What the toy came to, by topic and kind."""

    windows: list[ChallengerWindow] = field(default_factory=list)
    decisions: list[MonitorDecision] = field(default_factory=list)
    results: list[RetrainingResult] = field(default_factory=list)
    fidelity: list[Fidelity] = field(default_factory=list)
    deployments: list[Deployment] = field(default_factory=list)


@dataclass
class Toy:
    """The scope: what its classes are like, the model in force, each class's offset, information for the draw and kept examples."""

    random: np.random.Generator
    classes: Array
    trainer: Task = field(default_factory=lambda: Task(train))
    monitor: Task = field(default_factory=lambda: Task(monitor))
    model: Candidate = field(default_factory=lambda: Candidate("initial", -1, 0.0, {}))
    own: Array = field(default_factory=lambda: at_prior(CLASSES))
    draws: list[float] = field(default_factory=lambda: [scoring.PRIOR_INFORMATION] * CLASSES)
    kept: list[list[Example]] = field(default_factory=lambda: [[] for _ in range(CLASSES)])
    surfaced: int = 0
    run: Run = field(default_factory=Run)


def at_prior(classes: int) -> Array:
    """Return the numbers of classes of which nothing was heard, shape (4, classes)."""
    return np.tile(np.array(PRIOR)[:, None], classes)


@cache
def toy(seed: int) -> Run:
    """Run the toy from a seed."""
    random = generator(seed, "toy", "scenarios")
    scope = Toy(random, random.normal(1.5, 1.5, CLASSES))
    for window in range(WINDOWS):
        judgements = judge(scope, window)
        # The first judgement of a window ends the one before, and whatever follows from that is done before the others.
        for batch in (islice(judgements, 1), judgements):
            turn_loop(scope, window, scope.trainer.feed("judgement", list(batch)))
    return scope.run


def scenarios(random: np.random.Generator, classes: Array, window: int, count: int) -> tuple[IntArray, Array, Array]:
    """Draw scenarios of a window: class, features of shape (scenarios, 2), and the probability that each is wanted."""
    group, x = random.integers(CLASSES, size=count), random.standard_normal((count, len(FEATURES)))
    return group, x, expit(classes[group] + x @ (BEFORE if window < TURN else AFTER))


def judge(scope: Toy, window: int) -> Iterator[Judgement]:
    """Decide the scenarios of a window one by one, and yield a judgement of each that is answered or reviewed."""
    groups, x, share = scenarios(scope.random, scope.classes, window, WINDOW)
    wanted = scope.random.random(WINDOW) < share
    for number in range(WINDOW):
        features = dict(zip(FEATURES, x[number].tolist(), strict=True))
        judged = decide(scope, window * WINDOW + number, int(groups[number]), features, wanted=bool(wanted[number]))
        if judged is not None:
            yield judged


def decide(scope: Toy, number: int, group: int, features: dict[str, float], *, wanted: bool) -> Judgement | None:
    """Score one scenario, draw, let it be answered or reviewed, and learn; return its judgement if there is one."""
    random = scope.random
    output = float(outputs_of([scope.model], features)[0])
    threshold = SETTINGS.profile.threshold
    selection = thresholds.posterior(output, scope.own[0, group], scope.draws[group], threshold, random)
    scope.surfaced += selection.passes
    channel = OPERATOR if selection.passes else REVIEW
    told = random.random() < (ANSWERED if selection.passes else REVIEWED)
    right = random.random() < (channel.alpha if wanted else channel.beta)
    if not told:
        return None
    liked = wanted if right else not wanted
    time_ms = number * MINUTE_MS
    kind = ("like" if liked else "override") if selection.passes else ("incident" if liked else "none")
    answer = JudgedAnswer("ana", kind, time_ms, float(channel.alpha), float(channel.beta), 1.0, float(not liked), 0.0, 1, 1.0)
    confidence = float(scoring.confidence(output, scope.own[0, group]))
    learn(scope, group, features, output, answer)
    return Judgement(
        decision=f"d{number}",
        revision=1,
        scope=SCOPE,
        entity="server",
        scenario_class=f"class-{group}",
        time_ms=time_ms,
        decided_ms=time_ms,
        status=Status.SURFACED if selection.passes else Status.WITHHELD,
        closed_by="answer" if selection.passes else "outcome",
        features=features,
        model=scope.model.id,
        model_output=output,
        confidence=confidence,
        propensity=selection.propensity,
        target=answer.target,
        weight=1.0,
        answers=(answer,),
        positions={},
        reason=Reason.PASSED if selection.passes else Reason.BELOW_THRESHOLD,
        window=number // WINDOW,
        scored_surfaced=scope.surfaced,
        scored_withheld=number + 1 - scope.surfaced,
    )


def learn(scope: Toy, group: int, features: dict[str, float], output: float, answer: JudgedAnswer) -> None:
    """Move a class by one answer: its offset as every candidate's is moved, and the information for the draw."""
    channel = Channel(answer.alpha, answer.beta)
    wanted = scoring.confidence(output, scope.own[0, group])
    before = Offsets(0.0, scope.own[1, group], scope.draws[group])
    scope.draws[group] = float(scoring.update(before, 1.0 - float(answer.target or 0.0), channel, wanted, 1.0).draw_information)
    scope.own[:, [group]] = move(np.array([output]), scope.own[:, [group]], (answer,))
    scope.kept[group] = [*scope.kept[group], (features, (answer,))][-KEPT:]


def turn_loop(scope: Toy, window: int, events: list[Any]) -> None:
    """Carry what the trainer wrote to the monitor and the decider, what the monitor commands to the trainer, and so on."""
    for event in events:
        if isinstance(event, ChallengerWindow | RetrainingResult):
            (scope.run.windows if isinstance(event, ChallengerWindow) else scope.run.results).append(event)  # type: ignore[arg-type]  # the list of its own kind
            topic = "alignment" if isinstance(event, ChallengerWindow) else "retraining-result"
            for written in scope.monitor.feed(topic, [event]):
                if isinstance(written, MonitorDecision):
                    scope.run.decisions.append(written)
                elif isinstance(written, Fidelity):
                    scope.run.fidelity.append(written)
                elif isinstance(written, RetrainingCommand):
                    turn_loop(scope, window, scope.trainer.feed("retraining-command", [written]))
        elif isinstance(event, Model):
            turn_loop(scope, window, scope.trainer.feed("model", [event]))
            deploy(scope, window, Candidate(event.id, window, event.intercept, event.weights))


def deploy(scope: Toy, window: int, model: Candidate) -> None:
    """Take a model up: fold each class's kept answers again under it, and note what the alternatives would have cost."""
    columns = []
    for kept in scope.kept:
        own = at_prior(1)
        for features, answers in kept:
            own = move(outputs_of([model], features), own, answers)
        columns.append(own)
    folded = np.hstack(columns)
    choices = {"folded again": folded, "kept": scope.own, "reset": at_prior(CLASSES)}
    costs = {name: expected_cost(scope.classes, window, model, own) for name, own in choices.items()}
    scope.run.deployments.append(Deployment(window, costs))
    scope.model, scope.own = model, folded


def expected_cost(classes: Array, window: int, model: Candidate, own: Array) -> float:
    """Return the cost per scenario of a model with offsets, in truth, over 2,000 scenarios like those of a window."""
    group, x, wanted = scenarios(generator(9, "toy", f"cost {window}"), classes, window, 2000)
    output = model.intercept + x @ [model.weights.get(name, 0.0) for name in FEATURES]
    passes = np.asarray(scoring.confidence(output, own[0, group])) >= SETTINGS.profile.threshold
    return float(np.mean(np.where(passes, SETTINGS.profile.override_cost * (1 - wanted), SETTINGS.profile.miss_cost * wanted)))
