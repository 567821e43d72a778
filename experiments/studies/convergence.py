"""How fast the mean score comes to what operators want, under several steps, against theory."""

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from agents.scoring import SCHEDULES, Array, Number, mean_update
from experiments.pictures_of_rules_card import BLUE, GREEN, GREY, ORANGE, PURPLE, WIDE, card, name_ends
from experiments.studies.study import Conditions, Measure, Results, Study, Trial
from schemas.identity import generator
from schemas.settings import Profile

CHAINS, EPISODES = 500, 600
CHECKED = (1, 10, 100, 1000, 10_000)
SLOPE = (100, 10_000)
RATES = (0.05, 0.95)
SHOWN = np.unique([*np.geomspace(1, CHECKED[-1], 60).astype(int), *CHECKED])
LOSSES = np.unique(np.geomspace(1, EPISODES, 60).astype(int))
Step = Callable[[Number, Number, Number], Number]
# Steps that are not offered: each differs from `harmonic` by one mistake.
WRONG: dict[str, Step] = {"no prior": lambda _, before, weight: SCHEDULES["harmonic"](0.0, before, weight)}
CONDITIONS: Conditions = {
    "harmonic": {"step": "harmonic", "silence": 0.0},
    "harmonic, 30 % silent": {"step": "harmonic", "silence": 0.3},
    "harmonic, 60 % silent": {"step": "harmonic", "silence": 0.6},
    "power .7": {"step": "power", "silence": 0.0},
    "constant .1": {"step": "constant", "silence": 0.0},
    "1/n without prior": {"step": "no prior", "silence": 0.0},
    "skips counted, 60 % silent": {"step": "harmonic", "silence": 0.6, "counts_skips": True},
}
DRAWN = (
    ("harmonic", "harmonic", BLUE),
    ("power .7", "power .7", GREEN),
    ("constant .1", "constant .1", ORANGE),
    ("1/n without prior", "1/n", PURPLE),
    ("skips counted, 60 % silent", "skips counted", GREY),
)


def trial(seed: int, profile: Profile, *, step: str, silence: float, counts_skips: bool = False) -> Trial:
    """Return the squared error over its closed form by number of answers, its slope, and the loss along the episodes."""
    random = generator(seed, "convergence", f"{silence}")
    rates = random.uniform(*RATES, CHAINS)
    eta = {**SCHEDULES, **WRONG}[step]
    misalignment, heard, counted = np.full(CHAINS, profile.prior_mean), np.zeros(CHAINS), np.zeros(CHAINS)
    errors = np.full((len(SHOWN), CHAINS), np.nan)
    losses = []
    place = np.zeros(CHAINS, dtype=np.int64)  # the next number of answers of each chain that is looked at
    episode = 0
    while place.min() < len(SHOWN):
        answered = (random.random(CHAINS) < 1 - silence).astype(float)
        overridden = (random.random(CHAINS) < rates).astype(float)
        if episode < EPISODES:
            losses.append(float(np.mean(loss(misalignment, rates, profile))))
        misalignment = np.asarray(mean_update(misalignment, overridden, eta(profile.prior_weight, counted, answered)))
        heard += answered
        counted += 1.0 if counts_skips else answered
        reached = np.flatnonzero((answered > 0) & (place < len(SHOWN)) & (heard == SHOWN[np.minimum(place, len(SHOWN) - 1)]))
        errors[place[reached], reached] = (misalignment[reached] - rates[reached]) ** 2
        place[reached] += 1
        episode += 1
    mean = errors.mean(axis=1)
    ratios = mean / np.array([np.mean(closed_form(profile, rates, int(count))) for count in SHOWN])
    at = {int(count): index for index, count in enumerate(SHOWN)}
    slope = np.log(mean[at[SLOPE[1]]] / mean[at[SLOPE[0]]]) / np.log(SLOPE[1] / SLOPE[0])
    return {
        **{f"ratio_at_{count}": float(ratios[at[count]]) for count in CHECKED},
        "slope": float(slope),
        "loss_at_500": float(np.mean(losses[450:550])),
        "errors": mean.tolist(),
        "losses": [losses[count - 1] for count in LOSSES],
    }


def closed_form(profile: Profile, rates: Array, answers: int) -> Array:
    """Return [n0² (m0 - p)² + n p (1 - p)] / (n0 + n)², the mean squared error of the harmonic step. Source: DESIGN section 7."""
    weight, mean = profile.prior_weight, profile.prior_mean
    return (weight**2 * (mean - rates) ** 2 + answers * rates * (1 - rates)) / (weight + answers) ** 2


def loss(misalignment: Array, rates: Array, profile: Profile) -> Array:
    """Return what surfacing by R >= τ costs a scenario above surfacing by what is really wanted, shape (chains,)."""
    cost_surfaced, cost_withheld = profile.override_cost * rates, profile.miss_cost * (1 - rates)
    surfaced = 1 - misalignment >= profile.threshold
    return np.where(surfaced, cost_surfaced, cost_withheld) - np.minimum(cost_surfaced, cost_withheld)


def draw(results: Results) -> Figure:
    """Draw the loss along the episodes and the squared error against the closed form."""
    figure, (losses, errors) = card("Simulated: the paper's running mean under several steps η", 2)
    lines = []
    for condition, name, colour in DRAWN[:4]:
        course = results.course(condition, "losses").mean(axis=0)
        losses.loglog(LOSSES, course, color=colour, linewidth=WIDE)
        lines.append((float(course[-1]), name, colour))
    losses.set(title="loss per scenario above the best", xlabel="episodes", xlim=(1, EPISODES))
    name_ends(losses, lines)
    lines = []
    for condition, name, colour in DRAWN:
        course = results.course(condition, "errors").mean(axis=0)
        errors.loglog(SHOWN, course, color=colour, linewidth=WIDE)
        lines.append((float(course[-1]), name, colour))
    rates, profile = np.linspace(*RATES, 181), Profile(name=results.profile)
    theory = [np.mean(closed_form(profile, rates, int(count))) for count in SHOWN]
    errors.loglog(SHOWN, theory, color="black", linewidth=1, linestyle=(0, (2, 2)), zorder=3)
    errors.annotate("dashed: closed form", (1.3, 2e-5), color=GREY, fontsize=9.5)
    errors.set(title="squared error of M against what is wanted", xlabel="answers", xlim=(1, CHECKED[-1]), ylim=(1e-5, 0.5))
    name_ends(errors, lines)
    return figure


def words(results: Results) -> list[str]:
    """Say how the steps compare with theory."""
    silences = ("harmonic", "harmonic, 30 % silent", "harmonic, 60 % silent")
    ratios = [results.mean(condition, f"ratio_at_{count}") for condition in silences for count in CHECKED]
    slopes = {name: results.mean(condition, "slope") for condition, name, _ in DRAWN}
    return [
        (
            f"With the harmonic step the squared error is {min(ratios):.2f} to {max(ratios):.2f} times its closed form from 1 to 10,000"
            f" answers, at any silence, and falls with slope {slopes['harmonic']:.3f}; the step n^-.7 falls with"
            f" {slopes['power .7']:.2f}, a constant one with {slopes['constant .1']:.2f}."
        ),
        (
            f"Without a prior the first answer errs {results.mean('1/n without prior', 'ratio_at_1'):.1f} times as much; if skips count in"
            f" the step, 10,000 answers err {results.mean('skips counted, 60 % silent', 'ratio_at_10000'):.1f} times as much."
        ),
        (
            f"The loss at episode 500 is {results.mean('harmonic', 'loss_at_500'):.4f} a scenario above the best with the harmonic step,"
            f" and {results.mean('constant .1', 'loss_at_500'):.4f} with the constant one."
        ),
    ]


STUDY = Study(
    name="convergence",
    question="How fast does the mean score come to what operators want, under several steps, and how fast should it?",
    setup=f"""
{CHAINS} chains a seed: each is one class that is unwanted with a rate of its own, U({RATES[0]}, {RATES[1]}), answered in every episode
(a share is silent in some conditions, and silence is ignored) until it has {CHECKED[-1]:,} answers. Score: the paper's recursion
`M ← M + η (y − M)` from the prior. Steps: harmonic 1/(n₀ + n), power (n₀ + n)^−.7, constant .1, and two mistakes: 1/n without prior, and
harmonic with skips counted. The closed form is `[n₀²(m₀ − p)² + n p(1 − p)]/(n₀ + n)²`. The loss of an episode is what surfacing by R ≥ τ
costs above surfacing by p itself.
""",
    conditions=CONDITIONS,
    trial=trial,
    measures=(
        *(Measure(f"ratio_at_{count}", f"squared error over its closed form after {count:,} answers") for count in CHECKED),
        Measure("slope", "of log squared error against log answers, from 100 to 10,000; theory: -0.99"),
        Measure("loss_at_500", "loss a scenario above the best, episodes 450 to 550", better="less"),
    ),
    draw=draw,
    words=words,
    cpu_seconds=120,
)
