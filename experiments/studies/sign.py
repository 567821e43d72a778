"""What the paper's sign does when it is taken literally: confidence rises with overrides, and what is confident is surfaced."""

import numpy as np
from matplotlib.figure import Figure

from agents.alignment import BoolArray, IntArray
from agents.scoring import SCHEDULES, mean_update
from experiments.pictures_of_rules_card import BLUE, ORANGE, WIDE, card, name_ends, percent
from experiments.studies.study import Measure, Results, Study, Trial
from schemas.identity import generator
from schemas.settings import Profile

CLASSES, SCENARIOS, THRESHOLD = 200, 40_000, 0.5
ZIPF, GOOD_SHARE, GOOD, BAD = 0.8, 0.55, (99.0, 1.0), (1.0, 19.0)
OPERATORS, FLIPPED_MAX, SKIPPED, NEUTRAL, DELAY = 12, 0.02, 0.4, 0.1, 50.0
SCORED = 2 * SCENARIOS // 3  # the last third
BLOCK = 1000
SIGNS = {"literal": {"literal": True}, "corrected": {"literal": False}}
COLOURS = {"literal": ORANGE, "corrected": BLUE}


def trial(seed: int, profile: Profile, *, literal: bool) -> Trial:
    """Run one small closed loop: a running mean a class, a fixed threshold of .5, no exploration; silence leaves the score alone."""
    random = generator(seed, "sign", "world")
    is_good = random.random(CLASSES) < GOOD_SHARE
    rates = np.where(is_good, random.beta(*GOOD, CLASSES), random.beta(*BAD, CLASSES))
    shares = np.arange(1, CLASSES + 1) ** -ZIPF
    classes = random.choice(CLASSES, SCENARIOS, p=shares / shares.sum())
    wanted = random.random(SCENARIOS) < rates[classes]
    errors = random.uniform(0, FLIPPED_MAX, OPERATORS)[random.integers(OPERATORS, size=SCENARIOS)]
    liked = wanted ^ (random.random(SCENARIOS) < errors)
    answered = random.random(SCENARIOS) < 1 - SKIPPED - NEUTRAL
    due = np.arange(1, SCENARIOS + 1) + np.floor(random.exponential(DELAY, SCENARIOS)).astype(int)
    surfaced = surfaced_by(profile, classes, liked, answered, due, literal=literal)
    asked, told = surfaced & answered, surfaced & answered & ~liked
    late = slice(SCORED, None)
    # A block in which nothing was answered has no rate.
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "recall": float(np.sum((surfaced & wanted)[late]) / np.sum(wanted[late])),
            "precision": float(np.sum((surfaced & wanted)[late]) / np.sum(surfaced[late])),
            "overrides_per_surfaced": float(np.sum(told[late]) / np.sum(surfaced[late])),
            "overrides_per_answered": float(np.sum(told[late]) / np.sum(asked[late])),
            "overrides_per_scenario": float(np.mean(told[late])),
            "recalls": (blocks(surfaced & wanted) / blocks(wanted)).tolist(),
            "overrides": (blocks(told) / blocks(asked)).tolist(),
        }


def surfaced_by(profile: Profile, classes: IntArray, liked: BoolArray, answered: BoolArray, due: IntArray, *, literal: bool) -> BoolArray:
    """Return which scenarios are surfaced, shape (scenarios,).

    Args:
        profile: Has the prior.
        classes: Of each scenario, shape (scenarios,), as all that follow.
        liked: What its answer would be.
        answered: Whether it is answered if surfaced.
        due: The scenario before which its answer is there.
        literal: Whether an override (y = 1) moves confidence itself toward 1, or misalignment, with confidence = 1 - misalignment.
    """
    moved = [profile.prior_mean] * CLASSES
    heard = [0.0] * CLASSES
    waiting: list[list[int]] = [[] for _ in range(SCENARIOS + 1)]
    surfaced = np.zeros(SCENARIOS, dtype=bool)
    step = SCHEDULES["harmonic"]
    for scenario, (name, last) in enumerate(zip(classes.tolist(), np.minimum(due, SCENARIOS).tolist(), strict=True)):
        for past in waiting[scenario]:
            told = classes[past]
            target = 0.0 if liked[past] else 1.0
            moved[told] = float(mean_update(moved[told], target, step(profile.prior_weight, heard[told], 1.0)))
            heard[told] += 1
        surfaced[scenario] = (moved[name] if literal else 1 - moved[name]) >= THRESHOLD
        if surfaced[scenario] and answered[scenario]:
            waiting[last].append(scenario)
    return surfaced


def blocks(events: BoolArray) -> IntArray:
    """Return how many scenarios of each block of 1,000 are marked, shape (blocks,)."""
    counts: IntArray = events.reshape(-1, BLOCK).sum(axis=1)
    return counts


def draw(results: Results) -> Figure:
    """Draw recall and overrides per answered along the run, for both signs."""
    figure, panels = card("Simulated: the same recursion with both signs", 2)
    thousands = np.arange(1, SCENARIOS // BLOCK + 1)
    for axes, name, title in zip(panels, ("recalls", "overrides"), ("recall", "overrides per answered"), strict=True):
        axes.set(title=title, xlabel="thousand scenarios", xlim=(0, SCENARIOS // BLOCK), ylim=(0, 1.02))
        ends = []
        for sign, colour in COLOURS.items():
            courses = results.course(sign, name)
            axes.plot(thousands, courses.T, color=colour, linewidth=0.8, alpha=0.2)
            middle = np.nanmean(courses, axis=0)
            axes.plot(thousands, middle, color=colour, linewidth=WIDE)
            ends.append((float(middle[-1]), sign, colour))
        percent(axes)
        name_ends(axes, ends)
    return figure


def words(results: Results) -> list[str]:
    """Say what either sign comes to."""
    literal, corrected = ({name: results.mean(sign, name) for name in results.numbers[sign]} for sign in SIGNS)
    return [
        (
            f"Taken literally, the sign ends with {literal['overrides_per_answered']:.0%} of the answers overrides at a recall of"
            f" {literal['recall']:.2f}; corrected, with {corrected['overrides_per_answered']:.0%} at {corrected['recall']:.2f}."
        ),
        f"Precision is {literal['precision']:.2f} and {corrected['precision']:.2f}.",
        "What is liked loses confidence under the literal sign and is never shown again; what is overridden gains it and is shown forever.",
    ]


STUDY = Study(
    name="sign",
    question="What does the paper's sign do when it is taken literally?",
    setup=f"""
{CLASSES} classes, arrivals by Zipf .8, {GOOD_SHARE:.0%} of them wanted with a rate from Beta(99, 1), the others from Beta(1, 19);
{OPERATORS} operators who say the opposite in U(0, {FLIPPED_MAX}) of the answers; {SKIPPED:.0%} skipped, {NEUTRAL:.0%} neutral, both
ignored; an answer comes after Exp({DELAY:.0f}) scenarios. {SCENARIOS:,} scenarios, the last third scored. Score: the running mean
with harmonic step, prior .5, fixed threshold {THRESHOLD}, no exploration. *Literal*: an override moves confidence toward 1, as the
paper's digest has it. *Corrected*: it moves misalignment toward 1, and confidence is 1 − misalignment. The literal form exists in
this study alone.
""",
    conditions=SIGNS,
    trial=trial,
    measures=(
        Measure("recall", "wanted scenarios that are surfaced", better="more"),
        Measure("precision", "surfaced scenarios that are wanted", better="more"),
        Measure("overrides_per_surfaced", "overrides over surfaced scenarios", better="less"),
        Measure("overrides_per_answered", "overrides over likes and overrides", better="less"),
        Measure("overrides_per_scenario", "overrides over scenarios", better="less"),
    ),
    draw=draw,
    words=words,
    cpu_seconds=20,
)
