"""Teams that want different things, in the loop: what counting by volume or equally costs each, and the conflict that is seen."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from msgspec import Struct
from msgspec.structs import replace

from agents.loop import Loop
from agents.scoring import Array
from agents.turn import Emitted
from experiments.pictures_of_rules_card import BLUE, GREEN, GREY, ORANGE, card, percent
from experiments.simulator.measures import costs, measure, oracle
from experiments.simulator.run import Prepared, Run, prepare, run
from experiments.studies.closed import ANSWERED, EXCESS, RECALL, SETUP, against, dots, fitted, small
from experiments.studies.study import Conditions, Measure, Results, Study, Trial
from schemas.alignment import TeamSummary
from schemas.events import Answer, Feedback
from schemas.identity import generator
from schemas.settings import Profile

SCENARIOS, WINDOW, CLASSES = 2000, 500, 40
BOTH = 0.3  # of what is answered somebody of another team answers too
CONFLICTS = (0.0, 0.2, 0.5)
PAIRS = ((0, 1), (0, 2), (1, 2))
RULES = {"volume": BLUE, "equal": ORANGE}
CONDITIONS: Conditions = {
    f"{rule}, conflict {conflict:.0%}": {"teams": rule, "conflict": conflict} for conflict in CONFLICTS for rule in RULES
}


class Second:
    """A loop to which, of some scenarios that are answered, somebody of another team says at the same moment what that team wants.

    Args:
        loop: That takes the answers.
        known: The run's scenarios and people.
        seed: Of who answers too.

    Attributes:
        differed: Of each scenario that two teams answered, whether they want different things.
    """

    def __init__(self, loop: Loop, known: Prepared, seed: int) -> None:
        self._loop, self._known = loop, known
        self._random = generator(seed, "teams-in-the-loop", "second")
        count = len(known.truth.classes)
        self._too = self._random.random(count) < BOTH
        self._who = self._random.integers(len(known.replies.names), size=count)
        self.differed: list[bool] = []

    def send(self, topic: str, event: Struct, *, scope: str | None = None, identity: str = "") -> Sequence[Emitted]:
        """Hand in an event, and after an answer perhaps a second one."""
        written = list(self._loop.send(topic, event, scope=scope, identity=identity))
        if isinstance(event, Feedback) and event.kind != Answer.NEUTRAL:
            number = int(identity.rsplit("-", 1)[1])
            said, wanted = self._known.replies, self._known.truth.wanted[number]
            first, second = said.teams[said.account[number]], said.teams[self._who[number]]
            if self._too[number] and first != second:
                self.differed.append(bool(wanted[first] != wanted[second]))
                kind = Answer.LIKE if wanted[second] else Answer.OVERRIDE
                name = said.names[self._who[number]]
                answer = replace(event, operator=name, kind=kind, team=self._known.settings.catalogue.operators[name])
                written += self._loop.send(topic, answer, scope=scope, identity=f"{identity}-too")
        return written


def trial(seed: int, profile: Profile, *, teams: str, conflict: float) -> Trial:
    """Return what the loop cost each team, and how much conflict it published beside what there was."""
    world, declared = small("teams", SCENARIOS, classes=CLASSES, conflict=conflict), fitted(profile, teams=teams, window_scenarios=WINDOW)
    known = prepare(world, declared, seed)
    second = Second(Loop(known.settings), known, seed)
    ran = run(world, declared, seed, second)
    late = slice(2 * SCENARIOS // 3, None)
    shares = np.array([team.share for team in world.people.teams])
    by_team = regrets(ran)[late].mean(axis=0)
    published = [event for event in ran.alignment if isinstance(event, TeamSummary) and event.window < 0]
    seen = published[-1].conflict if published else None
    wanted = ran.truth.wanted
    return {
        **measure(ran),
        "regret_volume": float(by_team @ shares / shares.sum()),
        "regret_worst": float(by_team.max()),
        "regret_small": float(by_team[shares.argmin()]),
        "conflict_seen": seen.events / seen.trials if seen and seen.trials else np.nan,
        "conflict_asked": float(np.mean(second.differed)) if second.differed else np.nan,
        "conflict_all": float(np.mean([wanted[:, a] != wanted[:, b] for a, b in PAIRS])),
    }


def regrets(ran: Run) -> Array:
    """Return what each scenario cost each team above deciding as it alone would want, shape (scenarios, teams)."""
    surfaced = ran.surfaced[:, np.newaxis]
    above: Array = costs(ran.truth.by_team, surfaced) - costs(ran.truth.by_team, oracle(ran.truth.by_team))
    return above


def draw(results: Results) -> Figure:
    """Draw the regret of all and of the team served worst, and the conflict that is seen beside what there is."""
    figure, (whole, worst, seen) = card("Simulated: three teams of .6, .3 and .1 of the answers, in the loop", 3, (1, 0.8, 1))
    rows = [(name, name, RULES[str(sets["teams"])]) for name, sets in CONDITIONS.items()]
    dots(whole, results, rows, "regret_volume")
    dots(worst, results, rows, "regret_worst", named=False)
    whole.set(title="regret by volume", xlim=(0, None))
    worst.set(title="regret of the team served worst", xlim=(0, None))
    places = np.arange(len(CONFLICTS))
    bars = (
        ("conflict_all", GREY, "all scenarios"),
        ("conflict_asked", GREEN, "of what both answered"),
        ("conflict_seen", BLUE, "published"),
    )
    for shift, (name, colour, words) in zip((-0.27, 0.0, 0.27), bars, strict=True):
        seen.bar(places + shift, [results.mean(f"volume, conflict {conflict:.0%}", name) for conflict in CONFLICTS], 0.25, color=colour)
        height = 0.95 - 0.07 * [each[0] for each in bars].index(name)
        seen.annotate(words, (0.04, height), xycoords="axes fraction", color=colour, fontweight="bold", fontsize=9.5, va="top")
    seen.set(title="teams differ (by volume)", xlabel="classes in conflict")
    seen.margins(y=0.4)
    seen.set_xticks(places, [f"{conflict:.0%}" for conflict in CONFLICTS])
    seen.grid(visible=False, axis="x")
    percent(seen)
    return figure


def words(results: Results) -> list[str]:
    """Answer what the paper leaves open of several actors, and say what is seen of their conflict."""

    def of(rule: str, measure: str, conflict: float = 0.2) -> float:
        return results.mean(f"{rule}, conflict {conflict:.0%}", measure)

    gains = [results.gain("equal, conflict 20%", "volume, conflict 20%", f"regret_{name}") for name in ("volume", "worst", "small")]
    most = [results.gain("equal, conflict 50%", "volume, conflict 50%", f"regret_{name}") for name in ("volume", "worst")]
    return [
        (
            f"Several actors: with teams that differ in a fifth of the classes the loop costs them {of('volume', 'regret_volume'):.3f} by"
            f" volume above what each would have alone, and the team served worst {of('volume', 'regret_worst'):.3f}; counted equally,"
            f" {of('equal', 'regret_volume'):.3f} and {of('equal', 'regret_worst'):.3f}."
        ),
        (
            f"Most of it nobody can avoid who decides once for all: without conflict the same three teams cost"
            f" {of('volume', 'regret_volume', 0.0):.3f}, and what `equal` pays by volume is {against(gains[0])}, for the worst team"
            f" {against(gains[1])}, for the smallest {against(gains[2])}."
        ),
        f"With conflict in half of the classes `equal` pays {against(most[0])} by volume, {against(most[1])} for the worst team.",
        (
            f"Conflict as published is {of('volume', 'conflict_seen'):.1%} of the decisions that two teams answered, whose teams in truth"
            f" wanted different things in {of('volume', 'conflict_asked'):.1%}; of all scenarios two teams differ in"
            f" {of('volume', 'conflict_all'):.1%}: where teams agree that something is unwanted, or one has overridden it, it is not"
            " surfaced and nobody is asked."
        ),
    ]


STUDY = Study(
    name="teams-in-the-loop",
    question="What do teams that want different things cost each other in the loop, by volume and counted equally?",
    setup=f"""{SETUP}
Here: world `teams` with {CLASSES} classes and {SCENARIOS:,} scenarios: three teams of .6, .3 and .1 of the answers want different things in
0, 20 or 50 % of the classes, the same in the others; P(wanted) is the mean by volume. Of {BOTH:.0%} of what is answered somebody drawn from
all twelve accounts answers too, where that is of another team: else no decision would have two answers, and conflict could not be seen.
Regret of a team is cost per scenario above deciding as it alone would want, over the last third.
""",
    conditions=CONDITIONS,
    trial=trial,
    measures=(
        Measure("regret_volume", "the teams' regrets by volume", better="less"),
        Measure("regret_worst", "regret of the team that is served worst", better="less"),
        Measure("regret_small", "regret of the team of .1", better="less"),
        EXCESS,
        RECALL,
        ANSWERED,
        Measure("conflict_seen", "published: share of the decisions that two teams answered on which they differ"),
        Measure("conflict_asked", "share of the same in which they truly want different things"),
        Measure("conflict_all", "share of all scenarios in which two teams do, mean over pairs"),
    ),
    draw=draw,
    words=words,
    cpu_seconds=170,
)
