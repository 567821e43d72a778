"""What the selector of the threshold is worth against the paper's and against fixed ones."""

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.pictures_of_rules_card import BLUE, GREY, ORANGE, PURPLE, WIDE, card
from experiments.simulator.run import Run
from experiments.studies.closed import ANSWERED, EXCESS, RECALL, REGRET, SCENARIO, SETUP, SURFACED, against, dots, fitted, small, tried
from experiments.studies.study import Conditions, Measure, Results, Study, Trial
from schemas.alignment import LossWindow
from schemas.settings import Profile

SCENARIOS = 2000
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
FIXED = {threshold: f"fixed {threshold:.1f}" for threshold in THRESHOLDS}
CONDITIONS: Conditions = {
    "posterior": {"selector": "posterior", "threshold": None},
    "thompson": {"selector": "thompson", "threshold": None},
    **{name: {"selector": "fixed", "threshold": threshold} for threshold, name in FIXED.items()},
}
COLOURS = {"posterior": BLUE, "thompson": PURPLE} | dict.fromkeys(FIXED.values(), ORANGE)


def trial(seed: int, profile: Profile, *, selector: str, threshold: float | None) -> Trial:
    """Return what a selector came to, and the reward that the loop published."""
    world = small("mixed", SCENARIOS, reward="wanted")
    ran, found = tried(world, fitted(profile, selector=selector, fixed_threshold=threshold), seed)
    return found | {"reward": reward(ran)}


def reward(ran: Run) -> float:
    """Return the minutes per scenario of the windows that ended in the last third, as published."""
    windows = [event for event in ran.alignment if isinstance(event, LossWindow) and event.window >= 0]
    late = windows[2 * len(windows) // 3 :]
    return sum(window.reward_minutes for window in late) / sum(window.scenarios for window in late)


def draw(results: Results) -> Figure:
    """Draw overrides against recall, and regret and reward by selector."""
    figure, (plane, regret, gained) = card("Simulated: selectors of the threshold, a quarter of the classes mixed", 3, (1.25, 1, 0.7))
    points = {name: [results.mean(name, each) for each in ("recall", "overrides_per_answered")] for name in CONDITIONS}
    plane.plot(*zip(*(points[name] for name in FIXED.values()), strict=True), color=ORANGE, linewidth=WIDE / 2)
    for name, (recall, overrides) in points.items():
        plane.plot([recall], [overrides], "o", color=COLOURS[name], markersize=7)
        shown, place, side = (name.removeprefix("fixed 0"), (6, -4), "left") if name in FIXED.values() else (name, (-8, 8), "right")
        words = plane.annotate(shown, (recall, overrides), place, textcoords="offset points", ha=side)
        words.set(color=COLOURS[name], fontweight="bold")
    plane.set(title="overrides per answered; fixed: joined", xlabel="recall")
    plane.margins(0.16, 0.16)
    plane.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    rows = [(name, name, COLOURS[name]) for name in CONDITIONS]
    dots(regret, results, rows, "regret")
    regret.set(title="regret, last third", xlabel="cost per scenario")
    dots(gained, results, rows, "reward", named=False)
    gained.set(title="reward", xlabel="minutes per scenario")
    for axes in (plane, regret, gained):
        axes.xaxis.label.set_color(GREY)
    return figure


def words(results: Results) -> list[str]:
    """Say what the selector is worth, against the best of the fixed thresholds too."""
    best = min(FIXED.values(), key=lambda name: results.mean(name, "regret"))
    declared = FIXED[0.8]
    shown = {
        name: (
            f"regret {results.mean(name, 'regret'):.3f}, recall {results.mean(name, 'recall'):.2f}, overrides per answered"
            f" {results.mean(name, 'overrides_per_answered'):.1%}"
        )
        for name in CONDITIONS
    }
    return [
        (
            f"Regret in the last third is {results.mean('posterior', 'regret'):.3f} with `posterior`,"
            f" {results.mean('thompson', 'regret'):.3f} with the paper's Thompson, which over the whole run pays"
            f" {against(results.gain('thompson', 'posterior', 'excess'))},"
            f" {results.mean(declared, 'regret'):.3f} at the threshold that the costs imply without exploration (.8), and"
            f" {results.mean(best, 'regret'):.3f} at the best fixed one, {best.split()[1]}, which nobody knows before the run."
        ),
        (
            f"Against that best one `posterior` pays {against(results.gain('posterior', best, 'regret'))} in the last third, and over the"
            f" whole run, learning included, {against(results.gain('posterior', best, 'excess'))}."
        ),
        f"Thompson: {shown['thompson']}; `posterior`: {shown['posterior']}; fixed .8: {shown[declared]}.",
        (
            f"The reward does not see what an unwanted recommendation costs, so the lowest threshold earns the most of it"
            f" ({results.mean(FIXED[0.5], 'reward'):.2f} minutes a scenario; `posterior` {results.mean('posterior', 'reward'):.2f})."
            if results.mean(FIXED[0.5], "reward") >= max(results.mean(name, "reward") for name in CONDITIONS)
            else f"Reward: {results.mean('posterior', 'reward'):.2f} minutes a scenario with `posterior`,"
            f" {results.mean('thompson', 'reward'):.2f} with Thompson, {results.mean(FIXED[0.5], 'reward'):.2f} at .5."
        ),
    ]


STUDY = Study(
    name="threshold-ablation",
    question="What is the selector of the threshold worth against the paper's and against fixed thresholds?",
    setup=f"""{SETUP}
Here: world `mixed`, {SCENARIOS:,} scenarios, and an outcome brings 30 minutes where something wanted was surfaced. All but the
selector is the profile. A fixed threshold has no exploration of its own: a class below it is told of by outcomes only.
""",
    conditions=CONDITIONS,
    trial=trial,
    measures=(
        REGRET,
        EXCESS,
        RECALL,
        ANSWERED,
        SURFACED,
        SCENARIO,
        Measure("reward", "published reward, windows of the last third", "minutes per scenario", "more"),
    ),
    draw=draw,
    words=words,
    cpu_seconds=200,
)
