"""A study: a question, conditions, one trial for each seed, and what is made of the numbers."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from msgspec import Struct, field
from scipy.special import stdtrit

from agents.scoring import Array
from schemas.errors import NpoError

OVERRIDES, RECALL = "overrides_", "recall"
COVERAGE = 0.95
DIGITS = 6  # significant ones that are kept of every number

Conditions = dict[str, dict[str, Any]]
Trial = dict[str, float | list[float]]


class StudyError(NpoError):
    """A study that does not exist, or that cannot be run or read as asked."""


class Summary(Struct, frozen=True):
    """A measure over seeds: mean, standard deviation, the ends of the 95 % t-interval of the mean, and seeds that have it."""

    mean: float
    deviation: float
    low: float
    high: float
    seeds: int


class Measure(Struct, frozen=True):
    """One number of a trial: its name there, what it is, its unit, and which way is better."""

    name: str
    words: str
    unit: str = ""
    better: Literal["less", "more", ""] = ""

    @property
    def title(self) -> str:
        """What heads its column."""
        return self.name.replace("_", " ")


class Results(Struct, frozen=True):
    """What the trials of a study came to, each number rounded to six significant digits.

    Attributes:
        study: Its name.
        command: What makes these numbers.
        profile: The profile's name.
        seeds: In order.
        conditions: What each condition sets.
        numbers: Of each condition and measure, a number for each seed; None where it is undefined.
        courses: Of each condition and name, a list for each seed, for the picture.
    """

    study: str
    command: str
    profile: str
    seeds: list[int]
    conditions: dict[str, dict[str, Any]]
    numbers: dict[str, dict[str, list[float | None]]]
    courses: dict[str, dict[str, list[list[float | None]]]] = field(default_factory=dict)

    def values(self, condition: str, measure: str) -> Array:
        """Return a measure of a condition, shape (seeds,); NaN where it is undefined."""
        return np.array(self.numbers[condition][measure], dtype=np.float64)

    def course(self, condition: str, name: str) -> Array:
        """Return a list that the trials of a condition gave, shape (seeds, points)."""
        return np.array(self.courses[condition][name], dtype=np.float64)

    def summary(self, condition: str, measure: str) -> Summary:
        """Return mean, deviation and interval of a measure of a condition."""
        return summarise(self.values(condition, measure))

    def mean(self, condition: str, measure: str) -> float:
        """Return the mean of a measure over the seeds that have it."""
        return self.summary(condition, measure).mean

    def gain(self, condition: str, other: str, measure: str) -> Summary:
        """Return how much more a condition has of a measure than another, seed by seed."""
        return summarise(self.values(condition, measure) - self.values(other, measure))


class Study(Struct, frozen=True):
    """A study, as a table's row names it.

    Attributes:
        name: Of the command, the page and the files.
        question: What it asks, one sentence.
        setup: What is simulated and how, a paragraph or several, for the page.
        conditions: Name of each condition, and what it passes to `trial` by keyword.
        trial: `trial(seed, profile, **condition)`, at the top level of its module: a number for each measure (NaN where it is
            undefined), and lists of numbers for the picture. All its randomness is `generator(seed, ...)`.
        measures: What is tabled. A study with override rates (`overrides_...`) has `recall` too, so that silence cannot pass
            for alignment.
        draw: Makes the picture of the results.
        words: Says what they show, with their numbers; the first sentence is the headline.
        cpu_seconds: What 20 seeds may take.
    """

    name: str
    question: str
    setup: str
    conditions: Mapping[str, Mapping[str, Any]]
    trial: Callable[..., Trial]
    measures: tuple[Measure, ...]
    draw: Callable[[Results], Figure]
    words: Callable[[Results], list[str]]
    cpu_seconds: float = 80.0

    def __post_init__(self) -> None:
        names = {measure.name for measure in self.measures}
        if any(name.startswith(OVERRIDES) for name in names):
            assert RECALL in names, f"study {self.name} has an override rate and must have the measure {RECALL} beside it"


def summarise(values: Array) -> Summary:
    """Return the summary of values over seeds, shape (seeds,); NaN is left out."""
    known = values[np.isfinite(values)]
    count = len(known)
    mean = float(np.mean(known)) if count else np.nan
    deviation = float(np.std(known, ddof=1)) if count > 1 else np.nan
    reach = float(stdtrit(count - 1, (1 + COVERAGE) / 2)) * deviation / np.sqrt(count) if count > 1 else np.nan
    return Summary(mean, deviation, mean - reach, mean + reach, count)


def rounded(value: float) -> float | None:
    """Return a number with six significant digits, None for what is not finite."""
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None


def collect(study: Study, command: str, profile: str, seeds: list[int], trials: list[Trial]) -> Results:
    """Return the results of trials, condition by condition and in each seed by seed."""
    results = Results(study.name, command, profile, seeds, {name: dict(sets) for name, sets in study.conditions.items()}, {})
    for place, condition in enumerate(study.conditions):
        own = trials[place * len(seeds) : (place + 1) * len(seeds)]
        results.numbers[condition] = {each.name: [rounded(number(trial, each.name)) for trial in own] for each in study.measures}
        courses = [name for name, value in own[0].items() if isinstance(value, list)]
        if courses:
            results.courses[condition] = {name: [points(trial, name) for trial in own] for name in courses}
    return results


def number(trial: Trial, name: str) -> float:
    """Return one number of a trial."""
    value = trial[name]
    assert not isinstance(value, list), f"{name} is a measure and must be one number"
    return float(value)


def points(trial: Trial, name: str) -> list[float | None]:
    """Return one list of a trial, rounded."""
    value = trial[name]
    assert isinstance(value, list), f"{name} is a course and must be a list for every seed"
    return [rounded(each) for each in value]
