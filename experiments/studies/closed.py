"""What the studies of the whole loop have in common: small worlds, the profile in them, what is measured and drawn."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from msgspec.structs import replace

from agents.scoring import Array
from experiments.pictures_of_rules_card import WIDE
from experiments.simulator.measures import costs, measure, oracle
from experiments.simulator.run import Run, run
from experiments.simulator.world import World
from experiments.simulator.worlds import WORLDS
from experiments.studies.study import Measure, Results, Summary, Trial
from schemas.settings import Profile

CLASSES, DELAY = 16, 20.0
# A deadline and a budget that are to these worlds what four hours and 150 are to 200 classes and a delay of 50.
DEADLINE_MS, BUDGET_START = 2 * 3_600_000, 50.0
POINTS = 40  # of a course

RECALL = Measure("recall", "share of what was wanted that was surfaced, last third", better="more")
REGRET = Measure("regret", "cost per scenario above what an oracle pays that knows P(wanted), last third", better="less")
EXCESS = Measure("excess", "the same over the whole run", better="less")
ANSWERED = Measure("overrides_per_answered", "overrides among likes and overrides, last third", better="less")
SURFACED = Measure("overrides_per_surfaced", "overrides among what was surfaced, last third", better="less")
SCENARIO = Measure("overrides_per_scenario", "overrides among all scenarios, last third", better="less")

SETUP = f"""
The worlds are those of [the simulator](../simulator.md), made small: {CLASSES} classes, answers and outcomes after {DELAY:.0f} scenarios
on average, outcomes on 10 % of all scenarios where nothing else is said; what drifts does so in the middle of the run. The profile is
fitted to that size: an answer deadline of 2 h (120 scenarios), B₀ = {BUDGET_START:.0f}, and no model at the start. The loop is the
pipeline's own (`agents.loop`); the same seed has the same scenarios and the same people in all conditions. Costs are 4 for an
unwanted recommendation and 1 for a miss, in expectation by the true P(wanted).
"""


def small(name: str, scenarios: int, **changes: object) -> World:
    """Return a world of the simulator made small, with what a study changes in it."""
    declared = {"scenarios": scenarios, "drift_at": scenarios // 2, "classes": CLASSES, "delay": DELAY} | changes
    return replace(WORLDS[name], **declared)


def fitted(profile: Profile, **changes: object) -> Profile:
    """Return a profile fitted to a small world, with what a study changes in it."""
    declared = {"answer_deadline_ms": DEADLINE_MS, "budget_start": BUDGET_START, "initial_intercept": 0.0, "initial_weights": {}}
    return replace(profile, **(declared | changes))


def tried(world: World, profile: Profile, seed: int) -> tuple[Run, Trial]:
    """Run a world once; return the run, and its measures with the course of the cost above the oracle's."""
    ran = run(world, profile, seed)
    return ran, {**measure(ran), "regrets": course(regret_of(ran))}


def regret_of(ran: Run) -> Array:
    """Return the cost of each scenario above the oracle's, shape (scenarios,)."""
    probability = ran.truth.probability
    above: Array = costs(probability, ran.surfaced) - costs(probability, oracle(probability))
    return above


def course(values: Array) -> list[float]:
    """Return the means of equal stretches of a run, POINTS of them."""
    return [float(np.mean(part)) for part in np.array_split(values, POINTS)]


def places(scenarios: int) -> Array:
    """Return the middles of the stretches of a course, in scenarios."""
    return (np.arange(POINTS) + 0.5) * scenarios / POINTS


def line(axes: Axes, results: Results, condition: str, name: str, scenarios: int, colour: str) -> float:
    """Draw the mean course of a condition; return its height at the end."""
    middle = np.nanmean(results.course(condition, name), axis=0)
    axes.plot(places(scenarios), middle, color=colour, linewidth=WIDE)
    axes.set_xlim(0, scenarios)
    axes.set_xticks([0, scenarios // 2, scenarios])
    axes.xaxis.set_major_formatter("{x:,.0f}")
    return float(np.mean(middle[-3:]))


def dots(axes: Axes, results: Results, rows: Sequence[tuple[str, str, str]], measure_name: str, *, named: bool = True) -> None:
    """Draw a measure of conditions as dots with the interval of the mean, the first row on top.

    Args:
        axes: An empty panel.
        results: Of a study.
        rows: Condition, what it is called, colour.
        measure_name: What is drawn.
        named: Whether the rows' names are written.
    """
    for place, (condition, _, colour) in enumerate(rows):
        found = results.summary(condition, measure_name)
        axes.plot([found.low, found.high], [place, place], color=colour, linewidth=1.5)
        axes.plot([found.mean], [place], "o", color=colour, markersize=6)
    axes.set_yticks(range(len(rows)), [name if named else "" for _, name, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")


def against(gain: Summary, digits: int = 3) -> str:
    """Say how a measure compares where less is better, with the interval of the difference over seeds."""
    ends = f"({gain.low:+.{digits}f} to {gain.high:+.{digits}f})"
    if gain.low <= 0 <= gain.high:
        return f"no more or less within these seeds {ends}"
    return f"{abs(gain.mean):.{digits}f} {'less' if gain.mean < 0 else 'more'} {ends}"
