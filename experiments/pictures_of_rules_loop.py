"""Pictures of the second loop in a toy scope: what challengers cost, what came of commands, and the monitor against hindsight."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agents.monitoring import signatures
from experiments.pictures_of_rules_card import BLUE, GREEN, GREY, ORANGE, PURPLE, WIDE, card, level
from experiments.pictures_of_rules_toy import SETTINGS, TURN, WINDOW, Run, toy
from schemas.alignment import RetrainingResult
from schemas.identity import generator

SEED = 1
RISES, RISE = 30, 1.5
STATUS_COLOURS = {"adopted": GREEN, "refused": ORANGE}
OFFSETS = {"folded again": BLUE, "kept": PURPLE, "reset": ORANGE}


def draw_trainer() -> tuple[Figure, str]:
    """Draw the costs of the model in force and of challengers, the off-policy checks, and the offsets at deployments."""
    run = toy(SEED)
    title = f"A toy scope, all simulated: windows of {WINDOW} scenarios, what is wanted turns at window {TURN}"
    figure, (costs, checks, offsets) = card(title, 3, (1.5, 1, 0.75))
    draw_costs(costs, run)
    draw_checks(checks, [result for result in run.results if result.evaluation is not None])
    means = [float(np.mean([deployed.costs[name] for deployed in run.deployments])) for name in OFFSETS]
    offsets.bar(range(len(OFFSETS)), means, 0.6, color=list(OFFSETS.values()))
    offsets.set_xticks(range(len(OFFSETS)), [name.replace(" ", "\n") for name in OFFSETS], fontsize=9.5)
    for place, value in zip((0.0, 1.0, 2.0), means, strict=True):
        offsets.annotate(f"{value:.2f}", (place, value), (0, 3), textcoords="offset points", ha="center", fontsize=9.5)
    offsets.set(title="cost after, by offsets", ylim=(0, max(means) * 1.2))
    offsets.grid(visible=False, axis="x")
    adopted = sum(result.status == "adopted" for result in run.results)
    late = [window for window in run.windows if window.window >= TURN]
    cost, never = (float(np.mean(each)) / WINDOW for each in zip(*((w.cost_in_force, w.costs["initial"]) for w in late), strict=True))
    return figure, (
        "In this one simulated run"
        f" {len(run.results)} commands were carried out and {adopted} challengers adopted. After the turn the models"
        f" in force cost {cost:.2f} per scenario, the first model would have cost {never:.2f}. Over the {adopted} deployments, offsets"
        f" that are folded again cost {means[0]:.2f} afterwards, kept ones {means[1]:.2f}, reset ones {means[2]:.2f}."
    )


def draw_costs(axes: Axes, run: Run) -> None:
    """Draw by window what the model in force cost, and what its challenger and the first model would have."""
    places = [window.window for window in run.windows]
    axes.plot(places, [window.costs["initial"] / WINDOW for window in run.windows], color=GREY, linewidth=1.3, label="first model")
    axes.plot(places, [window.cost_in_force / WINDOW for window in run.windows], color=BLUE, linewidth=WIDE, label="in force")
    challenged = [(window.window, window.cost_challenger / WINDOW) for window in run.windows if window.cost_challenger is not None]
    axes.plot(*zip(*challenged, strict=True), color=ORANGE, linewidth=0, marker="o", markersize=4.5, label="challenger")
    for deployed in run.deployments:
        axes.axvline(deployed.window - 0.5, color=BLUE, linewidth=1, linestyle=(0, (1, 2)))
    axes.axvline(TURN - 0.5, color=ORANGE, linewidth=1, linestyle=(0, (4, 3)))
    axes.set(title="cost per scenario (dotted: deployments)", xlabel="window")
    axes.set_ylim(0, axes.get_ylim()[1] * 1.2)
    axes.legend(loc="upper left", fontsize=9.5, ncols=3, columnspacing=1, handlelength=1.4, framealpha=1, edgecolor="white")


def draw_checks(axes: Axes, told: Sequence[RetrainingResult]) -> None:
    """Draw how much cheaper each commanded challenger was off-policy, with one standard error."""
    for place, result in enumerate(told):
        if result.evaluation is not None:
            difference, error = result.evaluation.difference, result.evaluation.standard_error
            axes.errorbar(place, difference, error, color=STATUS_COLOURS[result.status], marker="o", capsize=3, linewidth=1.5)
    axes.axhline(0, color=GREY, linewidth=1)
    axes.set_xticks(range(len(told)), [str(result.window - 1) for result in told])
    axes.set(title="off-policy: cheaper by", xlabel="commanded after window", xlim=(-0.6, len(told) - 0.4))
    axes.set_ylim(top=axes.get_ylim()[1] * 1.25)
    for left, (status, colour) in zip((0.03, 0.5), STATUS_COLOURS.items(), strict=True):
        axes.annotate(status, (left, 0.95), xycoords="axes fraction", color=colour, fontweight="bold", va="top")


def draw_monitor() -> tuple[Figure, str]:
    """Draw the monitor's statistic against the price, its deployments beside those of hindsight, and what both have cost."""
    run, price = toy(SEED), SETTINGS.profile.retraining_price
    told = run.fidelity[-1]
    figure, (statistic, costs) = card(
        f"The monitor of the same toy scope (simulated): a deployment is declared to cost {price:g}", 2, (1.7, 1)
    )
    places = [decision.window for decision in run.decisions]
    statistic.plot(places, [decision.statistic for decision in run.decisions], color=BLUE, linewidth=WIDE, marker="o", markersize=4)
    statistic.plot(
        places, [decision.price for decision in run.decisions], color=GREY, linewidth=1, linestyle=(0, (4, 3)), drawstyle="steps-mid"
    )
    statistic.set_yscale("symlog", linthresh=price)
    statistic.set(title="statistic s and the price (dashed), which it has to pass", xlabel="window", ylim=(-2, 2e4), xlim=(-1, 25))
    statistic.set_yticks([0, 10, 20, 100, 1000], ["0", "10", "20", "100", "1,000"])
    statistic.set_xticks(range(0, len(places), 5))
    refused = [window for window in told.commanded if window not in told.deployed]
    rows = (("hindsight", told.ideal, PURPLE), ("adopted", told.deployed, GREEN), ("refused", refused, ORANGE))
    for height, (name, windows, colour) in zip((0.94, 0.87, 0.80), rows, strict=True):
        at = statistic.get_xaxis_transform()
        statistic.plot(windows, [height] * len(windows), transform=at, color=colour, marker="v", markersize=7, linewidth=0)
        statistic.annotate(name, (20.8, height), xycoords=at, color=colour, fontsize=10, fontweight="bold", va="center")
    first = sum(window.costs["initial"] for window in run.windows)
    bars = (("best in hindsight", told.cost_best, PURPLE), ("this monitor", told.cost, BLUE), ("never", first, GREY))
    for place, (_, cost, colour) in zip((0.0, -1.0, -2.0), bars, strict=True):
        costs.barh(place, cost, 0.6, color=colour)
        costs.annotate(f"{cost:,.0f}", (cost, place), (-6, 0), textcoords="offset points", ha="right", va="center", color="white")
    costs.set_yticks([0, -1, -2], [name for name, _, _ in bars])
    costs.tick_params(axis="y", length=0)
    costs.set(title="losses and prices, all windows")
    costs.xaxis.set_major_formatter("{x:,.0f}")
    costs.grid(visible=False, axis="y")
    return figure, (
        f"In this simulated run the monitor commanded {len(told.commanded)} times, {len(told.deployed)} were adopted; hindsight would have"
        f" deployed {len(told.ideal)} times. F = {told.fidelity:.2f}; losses and prices {told.cost:,.0f}, of the cheapest schedule"
        f" {told.cost_best:,.0f}, without any retraining {first:,.0f}."
    )


def draw_signatures() -> tuple[Figure, str]:
    """Draw reward and loss of made-up windows that both begin to rise, and the two sums that must both pass."""
    random = generator(10, "signatures", "windows")
    figure, (values, sums) = card(f"Simulated windows: from window {RISES} on reward and loss both rise by {RISE} standard deviations")
    windows = np.arange(60)
    courses = {
        name: level_ + spread * (random.standard_normal(len(windows)) + RISE * (windows >= RISES))
        for name, level_, spread in (("reward", 0.5, 0.05), ("loss", 0.3, 0.04))
    }
    statistics = {}
    for (name, course), colour in zip(courses.items(), (GREEN, ORANGE), strict=True):
        statistics[name] = np.array([signatures.rise(course[: window + 1].tolist()) for window in windows])
        values.plot(windows, course, color=colour, linewidth=1.6, label=f"{name} per scenario")
        sums.plot(windows, statistics[name], color=colour, linewidth=WIDE, label=name)
    both = np.minimum(statistics["reward"], statistics["loss"]) > signatures.BOUND
    raised = int(windows[both][0])
    values.set(title="what the windows say", xlabel="window", ylim=(0, 0.8))
    values.legend(frameon=False, loc="lower left", ncols=2)
    sums.set(title="CUSUM of each, in standard deviations", xlabel="window", ylim=(0, None))
    level(sums, signatures.BOUND, f"{signatures.BOUND:g}: both must pass", at=0.02)
    sums.axvline(raised, color=GREY, linewidth=1, linestyle=(0, (1, 2)))
    sums.annotate("alarm", (raised, 0.6), (5, 0), textcoords="offset points", color=GREY, fontweight="bold")
    sums.legend(frameon=False, loc="upper left")
    return figure, (
        f"The alarm is raised after window {raised}, {raised - RISES + 1} windows after the rise began. In the first"
        f" {signatures.BASELINE_WINDOWS} windows nothing is said."
    )
