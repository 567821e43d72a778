"""What becomes of a wanted class when silence pulls its score, and when silence is ignored."""

import numpy as np
from matplotlib.figure import Figure
from msgspec.structs import replace

from agents.deciding.learning import NEUTRAL_TARGET, target_of
from agents.scoring import SCHEDULES, Array, mean_update
from experiments.pictures_of_rules_card import BLUE, GREY, ORANGE, PURPLE, WIDE, card, level, name_ends
from experiments.studies.study import Conditions, Measure, Results, Study, Trial
from schemas.events import Answer
from schemas.identity import generator
from schemas.settings import Profile

CLASSES, DECISIONS = 100, 2000
NEUTRAL, ERROR = 0.1, 0.02
KINDS = (Answer.OVERRIDE, Answer.LIKE, Answer.NEUTRAL, "skipped")
SHARES = (0.0, 0.3, 0.6)
SHOWN = np.unique(np.geomspace(1, DECISIONS, 60).astype(int)) - 1
CONDITIONS: Conditions = {
    **{f"ignore, {share:.0%} skipped": {"rule": "ignore", "skipped": share, "target": 0.3} for share in SHARES},
    **{f"pull λ = .3, {share:.0%} skipped": {"rule": "pull", "skipped": share, "target": 0.3} for share in SHARES},
    "pull λ = .2, 60% skipped": {"rule": "pull", "skipped": 0.6, "target": 0.2},
    "pull λ = .4, 60% skipped": {"rule": "pull", "skipped": 0.6, "target": 0.4},
}
LINES = (("ignore", "ignore", 0.3, BLUE), ("λ = .2", "pull", 0.2, PURPLE), ("λ = .3", "pull", 0.3, ORANGE), ("λ = .4", "pull", 0.4, GREY))


def trial(seed: int, profile: Profile, *, rule: str, skipped: float, target: float) -> Trial:
    """Return R of always-wanted classes after many surfaced decisions, and the cap that the formula gives."""
    learning = replace(profile, score="mean", silence=rule, silence_target=target)
    random = generator(seed, "silence", f"{skipped}")
    answered = 1 - skipped - NEUTRAL
    odds = np.cumsum([answered * ERROR, answered * (1 - ERROR), NEUTRAL])
    kinds = np.searchsorted(odds, random.random((DECISIONS, CLASSES)), side="right")
    targets = [target_of(learning, kind) for kind in KINDS]
    aims = np.array([0.0 if each is None else each for each in targets])[kinds]
    weights = np.array([float(each is not None) for each in targets])[kinds]
    confidence = 1 - moved(learning, aims, weights)
    end = confidence[-1]
    return {
        "confidence": float(np.mean(end)),
        "cap": cap(rule, skipped, target),
        "withheld": float(np.mean(end < profile.threshold)),
        "spread": float(np.std(end)),
        "course": np.mean(confidence[SHOWN], axis=1).tolist(),
    }


def moved(profile: Profile, targets: Array, weights: Array) -> Array:
    """Return M after each decision, shape (decisions, classes); what has weight 0 leaves it alone."""
    misalignment, heard = np.full(targets.shape[1], profile.prior_mean), np.zeros(targets.shape[1])
    course = np.empty_like(targets)
    for decision, (target, weight) in enumerate(zip(targets, weights, strict=True)):
        step = SCHEDULES["harmonic"](profile.prior_weight, heard, weight)
        misalignment = np.asarray(mean_update(misalignment, target, step))
        heard = heard + weight
        course[decision] = misalignment
    return course


def cap(rule: str, skipped: float, target: float) -> float:
    """Return R_max = 1 - (s λ + .5 ν + a e)/(s + ν + a); without s and ν where silence is ignored. Source: DESIGN section 7."""
    answered = 1 - skipped - NEUTRAL
    if rule == "ignore":
        return 1 - ERROR
    return 1 - (skipped * target + NEUTRAL_TARGET * NEUTRAL + answered * ERROR)


def draw(results: Results) -> Figure:
    """Draw R along the decisions, and R at the end against the share skipped with the formula's cap."""
    figure, (course, ends_of) = card("Simulated: classes that are always wanted, 10 % neutral, operators' error 2 %", 2)
    ends = []
    for condition, name, colour in (("ignore, 60% skipped", "ignore", BLUE), ("pull λ = .3, 60% skipped", "pull, λ = .3", ORANGE)):
        middle = results.course(condition, "course").mean(axis=0)
        course.plot(SHOWN + 1, middle, color=colour, linewidth=WIDE)
        ends.append((float(middle[-1]), name, colour))
    course.set_xscale("log")
    course.set(title="confidence R, 60 % skipped", xlabel="surfaced decisions", xlim=(1, DECISIONS), ylim=(0.45, 1.01))
    level(course, 0.8, "τ = .8", at=0.02)
    name_ends(course, ends, 1.45)
    ends_of.set(title=f"R after {DECISIONS:,} decisions (dots), and the cap (lines)")
    ends_of.set(xlabel="share skipped", xlim=(0, 0.65), ylim=(0.65, 1.01))
    ends = []
    skipped = np.linspace(0, 0.65, 14)
    for name, rule, target, colour in LINES:
        caps = [cap(rule, share, target) for share in skipped]
        ends_of.plot(skipped, caps, color=colour, linewidth=1.3)
        for condition, sets in CONDITIONS.items():
            if (sets["rule"], sets["target"]) == (rule, target):
                ends_of.plot(sets["skipped"], results.mean(condition, "confidence"), color=colour, marker="o")
        ends.append((caps[-1], name, colour))
    ends_of.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    level(ends_of, 0.8, "τ = .8", at=0.02, above=False)
    name_ends(ends_of, ends, 1.3)
    return figure


def words(results: Results) -> list[str]:
    """Say where silence leaves a wanted class."""
    pulled, ignored = "pull λ = .3, 60% skipped", "ignore, 60% skipped"
    apart = max(abs(results.mean(condition, "confidence") - results.mean(condition, "cap")) for condition in CONDITIONS)
    return [
        (
            f"With 60 % skipped and λ = .3 a class that is always wanted ends at R = {results.mean(pulled, 'confidence'):.3f}, and"
            f" {results.mean(pulled, 'withheld'):.0%} of such classes are withheld; with silence ignored it ends at"
            f" {results.mean(ignored, 'confidence'):.3f} and {results.mean(ignored, 'withheld'):.0%} are."
        ),
        f"The formula of the cap is met within {apart:.3f} in every condition.",
    ]


STUDY = Study(
    name="silence",
    question="Where does silence leave the confidence of a class that is always wanted?",
    setup=f"""
{CLASSES} classes a seed, each always wanted and surfaced {DECISIONS:,} times whatever its score; {NEUTRAL:.0%} of the decisions get a
neutral, a share is skipped, the rest is answered with {ERROR:.0%} of error. Score: the paper's running mean with the harmonic step.
*Pull*: skipped has target λ, neutral .5. *Ignore*: neither moves anything. The cap is `R_max = 1 − (sλ + .5ν + ae)/(s + ν + a)`.
""",
    conditions=CONDITIONS,
    trial=trial,
    measures=(
        Measure("confidence", "R at the end, mean over classes", better="more"),
        Measure("cap", "what the formula says"),
        Measure("withheld", "share of the classes with R under τ at the end", better="less"),
        Measure("spread", "standard deviation of R over classes, at the end", better="less"),
    ),
    draw=draw,
    words=words,
    cpu_seconds=40,
)
