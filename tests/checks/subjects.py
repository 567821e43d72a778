"""The rules of learning, each in one common shape, found from the project's own tables: a new entry is here without being named.

A subject works on lanes that do not know each other: classes, scenarios, scopes. Its state is a list of one value a lane that
msgpack can carry, its inputs and outputs are arrays whose first axis is the lanes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from functools import partial
from inspect import isfunction, signature
from itertools import product
from typing import Any, get_args, get_type_hints

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from agents import scoring, thresholds
from agents.checked import checked
from agents.deciding import decider, learning
from agents.deciding.decider import Scored
from agents.deciding.rows import ClassRow
from agents.deciding.turn import Turn as DecidingTurn
from agents.loop import LiveState
from agents.monitoring import rules
from agents.monitoring.learned import teach
from agents.monitoring.rows import Evidence, Learned, Sight, Window
from agents.scoring import SCHEDULES, YOUDEN_LEAST, Channel, Drift, Offsets
from agents.teams import AGGREGATORS
from schemas.events import PolicyVerdict
from schemas.identity import generator
from schemas.settings import Profile, Settings
from tests.deciding.logs import scenario, settings_with

Columns = dict[str, NDArray[Any]]
State = list[Any]
Random = np.random.Generator

SOURCES = 5_000  # more than a class counts by name
OPTIONS: dict[str, tuple[str, ...]] = {
    name: get_args(hint) for name, hint in get_type_hints(Profile).items() if all(isinstance(each, str) for each in get_args(hint) or (0,))
}


@dataclass(frozen=True)
class Subject:
    """One rule in the common shape.

    Attributes:
        name: kind and entry of the table.
        start: the state of so many lanes.
        step: state and inputs to state and outputs; may change the state that it is given.
        draw: inputs of so many lanes, edges of their ranges among them.
        state: type of a state, for msgpack.
        refuses: numbers that are refused in an input; none where all numbers come from records and profiles, which are checked before.
        monotone: input, output and sign: a larger input never moves the output against the sign.
        silenced: the same inputs, told by sources of zero trust; None where no source has a part in it.
        moves: outputs that say by how much a step has moved what it moves.
        toward: whether a like (`liked` 1) never lowers the first of `moves`, and an override never raises it.
        shares: outputs in [0, 1].
        bytes_max: of one lane's state.
        long: steps after which that is looked at; fewer where a state is a fixed count of numbers, or of the last windows.
    """

    name: str
    start: Callable[[int], State]
    step: Callable[[State, Columns], tuple[State, Columns]]
    draw: Callable[[Random, int], Columns]
    state: Any
    refuses: Mapping[str, tuple[float, ...]] = dataclass_field(default_factory=dict)
    monotone: tuple[tuple[str, str, int], ...] = ()
    silenced: Callable[[Columns, Random], Columns] | None = None
    moves: tuple[str, ...] = ()
    toward: bool = False
    shares: tuple[str, ...] = ()
    bytes_max: int = 200
    long: int = 10_000


NEVER = (float("nan"), float("inf"), float("-inf"))
NO_SHARE = (*NEVER, -0.01, 1.01)
NO_COUNT = (*NEVER, -0.01)


def shares(random: Random, count: int | tuple[int, ...]) -> NDArray[np.float64]:
    """Shares, the ends of their range among them."""
    return np.where(random.random(count) < 0.2, random.choice([0.0, 0.5, 1.0], count), random.random(count))


# Scores: as the learner moves a class by one answer, and as arrays of classes.


def draw_answers(random: Random, lanes: int) -> Columns:
    """One answer a class: z, the source's coins, who says it, and what the model makes of the scenario."""
    return {
        "liked": random.integers(0, 2, lanes).astype(float),
        "alpha": shares(random, lanes),
        "beta": shares(random, lanes),
        "output": random.normal(0, 3, lanes),
        "source": np.where(random.random(lanes) < 0.5, random.integers(0, 3, lanes), random.integers(0, SOURCES, lanes)),
    }


def with_youden(columns: Columns, random: Random, most: float) -> Columns:
    """The same answers, by sources of J from -1 to `most`."""
    beta = random.random(len(columns["beta"]))
    alpha = np.clip(random.uniform(0.0, 1.0, len(beta)) * (1 - beta) + random.choice([0.0, most * 0.99]), 0.0, 1.0)
    return columns | {"alpha": alpha, "beta": beta * (alpha + beta <= 1 + most)}


def answer_class(profile: Profile, rows: list[ClassRow], columns: Columns) -> tuple[State, Columns]:
    """Move each class by its answer, as the learner does."""
    outputs = []
    for row, liked, alpha, beta, output, source in zip(rows, *(column.tolist() for column in columns.values()), strict=True):
        before = row.draw_information, row.weight
        move = learning.move_class(profile, row, output, f"op-{source}", 1 - liked, Channel(alpha, beta), f"team-{source % 30}")
        learned = row.draw_information - before[0] + row.weight - before[1]
        outputs.append((learning.confidence_of(profile, row, output), move.moved, learned))
    return rows, dict(zip(("confidence", "moved", "learned"), np.array(outputs).T, strict=True))


def answer_arrays(state: State, columns: Columns) -> tuple[State, Columns]:
    """Move each class by its answer, all classes at once."""
    rising, falling, *offsets = np.array(state).T
    before, heard, liked = Offsets(*offsets), Channel(columns["alpha"], columns["beta"]), columns["liked"]
    wanted = checked(scoring.confidence)(columns["output"], before.offset)
    after = checked(scoring.update)(before, liked, heard, wanted, 1.0)
    drift, after = checked(scoring.forget)(Drift(rising, falling), after, liked, heard, wanted)
    confidence = np.asarray(scoring.confidence(columns["output"], after.offset))
    moved, learned = (np.asarray(new) - np.asarray(old) for new, old in ((after[0], before[0]), (after[2], before[2])))
    return np.stack([*drift, *after], axis=1).tolist(), {"confidence": confidence, "moved": moved, "learned": learned}


def scores() -> list[Subject]:
    """Every score with every step and every way to count teams, by the profile's names; and the score of classes in arrays."""
    subjects = []
    for score, step, counted in product(OPTIONS["score"], OPTIONS["step"], OPTIONS["teams"]):
        if score == "logit" and step != OPTIONS["step"][0]:
            continue  # steps are the mean's
        subjects.append(
            Subject(
                name=f"score {score} {step} {counted}",
                start=lambda lanes: [learning.new_class() for _ in range(lanes)],
                step=partial(answer_class, settings_with(score=score, step=step, teams=counted).profile),
                draw=draw_answers,
                state=list[ClassRow],
                silenced=partial(with_youden, most=0.0 if score == "mean" else YOUDEN_LEAST),
                moves=("moved", "learned"),
                toward=True,
                shares=("confidence",),
                bytes_max=60_000,
            )
        )
    arrays = replace(
        subjects[0],
        name="score in arrays",
        start=lambda lanes: [[0.0, 0.0, *scoring.PRIOR_OFFSETS] for _ in range(lanes)],
        step=answer_arrays,
        draw=lambda random, lanes: {name: column for name, column in draw_answers(random, lanes).items() if name != "source"},
        state=list[list[float]],
        refuses={"alpha": NO_SHARE, "beta": NO_SHARE, "liked": NO_SHARE, "output": NEVER},
        silenced=partial(with_youden, most=YOUDEN_LEAST),
        bytes_max=100,
        long=300,
    )
    return [*subjects, arrays]


# Schedules: the steps of the mean.


def draw_targets(random: Random, lanes: int) -> Columns:
    """One target a mean, with its weight."""
    return {"target": shares(random, lanes), "weight": shares(random, lanes), "prior_weight": np.full(lanes, 4.0)}


def step_mean(name: str, state: State, columns: Columns) -> tuple[State, Columns]:
    """Move each mean by its target, by one schedule."""
    heard, before = np.array(state).T
    eta = np.asarray(checked(SCHEDULES[name])(columns["prior_weight"], heard, columns["weight"]))
    after = np.asarray(checked(scoring.mean_update)(before, columns["target"], eta))
    return np.stack([heard + columns["weight"], after], axis=1).tolist(), {"eta": eta, "mean": after, "moved": after - before}


def schedules() -> list[Subject]:
    """Every schedule."""
    return [
        Subject(
            name=f"schedule {name}",
            start=lambda lanes: [[0.0, 0.5] for _ in range(lanes)],
            step=partial(step_mean, name),
            draw=draw_targets,
            state=list[list[float]],
            refuses={"target": NO_SHARE, "weight": NO_COUNT, "prior_weight": (*NO_COUNT, 0.0)},
            monotone=(("target", "mean", 1), ("weight", "eta", 1), ("prior_weight", "eta", -1)),
            silenced=lambda columns, _random: columns | {"weight": np.zeros_like(columns["weight"])},
            moves=("moved",),
            shares=("eta", "mean"),
            long=300,
        )
        for name in SCHEDULES
    ]


# Aggregators: one estimate of several teams' own.


def draw_teams(random: Random, lanes: int) -> Columns:
    """Four teams' estimates, and how much each has answered; one at least has."""
    weights = random.integers(0, 3, (lanes, 4)) * random.exponential(30, (lanes, 4))
    weights[:, 0] += 1
    return {"estimates": shares(random, (lanes, 4)), "weights": weights}


def aggregate(name: str, state: State, columns: Columns) -> tuple[State, Columns]:
    """Make one estimate of each lane's; `moved` is what those who have answered nothing make of it."""
    rule, weights = checked(AGGREGATORS[name]), columns["weights"]
    estimate = np.asarray(rule(columns["estimates"], weights))
    without = np.asarray(rule(np.where(weights > 0, columns["estimates"], 0.5), weights))
    return state, {"estimate": estimate, "moved": estimate - without}


def aggregators() -> list[Subject]:
    """Every aggregator."""
    return [
        Subject(
            name=f"aggregator {name}",
            start=lambda lanes: [None] * lanes,
            step=partial(aggregate, name),
            draw=draw_teams,
            state=list[None],
            refuses={"estimates": NO_SHARE, "weights": NO_COUNT},
            monotone=(("estimates", "estimate", 1),),
            silenced=lambda columns, _random: columns,
            moves=("moved",),
            shares=("estimate",),
        )
        for name in AGGREGATORS
    ]


# Selectors: the functions, found by what they return, and the decider's choice among them by the profile's names.

DRAWN: dict[str, Callable[[Random, tuple[int, ...]], NDArray[Any]]] = {
    "model_output": lambda random, shape: random.normal(0, 3, shape),
    "offset": lambda random, shape: random.normal(0, 2, shape),
    "draw_information": lambda random, shape: 0.25 + random.exponential(20, shape) * random.choice([1, 1e8]),
    "threshold": lambda random, shape: random.choice([0.5, 0.8, 0.9], shape),
    "misaligned": lambda random, shape: random.exponential(5, shape),
    "aligned": lambda random, shape: random.exponential(20, shape),
    "confidence": shares,
    "likes": lambda random, shape: 1.0 + random.integers(0, 40, shape),
    "overrides": lambda random, shape: 1.0 + random.integers(0, 40, shape),
}
OF_ARMS = {"likes", "overrides"}
NOT_DRAWN = {"random"}
REFUSED = {"threshold": NO_SHARE, "confidence": NO_SHARE, "draw_information": (*NO_COUNT, 0.0), "misaligned": NO_COUNT, "aligned": NO_COUNT}
RAISING = {"model_output": 1, "offset": 1, "aligned": 1, "misaligned": -1, "confidence": 1}
SELECTORS = {
    name: rule for name, rule in vars(thresholds).items() if isfunction(rule) and get_type_hints(rule).get("return") is thresholds.Selection
}


def draw_scenarios(names: Sequence[str], random: Random, lanes: int) -> Columns:
    """One scenario a lane: its name, and what a selector asks of it."""
    shapes = {name: (lanes, len(thresholds.ARMS)) if name in OF_ARMS else (lanes,) for name in names}
    return {"number": random.integers(0, 2**31, lanes)} | {name: DRAWN[name](random, shape) for name, shape in shapes.items()}


def selected(chosen: Sequence[thresholds.Selection]) -> Columns:
    """Selections as columns."""
    draws = [-1.0 if each.draw is None else each.draw for each in chosen]
    rest = {name: np.array([getattr(each, name) for each in chosen], dtype=float) for name in ("threshold", "passes", "propensity")}
    return {"draw": np.array(draws), **rest}


def call_selector(rule: Callable[..., thresholds.Selection], state: State, columns: Columns) -> tuple[State, Columns]:
    """Draw for each scenario by one function, with the scenario's own generator."""
    chosen = []
    for lane in range(len(state)):
        own: dict[str, Any] = {name: column[lane] for name, column in columns.items()}
        number = own.pop("number")
        if "random" in signature(rule).parameters:
            own["random"] = generator(0, f"s-{number}", "selector")
        chosen.append(checked(rule)(**own))
    return state, selected(chosen)


def decide_scenarios(settings: Settings, state: State, columns: Columns) -> tuple[State, Columns]:
    """Draw for each scenario as the decider does."""
    chosen = []
    for lane in range(len(state)):
        own = {name: column[lane].tolist() for name, column in columns.items()}
        turn = DecidingTurn(LiveState(), settings, {}, 0, "shop", "", "", 0)
        turn.row.arm_likes, turn.row.arm_overrides = own["likes"], own["overrides"]
        row = ClassRow(offset=own["offset"], draw_information=own["draw_information"], weighted=own["misaligned"])
        row.weight = own["misaligned"] + own["aligned"]
        confidence = learning.confidence_of(settings.profile, row, own["model_output"])
        scored = Scored(
            scenario=scenario(f"s-{own['number']}", 0),
            features={},
            class_row=row,
            contributions={},
            model_output=own["model_output"],
            confidence=confidence,
            verdict=PolicyVerdict(allowed=True, rules=(), facts={}),
        )
        chosen.append(decider.select(turn, scored))
    return state, selected(chosen)


def selectors() -> list[Subject]:
    """Every function that selects, and every selector of the profile with every score."""
    subjects = []
    for name, rule in SELECTORS.items():
        names = [each for each in signature(rule).parameters if each not in NOT_DRAWN]
        subjects.append(
            Subject(
                name=f"selector function {name}",
                start=lambda lanes: [None] * lanes,
                step=partial(call_selector, rule),
                draw=partial(draw_scenarios, names),
                state=list[None],
                refuses={each: REFUSED.get(each, NEVER) for each in names},
                monotone=tuple((each, "propensity", RAISING[each]) for each in names if each in RAISING),
                shares=("threshold", "passes", "propensity"),
            )
        )
    asked = ("model_output", "offset", "draw_information", "misaligned", "aligned", "likes", "overrides")
    for score, selector in product(OPTIONS["score"], OPTIONS["selector"]):
        subjects.append(
            replace(
                subjects[0],
                name=f"selector {score} {selector}",
                step=partial(decide_scenarios, settings_with(score=score, selector=selector)),
                draw=partial(draw_scenarios, asked),
                refuses={},
                monotone=tuple((each, "propensity", sign) for each, sign in RAISING.items() if each in asked),
            )
        )
    return subjects


# Monitors: one window of a scope a lane.


class Watched(Struct, array_like=True):
    """What a monitor has seen of one scope: its evidence, what it has learned, and the last windows."""

    evidence: Evidence = Evidence()
    learned: Learned = Learned()
    windows: list[Window] = field(default_factory=list)


NOT_MONOTONE: frozenset[str] = frozenset()  # monitors that claim nothing of how their statistic follows costs and loss
COSTS = ("cost_in_force", "cost_challenger")
WHOLE = frozenset({"since"})  # of a sight: a count of windows
HINTS = get_type_hints(Sight)
SIGHTS = tuple(name for name, hint in HINTS.items() if {float, int} & {hint, *get_args(hint)})
UNKNOWN = {name: None for name in SIGHTS if type(None) in get_args(HINTS[name])}
KNOWN_WINDOWS = 12  # more than hindsight waits for


def draw_windows(random: Random, lanes: int) -> Columns:
    """One window a scope: whether anything was compared and closed in it, what it cost, whether the model is another one, the time."""
    costs = {name: random.exponential(100, lanes) for name in COSTS}
    sights = {name: random.integers(0, 40, lanes) if name in WHOLE else shares(random, lanes) for name in SIGHTS}
    happens = {name: random.random(lanes) < share for name, share in (("compared", 0.8), ("closed", 0.8), ("replaced", 0.05))}
    return costs | sights | happens


def weigh_window(profile: Profile, watched: Watched, own: dict[str, Any]) -> tuple[Watched, tuple[float, float, float]]:
    """Weigh a scope's next window, after the monitor has been taught by the windows so far."""

    def weigh(evidence: Evidence, before: Window | None, window: Window, sight: Sight, learned: Learned) -> rules.Weighed:
        return rules.weigh(evidence, before, window, sight, profile, learned)

    past = watched.windows[-1] if watched.windows else None
    number, model = (0, 0) if past is None else (past.window + 1, int(past.in_force) + own["replaced"])
    compared, closed = own["compared"], own["closed"]
    window = Window(
        window=number,
        time_ms=number,
        in_force=str(model),
        first=False,
        challenger="challenger" if compared else None,
        next="next",
        judged=100,
        cost_in_force=own["cost_in_force"],
        cost_challenger=own["cost_challenger"] if compared else None,
        costs={str(model): own["cost_in_force"], "challenger": own["cost_challenger"]} if compared else {},
    )
    sight = Sight(**({name: own[name] for name in SIGHTS} | ({} if closed else UNKNOWN)), past=tuple(watched.windows))
    windows = [*watched.windows, window][-KNOWN_WINDOWS:]
    weighed = checked(weigh)(watched.evidence, past, window, sight, teach(watched.learned, windows, profile))
    statistic = weighed.evidence.statistic
    grown = max(0.0, statistic - watched.evidence.statistic)
    return Watched(weighed.evidence, weighed.learned, windows), (statistic, float(weighed.passes), grown)


def weigh_windows(profile: Profile, state: State, columns: Columns) -> tuple[State, Columns]:
    """Weigh each scope's next window."""
    lanes = [{name: column[lane].item() for name, column in columns.items()} for lane in range(len(state))]
    after, outputs = zip(*(weigh_window(profile, watched, own) for watched, own in zip(state, lanes, strict=True)), strict=True)
    return list(after), dict(zip(("statistic", "passes", "moved"), np.array(outputs).T, strict=True))


def untold(columns: Columns, _random: Random) -> Columns:
    """The same windows when nobody who is trusted has told anything of them, and no time has gone by."""
    return columns | {name: np.zeros_like(columns[name]) for name in ("compared", "closed", "since", "draw")}


def monitors() -> list[Subject]:
    """Every monitor."""
    follows = (("cost_in_force", "statistic", 1), ("cost_challenger", "statistic", -1), ("paper_loss", "statistic", 1))
    refuses = dict.fromkeys((*COSTS, *SIGHTS), NO_COUNT) | {"paper_loss": NO_SHARE, "trust": NO_SHARE, "draw": NO_SHARE}
    return [
        Subject(
            name=f"monitor {name}",
            start=lambda lanes: [Watched() for _ in range(lanes)],
            step=partial(weigh_windows, settings_with(monitor=name).profile),
            draw=draw_windows,
            state=list[Watched],
            refuses=refuses,
            monotone=() if name in NOT_MONOTONE else follows,
            silenced=untold,
            moves=("moved",),
            shares=("passes",),
            bytes_max=3000,
            long=200,
        )
        for name in rules.MONITORS
    ]


SUBJECTS: tuple[Subject, ...] = (*scores(), *schedules(), *aggregators(), *selectors(), *monitors())
