"""The points to be reached, as tables: what is run, and what of it is held against which bound."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct

from agents.scoring import Array
from experiments.studies.convergence import CHECKED
from experiments.studies.monitors import LOSS_BOUNDS, PERIODS

Found = Mapping[str, Mapping[str, Array]]  # of a condition, of a measure: a number for each seed
STATISTICS: dict[str, Callable[[Array], float]] = {
    "mean": lambda values: float(np.mean(values)),
    "largest": lambda values: float(np.max(values)),
    "least": lambda values: float(np.min(values)),
    "median": lambda values: float(np.median(values)),
}


class Condition(NamedTuple):
    """What is run once for each seed: a kind of `trials.KINDS`, and its keywords."""

    kind: str
    sets: dict[str, Any]


class Point(Struct, frozen=True, kw_only=True):
    """One number to be reached.

    Attributes:
        number: in the list of points.
        words: what it is.
        conditions: names of those it is computed from.
        of: gives a number for each seed.
        least: that it may be, or None.
        most: that it may be, or None; where both are, it is told and not held against anything.
        statistic: over seeds, of STATISTICS.
    """

    number: int
    words: str
    conditions: tuple[str, ...]
    of: Callable[[Found], Array]
    least: float | None = None
    most: float | None = None
    statistic: str = "mean"

    @property
    def name(self) -> str:
        """Number and words."""
        return f"{self.number}. {self.words}"

    def value(self, found: Found) -> float:
        """Return the statistic over seeds."""
        return STATISTICS[self.statistic](self.of(found))

    @property
    def held(self) -> bool:
        """Tell whether it has a bound."""
        return self.least is not None or self.most is not None

    def met(self, found: Found) -> bool:
        """Tell whether it is within its bounds; a NaN is not."""
        value = self.value(found)
        return not np.isnan(value) and (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


def point(number: int, words: str, condition: str, measure: str, **more: Any) -> Point:  # noqa: ANN401  # other fields of a point
    """Return a point that is one measure of one condition."""
    return Point(number=number, words=words, conditions=(condition,), of=lambda found: found[condition][measure], **more)


# World: most regret, least relative recall, most excess.
LOOP = {
    "bimodal": (0.006, 0.985, 0.012),
    "mixed": (0.012, 0.97, 0.022),
    "abrupt": (0.032, 0.93, 0.050),
    "abrupt-feature": (0.025, 0.96, 0.046),
    "gradual": (0.050, 0.90, 0.038),
    "liar-turning-at-drift": (0.030, 0.935, 0.053),
    "rubber-stampers": (0.035, 0.93, 0.062),
    "colluders": (0.012, 0.975, 0.015),
    "noisy": (0.025, 0.95, 0.045),
    "silence": (0.007, 0.985, 0.013),
    "sybils": (0.008, 0.985, 0.014),
    "sleepers": (0.008, 0.985, 0.014),
}
RECURRING = 0.08  # the least regret measured there of rules without memory of what was before
PRICES = (20, 50, 100, 200)
RAW: dict[str, dict[str, Any]] = {
    "raw, drift": {"world": "abrupt", "budget": "raw"},
    "raw, liar": {"world": "liar", "budget": "raw"},
    "raw, liar turning at drift": {"world": "liar-turning-at-drift", "budget": "raw"},
    "raw, liar, small and slow": {"world": "liar", "budget": "raw", "budget_start": 20.0, "override_rate": 0.01},
    "trusted, liar": {"world": "liar", "budget": "trusted"},
}
LIAR = {"share": 0.1, "answers": 5000}
STUDIES = {
    "sign": ("literal",),
    "convergence": ("harmonic", "harmonic, 60 % silent"),
    "forgetting": ("CUSUM, past of 1,000",),
    "interval": ("overridden in 2 %", "overridden in 10 %"),
}

CONDITIONS: dict[str, Condition] = {
    **{f"{name}: {condition}": Condition("study", {"name": name, "condition": condition})
       for name, of in STUDIES.items() for condition in of},
    **{f"raw bound: {name}": Condition("override_bound", {"scenarios": 12_000} | sets) for name, sets in RAW.items()},
    "clean, raw 1 %": Condition("clean", {"budget": "raw", "override_rate": 0.01}),
    "inverter after 2,000 honest answers": Condition("quarantined", LIAR | {"turns": 2000}),
    "inverter at a drift": Condition("quarantined", LIAR | {"turns": 2000, "drift": 2000}),
    "inverter in a new scope": Condition("quarantined", LIAR),
    "honest": Condition("quarantined", {"answers": 2000}),
    "honest, drift": Condition("quarantined", {"answers": 2000, "drift": 1000}),
    "noisy, drift": Condition("quarantined", {"answers": 2000, "drift": 1000, "flips": 0.4}),
    **{f"monitors, price {price}": Condition("monitored", {"price": float(price)}) for price in PRICES},
    **{world: Condition("closed_loop", {"world": world}) for world in LOOP},
    "recurring": Condition("closed_loop", {"world": "recurring"}),
    **{f"{world}, no class means": Condition("closed_loop", {"world": world, "class_means": False}) for world in ("bimodal", "mixed")},
}  # fmt: skip


def _score() -> list[Point]:
    found = [
        point(1, "literal sign: recall", "sign: literal", "recall", most=0.15),
        point(1, "literal sign: overrides per answered", "sign: literal", "overrides_per_answered", least=0.75),
    ]
    for condition in (f"convergence: {name}" for name in STUDIES["convergence"]):
        for count in CHECKED:
            words = f"{condition}: squared error over its closed form after {count:,} answers"
            found.append(point(2, words, condition, f"ratio_at_{count}", least=0.93, most=1.07))
        found.append(point(2, f"{condition}: slope", condition, "slope", least=-1.03, most=-0.95))
    return found


def _loop() -> list[Point]:
    found = []
    for world, (regret, recall, excess) in LOOP.items():
        found += [
            point(3, f"{world}: regret", world, "regret", most=regret),
            point(3, f"{world}: relative recall", world, "relative_recall", least=recall),
            point(3, f"{world}: excess", world, "excess", most=excess),
            point(3, f"{world}: honest sources quarantined", world, "quarantined_honest", most=0.0, statistic="largest"),
        ]
    return [
        *found,
        point(3, "bimodal: deployments a run, without the first model, which is free", "bimodal", "deployments_paid", most=0.4),
        point(3, "bimodal: deployments a run, with the first model", "bimodal", "deployments"),
    ]


def _forgetting_and_budget() -> list[Point]:
    turned, bound = "forgetting: CUSUM, past of 1,000", "overridden + open − r·answered − B₀, most at any record"
    return [
        point(4, "flipped class withheld after answers, median", turned, "answers_median", most=8.0),
        point(4, "flipped class withheld after answers, nine in ten", turned, "answers_q90", most=12.0),
        *(point(5, f"{name}: {bound}", f"raw bound: {name}", "beyond", most=0.0, statistic="largest") for name in RAW if name[:3] == "raw"),
        point(5, f"trusted, liar: {bound}", "raw bound: trusted, liar", "beyond"),
        point(5, "clean world, raw, r = 1 %: relative recall", "clean, raw 1 %", "relative_recall", least=0.97),
        point(5, "clean world, raw, r = 1 %: recall", "clean, raw 1 %", "recall"),
    ]


def _quarantine() -> list[Point]:
    found = []
    for condition in (name for name in CONDITIONS if name.startswith("inverter")):
        # In a new scope nobody is known yet: whoever answers ten times as much in all is not ten times as well known.
        least = None if condition.endswith("new scope") else 0.9
        found += [
            point(6, f"{condition}: found within 300 of its own answers, share", condition, "found_own", least=0.9),
            point(6, f"{condition}: found within 300 answers of all, share", condition, "found_all", least=least),
            point(6, f"{condition}: the first in quarantine was the liar, share", condition, "right", least=0.95),
        ]
    return [
        *found,
        point(6, "honest: false accusations in 100,000 answers", "honest", "false_per_100k", most=1.0),
        point(6, "honest, drift: false accusations", "honest, drift", "false", most=0.0, statistic="largest"),
        point(6, "noisy, drift: false accusations", "noisy, drift", "false", most=0.0, statistic="largest"),
    ]


def _pooled(price: int, rivals: tuple[str, ...]) -> Callable[[Found], Array]:
    def lead(found: Found) -> Array:
        # The rival's tuning that did best on these very seeds.
        ran = found[f"monitors, price {price}"]
        best = min(rivals, key=lambda rival: float(np.mean(ran[f"pooled_{rival}"])))
        return ran[f"pooled_{best}"] - ran["pooled_challenger"]

    return lead


def _monitors() -> list[Point]:
    found = []
    rivals = {"threshold": tuple(f"threshold_{each:g}" for each in LOSS_BOUNDS), "periodic": tuple(f"periodic_{each}" for each in PERIODS)}
    for price in PRICES:
        condition = f"monitors, price {price}"
        found += [
            point(7, f"price {price}, abrupt: cost over hindsight", condition, "over_abrupt", most=1.35),
            point(7, f"price {price}, gradual: cost over hindsight", condition, "over_gradual", most=1.45),
            point(7, f"price {price}, no drift: prices above never retraining", condition, "prices_none", most=1.0),
            *(
                Point(
                    number=7,
                    words=f"price {price}, pooled: cost over hindsight of the best {rival} above ours",
                    conditions=(condition,),
                    of=_pooled(price, names),
                    least=0.0,
                )
                for rival, names in rivals.items()
            ),
        ]
    return found


def _saved(names: tuple[str, str], measure: str) -> Callable[[Found], Array]:
    def saved(found: Found) -> Array:
        ours, theirs = (found[name][measure] for name in names)
        seeds = min(len(ours), len(theirs))
        return theirs[:seeds] - ours[:seeds]

    return saved


def _beyond() -> list[Point]:
    found = [
        point(8, f"{name}: interval ever misses in 10,000 answers, share", f"interval: {name}", "mixture_ever_missed", most=0.05)
        for name in STUDIES["interval"]
    ]
    for world, measure, least in (
        ("bimodal", "regret", 0.0),
        ("bimodal", "excess", 0.0),
        ("mixed", "regret", None),
        ("mixed", "excess", 0.0),
    ):
        names, words = (world, f"{world}, no class means"), f"{world}: {measure} that class means of features save"
        found.append(Point(number=9, words=words, conditions=names, of=_saved(names, measure), least=least))
    return [*found, point(9, "recurring drift: regret", "recurring", "regret", most=RECURRING)]


POINTS = tuple(
    sorted(
        (*_score(), *_loop(), *_forgetting_and_budget(), *_quarantine(), *_monitors(), *_beyond()),
        key=lambda each: each.number,
    )
)
