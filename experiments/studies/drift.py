"""What a drift costs in the loop: how long recall is gone, how overrides rebound, and how far the paper's threshold lags behind."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure
from scipy.special import logit

from agents.alignment import BoolArray
from agents.scoring import Array
from experiments.pictures_of_rules_card import BLUE, GREY, ORANGE, PURPLE, card, name_ends, percent
from experiments.simulator.measures import oracle
from experiments.studies.closed import ANSWERED, EXCESS, POINTS, RECALL, REGRET, SETUP, against, fitted, line, small, tried
from experiments.studies.study import Conditions, Measure, Results, Study, Trial
from schemas.settings import DEPLOY, Profile, read_yaml

SCENARIOS, WINDOW = 2000, 250
TURNS = {"abrupt": 1000, "gradual": 1000, "recurring": 660}  # where it begins; there and back every 660
UNTIL = {"abrupt": SCENARIOS, "gradual": SCENARIOS, "recurring": 1320}  # as far as what follows is looked at
BEFORE, STRETCH = 300, 100  # scenarios that say how it was before, and those over which recovery is looked for
RECOVERED = 0.9
START = 0.9  # R of a new class: what is good is surfaced before the drift, in so short a run too
REBOUND = 0.05  # above the share before, until which a rebound lasts
MOVED = 0.02  # least way of a threshold of which a lag can be told
RULES: Mapping[str, str] = {"default": BLUE, "mean score": PURPLE, "paper": ORANGE}
MEAN = "mean score"
CONDITIONS: Conditions = {
    f"{drift}, {rule}": {"drift": drift, "rule": rule} for drift in TURNS for rule in RULES if drift == "abrupt" or rule != MEAN
}


def profile_under(profile: Profile, rule: str) -> Profile:
    """Return the profile as it is, with the mean as its score (which forgets nothing), or the paper's."""
    chosen = read_yaml(DEPLOY / "profiles" / "paper.yaml", Profile) if rule == "paper" else profile
    changes = {"window_scenarios": WINDOW, "prior_mean": 1 - START, "initial_intercept": float(logit(START))}
    return fitted(chosen, **changes, **({"score": "mean"} if rule == MEAN else {}))


def trial(seed: int, profile: Profile, *, drift: str, rule: str) -> Trial:
    """Return what a drift came to under a rule: lags, dip and rebound, and the courses of recall, overrides and threshold."""
    turn, until = TURNS[drift], UNTIL[drift]
    ran, found = tried(small(drift, SCENARIOS, drift_at=turn), profile_under(profile, rule), seed)
    probability, surfaced = ran.truth.probability, ran.surfaced
    right = oracle(probability)
    recall = probability * surfaced * right, probability * right
    unwanted = (1 - probability) * surfaced, surfaced.astype(np.float64)
    threshold = ran.threshold, np.ones(SCENARIOS)
    before, recalled = (ratio(*each, turn - BEFORE, turn) for each in (unwanted, recall))
    relative, rebound = stretches(*recall, turn, until) / recalled, stretches(*unwanted, turn, until) - before
    return {
        **found,
        "dip": float(np.min(relative)),
        "lag": float(back(relative, RECOVERED)),
        "rebound": float(np.nanmax(rebound)),
        "rebound_lag": float(back(-rebound, -REBOUND)),
        "threshold_lag": threshold_lag(ran.threshold, turn, until),
        **{name: along(*each) for name, each in (("recalls", recall), ("unwanted", unwanted), ("thresholds", threshold))},
    }


def ratio(part: Array, whole: Array, start: int, end: int) -> float:
    """Return the share of what is summed up from start to end, NaN of nothing."""
    return float(part[start:end].sum() / whole[start:end].sum()) if whole[start:end].sum() else np.nan


def stretches(part: Array, whole: Array, start: int, end: int) -> Array:
    """Return the share in each stretch that begins from `start` on and ends by `end`, shape (end - start - STRETCH + 1,)."""
    sums = [np.concatenate(([0.0], np.cumsum(each[start:end]))) for each in (part, whole)]
    parts, wholes = (each[STRETCH:] - each[:-STRETCH] for each in sums)
    shares: Array = np.divide(parts, wholes, out=np.full_like(parts, np.nan), where=wholes > 0)
    return shares


def back(course: Array, bound: float) -> int:
    """Return after how many scenarios a course is at its bound again, after its least; 0 if it is never under it, all if never back."""
    worst = int(np.nanargmin(course))
    if course[worst] >= bound:
        return 0
    return worst + first(course[worst:] >= bound)


def first(holds: BoolArray) -> int:
    """Return the first place at which something holds, the length where it never does."""
    return int(holds.argmax()) if holds.any() else len(holds)


def threshold_lag(threshold: Array, turn: int, until: int) -> float:
    """Return after how many scenarios the mean threshold has gone half of its way; NaN where it goes nowhere."""
    whole = np.ones_like(threshold)
    before, after = ratio(threshold, whole, turn - BEFORE, turn), ratio(threshold, whole, until - BEFORE, until)
    if abs(after - before) < MOVED:
        return float(np.nan)
    gone = (stretches(threshold, whole, turn, until) - before) / (after - before)
    return float(first(gone >= 0.5))  # noqa: PLR2004  # half


def along(part: Array, whole: Array) -> list[float]:
    """Return the share in each of POINTS equal parts of a run."""
    ends = np.linspace(0, len(part), POINTS + 1).astype(int).tolist()
    return [ratio(part, whole, start, end) for start, end in pairwise(ends)]


def draw(results: Results) -> Figure:
    """Draw recall along the run for each drift, and the paper's threshold and overrides after an abrupt one."""
    figure, panels = card("Simulated: drift, mean over seeds (recall of what an oracle surfaces)", 4, (1, 1, 1, 1.3), height=3.9)
    for axes, (drift, turn) in zip(panels, TURNS.items(), strict=False):
        for rule, colour in RULES.items():
            if f"{drift}, {rule}" in CONDITIONS:
                line(axes, results, f"{drift}, {rule}", "recalls", SCENARIOS, colour)
        axes.axvline(turn, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        axes.set(title=f"recall, {drift}", xlabel="scenarios", ylim=(0, 1.05))
        axes.set_xticks([0, 1000, 2000])
        percent(axes)
    last = panels[3]
    ends = [(line(last, results, f"abrupt, {rule}", "unwanted", SCENARIOS, colour), rule, colour) for rule, colour in RULES.items()]
    ends.append((line(last, results, "abrupt, paper", "thresholds", SCENARIOS, GREY), "paper's τ", GREY))
    last.axvline(TURNS["abrupt"], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    last.set(title="unwanted surfaced, abrupt", xlabel="scenarios", ylim=(0, 1.05))
    last.set_xticks([0, 1000, 2000])
    percent(last)
    name_ends(last, ends, 1.5)
    return figure


def words(results: Results) -> list[str]:
    """Say how long recall is gone, how overrides rebound, what the threshold does, and where the default is no better."""

    def of(condition: str, measure: str) -> float:
        return results.mean(condition, measure)

    def returned(condition: str) -> str:
        drift = condition.partition(",")[0]
        return f"{np.mean(results.values(condition, 'lag') <= UNTIL[drift] - TURNS[drift] - STRETCH):.0%}"

    def less(measure: str, drift: str = "abrupt") -> str:
        return against(results.gain(f"{drift}, default", f"{drift}, paper", measure), 0)

    abrupt = [f"abrupt, {rule}" for rule in RULES]
    settled = [f"{of(each, 'rebound_lag'):.0f}" for each in abrupt]
    rebounds, lags = ([f"{scale * of(each, name):.0f}" for each in abrupt] for scale, name in ((100, "rebound"), (1, "lag")))
    back = [returned(each) for each in abrupt]
    slow_back = [returned(f"gradual, {rule}") for rule in ("default", "paper")]
    before = slice((TURNS["gradual"] - BEFORE) * POINTS // SCENARIOS, TURNS["gradual"] * POINTS // SCENARIOS)
    had = [f"{np.nanmean(results.course(f'gradual, {rule}', 'recalls')[:, before]):.2f}" for rule in ("default", "paper")]
    moved = int(np.isfinite(results.values("abrupt, paper", "threshold_lag")).sum())
    slow, again = ([f"{of(f'{drift}, {rule}', 'regret'):.3f}" for rule in ("default", "paper")] for drift in ("gradual", "recurring"))
    return [
        (
            f"After an abrupt drift what is unwanted among the surfaced is back within {REBOUND} of its share before after {settled[0]}"
            f" scenarios with the default, {settled[1]} with the mean score, which forgets nothing, {settled[2]} with the paper's: default"
            f" against paper {less('rebound_lag')}."
        ),
        (
            f"At its height it is {rebounds[0]} points of a hundred above that with the default, {rebounds[1]} with the mean score,"
            f" {rebounds[2]} with the paper's (a stretch of {STRETCH} scenarios against the {BEFORE} before)."
        ),
        (
            f"Recall is back at 90 % of its own before within the run in {back[0]}, {back[1]} and {back[2]} of the runs; where those that"
            f" are not count with all that was left to them it takes {lags[0]}, {lags[1]} and {lags[2]} scenarios, default against paper"
            f" {less('lag')}; under slow drift {slow_back[0]} of the default's are back, from a recall of {had[0]},"
            f" and {slow_back[1]} of the paper's, from {had[1]} ({less('lag', 'gradual')})."
        ),
        (
            f"The paper's threshold moves by {MOVED} or more in {moved} of {len(results.seeds)} runs"
            + (f" and is half way after {of('abrupt, paper', 'threshold_lag'):.0f} scenarios" if moved else "")
            + "; the default's is the declared .8 throughout."
        ),
        (
            f"Regret in the last third, default and paper: {slow[0]} and {slow[1]} under slow drift, {again[0]} and {again[1]} where the"
            f" drift recurs; the default pays {of('abrupt, default', 'regret'):.3f} after one abrupt drift and remembers no old regime."
        ),
    ]


STUDY = Study(
    name="drift",
    question="How long is recall gone after a drift, how do overrides rebound, and how far does the threshold lag behind?",
    setup=f"""{SETUP}
Here: worlds `abrupt`, `gradual` and `recurring` with {SCENARIOS:,} scenarios, windows of {WINDOW}. The drift is or begins at scenario
{TURNS["abrupt"]:,}; where it recurs, at {TURNS["recurring"]} and every {TURNS["recurring"]} after. Classes start at R = {START}, in all
profiles. *Mean score* is the profile with `score: mean`: no class forgets, no model is retrained. Recall in the picture, dip and lag is of
what the oracle surfaces; shares are expected ones, by the true P(wanted). Lags begin at the first turn and end with the first stretch of
{STRETCH} scenarios after the worst one that is back; a run that is not back counts with all that was left to it, so means are lower bounds.
""",
    conditions=CONDITIONS,
    trial=trial,
    measures=(
        REGRET,
        EXCESS,
        RECALL,
        ANSWERED,
        Measure("dip", "least recall of a stretch after the turn, over that before", better="more"),
        Measure("lag", "until a stretch has 90 % of the recall before", "scenarios", "less"),
        Measure("rebound", "most unwanted of the surfaced in a stretch, above the share before", better="less"),
        Measure("rebound_lag", f"until that is within {REBOUND} of the share before", "scenarios", "less"),
        Measure("threshold_lag", "until the threshold has gone half of its way, where it moves", "scenarios", "less"),
    ),
    draw=draw,
    words=words,
    cpu_seconds=330,
)
