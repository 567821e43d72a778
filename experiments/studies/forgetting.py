"""How soon a class with a long past is withheld once it turns bad, with the CUSUMs and without."""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from agents import scoring
from agents.scoring import PRIOR_OFFSETS, Array, Channel, Drift, Offsets
from experiments.pictures_of_rules_card import BLUE, GREY, ORANGE, PURPLE, WIDE, card, level, name_ends
from experiments.studies.study import Conditions, Measure, Results, Study, Trial
from schemas.identity import generator
from schemas.settings import Profile

CLASSES, AFTER = 100, 400
GOOD, BAD = (99.0, 1.0), (1.0, 19.0)
FLIPPED = 0.01
CHANNEL = Channel(1 - FLIPPED, 1 - FLIPPED)
SHOWN = np.unique(np.geomspace(1, AFTER, 50).astype(int)) - 1
CONDITIONS: Conditions = {
    "CUSUM, past of 1,000": {"rule": "cusum", "past": 1000},
    "CUSUM, past of 100": {"rule": "cusum", "past": 100},
    "no forgetting, past of 1,000": {"rule": "none", "past": 1000},
    "mean score, past of 1,000": {"rule": "mean", "past": 1000},
}
DRAWN = (
    ("CUSUM, past of 1,000", "CUSUM", BLUE),
    ("no forgetting, past of 1,000", "none", ORANGE),
    ("mean score, past of 1,000", "mean", PURPLE),
)


class Course(NamedTuple):
    """R of classes before each answer since their turn, shape (answers, classes), and how many fell by a jump before it."""

    confidence: Array
    jumped: int


def trial(seed: int, profile: Profile, *, rule: str, past: int) -> Trial:
    """Return after how many answers classes that turned bad are withheld, and how often one fell that had not turned."""
    random = generator(seed, "forgetting", f"{past}")
    rates = random.beta(*GOOD, CLASSES), random.beta(*BAD, CLASSES)
    liked = [random.random(CLASSES) < rates[answer >= past] for answer in range(past + AFTER)]
    flipped = random.random((past + AFTER, CLASSES)) < FLIPPED
    course = followed(rule, (np.array(liked) ^ flipped).astype(float), past, profile)
    withheld = course.confidence < profile.threshold
    needed = np.where(withheld.any(axis=0), withheld.argmax(axis=0), AFTER)
    return {
        "answers_median": float(np.median(needed)),
        "answers_q90": float(np.quantile(needed, 0.9)),
        "false_jumps": course.jumped / CLASSES * 1000 / past if rule == "cusum" else np.nan,
        "confidence": np.median(course.confidence[SHOWN], axis=1).tolist(),
    }


def followed(rule: str, liked: Array, past: int, profile: Profile) -> Course:
    """Return what becomes of classes under a rule.

    Args:
        rule: `cusum`, the default; `none`, the same score without it; `mean`, the paper's score, which has none.
        liked: Answers, 1 like and 0 override, shape (answers, classes).
        past: Answers before the turn.
        profile: Has the prior of the mean.
    """
    if rule == "mean":
        overrides = np.cumsum(1 - liked, axis=0) - (1 - liked)
        before = np.arange(len(liked))[:, np.newaxis].astype(float)
        misalignment = np.asarray(scoring.mean_misalignment(profile.prior_weight, profile.prior_mean, before, overrides))
        return Course(1 - misalignment[past:], 0)
    classes = liked.shape[1]
    drift, state = Drift(np.zeros(classes), np.zeros(classes)), Offsets(*(np.full(classes, value) for value in PRIOR_OFFSETS))
    reached, jumped = [], 0
    for answer, said in enumerate(liked):
        wanted = np.asarray(scoring.confidence(0.0, state.offset))
        if answer >= past:
            reached.append(wanted)
        state = scoring.update(state, said, CHANNEL, wanted, 1.0)
        if rule == "cusum":
            told = np.asarray(state.offset)
            drift, state = scoring.forget(drift, state, said, CHANNEL, wanted)
            jumped += int(np.sum(np.asarray(state.offset) < told)) if answer < past else 0
    return Course(np.array(reached), jumped)


def draw(results: Results) -> Figure:
    """Draw the median class's confidence since the turn, and the answers needed in each seed."""
    figure, (course, needed) = card("Simulated: classes that were wanted turn bad", 2, (1.25, 1))
    course.set_xscale("log")
    course.set(title="confidence R of the median class", xlabel="answers since the turn", xlim=(1, AFTER), ylim=(0, 1.02))
    course.xaxis.set_major_formatter("{x:.0f}")
    ends = []
    for condition, name, colour in DRAWN:
        median = results.course(condition, "confidence").mean(axis=0)
        course.plot(SHOWN + 1, median, color=colour, linewidth=WIDE)
        ends.append((float(median[-1]), name, colour))
    level(course, 0.8, "withheld below τ = .8", at=0.25, above=False)
    name_ends(course, ends, 1.25)
    needed.set_yscale("log")
    needed.set(title="answers until withheld: median and 90 % of classes", ylim=(1, 1000))
    for place, (condition, _, colour) in enumerate(DRAWN):
        median, late = (results.mean(condition, f"answers_{name}") for name in ("median", "q90"))
        needed.bar(place - 0.2, median, 0.36, color=colour)
        needed.bar(place + 0.2, late, 0.36, color=colour, alpha=0.5)
        for shift, value in ((-0.2, median), (0.2, late)):
            needed.annotate(f"{value:.3g}", (place + shift, value), (0, 3), textcoords="offset points", ha="center", color=GREY)
    needed.set_xticks(range(len(DRAWN)), [name for _, name, _ in DRAWN])
    needed.yaxis.set_major_formatter("{x:,.0f}")
    needed.grid(visible=False, axis="x")
    return figure


def words(results: Results) -> list[str]:
    """Say how soon classes are withheld."""
    cusum, without, mean = (results.mean(condition, "answers_median") for condition, _, _ in DRAWN)
    late = results.mean(DRAWN[0][0], "answers_q90")
    false = results.mean(DRAWN[0][0], "false_jumps")
    return [
        (
            f"A class of 1,000 answers that turns bad is withheld after {cusum:.1f} answers (median; nine in ten after {late:.1f});"
            f" without forgetting after {without:.0f}, with the paper's mean after {mean:.0f}."
        ),
        f"A class that has not turned falls by a jump {false:.2g} times in 1,000 answers.",
    ]


STUDY = Study(
    name="forgetting",
    question="How soon is a class with a long past withheld once it turns bad?",
    setup=f"""
{CLASSES} classes a seed, each wanted with a rate of its own from Beta(99, 1); after its past each turns bad, to a rate from
Beta(1, 19), and gets {AFTER} more answers. Operators say the opposite in {FLIPPED:.0%} of the answers, and the channel says so.
Every scenario is answered, surfaced or not: what is measured is the score, not what may be asked. A class is withheld when R is
under τ.
""",
    conditions=CONDITIONS,
    trial=trial,
    measures=(
        Measure("answers_median", "answers since the turn until half of the classes are withheld", "answers", "less"),
        Measure("answers_q90", "the same for nine in ten classes", "answers", "less"),
        Measure("false_jumps", "falls by a jump in 1,000 answers of a class that has not turned", "", "less"),
    ),
    draw=draw,
    words=words,
    cpu_seconds=60,
)
