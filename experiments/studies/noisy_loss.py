"""The monitors under estimates of the loss with noise: what they cost, and how often they retrain where nothing has changed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.pictures_of_rules_card import BLUE, GREEN, GREY, ORANGE, WIDE, card, name_ends
from experiments.studies import monitors
from experiments.studies.study import Conditions, Measure, Results, Study, Trial
from schemas.settings import Profile

PRICE, WINDOWS = 100.0, 80
NOISES = (0.0, 50.0, 100.0, 200.0)
# Name and colour of each line, and what its monitor is.
LINES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "challenger": (BLUE, {"monitor": "challenger", "noise_known": True}),
    "challenger, noise unknown": (GREEN, {"monitor": "challenger", "noise_known": False}),
    "threshold": (ORANGE, {"monitor": "threshold"}),
    "periodic": (GREY, {"monitor": "periodic"}),
}
CONDITIONS: Conditions = {f"{name}, noise {noise:g}": {**sets, "noise": noise} for name, (_, sets) in LINES.items() for noise in NOISES}
MEASURES = (
    Measure("over_hindsight", "abrupt drift: excess cost and prices over those of the cheapest schedule", better="less"),
    Measure("fidelity", "abrupt drift: F against the cheapest schedule by true costs", better="more"),
    Measure("retrainings", "abrupt drift: how many"),
    Measure("fidelity_still", "no drift: F", better="more"),
    Measure("retrainings_still", "no drift: how many; each is a price for nothing", better="less"),
)
SETUP = f"""
The stream of windows of `experiments/studies/monitors.py`: {WINDOWS} windows of {monitors.SCENARIOS:,} scenarios, {monitors.JUDGED} of them
judged, four features, a turn by {monitors.TURN_DEGREES:.0f}° three times (*abrupt*) or none. Monitors are the pipeline's own; a command
deploys the challenger that was fitted last, at a price of {PRICE:.0f}. Threshold (.3 on the share overridden, the paper's) and period
(every 10 windows) are the profile's and are not tuned. Hindsight and the ideal of F know the true costs. `never` has F = 1 without drift.
"""


def trial(seed: int, profile: Profile, **sets: Any) -> Trial:  # noqa: ANN401  # what `monitors.trial` takes
    """Run a monitor in a world that turns abruptly and in one that does not."""
    turning, still = (monitors.trial(seed, profile, drift=drift, price=PRICE, windows=WINDOWS, **sets) for drift in ("abrupt", "none"))
    return {
        **{name: turning[name] for name in ("over_hindsight", "fidelity", "retrainings")},
        **{f"{name}_still": still[name] for name in ("fidelity", "retrainings")},
    }


def draw_lines(
    figure: Figure, panels: Sequence[Axes], results: Results, lines: Mapping[str, str], along: Sequence[tuple[float, str]], label: str
) -> Figure:
    """Draw cost over hindsight, F, and retrainings without drift, against what is varied.

    Args:
        figure: The card.
        panels: Its three panels.
        results: Of a study with this module's measures.
        lines: Name and colour of each line.
        along: Each value of what is varied, and what follows the line's name in its condition's.
        label: What is varied.
    """
    titles = ("cost over hindsight, abrupt drift", "fidelity F, abrupt drift", "retrainings without drift")
    values = np.array([value for value, _ in along])
    for axes, measure, title in zip(panels, ("over_hindsight", "fidelity", "retrainings_still"), titles, strict=True):
        axes.set(title=title, xlabel=label, xlim=(values[0], values[-1]))
        ends = []
        for name, colour in lines.items():
            found = [results.summary(f"{name}{after}", measure) for _, after in along]
            axes.fill_between(values, [each.low for each in found], [each.high for each in found], color=colour, alpha=0.15, linewidth=0)
            axes.plot(values, [each.mean for each in found], color=colour, linewidth=WIDE, marker="o", markersize=4)
            ends.append((found[-1].mean, name.replace("challenger, noise unknown", "unknown to it"), colour))
        axes.set_xticks(values)
        if measure != "fidelity":
            axes.set_ylim(bottom=0)
        name_ends(axes, ends, 1.6)
    return figure


def draw(results: Results) -> Figure:
    """Draw the monitors against the noise."""
    figure, panels = card(f"Simulated: monitors that are told the loss with noise (price {PRICE:.0f}; bands: 95 %)", 3)
    lines = {name: colour for name, (colour, _) in LINES.items()}
    along = [(noise, f", noise {noise:g}") for noise in NOISES]
    return draw_lines(figure, panels, results, lines, along, "sd of the noise, cost a window")


def words(results: Results) -> list[str]:
    """Say what noise costs."""
    most = f"{NOISES[-1]:g}"
    calm = results.mean("challenger, noise 0", "over_hindsight")
    loud, unknown, bound, _ = (results.mean(f"{name}, noise {most}", "over_hindsight") for name in LINES)
    often = [results.mean(f"threshold, noise {noise:g}", "retrainings") for noise in (NOISES[0], NOISES[-1])]
    still = {name: results.mean(f"{name}, noise {most}", "retrainings_still") for name in LINES}
    return [
        (
            f"Noise of {most} a window, twice the price, takes the challenger's monitor from {calm:.2f} to {loud:.2f} times the cost of"
            f" hindsight if its deviation is told, {unknown:.2f} if it is not (threshold on the loss {bound:.2f})."
        ),
        (
            f"Without drift the first retrains {still['challenger']:.1f} times in {WINDOWS} windows, the second"
            f" {still['challenger, noise unknown']:.1f}, the threshold {still['threshold']:.1f}: what protects is that the monitor knows"
            " how sure its estimate is."
        ),
        (
            f"The threshold's bound is not tuned: noise makes it retrain {often[1]:.1f} times instead of {often[0]:.1f} under drift, and"
            " that happens to be cheaper."
        ),
    ]


STUDY = Study(
    name="noisy-loss",
    question="What does a monitor cost that is told the loss with noise?",
    setup=SETUP
    + """
To each model's cost over a window, as it is told, normal noise is added, its own for each model; to the share overridden in proportion.
The challenger's monitor is told the standard deviation of what it compares, as the trainer tells it, with this noise in it or (*noise
unknown*) without.
""",
    conditions=CONDITIONS,
    trial=trial,
    measures=MEASURES,
    draw=draw,
    words=words,
    cpu_seconds=40,
)
