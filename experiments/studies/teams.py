"""Teams that want different things: what each way to make one estimate of theirs costs them all, and the one it serves worst."""

import numpy as np
from matplotlib.figure import Figure

from agents.alignment import BoolArray
from agents.scoring import Array, mean_misalignment
from agents.teams import AGGREGATORS
from experiments.pictures_of_rules_card import BLUE, GREY, ORANGE, card
from experiments.studies.study import Conditions, Measure, Results, Study, Trial
from schemas.identity import generator
from schemas.settings import Profile

CLASSES, ANSWERS = 400, 100
VOLUMES = np.array([0.6, 0.3, 0.1])
CONFLICT, WANTED_SHARE, GOOD, BAD = 0.2, 0.55, (99.0, 1.0), (1.0, 19.0)
# What follows an aggregator's name in a condition's, and which team always overrides there.
HOSTILE = {"": None, ", .1 always overrides": 2, ", .3 always overrides": 1}
CONDITIONS: Conditions = {
    f"{name}{after}": {"aggregator": name, "hostile": hostile} for after, hostile in HOSTILE.items() for name in AGGREGATORS
}


def trial(seed: int, profile: Profile, *, aggregator: str, hostile: int | None) -> Trial:
    """Return what deciding by the aggregate of the teams' estimates costs, by volume and for the team it serves worst."""
    random = generator(seed, "teams", "world")
    is_good = random.random(CLASSES) < WANTED_SHARE
    differs = np.zeros((CLASSES, len(VOLUMES)), dtype=bool)
    torn = random.random(CLASSES) < CONFLICT
    differs[np.arange(CLASSES), random.integers(len(VOLUMES), size=CLASSES)] = torn
    wants = is_good[:, np.newaxis] ^ differs
    rates = np.where(wants, random.beta(*GOOD, wants.shape), random.beta(*BAD, wants.shape))
    heard = random.multinomial(ANSWERS, VOLUMES, size=CLASSES).astype(float)
    overrides = random.binomial(heard.astype(int), 1 - rates).astype(float)
    if hostile is not None:
        overrides[:, hostile] = heard[:, hostile]
    estimates = 1 - np.asarray(mean_misalignment(profile.prior_weight, profile.prior_mean, heard, overrides))
    surfaced = AGGREGATORS[aggregator](estimates, heard) >= profile.threshold
    regrets = regret(surfaced, rates, profile)
    # What a hostile team says it wants is no wish of its own: the others are who is to be served.
    served = np.arange(len(VOLUMES)) != hostile
    share = VOLUMES * served / (VOLUMES * served).sum()
    return {
        "regret": float(regrets @ share),
        "regret_worst": float(regrets[served].max()),
        "recall": float(np.sum((surfaced[:, np.newaxis] * rates) @ share) / np.sum(rates @ share)),
    }


def regret(surfaced: BoolArray, rates: Array, profile: Profile) -> Array:
    """Return each team's cost per scenario above that of deciding as it alone would want, shape (teams,)."""
    unwanted, missed = profile.override_cost * (1 - rates), profile.miss_cost * rates
    costs = np.where(surfaced[:, np.newaxis], unwanted, missed) - np.minimum(unwanted, missed)
    means: Array = costs.mean(axis=0)
    return means


def draw(results: Results) -> Figure:
    """Draw the regret by volume and of the worst-served team, with three honest teams and with one that always overrides."""
    figure, panels = card("Simulated: regret of three teams of .6, .3 and .1 of the answers, in conflict on 20 % of the classes", 3)
    titles = ("three honest teams", "the team of .1 always overrides", "the team of .3 always overrides")
    places = np.arange(len(AGGREGATORS))
    for axes, after, title in zip(panels, HOSTILE, titles, strict=True):
        for shift, measure, colour in ((-0.2, "regret", BLUE), (0.2, "regret_worst", ORANGE)):
            found = [results.summary(f"{name}{after}", measure) for name in AGGREGATORS]
            axes.bar(places + shift, [each.mean for each in found], 0.36, color=colour)
            for place, each in zip(places, found, strict=True):
                words = axes.annotate(f"{each.mean:.2f}".lstrip("0"), (place + shift, each.mean), (0, 3), textcoords="offset points")
                words.set(ha="center", color=GREY, fontsize=8)
        axes.set_xticks(places, list(AGGREGATORS), fontsize=8.5)
        axes.set(title=title, ylim=(0, 0.56))
        axes.grid(visible=False, axis="x")
    for height, name, colour in ((0.94, "by volume", BLUE), (0.87, "of the team served worst", ORANGE)):
        panels[0].annotate(name, (0.03, height), xycoords="axes fraction", color=colour, fontweight="bold", fontsize=10)
    return figure


def words(results: Results) -> list[str]:
    """Say what each aggregator is good for."""
    worst = {name: results.mean(name, "regret_worst") for name in AGGREGATORS}
    small, middle = ({name: results.mean(f"{name}{after}", "regret") for name in AGGREGATORS} for after in list(HOSTILE)[1:])
    fairest = min(worst, key=lambda name: worst[name])
    ruined = [name for name in AGGREGATORS if small[name] > 2 * results.mean(name, "regret")]
    return [
        (
            f"By volume three teams in conflict have a regret of {results.mean('volume', 'regret'):.3f}, the team served worst"
            f" {worst['volume']:.3f}; `{fairest}` serves the worst best, {worst[fairest]:.3f}, at {results.mean(fairest, 'regret'):.3f} by"
            " volume."
        ),
        (
            f"If the team of .1 always overrides, the regret of the others more than doubles under"
            f" {', '.join(f'`{name}`' for name in ruined)}, to {min(small[name] for name in ruined):.2f} and more; by volume it is"
            f" {small['volume']:.3f}, under `median` {small['median']:.3f}. If the team of .3 does, `median` alone stands"
            f" ({middle['median']:.3f}; by volume {middle['volume']:.2f})."
        ),
    ]


STUDY = Study(
    name="teams",
    question="How should one estimate be made of several teams' when they want different things?",
    setup=f"""
{CLASSES} classes a seed with {ANSWERS} answers each, from three teams in proportion to .6, .3 and .1. {WANTED_SHARE:.0%} of the classes are
wanted with a rate from Beta(99, 1), the others from Beta(1, 19); in {CONFLICT:.0%} one team, any of the three, wants the opposite. Each
team has the paper's running mean of its own answers; the aggregators of `agents/teams.py` make one estimate of them, and what passes τ is
surfaced. Regret is a team's cost per scenario above that of deciding as it alone would want: with conflict nobody can bring it to 0 for
all. *Always overrides*: one team does, whatever it sees; then the regret of the other two counts. No closed loop: what is
measured is the aggregate, not who gets to answer.
""",
    conditions=CONDITIONS,
    trial=trial,
    measures=(
        Measure("regret", "cost per scenario above each team's own best, by volume", better="less"),
        Measure("regret_worst", "the same for the team that is served worst", better="less"),
        Measure("recall", "what the teams want that is surfaced, by volume", better="more"),
    ),
    draw=draw,
    words=words,
    cpu_seconds=10,
)
