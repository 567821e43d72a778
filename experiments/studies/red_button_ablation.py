"""What the button is worth: overrides that cannot be given, that move nothing, and that are learned from."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from msgspec import Struct
from msgspec.structs import replace
from scipy.special import logit

from agents.loop import Loop
from agents.turn import Emitted
from experiments.pictures_of_rules_card import BLUE, GREY, ORANGE, PURPLE, card, name_ends
from experiments.simulator.measures import measure
from experiments.simulator.run import SCOPE, prepare, run
from experiments.studies.closed import (
    ANSWERED,
    EXCESS,
    RECALL,
    REGRET,
    SCENARIO,
    SETUP,
    SURFACED,
    course,
    dots,
    fitted,
    line,
    regret_of,
    small,
)
from experiments.studies.study import Conditions, Results, Study, Trial
from schemas.events import Answer, Feedback
from schemas.settings import Profile, ScopeSettings

SCENARIOS = 1800
STARTS = {"withheld until liked": 0.5, "surfaced until overridden": 0.95}
BUTTONS = {"none": "no button", "unheard": "not learned from", "learned": "learned from"}
COLOURS = {"none": ORANGE, "unheard": PURPLE, "learned": BLUE}
OUTCOMES = 0.1
CONDITIONS: Conditions = {
    f"{name}, {start}": {"button": button, "confidence": confidence, "outcomes": 0.0}
    for start, confidence in STARTS.items()
    for button, name in BUTTONS.items()
} | {
    f"{BUTTONS[button]}, surfaced until overridden, outcomes": {"button": button, "confidence": 0.95, "outcomes": OUTCOMES}
    for button in ("none", "learned")
}


class Buttonless:
    """A loop whose people have no button: where they would override they stay silent."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def send(self, topic: str, event: Struct, *, scope: str | None = None, identity: str = "") -> Sequence[Emitted]:
        """Hand an event to the loop unless it is an override."""
        if isinstance(event, Feedback) and event.kind == Answer.OVERRIDE:
            return []
        return self._loop.send(topic, event, scope=scope, identity=identity)


def trial(seed: int, profile: Profile, *, button: str, confidence: float, outcomes: float) -> Trial:
    """Return what a loop came to whose overrides cannot be given, move nothing, or are learned from."""
    world = small("mixed", SCENARIOS, drift="abrupt", outcomes=outcomes)
    known = fitted(profile, initial_intercept=float(logit(confidence)), budget="off")
    settings = prepare(world, known, seed).settings
    if button == "unheard":
        settings = replace(settings, scopes={SCOPE: ScopeSettings(learning=False)})
    loop = Loop(settings)
    ran = run(world, known, seed, Buttonless(loop) if button == "none" else loop)
    return {**measure(ran), "regrets": course(regret_of(ran))}


def draw(results: Results) -> Figure:
    """Draw what is paid along the run, and recall and overrides by condition."""
    figure, (along, recall, overrides) = card("Simulated: a button to override with, a quarter of the classes turn", 3, (1.25, 1, 0.7))
    start = "surfaced until overridden"
    ends = [
        (line(along, results, f"{name}, {start}", "regrets", SCENARIOS, COLOURS[button]), name, COLOURS[button])
        for button, name in BUTTONS.items()
    ]
    along.set(title=f"cost above the oracle's, {start}", xlabel="scenarios")
    along.axvline(SCENARIOS / 2, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    along.set_ylim(bottom=0)
    name_ends(along, ends, 1.5)
    rows = [(condition, condition.replace(", ", "\n", 1), COLOURS[str(sets["button"])]) for condition, sets in CONDITIONS.items()]
    dots(recall, results, rows, "recall")
    recall.tick_params(axis="y", labelsize=8)
    recall.set(title="recall, last third", xlim=(0, 1.05))
    dots(overrides, results, rows, "overrides_per_answered", named=False)
    overrides.set(title="overrides per answer")
    overrides.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    overrides.set_xlim(0, 1)
    overrides.set_xticks([0, 0.5, 1])
    return figure


def words(results: Results) -> list[str]:
    """Say what the button is worth in either start, and what outcomes do in its place."""

    def of(button: str, start: str, name: str, ending: str = "") -> float:
        return results.mean(f"{BUTTONS[button]}, {start}{ending}", name)

    surfaced, withheld = "surfaced until overridden", "withheld until liked"
    return [
        (
            f"Where classes are surfaced until somebody overrides them, learning from overrides brings the regret to"
            f" {of('learned', surfaced, 'regret'):.3f}; without a button it is {of('none', surfaced, 'regret'):.3f}, with one that moves"
            f" nothing {of('unheard', surfaced, 'regret'):.3f}."
        ),
        (
            f"Recall there is {of('learned', surfaced, 'recall'):.2f}, {of('none', surfaced, 'recall'):.2f} and"
            f" {of('unheard', surfaced, 'recall'):.2f}, and of 100 answers {100 * of('learned', surfaced, 'overrides_per_answered'):.0f},"
            f" {100 * of('none', surfaced, 'overrides_per_answered'):.0f} (unsaid) and"
            f" {100 * of('unheard', surfaced, 'overrides_per_answered'):.0f} are overrides: a button that moves nothing still tells, in the"
            f" published loss, what goes wrong."
        ),
        (
            f"Where classes are withheld until somebody likes them, without learning next to nothing is surfaced (recall"
            f" {of('unheard', withheld, 'recall'):.2f}); without a button every class that is liked once in a while comes to be surfaced"
            f" (recall {of('none', withheld, 'recall'):.2f}, regret {of('none', withheld, 'regret'):.3f}, against"
            f" {of('learned', withheld, 'recall'):.2f} and {of('learned', withheld, 'regret'):.3f} with one)."
        ),
        (
            f"Outcomes of 10 % of the scenarios stand in for part of it: without a button but with outcomes the regret is"
            f" {of('none', surfaced, 'regret', ', outcomes'):.3f}, with both {of('learned', surfaced, 'regret', ', outcomes'):.3f}."
        ),
    ]


STUDY = Study(
    name="red-button-ablation",
    question="What is it worth that people can override, and that overrides are learned from?",
    setup=f"""{SETUP}
Here: world `mixed` with abrupt drift (a quarter of the classes turn), {SCENARIOS:,} scenarios, no outcomes but where it is said. *No
button*: who would override stays silent; likes and neutral answers are given. *Not learned from*: the scope's setting `learning:
false`, so answers are counted and move nothing. Two starts: R = .5, below the threshold, where classes are withheld until exploration
finds a like; and R = .95, where they are surfaced until overridden. There is no override budget, which would stop some of it.
Override rates without a button are of what people would have said.
""",
    conditions=CONDITIONS,
    trial=trial,
    measures=(REGRET, EXCESS, RECALL, ANSWERED, SURFACED, SCENARIO),
    draw=draw,
    words=words,
    cpu_seconds=140,
)
