"""What it costs to declare the costs wrongly."""

from matplotlib.figure import Figure

from experiments.pictures_of_rules_card import BLUE, GREY, ORANGE, PURPLE, card, name_ends
from experiments.studies.closed import ANSWERED, EXCESS, RECALL, REGRET, SCENARIO, SETUP, against, dots, fitted, line, small, tried
from experiments.studies.study import Conditions, Results, Study, Trial
from schemas.settings import Profile

SCENARIOS = 2400
DECLARED = {"k 2, half the truth": 2.0, "k 4, the truth": 4.0, "k 8, twice the truth": 8.0}
COLOURS = dict(zip(DECLARED, (ORANGE, BLUE, PURPLE), strict=True))
DRIFTS = {"peace": "none", "drift": "abrupt"}
CONDITIONS: Conditions = {
    f"{when}, {name}": {"cost": cost, "drift": drift} for when, drift in DRIFTS.items() for name, cost in DECLARED.items()
}


def trial(seed: int, profile: Profile, *, cost: float, drift: str) -> Trial:
    """Return what a loop came to, by the true costs of 4 and 1, that was told a cost of an override."""
    _, found = tried(small("mixed", SCENARIOS, drift=drift), fitted(profile, override_cost=cost), seed)
    return found


def draw(results: Results) -> Figure:
    """Draw the true cost along the run under drift, and regret and recall by condition."""
    figure, (along, regret, recall) = card("Simulated: costs declared wrongly; true costs 4 and 1", 3, (1.3, 1, 0.7))
    ends = [
        (line(along, results, f"drift, {name}", "regrets", SCENARIOS, colour), name.split(",")[0], colour)
        for name, colour in COLOURS.items()
    ]
    along.axvline(SCENARIOS / 2, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    along.set(title="cost above the oracle's, drift in the middle", xlabel="scenarios")
    along.set_ylim(bottom=0)
    name_ends(along, ends, 1.25)
    rows = [(f"{when}, {name}", f"{when}, {name.split(',')[0]}", colour) for when in DRIFTS for name, colour in COLOURS.items()]
    dots(regret, results, rows, "regret")
    regret.set(title="regret, last third", xlabel="cost per scenario")
    dots(recall, results, rows, "recall", named=False)
    recall.set(title="recall")
    return figure


def words(results: Results) -> list[str]:
    """Say what either error costs, in peace and under drift."""
    low, true, high = DECLARED
    said, dearer = [], {}
    for when in DRIFTS:
        regret = results.mean(f"{when}, {true}", "regret")
        gains = {name: results.gain(f"{when}, {name}", f"{when}, {true}", "regret") for name in (low, high)}
        dearer[when] = "too low" if gains[low].mean > gains[high].mean else "too high"
        said.append(f"{when}: regret {regret:.3f} with the true k; too low {against(gains[low])}; too high {against(gains[high])}")
    same = dearer["peace"] == dearer["drift"]
    recall, overrides = (
        ", ".join(format(results.mean(f"drift, {name}", measure_name), form) for name in DECLARED)
        for measure_name, form in (("recall", ".2f"), ("overrides_per_answered", ".1%"))
    )
    return [
        f"By the true costs of 4 and 1, k declared twice too low or twice too high, in {said[0]}; under {said[1]}.",
        f"The dearer error is {dearer['peace']}, in peace and under drift."
        if same
        else f"The dearer error is {dearer['peace']} in peace and {dearer['drift']} under drift.",
        f"Recall under drift is {recall} with k 2, 4, 8, at {overrides} overrides per answered.",
    ]


STUDY = Study(
    name="mis-declared-costs",
    question="What does it cost to declare an unwanted recommendation twice as dear as it is, or half?",
    setup=f"""{SETUP}
Here: world `mixed`, {SCENARIOS:,} scenarios, in peace and with a quarter of the classes turning in the middle. The loop is told k =
2, 4 or 8 (thresholds .67, .8 and .89); what it costs is counted with 4.
""",
    conditions=CONDITIONS,
    trial=trial,
    measures=(REGRET, EXCESS, RECALL, ANSWERED, SCENARIO),
    draw=draw,
    words=words,
    cpu_seconds=190,
)
