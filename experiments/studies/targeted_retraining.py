"""Retraining on few judgements: those that were overridden first, or evenly, against all of them."""

import numpy as np
from matplotlib.figure import Figure
from msgspec.structs import replace

from experiments.pictures_of_rules_card import BLUE, GREY, ORANGE, card, name_ends
from experiments.simulator.people import HONEST
from experiments.simulator.run import Run
from experiments.studies.closed import ANSWERED, EXCESS, RECALL, REGRET, SETUP, against, dots, fitted, line, small, tried
from experiments.studies.study import Conditions, Measure, Results, Study, Trial
from schemas.alignment import ChallengerWindow
from schemas.settings import Profile

SCENARIOS, WINDOW, PRICE = 2400, 200, 20.0
TURN, OUTCOMES, SKIPPED, WITHIN = 900, 0.5, 0.1, 3.0
BOUNDS = (40, 120)
ALL = "all judgements"
CONDITIONS: Conditions = {ALL: {"retraining": "untargeted", "bound": 0}} | {
    f"{retraining}, {bound}": {"retraining": retraining, "bound": bound} for bound in BOUNDS for retraining in ("untargeted", "targeted")
}
COLOURS = {"untargeted": ORANGE, "targeted": BLUE}


def trial(seed: int, profile: Profile, *, retraining: str, bound: int) -> Trial:
    """Return what a selection of judgements came to in a world whose features change what they tell."""
    world = small("abrupt-feature", SCENARIOS, drift_at=TURN, outcomes=OUTCOMES, within=WITHIN, people=replace(HONEST, skipped=SKIPPED))
    changes = {"retraining": retraining, "retraining_examples_max": bound, "retraining_price": PRICE, "window_scenarios": WINDOW}
    ran, found = tried(world, fitted(profile, **changes), seed)
    return {**found, **fitted_on(ran)}


def fitted_on(ran: Run) -> Trial:
    """Return what challengers cost on judgements that they had not seen, over what there was, and what the off-policy checks found."""
    windows = [event for event in ran.alignment if isinstance(event, ChallengerWindow) and event.cost_challenger is not None]
    checks = [result.evaluation for result in ran.results if result.evaluation is not None]
    first = [result.window for result in ran.results if result.status == "adopted"]
    return {
        # A window's cost is of as many scenarios as it has, which the first ones have fewer of.
        "over_in_force": sum(event.cost_challenger or 0.0 for event in windows) / max(sum(event.cost_in_force for event in windows), 1e-9)
        if windows
        else np.nan,
        "examples": float(np.mean([event.examples for event in windows])) if windows else np.nan,
        "saved": float(np.mean([check.difference for check in checks])) if checks else np.nan,
        "first": float(min(first)) if first else np.nan,
    }


def draw(results: Results) -> Figure:
    """Draw what is paid along the run under the smaller bound, and regret and deployments by selection."""
    figure, (along, excess, deployed) = card("Simulated: retraining on few judgements, the features' direction turns", 3, (1.25, 1, 0.7))
    few = [f"{retraining}, {BOUNDS[0]}" for retraining in COLOURS]
    shown = [(ALL, "all", GREY), *((name, name.split(",")[0], COLOURS[name.split(",")[0]]) for name in few)]
    along.set(title=f"cost above the oracle's, {BOUNDS[0]} judgements", xlabel="scenarios")
    ends = [(line(along, results, name, "regrets", SCENARIOS, colour), words, colour) for name, words, colour in shown]
    along.axvline(TURN, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    along.set_ylim(bottom=0)
    name_ends(along, ends, 1.4)
    rows = [(name, name, COLOURS[str(sets["retraining"])] if sets["bound"] else GREY) for name, sets in CONDITIONS.items()]
    dots(excess, results, rows, "excess")
    excess.set(title="cost above the oracle's, whole run")
    dots(deployed, results, rows, "deployments", named=False)
    deployed.set(title="models adopted", xlim=(0, None))
    deployed.margins(x=0.1)
    return figure


def words(results: Results) -> list[str]:
    """Say what targeting is worth at each bound, and what a bound costs."""
    gains = {bound: results.gain(f"targeted, {bound}", f"untargeted, {bound}", "excess") for bound in BOUNDS}
    fits = {name: results.mean(name, "over_in_force") for name in CONDITIONS}
    few, more = BOUNDS
    bounded = min((f"{kind}, {few}" for kind in COLOURS), key=lambda name: results.mean(name, "excess"))
    return [
        (
            f"Fitted on {few} judgements, those that were overridden first, the loop pays {against(gains[few])} over the whole run than"
            f" fitted on {few} taken evenly; on {more}, {against(gains[more])}."
        ),
        (
            f"On judgements that they have not seen, challengers cost {fits[f'targeted, {few}']:.2f} times what was in force if fitted on"
            f" {few} targeted, {fits[f'untargeted, {few}']:.2f} if on {few} even, {fits[ALL]:.2f} if on all"
            f" ({results.mean(ALL, 'examples'):.0f} on average)."
        ),
        (
            f"All judgements instead of the better {few} (`{bounded}`): {against(results.gain(ALL, bounded, 'excess'))}, and"
            f" {results.mean(ALL, 'deployments'):.1f} models adopted a run instead of {results.mean(bounded, 'deployments'):.1f}: a bound"
            " is for where fitting is dear, not for better models."
        ),
        (
            f"There is little to target in a loop that works: {results.mean(ALL, 'overrides_per_answered'):.0%} of the answers in the"
            " last third are overrides, and of what was withheld nobody says so."
        ),
    ]


STUDY = Study(
    name="targeted-retraining",
    question="Where only so many judgements can be fitted on, is it better to take those first that were overridden?",
    setup=f"""{SETUP}
Here: world `abrupt-feature` (features tell inside classes, with a vector of length {WITHIN:g}; it turns by 80° at scenario {TURN}),
{SCENARIOS:,} scenarios, windows of {WINDOW}, a price of {PRICE:.0f}. So that there are judgements to choose from in so short a run,
outcomes tell of {OUTCOMES:.0%} and {SKIPPED:.0%} of what is surfaced is skipped. A challenger is fitted on all judgements of the last 8
windows, or on so many of them: evenly over the windows, or *targeted*, up to half of them those that were overridden, each weighted for
what it stands for.
""",
    conditions=CONDITIONS,
    trial=trial,
    measures=(
        REGRET,
        EXCESS,
        RECALL,
        ANSWERED,
        Measure("deployments", "models adopted"),
        Measure("commands", "retrainings commanded"),
        Measure("first", "window of the first adoption", "windows", "less"),
        Measure("over_in_force", "cost of the newest challengers over that of what was in force, as the trainer told it", better="less"),
        Measure("examples", "judgements fitted on, mean over windows"),
        Measure("saved", "off-policy estimate: cost per scenario of what was in force less the challenger's, mean of the checks"),
    ),
    draw=draw,
    words=words,
    cpu_seconds=220,
)
