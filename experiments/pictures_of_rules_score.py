"""Pictures of what an answer does to its class: score, silence, forgetting, and of the threshold that the score must pass."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agents import scoring, thresholds
from agents.scoring import PERFECT, PRIOR_OFFSETS, Array, Channel, Drift, Offsets
from agents.thresholds import ARMS
from experiments.pictures_of_rules_card import BLUE, GREEN, GREY, ORANGE, PURPLE, WIDE, card, level, name_ends, percent
from schemas.identity import generator
from schemas.settings import Profile

PROFILE = Profile(name="default")
CLASSES, ANSWERS = 400, 40
TURNING, BEFORE, AFTER = 300, 1000, 600
HONEST = Channel(0.98, 0.98)


def draw_score() -> tuple[Figure, str]:
    """Draw a class's confidence along its answers, by both scores, and how far one override moves it after many likes."""
    figure, panels = card(f"Simulated answers: means over {CLASSES} classes", 3)
    ends = {}
    for axes, rate in zip(panels, (0.97, 0.03), strict=False):
        axes.set(title=f"a class that is wanted in {100 * rate:.0f} %", xlabel="answers", ylim=(0, 1.02), xlim=(0, ANSWERS))
        level(axes, PROFILE.threshold, "τ = .8", above=False, at=0.78)
        for score, colour in (("logit", BLUE), ("mean", ORANGE)):
            for error, line in ((0.0, "-"), (0.1, ":")):
                course = confidences(score, rate, error).mean(axis=1)
                ends[score, rate, error] = course
                axes.plot(course, color=colour, linestyle=line, linewidth=WIDE, label=f"{score}, 10 % wrong" if error else score)
    panels[0].set_ylabel("confidence R")
    panels[0].legend(loc="lower right", frameon=False)
    falls = draw_steps(panels[2])
    passed = [int(np.argmax(ends[score, 0.97, 0.0] >= PROFILE.threshold)) for score in ("logit", "mean")]
    wrong = [ends[score, 0.97, 0.1][-1] for score in ("logit", "mean")]
    return figure, (
        f"A wanted class passes .8 after {passed[0]} answers with `logit`, after {passed[1]} with `mean`. With a tenth of the answers wrong"
        f" `logit` ends at {wrong[0]:.2f}, because its channel says so, and `mean` at {wrong[1]:.2f}. After 1,000 likes one override"
        f" lowers R by {falls[0]:.4f} with `logit`, by {falls[1]:.4f} with `mean`."
    )


def confidences(score: str, rate: float, error: float) -> Array:
    """Return R of simulated classes after each answer, shape (answers + 1, classes).

    Args:
        score: `logit`, through the channel that the answers have, or `mean`.
        rate: Share of a class's scenarios that is wanted.
        error: Share of answers that is wrong, either way.
    """
    random = generator(1, "score", f"{rate} {error}")
    channel = Channel(1 - error, 1 - error)
    state = Offsets(*(np.full(CLASSES, value) for value in PRIOR_OFFSETS))
    overrides = np.zeros(CLASSES)
    course = []
    for answered in range(ANSWERS + 1):
        mean = 1 - np.asarray(scoring.mean_misalignment(PROFILE.prior_weight, PROFILE.prior_mean, float(answered), overrides))
        logit = np.asarray(scoring.confidence(0.0, state.offset))
        course.append(mean if score == "mean" else logit)
        is_wanted = random.random(CLASSES) < rate
        liked = np.where(random.random(CLASSES) < error, ~is_wanted, is_wanted).astype(float)
        state = scoring.update(state, liked, channel, logit, 1.0)
        overrides += 1 - liked
    return np.array(course)


def draw_steps(axes: Axes) -> tuple[float, float]:
    """Draw how far one override lowers R after a number of likes; return the last with `logit` and `mean`."""
    likes = np.arange(1001.0)
    state, falls = PRIOR_OFFSETS, []
    for _ in likes:
        wanted = scoring.confidence(0.0, state.offset)
        overridden = scoring.update(state, 0.0, PERFECT, wanted, 1.0)
        falls.append(float(wanted) - float(scoring.confidence(0.0, overridden.offset)))
        state = scoring.update(state, 1.0, PERFECT, wanted, 1.0)
    weight, mean = PROFILE.prior_weight, PROFILE.prior_mean
    before, after = (np.asarray(scoring.mean_misalignment(weight, mean, likes + more, float(more))) for more in (0, 1))
    moved = after - before
    axes.loglog(likes[1:], falls[1:], color=BLUE, linewidth=WIDE)
    axes.loglog(likes[1:], moved[1:], color=ORANGE, linewidth=WIDE)
    axes.set(title="one override lowers R by", xlabel="likes before it", xlim=(1, 1000), ylim=(5e-4, 1))
    for course, name, colour, place in ((falls, "logit", BLUE, (-40, -14)), (moved, "mean", ORANGE, (6, 6))):
        axes.annotate(name, (40, course[40]), place, textcoords="offset points", color=colour, fontsize=10, fontweight="bold")
    return falls[-1], float(moved[-1])


def draw_silence() -> tuple[Figure, str]:
    """Draw the cap that a pull by silence sets on confidence, and how a class that is always liked fares under both rules."""
    figure, (cap, course) = card("What a pull by silence does (arithmetic, no simulation)")
    skipped = np.linspace(0, 0.8, 81)
    ends = []
    for target, colour in ((0.2, BLUE), (0.3, PURPLE), (0.4, ORANGE)):
        # The running mean's fixed point: what M comes to after very many decisions of these shares.
        neutral, error = 0.1, 0.02
        weighted = skipped * target + 0.5 * neutral + (1 - skipped - neutral) * error
        reached = 1 - np.asarray(scoring.mean_misalignment(PROFILE.prior_weight, PROFILE.prior_mean, 1e9, 1e9 * weighted))
        cap.plot(skipped, reached, color=colour, linewidth=WIDE)
        ends.append((float(reached[-1]), f"λ = {target:.1f}", colour))
    cap.set(
        title="R_max, 10 % neutral, operators' error 2 %",
        xlabel="share of surfaced decisions that is skipped",
        xlim=(0, 0.8),
        ylim=(0.55, 1),
    )
    cap.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    level(cap, PROFILE.threshold, "τ = .8", above=False)
    name_ends(cap, ends, 1.2)
    decisions = np.arange(201.0)
    ends = []
    for name, silence, weight, colour in (("ignore", 0.0, 0.4, BLUE), ("pull, λ = .3", 0.6 * PROFILE.silence_target, 1.0, ORANGE)):
        reached = 1 - np.asarray(
            scoring.mean_misalignment(PROFILE.prior_weight, PROFILE.prior_mean, weight * decisions, silence * decisions)
        )
        course.plot(decisions, reached, color=colour, linewidth=WIDE)
        ends.append((float(reached[-1]), name, colour))
    course.set(
        title="a class that is liked whenever it is answered, 60 % skipped", xlabel="surfaced decisions", xlim=(0, 200), ylim=(0.48, 1.01)
    )
    level(course, PROFILE.threshold, "τ = .8", above=False, at=0.6)
    name_ends(course, ends, 1.3)
    limit = 1 - 0.6 * PROFILE.silence_target
    return figure, (
        f"With 60 % skipped and λ = .3 no class passes R = {limit:.2f}, even if every answer is a like; after 200 decisions it is at"
        f" {ends[1][0]:.2f} with `pull`, at {ends[0][0]:.2f} with `ignore`."
    )


def draw_forgetting() -> tuple[Figure, str]:
    """Draw classes of 1,000 answers that turn bad, with the CUSUMs and without, and the sum of one of them."""
    figure, (course, sums) = card(
        f"Simulated: {TURNING} classes of {BEFORE:,} answers, liked in 97 %, turn bad: liked in 4 %", 2, (1.15, 1)
    )
    shown = np.unique(np.geomspace(1, AFTER, 70).astype(int)) - 1
    needed, ends = {}, []
    for forgets, colour, name in ((True, BLUE, "with CUSUMs"), (False, ORANGE, "without")):
        reached, falling = turned(forgets=forgets)
        low, middle, high = np.quantile(reached, (0.1, 0.5, 0.9), axis=1)
        course.fill_between(shown + 1, low[shown], high[shown], color=colour, alpha=0.15, linewidth=0)
        course.plot(shown + 1, middle[shown], color=colour, linewidth=WIDE)
        needed[forgets] = np.quantile(np.argmax(reached < PROFILE.threshold, axis=0), (0.5, 0.9))
        ends.append((float(middle[-1]), name, colour))
        if forgets:
            answers = np.arange(1, 13)
            sums.plot(answers, falling[: len(answers), 1:21], color=BLUE, alpha=0.2, linewidth=1)
            sums.plot(answers, falling[: len(answers), 0], color=BLUE, linewidth=WIDE, marker="o", markersize=4)
    course.set_xscale("log")
    course.set(title="confidence R: median, and eight classes in ten", xlabel="answers since the turn", xlim=(1, AFTER), ylim=(0, 1.02))
    course.xaxis.set_major_formatter("{x:.0f}")
    level(course, PROFILE.threshold, "τ = .8", above=False, at=0.62)
    name_ends(course, ends, 1.32)
    sums.set(title="the sum g− of one class, and of twenty more", xlabel="answers since the turn", ylim=(0, 6.2))
    sums.set_xticks([1, 3, 6, 9, 12])
    level(sums, scoring.DRIFT_BOUND, "bound 5: b falls by 2, both sums start anew", at=0.12)
    return figure, (
        f"Half of the classes fall under .8 after {needed[True][0]:.0f} answers with the CUSUMs and nine in ten after"
        f" {needed[True][1]:.0f}; without them after {needed[False][0]:.0f} and {needed[False][1]:.0f}."
    )


def turned(*, forgets: bool) -> tuple[Array, Array]:
    """Return R of classes before each answer since their turn, and their sums g- after it, each of shape (answers, classes)."""
    random = generator(3, "forgetting", "answers")
    drift, state = Drift(np.zeros(TURNING), np.zeros(TURNING)), Offsets(*(np.full(TURNING, value) for value in PRIOR_OFFSETS))
    reached, falling = [], []
    for answered in range(BEFORE + AFTER):
        wanted = np.asarray(scoring.confidence(0.0, state.offset))
        liked = (random.random(TURNING) < (0.97 if answered < BEFORE else 0.04)).astype(float)
        state = scoring.update(state, liked, HONEST, wanted, 1.0)
        if forgets:
            drift, state = scoring.forget(drift, state, liked, HONEST, wanted)
        if answered >= BEFORE:
            reached.append(wanted)
            falling.append(np.asarray(drift.falling))
    return np.array(reached), np.array(falling)


def draw_threshold() -> tuple[Figure, str]:
    """Draw the propensity of `posterior` by offset and information, and the arms' probabilities of `thompson`."""
    figure, (propensity, arms) = card("What surfaces a scenario (computed, no simulation)", 2, (1.15, 1))
    offsets = np.linspace(-3, 5, 161)
    random = generator(4, "threshold", "unused draws")
    for information, colour in ((0.25, ORANGE), (1, PURPLE), (4, GREEN), (25, BLUE)):
        passing = [thresholds.posterior(0.0, float(b), information, PROFILE.threshold, random).propensity for b in offsets]
        propensity.plot(offsets, passing, color=colour, linewidth=WIDE, label=f"D = {information:g}")
    propensity.set(title="posterior: propensity, f(x) = 0", xlabel="offset b of the class (logit)", xlim=(-3, 5), ylim=(-0.02, 1.02))
    percent(propensity)
    propensity.axvline(float(np.log(4)), color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    propensity.annotate("logit τ", (float(np.log(4)), 0.04), (5, 0), textcoords="offset points", color=GREY, fontsize=9.5)
    propensity.legend(loc="upper left", frameon=False)
    share, chances = np.array([0.80, 0.84, 0.88, 0.92, 0.96]), np.zeros(len(ARMS))
    for index, (answers, colour) in enumerate(((0, GREY), (20, ORANGE), (100, PURPLE), (500, BLUE))):
        chances = thresholds.arm_probabilities(1 + answers * share, 1 + answers * (1 - share))
        arms.bar(np.arange(len(ARMS)) + (index - 1.5) * 0.2, chances, 0.18, color=colour, label=f"{answers} answers an arm")
    arms.set_xticks(range(len(ARMS)), [f"{arm:.1f}\n{liked:.0%} liked" for arm, liked in zip(ARMS, share, strict=True)], fontsize=9.5)
    arms.set(title="thompson: probability of each arm", ylim=(0, 1.02))
    arms.grid(visible=False, axis="x")
    percent(arms)
    arms.legend(loc="upper left", frameon=False)
    new = thresholds.posterior(0.0, 0.0, float(PRIOR_OFFSETS.draw_information), PROFILE.threshold, random).propensity
    return figure, (
        f"A class that nobody has answered yet (D = .25, b = 0) is surfaced with propensity {new:.2f} where f(x) = 0. With 500 answers"
        f" an arm, `thompson` takes the arm that is liked most with probability {chances[-1]:.2f}: here .9, whatever a miss costs."
    )
