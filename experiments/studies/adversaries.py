"""What people who do not say what they think come to, with trust and without, and who is put in quarantine, and when."""

import numpy as np
from matplotlib.figure import Figure
from msgspec.structs import replace

from agents.deciding.quarantine import ALARM
from experiments.pictures_of_rules_card import BLUE, GREEN, GREY, ORANGE, PURPLE, card
from experiments.simulator.run import MINUTE_MS, START_MS, Run
from experiments.simulator.world import World, shortened
from experiments.simulator.worlds import WORLDS
from experiments.studies.closed import ANSWERED, DELAY, EXCESS, RECALL, REGRET, SETUP, against, dots, fitted, tried
from experiments.studies.study import Conditions, Measure, Results, Study, Trial
from schemas.alignment import Alarm, TrustSummary
from schemas.settings import Profile

SCENARIOS, WINDOW, CLASSES = 1500, 500, 24
# Each world of the simulator, and what is in it.
ATTACKS = {
    "liar": "one account inverts, 40 %",
    "liar-turning-at-drift": "the same, from the drift on",
    "rubber-stampers": "six like everything, 60 %",
    "colluders": "three invert some classes, 20 %",
    "loud": "one errs in 30 %, 60 %",
    "sybils": "400 unknown invert, 30 %",
    "sleepers": "40 unknown invert late, 40 %",
}
DEFENCES: dict[str, dict[str, object]] = {
    "default": {},
    "no trust": {"trust": False},
    "raw budget": {"budget": "raw"},
    "no budget": {"budget": "off"},
}
COLOURS = {"default": BLUE, "no trust": ORANGE, "raw budget": PURPLE, "no budget": GREEN}
BUDGETS = ("liar", "liar-turning-at-drift", "sleepers")  # where other budgets are looked at
CONDITIONS: Conditions = {
    f"{name}, {defence}": {"name": name, "defence": defence}
    for name in ATTACKS
    for defence in DEFENCES
    if name in BUDGETS or "budget" not in defence
}


def world_of(name: str) -> World:
    """Return a world of the simulator made small, in which people turn and truth drifts at the same share of the run as there."""
    return replace(shortened(WORLDS[name], SCENARIOS), classes=CLASSES, delay=DELAY)


def trial(seed: int, profile: Profile, *, name: str, defence: str) -> Trial:
    """Return what a world came to under a defence, and what became of those who do not say what they think."""
    ran, found = tried(world_of(name), fitted(profile, window_scenarios=WINDOW, **DEFENCES[defence]), seed)
    return {**found, **silenced(ran)}


def silenced(ran: Run) -> Trial:
    """Return who is in quarantine, when the first liar was, and how much of what is trusted the liars say at the end.

    A liar is an account that is not honest at all times; `found` weighs them by how much they say.
    """
    names, honest = ran.replies.names, set(ran.replies.honest)
    if len(honest) == len(names):
        return {"found": np.nan, "found_after": np.nan, "liars_trusted": np.nan, "honest": float(len(_accused(ran)))}
    begins = min(group.honest_until for group in ran.world.people.groups if group.manner != "honest")
    volume = np.bincount(ran.replies.account, minlength=len(names)) * ~np.isin(names, sorted(honest))
    accused = _accused(ran)
    last = next(event for event in reversed(ran.alignment) if isinstance(event, TrustSummary))
    trusted = {each.source: 0.0 if each.quarantined else each.weight * each.answers for each in last.sources}
    return {
        "found": float(volume @ np.isin(names, list(accused)) / volume.sum()),
        "found_after": min((when - begins for name, when in accused.items() if name not in honest), default=np.nan),
        "honest": float(len(accused.keys() & honest)),
        # What does not fit into the table of sources is under a name of its own: new accounts, which are liars here.
        "liars_trusted": sum(weight for name, weight in trusted.items() if name not in honest) / max(sum(trusted.values()), 1e-9),
    }


def _accused(ran: Run) -> dict[str, float]:
    """Return the scenario at which each source was put in quarantine that has been."""
    alarms = [event for event in ran.alignment if isinstance(event, Alarm) and event.name == ALARM and event.raised]
    return {event.detail.split(":")[0]: (event.time_ms - START_MS) / MINUTE_MS for event in alarms}


def draw(results: Results) -> Figure:
    """Draw regret, relative recall, and the liars' share of what is trusted, by world and defence."""
    figure, panels = card("Simulated: people who do not say what they think", 3, (1.1, 1, 0.8), height=5.4)
    regret, recall, weight = panels
    for order, (defence, colour) in enumerate(COLOURS.items()):
        for axes, measure in ((regret, "regret"), (recall, "relative_recall")):
            for place, name in enumerate(ATTACKS):
                if f"{name}, {defence}" not in CONDITIONS:
                    continue
                found, height = results.summary(f"{name}, {defence}", measure), place - 0.27 + 0.18 * order
                axes.plot([found.low, found.high], [height, height], color=colour, linewidth=1.5)
                axes.plot([found.mean], [height], "o", color=colour, markersize=5)
        words = regret.annotate(defence, (0.98, 0.6 - 0.05 * order), xycoords="axes fraction", ha="right", color=colour, fontsize=9)
        words.set_fontweight("bold")
    dots(weight, results, [(f"{name}, default", "", BLUE) for name in ATTACKS], "liars_trusted", named=False)
    regret.set(title="regret, last third", xlabel="cost per scenario", xlim=(0, None))
    recall.set(title="recall over the oracle's", xlim=(0, 1.02))
    weight.set(title="liars' share of what is trusted", xlim=(-0.02, 1))
    for axes in (recall, weight):
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    for axes, named in ((regret, True), (recall, False)):
        axes.set_yticks(range(len(ATTACKS)), [f"{name}\n{what}" if named else "" for name, what in ATTACKS.items()], fontsize=8)
        axes.set_ylim(len(ATTACKS) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        axes.xaxis.label.set_color(GREY)
    return figure


def words(results: Results) -> list[str]:
    """Answer what the paper leaves open of adversarial feedback, and say whom the default does not find."""

    def of(name: str, measure: str, defence: str = "default") -> float:
        return results.mean(f"{name}, {defence}", measure)

    inverts = [name for name in ATTACKS if name not in {"loud", "rubber-stampers", "colluders"}]
    low, high = (pick(of(name, "relative_recall") for name in inverts) for pick in (min, max))
    without = [of(name, "relative_recall", "no trust") for name in inverts]
    found = results.values("liar, default", "found")
    late = results.values("liar-turning-at-drift, default", "found")
    honest = sum(float(np.sum(results.values(f"{name}, default", "honest"))) for name in ATTACKS)
    kept = "liar, sleepers and the liar that turns: " + "; ".join(
        f"{of(name, 'relative_recall', 'raw budget'):.0%} raw, {of(name, 'relative_recall', 'no budget'):.0%} without one"
        for name in ("liar", "sleepers", "liar-turning-at-drift")
    )
    return [
        (
            f"Adversarial feedback: where accounts with 30 to 40 % of the answers invert what they think, learning through each source's"
            f" channel keeps {low:.0%} to {high:.0%} of the oracle's recall, in place of {min(without):.0%} to {max(without):.0%}"
            " where everybody is believed."
        ),
        (
            f"What it does not see is who agrees with the others where it matters: rubber-stampers still say"
            f" {of('rubber-stampers', 'liars_trusted'):.0%} of what is trusted at the end and colluders"
            f" {of('colluders', 'liars_trusted'):.0%}; under rubber-stampers regret with trust is"
            f" {against(results.gain('rubber-stampers, default', 'rubber-stampers, no trust', 'regret'))} than without, under colluders"
            f" {against(results.gain('colluders, default', 'colluders, no trust', 'regret'))}."
        ),
        (
            f"A liar of 40 % is put in quarantine in {np.mean(found):.0%} of the runs, the first after"
            f" {of('liar', 'found_after'):.0f} scenarios on average; one that turns at the drift in {np.mean(late):.0%}, after"
            f" {of('liar-turning-at-drift', 'found_after'):.0f}; of the sybils' answers {of('sybils', 'found'):.0%} are from accounts in"
            f" quarantine, of the sleepers' {of('sleepers', 'found'):.0%}, since each says little and is trusted little;"
            f" {honest:.0f} honest accounts in all runs."
        ),
        (
            f"Budgets, recall over the oracle's, {kept}; {of('liar', 'relative_recall'):.0%},"
            f" {of('sleepers', 'relative_recall'):.0%} and {of('liar-turning-at-drift', 'relative_recall'):.0%} with the trusted one."
        ),
        (
            f"The loud account, honest but wrong in 30 % of its 60 %, costs a regret of {of('loud', 'regret'):.3f} with trust and"
            f" {of('loud', 'regret', 'no trust'):.3f} without."
        ),
    ]


STUDY = Study(
    name="adversaries",
    question="What do people who do not say what they think come to, and who finds them out?",
    setup=f"""{SETUP}
Here: worlds of the simulator with {CLASSES} classes and {SCENARIOS:,} scenarios of its 45,000, people and truth turning at the same
share of the run (two fifths), windows of {WINDOW}. *No trust*: all are believed wholly, and there is no quarantine. In so few scenarios
every account has said little: what needs many answers (a long honest past, quarantine of who lies seldom) is not in it.
""",
    conditions=CONDITIONS,
    trial=trial,
    measures=(
        REGRET,
        EXCESS,
        RECALL,
        Measure("relative_recall", "the same over the oracle's", better="more"),
        ANSWERED,
        Measure("found", "share of what liars say that is said by accounts that were put in quarantine", better="more"),
        Measure("found_after", "from the first lie until the first liar was, where one was", "scenarios", "less"),
        Measure("honest", "honest accounts put in quarantine", better="less"),
        Measure("liars_trusted", "liars' share of the answers at the end, each by its source's weight", better="less"),
    ),
    draw=draw,
    words=words,
    cpu_seconds=290,
)
