"""How often an interval that is looked at after every answer has ever missed the rate."""

import numpy as np
from matplotlib.figure import Figure

from agents.alignment import MISCOVERAGE, beta_binomial_interval
from agents.scoring import Array
from experiments.pictures_of_rules_card import BLUE, ORANGE, WIDE, card, level, name_ends, percent
from experiments.pictures_of_rules_trust import wald
from experiments.studies.study import Measure, Results, Study, Trial
from schemas.identity import generator
from schemas.settings import Profile

RUNS, ANSWERS = 50, 10_000
RATES = {"overridden in 2 %": 0.02, "overridden in 10 %": 0.1}
SHOWN = np.unique(np.geomspace(10, ANSWERS, 60).astype(int)) - 1
RULES = {"mixture": beta_binomial_interval, "wald": wald}
NAMES = {"mixture": ("used here", BLUE), "wald": ("Wald's", ORANGE)}


def trial(seed: int, profile: Profile, *, rate: float) -> Trial:
    """Return the share of runs in which each interval has ever missed the rate of overrides."""
    del profile  # the interval has no setting
    random = generator(seed, "interval", f"{rate}")
    events = np.cumsum(random.random((RUNS, ANSWERS)) < rate, axis=1).astype(np.float64)
    trials = np.arange(1.0, ANSWERS + 1)
    found: Trial = {}
    # Many runs share the same counts: each pair is looked at once.
    pairs, place = np.unique(events + trials * (ANSWERS + 1), return_inverse=True)
    for name, rule in RULES.items():
        low, high = (ends[place].reshape(events.shape) for ends in rule(pairs % (ANSWERS + 1), pairs // (ANSWERS + 1)))
        ever = ever_missed(low, high, events, rate, forgives_start=name == "wald")
        found[f"{name}_ever_missed"] = float(ever[-1])
        found[name] = ever[SHOWN].tolist()
    last = events[:, -1], trials[-1]
    widths = {name: float(np.mean(np.subtract(*rule(*last)[::-1]))) for name, rule in RULES.items()}
    found["width_ratio"] = widths["mixture"] / widths["wald"]
    return found


def ever_missed(low: Array, high: Array, events: Array, rate: float, *, forgives_start: bool) -> Array:
    """Return, by number of answers, the share of runs whose interval has excluded the rate by then, shape (answers,).

    Args:
        low: Lower ends, shape (runs, answers).
        high: Upper ends, the same shape.
        events: Overrides so far, the same shape.
        rate: The true rate.
        forgives_start: Whether to pass over the time until both answers have been seen, where Wald's has no width.
    """
    outside = (rate < low) | (rate > high)
    if forgives_start:
        outside &= (events > 0) & (events < np.arange(1, ANSWERS + 1))
    shares: Array = np.mean(np.maximum.accumulate(outside, axis=1), axis=0)
    return shares


def draw(results: Results) -> Figure:
    """Draw the share of runs that each interval has ever missed, along the answers."""
    figure, panels = card("Simulated answers: runs in which the 97.5 % interval has ever missed the rate", len(RATES))
    for axes, condition in zip(panels, RATES, strict=True):
        axes.set_xscale("log")
        axes.set(title=condition, xlabel="answers", xlim=(10, ANSWERS), ylim=(0, 0.7))
        ends = []
        for name, (words, colour) in NAMES.items():
            course = results.course(condition, name).mean(axis=0)
            axes.plot(SHOWN + 1, course, color=colour, linewidth=WIDE)
            ends.append((float(course[-1]), words, colour))
        percent(axes)
        level(axes, MISCOVERAGE, "promised: 2.5 %", at=0.4)
        name_ends(axes, ends, 1.42)
    return figure


def words(results: Results) -> list[str]:
    """Say how often either has missed."""
    ours, theirs = ([results.mean(condition, f"{name}_ever_missed") for condition in RATES] for name in RULES)
    wider = [results.mean(condition, "width_ratio") for condition in RATES]
    return [
        (
            f"Looked at after each of {ANSWERS:,} answers, the 97.5 % interval used here has ever missed in {min(ours):.1%} to"
            f" {max(ours):.1%} of the runs, Wald's in {min(theirs):.0%} to {max(theirs):.0%}."
        ),
        f"The price is width: {min(wider):.1f} to {max(wider):.1f} times Wald's after {ANSWERS:,} answers.",
    ]


STUDY = Study(
    name="interval",
    question="Does the interval of an override rate hold when it is looked at after every answer?",
    setup=f"""
{RUNS} runs a seed of {ANSWERS:,} answers, each an override with one constant probability. After every answer two intervals of 97.5 % are
computed: the beta-binomial mixture of `agents/alignment.py`, and Wald's textbook interval, which is not blamed for the time before both
kinds of answer have been seen. A run counts as missed from the first answer at which the rate lies outside.
""",
    conditions={name: {"rate": rate} for name, rate in RATES.items()},
    trial=trial,
    measures=(
        Measure("mixture_ever_missed", "share of runs in which the interval used here has ever missed", better="less"),
        Measure("wald_ever_missed", "the same of Wald's", better="less"),
        Measure("width_ratio", "width of the interval used here over that of Wald's, at the end", better="less"),
    ),
    draw=draw,
    words=words,
    cpu_seconds=80,
)
