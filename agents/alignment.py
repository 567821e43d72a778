"""Alignment loss: how far behaviour is from what operators want, with intervals that hold at every moment."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import betaln, xlog1py, xlogy

from agents.thresholds import ARMS
from schemas.alignment import Rate
from schemas.events import Answer

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

MISCOVERAGE = 0.025
SKIPPED = "skipped"
# Halving [0, 1] this often reaches the spacing of doubles below 1.
HALVINGS = 53

# Columns of the counts behind the threshold table, as in `schemas.events.ThresholdRow`.
SURFACED, KNOWN, OVERRIDES, MISSES = range(4)


class Loss(NamedTuple):
    """Loss per scenario; `point` is None where a rate that it needs has never been observed."""

    point: float | None
    low: float
    high: float


class OverrideRates(NamedTuple):
    """One number of overrides over three denominators; None where the denominator is 0."""

    per_surfaced: float | None
    per_answered: float | None
    per_scenario: float | None


def beta_binomial_interval(events: npt.ArrayLike, trials: npt.ArrayLike, miscoverage: float = MISCOVERAGE) -> tuple[FloatArray, FloatArray]:
    """Return the ends of an interval for a Bernoulli rate that holds at every number of trials at once.

    The set of p where B(1 + s, 1 + f) / (p^s (1 - p)^f) < 1/miscoverage, for s events and f others: the ratio is a
    martingale of mean 1 under the true p, so it reaches 1/miscoverage, ever, with probability at most miscoverage.

    Args:
        events: s, integers, any shape.
        trials: s + f, integers, a shape that broadcasts with it; s <= s + f.
        miscoverage: probability that the interval misses the rate at some moment, in (0, 1).

    Returns:
        Low and high ends, of the common shape; each end is at most 2^-53 outside the set. Exactly 0 where nothing happened,
        exactly 1 where nothing else did.

    Source: Ville's inequality for the mixture with Beta(1, 1); Robbins, Ann. Math. Stat. 41 (1970); DESIGN section 7.
    """
    hits, total = np.broadcast_arrays(np.asarray(events, dtype=np.float64), np.asarray(trials, dtype=np.float64))
    others = total - hits
    bound = betaln(1 + hits, 1 + others) + np.log(miscoverage)
    rate = np.where(total > 0, hits / np.maximum(total, 1), 0.5)
    low = _outer_root(hits, others, bound, outside=np.zeros_like(rate), inside=rate)
    high = _outer_root(hits, others, bound, outside=np.ones_like(rate), inside=rate)
    return np.where(hits > 0, low, 0.0), np.where(others > 0, high, 1.0)


def rate(events: int, trials: int) -> Rate:
    """Return a Bernoulli rate with its interval."""
    low, high = beta_binomial_interval(events, trials)
    return Rate(events=events, trials=trials, low=float(low), high=float(high))


def alignment_loss(override: Rate, miss: Rate, surfaced_share: float, withheld_share: float, k: float, m: float) -> Loss:
    """Return L = k P(surfaced) override + m P(withheld) miss per scenario, and its ends from the ends of the two rates.

    Args:
        override: overrides among the answered.
        miss: missed incidents among the withheld that an outcome tells of.
        surfaced_share: P(surfaced), in [0, 1].
        withheld_share: P(withheld), in [0, 1]; what is blocked costs nothing here.
        k: cost of an unwanted recommendation.
        m: cost of a miss.

    Returns:
        The ends hold together with probability 1 - 2 x .025. The point is None where a rate with a share above 0 has no trials.
    """
    cost_surfaced, cost_withheld = k * surfaced_share, m * withheld_share
    unknown = (cost_surfaced > 0 and override.trials == 0) or (cost_withheld > 0 and miss.trials == 0)
    point = cost_surfaced * _ratio(override) + cost_withheld * _ratio(miss)
    return Loss(
        point=None if unknown else point,
        low=cost_surfaced * override.low + cost_withheld * miss.low,
        high=cost_surfaced * override.high + cost_withheld * miss.high,
    )


def paper_loss(answers: Mapping[str, int], silence_target: float) -> tuple[float | None, float | None]:
    """Return the paper's loss, the mean target y of closed decisions, and the floor s λ + .5 ν that silence and neutrals set.

    Args:
        answers: how many decisions closed with each of `override`, `like`, `neutral` and `skipped`; absent is 0.
        silence_target: λ, the target of a skipped decision.

    Source: arXiv:2507.21131; the floor is the loss of a system that nobody ever overrides.
    """
    overrides, likes, neutrals = (answers.get(kind, 0) for kind in (Answer.OVERRIDE, Answer.LIKE, Answer.NEUTRAL))
    skipped = answers.get(SKIPPED, 0)
    closed = overrides + likes + neutrals + skipped
    if closed == 0:
        return None, None
    floor = (skipped * silence_target + 0.5 * neutrals) / closed
    return overrides / closed + floor, floor


def override_rates(overrides: int, surfaced: int, answered: int, scenarios: int) -> OverrideRates:
    """Return overrides per surfaced decision, per answered one and per scenario: three numbers that are easily confused."""
    return OverrideRates(*(overrides / count if count else None for count in (surfaced, answered, scenarios)))


def empty_counts() -> IntArray:
    """Return the counts of the threshold table before the first scenario, shape (arms, 4)."""
    return np.zeros((len(ARMS), 4), dtype=np.int64)


def count_scenarios(counts: IntArray, confidence: FloatArray) -> IntArray:
    """Add decided scenarios: which of them each threshold would have surfaced.

    Args:
        counts: shape (arms, 4).
        confidence: R of each scenario, shape (scenarios,).
    """
    added = np.zeros_like(counts)
    added[:, SURFACED] = _passes(confidence).sum(axis=1)
    return counts + added


def count_known(counts: IntArray, confidence: FloatArray, wanted: BoolArray) -> IntArray:
    """Add decisions of which an answer or an outcome tells: what each threshold would have made of them.

    Args:
        counts: shape (arms, 4).
        confidence: R of each when it was decided, shape (decisions,).
        wanted: z, liked or an incident (true), overridden or none (false), shape (decisions,).

    Returns:
        Counts with, at each arm, `KNOWN` the decisions that would have been surfaced, `OVERRIDES` the unwanted of them, and
        `MISSES` the wanted ones that would not.
    """
    passes = _passes(confidence)
    added = np.zeros_like(counts)
    added[:, KNOWN] = passes.sum(axis=1)
    added[:, OVERRIDES] = (passes & ~wanted).sum(axis=1)
    added[:, MISSES] = (~passes & wanted).sum(axis=1)
    return counts + added


def _passes(confidence: FloatArray) -> BoolArray:
    """Tell which confidences pass which arm, shape (arms, decisions)."""
    passes: BoolArray = np.asarray(ARMS)[:, np.newaxis] <= confidence
    return passes


def _outer_root(hits: FloatArray, others: FloatArray, bound: FloatArray, *, outside: FloatArray, inside: FloatArray) -> FloatArray:
    """Halve between a point outside the interval and one inside it; return the last point outside."""
    for _ in range(HALVINGS):
        middle = 0.5 * (outside + inside)
        holds = xlogy(hits, middle) + xlog1py(others, -middle) > bound
        inside, outside = np.where(holds, middle, inside), np.where(holds, outside, middle)
    return outside


def _ratio(observed: Rate) -> float:
    return observed.events / observed.trials if observed.trials else 0.0
