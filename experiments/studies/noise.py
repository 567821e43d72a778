"""What mislabelled answers do to loss, fidelity and retraining."""

import numpy as np
from matplotlib.figure import Figure

from experiments.pictures_of_rules_card import BLUE, GREY, ORANGE, PURPLE, WIDE, card, name_ends
from experiments.simulator.measures import costs
from experiments.simulator.people import Group, People
from experiments.simulator.run import Run
from experiments.studies.closed import ANSWERED, EXCESS, RECALL, REGRET, SETUP, fitted, small, tried
from experiments.studies.study import Conditions, Measure, Results, Study, Trial
from schemas.alignment import LossWindow
from schemas.settings import Profile

SCENARIOS, WINDOW = 3000, 300
RATES = (0.0, 0.1, 0.2, 0.3, 0.4)
NAMES = {rate: f"{rate:.0%} mislabelled" for rate in RATES}
CONDITIONS: Conditions = {name: {"rate": rate} for rate, name in NAMES.items()}


def trial(seed: int, profile: Profile, *, rate: float) -> Trial:
    """Return what the loop came to where every operator says the opposite at a rate."""
    people = People((Group(name="operator", accounts=12, error=(rate, rate)),))
    world = small("abrupt", SCENARIOS, within=2.0, people=people)
    ran, found = tried(world, fitted(profile, window_scenarios=WINDOW), seed)
    late = costs(ran.truth.probability, ran.surfaced)[2 * SCENARIOS // 3 :]
    return {"fidelity": np.nan} | found | {"loss": published_loss(ran), "true_loss": float(late.mean())}


def published_loss(ran: Run) -> float:
    """Return the mean of the loss that the windows of the last third published; NaN where none could tell."""
    windows = [event for event in ran.alignment if isinstance(event, LossWindow) and event.window >= 0]
    losses = [window.loss for window in windows[2 * len(windows) // 3 :] if window.loss is not None]
    return float(np.mean(losses)) if losses else np.nan


def draw(results: Results) -> Figure:
    """Draw losses, recall and fidelity, and retrainings against the rate."""
    figure, (loss, shares, models) = card("Simulated: operators who say the opposite at a rate, drift in the middle", 3)
    panels = (
        (loss, (("loss", "published", ORANGE), ("true_loss", "true", BLUE), ("regret", "regret", GREY)), "cost per scenario, last third"),
        (shares, (("recall", "recall", BLUE), ("fidelity", "fidelity F", PURPLE)), "recall and fidelity"),
        (models, (("commands", "commanded", ORANGE), ("deployments", "deployed", BLUE)), "retrainings in a run"),
    )
    for axes, drawn, title in panels:
        ends = []
        for name, called, colour in drawn:
            found = [results.summary(condition, name) for condition in NAMES.values()]
            axes.plot(RATES, [each.mean for each in found], color=colour, linewidth=WIDE)
            axes.fill_between(RATES, [each.low for each in found], [each.high for each in found], color=colour, alpha=0.15, linewidth=0)
            ends.append((found[-1].mean, called, colour))
        axes.set(title=title, xlabel="share of answers mislabelled", xlim=(0, RATES[-1]))
        axes.set_ylim(bottom=0)
        name_ends(axes, ends, 1.5)
    shares.set_ylim(0, 1.05)
    return figure


def words(results: Results) -> list[str]:
    """Say what noise does to each."""
    clean, some, most = NAMES[0.0], NAMES[0.2], NAMES[0.4]

    def three(name: str, form: str = ".3f") -> str:
        return ", ".join(format(results.mean(condition, name), form) for condition in (clean, some, most))

    return [
        f"With 0, 20 and 40 % of the answers mislabelled the regret is {three('regret')}, at a recall of {three('recall', '.2f')}.",
        (
            f"The published loss takes answers at their word and so counts the noise too: {three('loss', '.2f')} a scenario, where the true"
            f" loss is {three('true_loss', '.2f')}."
        ),
        (
            f"Retrainings commanded: {three('commands', '.1f')} a run; deployed after the trainer's own comparison:"
            f" {three('deployments', '.1f')}; fidelity F against hindsight {three('fidelity', '.2f')}."
        ),
    ]


STUDY = Study(
    name="noise",
    question="What do mislabelled answers do to the loss, to what is surfaced, and to retraining?",
    setup=f"""{SETUP}
Here: world `abrupt` with features that move the logit by a vector of length 2, {SCENARIOS:,} scenarios, windows of {WINDOW}. Each of
12 operators says the opposite of what it thinks at the rate, likes and overrides alike; outcomes are true. F is the last that was
published.
""",
    conditions=CONDITIONS,
    trial=trial,
    measures=(
        REGRET,
        EXCESS,
        RECALL,
        ANSWERED,
        Measure("loss", "mean published loss of the windows of the last third", "cost per scenario", "less"),
        Measure("true_loss", "mean true cost of what was decided, last third", "cost per scenario", "less"),
        Measure("fidelity", "share of the windows in which the monitor acted as hindsight does", better="more"),
        Measure("commands", "retrainings that the monitor commanded", "a run"),
        Measure("deployments", "models that the trainer put in force", "a run"),
    ),
    draw=draw,
    words=words,
    cpu_seconds=150,
)
