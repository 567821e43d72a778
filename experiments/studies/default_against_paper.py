"""The default profile against the paper's, and what each choice buys: one by one, the paper's in its place."""

from typing import Any

from matplotlib.figure import Figure

from experiments.pictures_of_rules_card import BLUE, GREY, ORANGE, card
from experiments.simulator.world import World
from experiments.simulator.worlds import WORLDS as SIMULATED
from experiments.studies.closed import ANSWERED, EXCESS, RECALL, REGRET, SETUP, against, dots, fitted, small, tried
from experiments.studies.study import Conditions, Measure, Results, Study, Trial
from schemas.settings import DEPLOY, Profile, read_yaml

SCENARIOS = {"peace": 1200, "drift": 2000, "liar": 1200}
WINDOW = 400
DEFAULT, PAPER = "default", "paper"
# What the profile takes from the paper's; `never` is nobody's choice and shows what any retraining is worth.
CHOICES: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "score: mean": {"score": "mean"},
    "score: mean, silence: pull": {"score": "mean", "silence": "pull"},
    "selector: thompson": {"selector": "thompson"},
    "trust: off": {"trust": False},
    "budget: off": {"budget": "off"},
    "monitor: threshold": {"monitor": "threshold"},
    "monitor: never": {"monitor": "never"},
    "class means: off": {"class_means": False},
}
TITLES = {"peace": "peace", "drift": "abrupt drift", "liar": "a liar of 40 %"}
CONDITIONS: Conditions = {
    f"{name}, {world}": {"paper": name == PAPER, "changes": CHOICES.get(name, {}), "world": world}
    for world in SCENARIOS
    for name in (DEFAULT, PAPER, *list(CHOICES)[1:])
}


def world_of(name: str) -> World:
    """Return the small world of a name."""
    if name == "drift":
        return small("abrupt", SCENARIOS[name], within=2.0)
    return small("mixed", SCENARIOS[name], people=SIMULATED["liar" if name == "liar" else "mixed"].people)


def trial(seed: int, profile: Profile, *, paper: bool, changes: dict[str, Any], world: str) -> Trial:
    """Return what a profile came to in a world: the paper's, or the one given with some of its choices replaced."""
    chosen = read_yaml(DEPLOY / "profiles" / "paper.yaml", Profile) if paper else profile
    _, found = tried(world_of(world), fitted(chosen, window_scenarios=WINDOW, **changes), seed)
    return found


def draw(results: Results) -> Figure:
    """Draw the regret of each profile in each world."""
    figure, panels = card(
        "Simulated: default, paper, and default with one choice of the paper's: cost above the oracle's", 3, (1.35, 1, 1), height=4.6
    )
    names = [DEFAULT, PAPER, *list(CHOICES)[1:]]
    colours = {DEFAULT: BLUE, PAPER: ORANGE}
    for axes, (world, title) in zip(panels, TITLES.items(), strict=True):
        rows = [(f"{name}, {world}", name, colours.get(name, GREY)) for name in names]
        dots(axes, results, rows, "excess", named=world == "peace")
        axes.axvline(results.mean(f"{DEFAULT}, {world}", "excess"), color=BLUE, linewidth=1, linestyle=(0, (4, 3)))
        axes.set(title=title, xlabel="cost per scenario")
        axes.set_xlim(left=0)
    return figure


def words(results: Results) -> list[str]:
    """Say what the default gains, what each choice buys, and where the paper's choice is the better one."""
    told = [
        f"{TITLES[world]} {results.mean(f'{DEFAULT}, {world}', 'excess'):.3f} against {results.mean(f'{PAPER}, {world}', 'excess'):.3f}"
        f" (recall {results.mean(f'{DEFAULT}, {world}', 'recall'):.2f} and {results.mean(f'{PAPER}, {world}', 'recall'):.2f})"
        for world in SCENARIOS
    ]
    single = [name for name in CHOICES if name != DEFAULT]
    gains = {(name, world): results.gain(f"{name}, {world}", f"{DEFAULT}, {world}", "excess") for name in single for world in SCENARIOS}
    worse = [f"{name} ({TITLES[world]}) {against(gain)}" for (name, world), gain in gains.items() if gain.low > 0]
    better = [f"{name} ({TITLES[world]}) {against(gain)}" for (name, world), gain in gains.items() if gain.high < 0]
    same = [name for name in single if all(gains[name, world].low <= 0 <= gains[name, world].high for world in SCENARIOS)]
    said = [
        f"Cost per scenario above the oracle's over the whole run, default against paper: {'; '.join(told)}.",
        f"Replaced one by one, these cost more than the default: {'; '.join(worse)}."
        if worse
        else "No single choice costs more within these seeds.",
    ]
    if better:
        said.append(f"Here the replacement is the better choice: {'; '.join(better)}.")
    if same:
        said.append(f"No different from the default in any of the three worlds within these seeds: {'; '.join(same)}.")
    return said


STUDY = Study(
    name="default-against-paper",
    question="What does the default profile gain over the paper's, and which of its choices buys it?",
    setup=f"""{SETUP}
Here: *peace* and *a liar of 40 %* (one account that inverts what it thinks and gives that share of the answers) are world `mixed`
with {SCENARIOS["peace"]:,} scenarios; *abrupt drift* is world `abrupt` with features that move the logit by a vector of length 2,
{SCENARIOS["drift"]:,} scenarios. Windows of {WINDOW}. `paper` is the file `deploy/profiles/paper.yaml`; each other row is the default
with one choice of it replaced. Forgetting and outcomes are no fields of a profile and are not taken away here; a pull of silence
exists with the paper's score only, so its row replaces both. The runs are short: what monitors, budget and class means buy is seen in
worlds of their own ([monitor-ablation](monitor-ablation.md), [budget](budget.md), [evidence](evidence.md), points 7 and 9), and what
`thompson` costs where no outcomes come in [exploration](exploration.md).
""",
    conditions=CONDITIONS,
    trial=trial,
    measures=(
        REGRET,
        EXCESS,
        RECALL,
        Measure("relative_recall", "recall over the oracle's, last third", better="more"),
        ANSWERED,
        Measure("deployments", "models put in force", "a run"),
    ),
    draw=draw,
    words=words,
    cpu_seconds=740,
)
