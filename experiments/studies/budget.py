"""What the override budget costs in peace, stops under drift, and becomes in the hands of liars."""

import numpy as np
from matplotlib.figure import Figure

from experiments.pictures_of_rules_card import BLUE, GREY, ORANGE, PURPLE, card, name_ends, percent
from experiments.simulator.people import Group, People
from experiments.simulator.run import Run
from experiments.simulator.world import World
from experiments.simulator.worlds import OPERATORS
from experiments.studies.closed import ANSWERED, BUDGET_START, EXCESS, RECALL, REGRET, SETUP, course, dots, fitted, line, small, tried
from experiments.studies.study import Conditions, Measure, Results, Study, Trial
from schemas.events import Answer
from schemas.settings import Profile

SCENARIOS = 1600
AUDITED = 0.01  # propensity of what is decided while the budget is closed
NARROW = 15.0
LIARS = 0.4  # of the answers
WORLDS = ("peace", "drift", "liars")
COLOURS = {"trusted": BLUE, "raw": ORANGE, "off": PURPLE}
CONDITIONS: Conditions = {
    **{f"{name}, {budget}": {"name": name, "budget": budget, "start": BUDGET_START} for name in WORLDS for budget in COLOURS},
    **{f"{name}, {budget}, B₀ {NARROW:.0f}": {"name": name, "budget": budget, "start": NARROW} for name, budget in
       (("peace", "trusted"), ("drift", "trusted"), ("liars", "trusted"))},
}  # fmt: skip


def world_of(name: str) -> World:
    """Return the world of a name: nothing happens, a quarter of the classes turns, or two accounts invert what they think."""
    if name == "drift":
        return small("mixed", SCENARIOS, drift="abrupt")
    if name == "liars":
        liars = Group(name="liar", accounts=2, share=LIARS, manner="inverts")
        return small("mixed", SCENARIOS, people=People((Group(name="operator", accounts=OPERATORS.accounts, share=1 - LIARS), liars)))
    return small("mixed", SCENARIOS)


def trial(seed: int, profile: Profile, *, name: str, budget: str, start: float) -> Trial:
    """Return what a budget came to: how long it was closed, and how far overrides went beyond what was declared."""
    declared = fitted(profile, budget=budget, budget_start=start)
    ran, found = tried(world_of(name), declared, seed)
    closed = ran.propensity == AUDITED if budget != "off" else np.zeros(SCENARIOS, dtype=bool)
    return found | {
        "closed": float(closed.mean()),
        "closed_late": float(closed[2 * SCENARIOS // 3 :].mean()),
        "beyond": beyond(ran, closed, declared),
        "shut": course(closed.astype(float)),
    }


def beyond(ran: Run, explored: np.ndarray[tuple[int], np.dtype[np.bool_]], profile: Profile) -> float:
    """Return the most that overridden decisions have exceeded r answered + B₀ by at any answer; below zero if they never did.

    What is surfaced as audited exploration is booked apart, and an answer after its deadline is none.
    """
    kinds = np.array(ran.replies.kind)
    due = np.arange(len(kinds)) + ran.replies.delay
    deadline = profile.answer_deadline_ms // 60_000
    heard = ran.surfaced & ~explored & np.isin(kinds, [Answer.LIKE, Answer.OVERRIDE]) & (ran.replies.delay < deadline) & (due < len(kinds))
    order = np.argsort(due[heard], kind="stable")
    overridden = np.cumsum(kinds[heard][order] == Answer.OVERRIDE)
    spent = overridden - profile.override_rate * np.arange(1, len(order) + 1) - profile.budget_start
    return float(spent.max(initial=-profile.budget_start))


def draw(results: Results) -> Figure:
    """Draw when the budget is closed under liars and under drift, and recall and what overrides went beyond."""
    figure, (along, recall, excess) = card("Simulated: override budgets", 3, (1.2, 1, 0.8))
    ends = []
    for budget in ("trusted", "raw"):
        height = line(along, results, f"liars, {budget}", "shut", SCENARIOS, COLOURS[budget])
        ends.append((height, budget, COLOURS[budget]))
    along.set(title=f"closed, liars with {LIARS:.0%} of the answers", xlabel="scenarios", ylim=(-0.02, 1.02))
    percent(along)
    name_ends(along, ends, 1.3)
    rows = [(condition, condition, COLOURS[str(sets["budget"])]) for condition, sets in CONDITIONS.items()]
    dots(recall, results, rows, "recall")
    recall.set(title="recall, last third")
    dots(excess, results, rows, "beyond", named=False)
    excess.axvline(0, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    excess.set(title="overrides beyond bound")
    return figure


def words(results: Results) -> list[str]:
    """Say what each budget does in each world."""

    def of(condition: str, name: str) -> float:
        return results.mean(condition, name)

    worst = max(np.nanmax(results.values(f"{name}, raw", "beyond")) for name in WORLDS)
    narrow = f", B₀ {NARROW:.0f}"
    return [
        (
            f"With liars the raw budget is closed for {of('liars, raw', 'closed_late'):.0%} of the last third and recall is"
            f" {of('liars, raw', 'recall'):.2f}: its bound can be used to shut the loop; the trusted one is closed for"
            f" {of('liars, trusted', 'closed_late'):.0%} with recall {of('liars, trusted', 'recall'):.2f},"
            f" and without a budget recall is {of('liars, off', 'recall'):.2f}."
        ),
        (
            f"The raw budget {'was never exceeded' if worst <= 0 else 'WAS EXCEEDED'} at any answer of any seed"
            f" (at most {worst:+.1f} overrides against its bound); under liars the trusted one lets"
            f" {of('liars, trusted', 'beyond'):+.0f} pass beyond that bound on average, which its sources' own errors explain."
        ),
        (
            f"In peace neither costs anything (regret {of('peace, trusted', 'regret'):.3f} trusted, {of('peace, raw', 'regret'):.3f} raw,"
            f" {of('peace, off', 'regret'):.3f} off), under drift they cost {of('drift, trusted', 'excess'):.3f},"
            f" {of('drift, raw', 'excess'):.3f} and {of('drift, off', 'excess'):.3f} over the whole run."
        ),
        (
            f"A budget that is less than what waits for answers throttles even in peace: with B₀ = {NARROW:.0f} it is closed for"
            f" {of(f'peace, trusted{narrow}', 'closed'):.0%} of the scenarios (excess {of(f'peace, trusted{narrow}', 'excess'):.3f} against"
            f" {of('peace, trusted', 'excess'):.3f}), and under drift for {of(f'drift, trusted{narrow}', 'closed'):.0%}."
        ),
    ]


STUDY = Study(
    name="budget",
    question="What does the override budget stop, what does it cost, and who can turn it against the loop?",
    setup=f"""{SETUP}
Here: world `mixed`, {SCENARIOS:,} scenarios; *drift* turns a quarter of the classes in the middle; *liars* are two accounts that
invert what they think in {LIARS:.0%} of the answers. r = .1 as the profile declares. *Closed* is a scenario that was decided while
the budget had nothing left; what was surfaced as audited exploration then (1 %) is booked apart. Each open recommendation holds a
unit until it is answered or its deadline passes.
""",
    conditions=CONDITIONS,
    trial=trial,
    measures=(
        REGRET,
        EXCESS,
        RECALL,
        ANSWERED,
        Measure("closed", "share of the scenarios decided while the budget was closed", better="less"),
        Measure("closed_late", "the same of the last third", better="less"),
        Measure("beyond", "most that overrides were beyond r·answered + B₀ at any answer; `raw` promises at most 0", "overrides", "less"),
    ),
    draw=draw,
    words=words,
    cpu_seconds=190,
)
