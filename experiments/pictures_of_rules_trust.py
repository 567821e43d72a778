"""Pictures of what answers say of those who give them, and of the whole: trust, override budget, alignment loss."""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import ndtri

from agents import alignment, trust
from agents.scoring import Array
from agents.trust import Coins
from experiments.pictures_of_rules_card import BLUE, GREEN, GREY, ORANGE, PURPLE, WIDE, card, level, name_ends, percent
from schemas.identity import generator
from schemas.settings import Profile

PROFILE = Profile(name="default")
COURSES, HEARD = 200, 300
SURE_SHARE, SURE, UNSURE = 0.8, 0.95, 0.8  # what is surfaced is mostly wanted
SHUT_OUT = 0.05
BUDGETED, OPERATORS = 1500, 10
RUNS, TRIALS, RATE = 1000, 3000, 0.1


class Habit(NamedTuple):
    """How a source answers: P(like | wanted) and P(override | unwanted)."""

    name: str
    alpha: float
    beta: float
    colour: str


HONEST = Habit("honest, 2 % wrong", 0.98, 0.98, BLUE)
NOISY = Habit("noisy, 20 % wrong", 0.8, 0.8, GREEN)
STAMP = Habit("likes everything", 1.0, 0.0, PURPLE)
LIAR = Habit("liar", 0.02, 0.02, ORANGE)


def draw_trust() -> tuple[Figure, str]:
    """Draw the weight of four sources along their answers, without outcomes and with outcomes on a tenth of them."""
    figure, panels = card(f"Simulated: sources on the roster; means over {COURSES} courses; classes' R taken as known", 2, (1, 1.3))
    reached = {}
    for axes, share, title in zip(panels, (0.0, 0.1), ("no outcomes", "outcomes on 10 % of the answered decisions"), strict=True):
        ends = []
        axes.set(title=f"weight w: {title}", xlabel="answers of the source", xlim=(0, HEARD), ylim=(-0.03, 1.05))
        for habit in (HONEST, NOISY, STAMP, LIAR):
            course = weights(habit, share)
            reached[habit, share] = course
            axes.plot(course, color=habit.colour, linewidth=WIDE)
            ends.append((float(course[-1]), habit.name, habit.colour))
        if share:
            name_ends(axes, ends, 1.55)
    silenced = int(np.argmax(reached[LIAR, 0.0] < SHUT_OUT))
    return figure, (
        "Simulated: everyone on the roster begins at w = 1."
        f" A liar's weight is under {SHUT_OUT:.2f} after {silenced} answers. One who likes"
        f" everything is at {reached[STAMP, 0.0][-1]:.2f} after {HEARD} answers without outcomes and at {reached[STAMP, 0.1][-1]:.2f} with"
        " outcomes on a tenth."
    )


def weights(habit: Habit, outcomes: float) -> Array:
    """Return the mean weight of a source before each answer and after the last, shape (answers + 1,).

    Four answers in five are to classes of R = .95, one to a class of R = .8. `outcomes` is the share of answered decisions of which
    an outcome tells the truth afterwards.
    """
    random = generator(5, "trust", f"{habit.name} {outcomes}")
    coins = Coins(*(np.full(COURSES, count) for count in trust.prior(on_roster=True)))
    course = []
    for _ in range(HEARD):
        course.append(float(np.mean(trust.weight(trust.channel(coins)))))
        believed = np.where(random.random(COURSES) < SURE_SHARE, SURE, UNSURE)
        wanted = random.random(COURSES) < believed
        liked = np.where(wanted, random.random(COURSES) < habit.alpha, random.random(COURSES) >= habit.beta).astype(float)
        answered = trust.count(coins, liked, trust.posterior(coins, liked, believed), 1.0)
        told = trust.count(answered, liked, wanted.astype(float), trust.OUTCOME_WEIGHT)
        known = random.random(COURSES) < outcomes
        coins = Coins(*(np.where(known, after, before) for before, after in zip(answered, told, strict=True)))
    return np.array([*course, float(np.mean(trust.weight(trust.channel(coins))))])


def draw_budget() -> tuple[Figure, str]:
    """Draw trusted and raw wealth along the answers of honest operators, and of the same with four liars in ten."""
    figure, panels = card(f"Simulated: {BUDGETED:,} answers to recommendations of which 95 % are wanted, budget not enforced")
    spent = {}
    for axes, liars in zip(panels, (0, 4), strict=True):
        ends = []
        courses = wealth(liars)
        for course, name, colour in zip(courses, ("trusted", "raw"), (BLUE, ORANGE), strict=True):
            axes.plot(np.arange(0, BUDGETED + 1, 10), course[::10], color=colour, linewidth=WIDE)
            ends.append((float(course[-1]), name, colour))
            spent[liars, name] = int(np.argmax(course < 1)) if course.min() < 1 else None
        axes.set(
            title=f"{liars} of {OPERATORS} operators lie" if liars else f"{OPERATORS} honest operators, 2 % wrong",
            xlabel="answers",
            xlim=(0, BUDGETED),
            ylim=(-350, 300),
        )
        axes.axhspan(-350, 0, color=GREY, alpha=0.08, linewidth=0)
        axes.annotate("no wealth: 1 % surfaced, as exploration", (20, -335), color=GREY, fontsize=9.5)
        level(axes, PROFILE.budget_start, "B₀ = 150", at=0.5, above=False)
        name_ends(axes, ends, 1.22)
    panels[0].set_ylabel("wealth, in overrides")
    return figure, (
        f"With four liars in ten the raw budget is spent after {spent[4, 'raw']} answers and stays so; the trusted one pays for overrides"
        " beyond what each source's own error explains, and weighs a liar with 0, here by its coins alone."
    )


def wealth(liars: int) -> tuple[Array, Array]:
    """Return trusted and raw wealth after each answer, shape (answers + 1,) each; the operators answer in turn."""
    random = generator(6, "budget", str(liars))
    coins = [trust.prior(on_roster=True)] * OPERATORS
    answers, overrides = np.zeros(OPERATORS), np.zeros(OPERATORS)
    trusted, raw = [PROFILE.budget_start], [PROFILE.budget_start]
    for count in range(BUDGETED):
        operator = count % OPERATORS
        habit = LIAR if operator < liars else HONEST
        wanted = random.random() < SURE
        liked = random.random() < (habit.alpha if wanted else 1 - habit.beta)
        believed = trust.posterior(coins[operator], float(liked), SURE)
        coins[operator] = trust.count(coins[operator], float(liked), believed, 1.0)
        answers[operator] += 1
        overrides[operator] += not liked
        channel = trust.channel(Coins(*np.array(coins, dtype=float).T))
        earned = np.asarray(trust.wealth(channel, answers, overrides, PROFILE.override_rate))
        trusted.append(PROFILE.budget_start + float(earned.sum()))
        raw.append(PROFILE.budget_start + float(PROFILE.override_rate * answers.sum() - overrides.sum()))
    return np.array(trusted), np.array(raw)


def draw_loss() -> tuple[Figure, str]:
    """Draw an interval as answers come in, how often it and Wald's have ever missed, and the numbers of one window."""
    figure, (width, missed, window) = card(
        f"Intervals of a rate of 10 % (simulated: {RUNS:,} runs), and one made-up window", 3, (1, 1.15, 0.9)
    )
    events = np.unique(np.geomspace(1, 1000, 60).astype(int))
    count = events * 10
    low, high = alignment.beta_binomial_interval(events, count)
    wald_low, wald_high = wald(events, count)
    width.fill_between(count, low, high, color=BLUE, alpha=0.2, linewidth=0)
    width.plot(count, np.column_stack([wald_low, wald_high]), color=ORANGE, linewidth=1.5, linestyle=":")
    width.set_xscale("log")
    width.set(title="ends of the interval", xlabel="answers", xlim=(10, 10_000), ylim=(0, 0.62))
    percent(width)
    width.annotate("used here", (45, 0.4), color=BLUE, fontsize=10, fontweight="bold")
    width.annotate("Wald's", (11.5, 0.16), color=ORANGE, fontsize=10, fontweight="bold")
    ever = ever_missed()
    shown = np.unique(np.geomspace(1, TRIALS, 80).astype(int)) - 1
    ends = []
    for course, name, colour in ((ever[0], "used here", BLUE), (ever[1], "Wald's", ORANGE)):
        missed.plot(shown + 1, course[shown], color=colour, linewidth=WIDE)
        ends.append((float(course[-1]), name, colour))
    missed.set_xscale("log")
    missed.set(title="runs missed at some moment", xlabel="answers, looked at after each", xlim=(10, TRIALS), ylim=(0, 0.5))
    percent(missed)
    level(missed, alignment.MISCOVERAGE, "promised: 2.5 %", at=0.36)
    name_ends(missed, ends, 1.55)
    draw_window(window)
    return figure, (
        f"Looked at after every answer, Wald's 97.5 % interval has missed the rate at some moment in {ever[1][-1]:.0%} of the runs after"
        f" {TRIALS:,} answers, the interval used here in {ever[0][-1]:.1%}; it is wider for that."
    )


def wald(events: Array, trials: Array) -> tuple[Array, Array]:
    """Return the textbook interval of the same level, for comparison: p +- z sqrt(p (1 - p) / n)."""
    rate = events / trials
    reach = ndtri(1 - alignment.MISCOVERAGE / 2) * np.sqrt(rate * (1 - rate) / trials)
    return rate - reach, rate + reach


def ever_missed() -> tuple[Array, Array]:
    """Return the share of runs whose interval has excluded the true rate by each number of answers: this project's, and Wald's."""
    random = generator(7, "loss", "answers")
    events = np.cumsum(random.random((RUNS, TRIALS)) < RATE, axis=1)
    # Many runs share the same counts: each pair is looked at once.
    pairs, place = np.unique(events * (TRIALS + 1) + np.arange(1, TRIALS + 1), return_inverse=True)
    shares = []
    for interval in (alignment.beta_binomial_interval, wald):
        low, high = interval(pairs // (TRIALS + 1), pairs % (TRIALS + 1))
        outside = ((low > RATE) | (high < RATE))[place].reshape(RUNS, TRIALS)
        # Wald's has width 0 until both answers have been seen; it is not blamed for that.
        outside[(events == 0) | (events == np.arange(1, TRIALS + 1))] &= interval is not wald
        shares.append(np.maximum.accumulate(outside, axis=1).mean(axis=0))
    return shares[0], shares[1]


def draw_window(axes: Axes) -> None:
    """Draw the numbers that one window of 200 scenarios gives: 60 surfaced, 36 answered, 6 overridden, 6 neutral, 18 skipped."""
    answers = {"override": 6, "like": 30, "neutral": 6, "skipped": 18}
    rates = alignment.override_rates(6, 60, 36, 200)
    paper, floor = alignment.paper_loss(answers, PROFILE.silence_target)
    loss = alignment.alignment_loss(alignment.rate(6, 36), alignment.rate(4, 20), 0.3, 0.7, PROFILE.override_cost, PROFILE.miss_cost)
    names = ("overrides per scenario", "overrides per surfaced", "overrides per answered", "paper's loss, mean y", "alignment loss L")
    values = [rates.per_scenario, rates.per_surfaced, rates.per_answered, paper, loss.point]
    colours = (GREY, GREY, GREY, ORANGE, BLUE)
    places = np.arange(len(names))
    heights = [value or 0.0 for value in values]
    axes.barh(places, heights, 0.6, color=colours)
    axes.barh([3], [floor or 0.0], 0.6, color="white", alpha=0.55, hatch="///", edgecolor=ORANGE, linewidth=0)
    axes.plot([loss.low, loss.high], [4, 4], color="black", linewidth=1.3, marker="|", markersize=9)
    for place, value in zip(places[:-1], heights, strict=False):
        axes.annotate(f"{value:.2f}", (value, place), (5, 0), textcoords="offset points", va="center", fontsize=9.5)
    axes.annotate(f"{heights[-1]:.2f}", (loss.high, 4), (6, 0), textcoords="offset points", va="center", fontsize=9.5)
    axes.annotate("hatched: its floor", (heights[3], 3), (32, 0), textcoords="offset points", va="center", fontsize=9, color=ORANGE)
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0)
    axes.set(title="one window: 6 overrides", xlim=(0, 1.2), ylim=(-0.6, 4.6))
    axes.grid(visible=False, axis="y")
