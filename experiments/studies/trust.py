"""How near the learned channels of sources come to the true ones, by their answers, and what trust is worth in the loop."""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from scipy.special import logit

from agents.scoring import Array
from experiments.pictures_of_rules_card import BLUE, GREEN, GREY, ORANGE, PURPLE, WIDE, card, name_ends
from experiments.simulator.people import Group, People
from experiments.simulator.run import Run
from experiments.studies.closed import ANSWERED, EXCESS, RECALL, REGRET, SETUP, against, dots, fitted, small, tried
from experiments.studies.study import Conditions, Measure, Results, Study, Trial
from schemas.alignment import TrustSummary
from schemas.settings import Profile

SCENARIOS, WINDOW = 2000, 150
START = 0.8  # R of a new class: at the threshold, so that answers come without outcomes too


class Kind(NamedTuple):
    """Accounts of one kind: how many, their true α and β, and the colour they are drawn in."""

    accounts: int
    alpha: float
    beta: float
    colour: str
    manner: str = "honest"

    @property
    def youden(self) -> float:
        """The true J."""
        return self.alpha + self.beta - 1


KINDS = {
    "careful": Kind(6, 0.99, 0.99, BLUE),
    "erring": Kind(2, 0.7, 0.7, GREEN),
    "stamper": Kind(2, 1.0, 0.0, ORANGE, "likes"),
    "liar": Kind(2, 0.01, 0.01, PURPLE, "inverts"),
}
OUTCOMES = {True: (0.0, 0.1, 0.3), False: (0.0, 0.1)}
CONDITIONS: Conditions = {
    f"{'trust' if trust else 'no trust'}, outcomes {share:.0%}": {"trust": trust, "outcomes": share}
    for trust in (True, False)
    for share in OUTCOMES[trust]
}
LEARNED = 20  # answers from which on the words speak of what has been learned
STEPS = np.array([0, 5, 10, 15, 20, 30, 40, 50])  # answers, from which on each point of a course is taken


def people() -> People:
    """Return accounts of all kinds, who say as much each."""
    whole = sum(kind.accounts for kind in KINDS.values())
    return People(
        tuple(
            # Who inverts says what is true as often as the others err.
            Group(name=name, accounts=kind.accounts, share=kind.accounts / whole, manner=kind.manner, error=(error, error))  # type: ignore[arg-type]
            for name, kind in KINDS.items()
            for error in [0.0 if kind.manner == "likes" else min(kind.alpha, 1 - kind.alpha)]
        )
    )


def trial(seed: int, profile: Profile, *, trust: bool, outcomes: float) -> Trial:
    """Return what a loop came to, and how far the learned channels are from the true ones at its end and by the number of answers."""
    world = small("mixed", SCENARIOS, people=people(), outcomes=outcomes)
    ran, found = tried(world, fitted(profile, trust=trust, window_scenarios=WINDOW, initial_intercept=float(logit(START))), seed)
    told = channels(ran)
    ends = {
        f"{what}_{name}": float(np.mean(np.abs(last[:, column] - true))) if trust and len(last) else np.nan
        for name, kind in KINDS.items()
        for last in [last_of(told[name])]
        for what, column, true in (("alpha", 1, kind.alpha), ("beta", 2, kind.beta), ("youden", 3, kind.youden))
    }
    return {**found, **ends, **{f"errors_{name}": along(told[name], kind.youden) for name, kind in KINDS.items()}}


def channels(ran: Run) -> dict[str, Array]:
    """Return what was published of each kind: answers, α, β and J of a source at the end of a window, and its number; rows in order."""
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in KINDS}
    for event in ran.alignment:
        for source in event.sources if isinstance(event, TrustSummary) else ():
            name, _, number = source.source.partition("-")
            if name in rows:
                rows[name].append((source.answers, source.alpha, source.beta, source.alpha + source.beta - 1, int(number)))
    return {name: np.array(found, dtype=np.float64).reshape(-1, 5) for name, found in rows.items()}


def last_of(rows: Array) -> Array:
    """Return the last row of each source."""
    return np.array([rows[rows[:, 4] == number][-1] for number in np.unique(rows[:, 4])]).reshape(-1, 5)


def along(rows: Array, youden: float) -> list[float]:
    """Return the mean error of J over sources that have said so much, by STEPS; NaN where none has."""
    step = np.searchsorted(STEPS, rows[:, 0], side="right") - 1
    return [float(np.mean(np.abs(rows[step == place, 3] - youden))) if np.any(step == place) else np.nan for place in range(len(STEPS))]


def draw(results: Results) -> Figure:
    """Draw the error of J by answers, without outcomes and with, and regret with trust and without."""
    figure, (without, some, regret) = card("Simulated: learned trust against the true channels", 3, (1, 1, 0.9))
    middles = np.append((STEPS[:-1] + STEPS[1:]) / 2, STEPS[-1] + 10)
    for axes, share in ((without, 0.0), (some, 0.3)):
        ends = []
        for name, kind in KINDS.items():
            with np.errstate(invalid="ignore"):
                course = np.ma.masked_invalid(results.course(f"trust, outcomes {share:.0%}", f"errors_{name}")).mean(axis=0)
            known = ~np.ma.getmaskarray(course)
            axes.plot(middles[known], course[known], color=kind.colour, linewidth=WIDE)
            ends.append((float(course[known][-1]), f"{name}, J {kind.youden:.2g}", kind.colour))
        axes.set(title=f"error of J, outcomes on {share:.0%}", xlabel="answers of the source", xlim=(0, middles[-1]), ylim=(0, 1.7))
        name_ends(axes, ends, 1.75)
    rows = [(name, name, BLUE if sets["trust"] else GREY) for name, sets in CONDITIONS.items()]
    dots(regret, results, rows, "regret")
    regret.set(title="regret, last third")
    return figure


def words(results: Results) -> list[str]:
    """Answer what the paper leaves open of trust calibration, and say what trust is worth."""
    trusting, blind, told = "trust, outcomes 10%", "trust, outcomes 0%", "trust, outcomes 30%"

    def of(condition: str, measure: str) -> float:
        return results.mean(condition, measure)

    def settled(name: str) -> float:
        course = results.course(trusting, f"errors_{name}")
        return float(np.nanmean(course[:, STEPS >= LEARNED]))

    better = [
        f"{of(blind, f'youden_{name}'):.2f}, {of(trusting, f'youden_{name}'):.2f} and {of(told, f'youden_{name}'):.2f}" for name in KINDS
    ]
    gains = [results.gain(f"trust, outcomes {share:.0%}", f"no trust, outcomes {share:.0%}", "regret") for share in (0.1, 0.0)]
    return [
        (
            f"Trust calibration: from {LEARNED} answers on J errs by {settled('careful'):.2f} for careful operators,"
            f" {settled('erring'):.2f} for those who err in 30 %, {settled('liar'):.2f} for liars and {settled('stamper'):.2f} for who"
            " likes everything (outcomes on 10 %): enough to tell liars from the others, since a source has full weight"
            " from a J of .6 on and moves no score up to .02, not enough for those who like everything."
        ),
        (
            f"What is not learned is β: of careful operators α errs by {of(trusting, 'alpha_careful'):.2f}, β by"
            f" {of(trusting, 'beta_careful'):.2f}, because a loop that works surfaces little that is unwanted, so that β stays where it"
            " starts, at .8; and who likes everything is like an honest operator wherever things are wanted."
        ),
        (
            f"Outcomes on 0, 10 and 30 % leave J wrong at the end by {better[0]} for careful operators, {better[1]} for those who err,"
            f" {better[2]} for who likes everything, {better[3]} for liars; a liar in quarantine is learned of no further."
        ),
        (
            f"Regret with trust is {against(gains[0])} than without where outcomes tell of 10 %, {against(gains[1])} where none do"
            f" ({of(trusting, 'regret'):.3f} and {of(blind, 'regret'):.3f} with trust)."
        ),
    ]


STUDY = Study(
    name="trust",
    question="How near do the learned channels of sources come to the true ones, and what is trust worth?",
    setup=f"""{SETUP}
Here: world `mixed`, {SCENARIOS:,} scenarios, windows of {WINDOW}; classes start at R = {START} so that answers come without outcomes too.
Twelve accounts on the roster say as much each: six *careful* ones err in 1 % (α = β = .99), two *erring* ones in 30 %, two *stampers* like
everything (α = 1, β = 0), two *liars* say the opposite of what they think but for 1 % (α = β = .01). α and β are those that are published
on the alignment topic at the end of a window; an error is the absolute one, mean over the accounts of a kind. J = α + β − 1.
""",
    conditions=CONDITIONS,
    trial=trial,
    measures=(
        REGRET,
        EXCESS,
        RECALL,
        ANSWERED,
        Measure("quarantined", "accounts in quarantine at the end"),
        Measure("quarantined_honest", "honest ones among them, the erring included", better="less"),
        *(Measure(f"youden_{name}", f"error of J at the end, {name}", better="less") for name in KINDS),
        Measure("alpha_careful", "error of α at the end, careful", better="less"),
        Measure("beta_careful", "error of β at the end, careful", better="less"),
    ),
    draw=draw,
    words=words,
    cpu_seconds=150,
)
