"""The default profile against the paper's, and what each choice buys: one by one, the paper's in its place."""

from typing import Any

from matplotlib.figure import Figure

from experiments.pictures_of_rules_card import BLUE, GREY, ORANGE, card
from experiments.simulator.world import World, shortened
from experiments.simulator.worlds import WORLDS as SIMULATED
from experiments.studies.closed import ANSWERED, EXCESS, RECALL, REGRET, SETUP, dots, fitted, small, tried
from experiments.studies.study import Conditions, Measure, Results, Study, Summary, Trial
from schemas.settings import DEPLOY, Profile, read_yaml

SCENARIOS = {"peace": 1200, "drift": 2000, "liar": 1200, "features": 9_000}
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
TITLES = {"peace": "peace", "drift": "abrupt drift", "liar": "a liar of 40 %", "features": "drift of features"}
CONDITIONS: Conditions = {
    f"{name}, {world}": {"paper": name == PAPER, "changes": CHOICES.get(name, {}), "world": world}
    for world in SCENARIOS
    for name in (DEFAULT, PAPER, *list(CHOICES)[1:])
}


def placed(name: str, profile: Profile, changes: dict[str, Any]) -> tuple[World, Profile]:
    """Return the world of a name, and a profile with some of its choices replaced, fitted to that world."""
    if name == "features":
        whole = fitted(profile, answer_deadline_ms=profile.answer_deadline_ms, budget_start=profile.budget_start, **changes)
        return shortened(SIMULATED["abrupt-feature"], SCENARIOS[name]), whole
    changed = fitted(profile, window_scenarios=WINDOW, **changes)
    if name == "drift":
        return small("abrupt", SCENARIOS[name], within=2.0), changed
    return small("mixed", SCENARIOS[name], people=SIMULATED["liar" if name == "liar" else "mixed"].people), changed


def trial(seed: int, profile: Profile, *, paper: bool, changes: dict[str, Any], world: str) -> Trial:
    """Return what a profile came to in a world: the paper's, or the one given with some of its choices replaced."""
    chosen = read_yaml(DEPLOY / "profiles" / "paper.yaml", Profile) if paper else profile
    _, found = tried(*placed(world, chosen, changes), seed)
    return found


def draw(results: Results) -> Figure:
    """Draw the regret of each profile in each world."""
    figure, panels = card("Simulated: default, paper, and default with one choice of the paper's: cost above the oracle's", 4, height=4.6)
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
    apart = {name: [world for world in SCENARIOS if not gains[name, world].low <= 0 <= gains[name, world].high] for name in single}
    changes = [f"`{name}` {', '.join(_change(world, gains[name, world]) for world in worlds)}" for name, worlds in apart.items() if worlds]
    said = [
        f"Cost per scenario above the oracle's over the whole run, default against paper: {'; '.join(told)}.",
        f"With one choice replaced it changes, where the interval over seeds leaves 0 out, by: {'; '.join(changes) or 'nothing'}.",
    ]
    if same := [f"`{name}`" for name in single if not apart[name]]:
        said.append(f"No different from the default in any of the worlds within these seeds: {', '.join(same)}.")
    return said


def _change(world: str, gain: Summary) -> str:
    """Return by how much a replacement costs more in a world."""
    return f"{TITLES[world]} {gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"


STUDY = Study(
    name="default-against-paper",
    question="What does the default profile gain over the paper's, and which of its choices buys it?",
    setup=f"""{SETUP}
Here: *peace* and *a liar of 40 %* (one account that inverts what it thinks and gives that share of the answers) are world `mixed`
with {SCENARIOS["peace"]:,} scenarios; *abrupt drift* is world `abrupt` with features that move the logit by a vector of length 2,
{SCENARIOS["drift"]:,} scenarios. Windows of {WINDOW}. These are too short for a model to pay. *drift of features* is world
`abrupt-feature` with all its classes, {SCENARIOS["features"]:,} scenarios under the profiles as they are but for their first model;
the vector by which features move the logit turns by 80° at three fifths of the run.

`paper` is the file `deploy/profiles/paper.yaml`; each other row is the default with one choice of it replaced. Forgetting and outcomes
are no fields of a profile and are not taken away here; a pull of silence exists with the paper's score only, so its row replaces both.
Where `budget: off` is the default to the last digit, the budget closed in no run: what it bounds, and what that costs, is in
[budget](budget.md). What `thompson` costs where no outcomes come in is in [exploration](exploration.md).
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
    cpu_seconds=1200,
)
