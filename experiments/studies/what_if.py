"""How good the estimate of `npo replay LOG --profile P` is: logs of simulated worlds in which every target is known.

`python -m experiments.studies.what_if` prints the table of `docs/learning/what-if.md`.
"""

import heapq
from typing import Any, NamedTuple

import msgspec
import numpy as np

from agents.alignment import BoolArray
from agents.deciding import following
from agents.loop import Loop
from agents.scoring import Array
from agents.whatif import Scenarios, compare
from schemas.events import Action, Answer, Decision, Feedback, JudgedAnswer, Outcome, Scenario, Status, Verdict
from schemas.settings import Catalogue, CatalogueAction, Policy, Profile, Settings
from streams.logs.whatif import Future, as_past, columns, counts

K, M = 4.0, 1.0
OPERATORS = tuple(f"operator-{number}" for number in range(8))
BOLD: dict[str, Any] = {"override_cost": 1.5}  # surfaces more than a k of 4 does
CLASSES, ZIPF, DELAY = 30, 0.8, 30
GOOD_SHARE, GOOD, BAD = 0.55, (20, 2), (2, 6)  # Beta of the classes' shares that are wanted
TURNED_SHARE = 0.3
COUNT, SHOWN = 2_500, 40  # scenarios of a log, logs of a row
TABLE: dict[str, dict[str, Any]] = {
    "as above": {},
    "30 % of the classes turn in the middle": {"turn": COUNT // 2},
    "each answer is wrong in 10 %": {"wrong": 0.1},
    "no review": {"reviewed": 0.0},
}


class Logged(NamedTuple):
    """A log of the loop: its inputs in order, what was decided and judged, and which scenarios were wanted."""

    inputs: list[tuple[str, msgspec.Struct]]
    decisions: dict[str, Decision]
    judged: dict[str, tuple[JudgedAnswer, ...]]
    wanted: dict[str, bool]


def settings_of(seed: int, **profile: Any) -> Settings:  # noqa: ANN401  # fields of a profile
    """Return settings of a world in which the initial model knows nothing."""
    start: dict[str, Any] = {"initial_intercept": 0.0, "initial_weights": {}, "window_scenarios": 500}
    actions = (CatalogueAction("restart", ("*",), 1, reversible=True),)
    return Settings(Profile("p", **(start | profile)), Policy("1", ()), Catalogue(actions, {}, dict.fromkeys(OPERATORS, "sre")), seed=seed)


def lived(
    seed: int,
    *,
    count: int = 1_000,
    answered: float = 0.5,
    reviewed: float = 0.1,
    wrong: float = 0.0,
    turn: int | None = None,
    entities: int = 600,
    **profile: Any,  # noqa: ANN401  # fields of a profile
) -> Logged:
    """Let a loop live through a drawn world; answers and outcomes come after DELAY scenarios on average.

    Args:
        seed: of everything that is drawn.
        count: of scenarios.
        answered: share of the surfaced that is answered.
        reviewed: share of all that an outcome tells of.
        wrong: share of the answers that say the opposite.
        turn: scenario from which TURNED_SHARE of the classes is wanted where it was not.
        entities: that take turns.
        profile: what of it is not the default.
    """
    draw, settings = np.random.default_rng(seed), settings_of(seed, **profile)
    loop, log, waiting = Loop(settings, retraining=False), Logged([], {}, {}, {}), list[tuple[int, int, str, msgspec.Struct]]()
    rates = np.where(draw.random(CLASSES) < GOOD_SHARE, draw.beta(*GOOD, CLASSES), draw.beta(*BAD, CLASSES))
    turned = np.random.default_rng((seed, 1)).random(CLASSES) < TURNED_SHARE
    share = np.arange(1, CLASSES + 1) ** -ZIPF / (np.arange(1, CLASSES + 1) ** -ZIPF).sum()

    def send(topic: str, event: msgspec.Struct) -> None:
        log.inputs.append((topic, event))
        for emitted in loop.send(topic, event, scope="shop"):
            if isinstance(emitted.event, Decision):
                log.decisions[emitted.event.id] = emitted.event
            elif emitted.topic == "judgement":
                judgement: Any = emitted.event
                log.judged[judgement.decision] = judgement.answers

    for number in range(count):
        time_ms, entity = 1_600_000_000_000 + number * 60_000, f"web-{number % entities}"
        while waiting and waiting[0][0] <= number:
            send(*heapq.heappop(waiting)[2:])
        if number == turn:
            rates = np.where(turned, 1 - rates, rates)
        place = int(draw.choice(CLASSES, p=share))
        wanted = bool(draw.random() < rates[place])
        action = Action("restart", 1, reversible=True)
        send("scenario", Scenario(
            f"s{number}", "shop", entity, time_ms, f"c{place}", 1.0, (), action, {}, {}, time_ms, {}, [], 0, 0, ()
        ))  # fmt: skip
        decision = list(log.decisions.values())[-1]
        if decision.scenario != f"s{number}":
            continue
        log.wanted[decision.id] = wanted
        due = number + 1 + int(draw.exponential(DELAY))
        for order, (topic, event) in enumerate(replies(draw, decision, wanted=wanted, answered=answered, reviewed=reviewed, wrong=wrong)):
            heapq.heappush(waiting, (due, 2 * number + order, topic, event))
    return log


def replies(
    draw: np.random.Generator,
    decision: Decision,
    *,
    wanted: bool,
    answered: float,
    reviewed: float,
    wrong: float,
) -> list[tuple[str, Feedback | Outcome]]:
    """Return what will be said of a decision: an answer, an outcome, both or nothing."""
    said: list[tuple[str, Feedback | Outcome]] = []
    time_ms = decision.time_ms
    if decision.status == Status.SURFACED and draw.random() < answered:
        liked = wanted != bool(draw.random() < wrong)
        operator = OPERATORS[int(draw.integers(len(OPERATORS)))]
        said.append(("feedback", Feedback(decision.id, operator, Answer.LIKE if liked else Answer.OVERRIDE, time_ms)))
    if draw.random() < reviewed:
        verdict = Verdict.INCIDENT if wanted else Verdict.NONE
        said.append(("outcome", Outcome(decision.entity, time_ms, time_ms + 1, verdict, time_ms)))
    return said


def asked(log: Logged, settings: Settings, without: str = "") -> tuple[Scenarios, Array]:
    """Let other settings live through the log; return its scenarios, and their true targets, shape (scenarios,)."""
    loop, future = Loop(settings, retraining=False), dict[str, Future]()
    loop.tasks[0].handlers = following.handlers({name: each.reason for name, each in log.decisions.items()}, without)
    for topic, event in log.inputs:
        for emitted in loop.send(topic, event, scope="shop"):
            if isinstance(emitted.event, Decision):
                decision = emitted.event
                future[decision.id] = Future(decision.propensity, decision.confidence, decision.verdict.allowed)
    past = {name: as_past(decision) for name, decision in log.decisions.items()}
    names = [name for name, each in past.items() if counts(each, future[name])]
    judged = [tuple(answer for answer in log.judged.get(name, ()) if answer.source != without) for name in names]
    scenarios = columns([past[name] for name in names], [future[name] for name in names], judged)
    return scenarios, np.array([float(not log.wanted[name]) for name in names])


def true_difference(scenarios: Scenarios, target: Array) -> float:
    """Return what the other policy's probabilities cost more than the logged ones, all targets known."""
    return float(np.mean((scenarios.other - scenarios.logged) * (K * target - M * (1 - target))))


def over(scenarios: Scenarios, target: Array, kept: BoolArray) -> float:
    """Return the same over a part of the scenarios."""
    return true_difference(Scenarios(*(column[kept] for column in scenarios)), target[kept])


def row(name: str, seeds: range, **sets: Any) -> str:  # noqa: ANN401  # of `lived`
    """Return a row of the table: the bold profile held against logs of the default one."""
    truths, off, held, of_judged, of_shown, effective = [], [], 0, [], [], []
    for seed in seeds:
        scenarios, target = asked(lived(seed, **{"count": COUNT, **sets}), settings_of(seed, **BOLD))
        found, truth = compare(scenarios, K, M), true_difference(scenarios, target)
        judged = scenarios.trust > 0
        truths.append(truth)
        held += found.difference.low <= truth <= found.difference.high
        effective.append(found.effective_differing)
        of_judged.append(over(scenarios, target, judged) - truth)
        of_shown.append(over(scenarios, target, judged & (scenarios.surfaced > 0)) - truth)
        if found.difference.value is not None:
            off.append(found.difference.value - truth)
    error = f"{np.mean(off):+.3f} ± {np.std(off, ddof=1) / np.sqrt(len(off)):.3f}" if len(off) > 1 else "–"
    naive = f"{np.mean(of_judged):+.3f} | {np.mean(of_shown):+.3f}"
    return f"| {name} | {np.mean(truths):+.3f} | {np.mean(effective):.0f} | {len(off)} of {len(seeds)} | {error} | {held} | {naive} |"


def table() -> str:
    """Return the table in Markdown."""
    names = (
        "log",
        "true difference",
        "judged, in effect, where they differ",
        "a value was given",
        "its mean error",
        "interval held the truth",
        "error of the mean over what was judged",
        "over what was surfaced and judged",
    )
    rows = (row(name, range(SHOWN), **sets) for name, sets in TABLE.items())
    return "\n".join([f"| {' | '.join(names)} |", "|---" * len(names) + "|", *rows])


if __name__ == "__main__":
    print(table())  # noqa: T201  # the command's result
