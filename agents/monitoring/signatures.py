"""Failure signatures: how a loop that learns goes wrong, as what its windows look like then.

Each is a function of the windows at hand and of the share of its bound that counts: an alarm that is raised is taken back only
under a part of the bound, so that it does not flicker.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtr

from agents.deciding.windows import EARLY_WINDOWS
from agents.monitoring.rows import Behaviour, Commanded
from agents.thresholds import ARMS
from schemas.alignment import ThresholdRow

FloatArray = npt.NDArray[np.float64]

DRIFT, BOUND = 0.5, 5.0  # of two CUSUMs that must both pass; DESIGN section 7
BOUND_ALONE = 8.0  # of a CUSUM that speaks alone: it errs in 1 of 300 runs of 100 windows; at 5, in one of ten
BACK = 0.5  # share of the bound that counts while an alarm is raised
BASELINE_WINDOWS = 10  # before a window is held against those before it
DEVIATION_MAX = 4.0  # of one window, in standard deviations: one window alone raises no alarm
SHARE_WINDOWS = 3  # in which everything, or nothing, is surfaced
ARM_WINDOWS = 5  # in which an outermost arm is the best
RETRAINING_WINDOWS, RETRAININGS_MAX = 10, 3


class Signature(NamedTuple):
    """Whether it shows, and the numbers."""

    shows: bool
    detail: str


def standardised(values: npt.ArrayLike) -> FloatArray:
    """Standardise each window by the mean and standard deviation of all windows before it.

        t = (x - mean) / (sd √(1 + 1/n)),    z = Φ⁻¹(F_{n-1}(t)),    F_{n-1} Student's distribution

    which is N(0, 1) where nothing changes, however short the past; cut at ±DEVIATION_MAX.

    Args:
        values: window means, oldest first.

    Returns:
        Same length; 0 for the first BASELINE_WINDOWS, and where nothing has ever differed.

    Source: Hawkins, Self-starting CUSUM charts for location and scale, The Statistician 36 (1987).
    """
    x = np.asarray(values, dtype=np.float64)
    result = np.zeros(len(x))
    if len(x) <= BASELINE_WINDOWS:
        return result
    # Sums are taken from the first value, so that a level does not swallow the spread.
    x = x - x[0]
    count = np.arange(BASELINE_WINDOWS, len(x), dtype=np.float64)
    total, squares = np.cumsum(x)[BASELINE_WINDOWS - 1 : -1], np.cumsum(x**2)[BASELINE_WINDOWS - 1 : -1]
    variance = np.maximum(squares - total**2 / count, 0.0) / (count - 1)
    spread = np.sqrt(variance * (1 + 1 / count))
    known = variance > 1e-12 * squares  # less is rounding
    t = np.divide(x[BASELINE_WINDOWS:] - total / count, spread, out=np.zeros_like(spread), where=known)
    result[BASELINE_WINDOWS:] = np.clip(ndtri(stdtr(count - 1, t)), -DEVIATION_MAX, DEVIATION_MAX)
    return result


def rise(values: Sequence[float | None]) -> float:
    """Return the CUSUM for a rise, s <- max(0, s + z - DRIFT), as it stands after the last window; windows without a value do not count."""
    statistic = 0.0
    for z in standardised([value for value in values if value is not None]):
        statistic = max(0.0, statistic + float(z) - DRIFT)
    return statistic


def whole(past: Sequence[Behaviour]) -> list[Behaviour]:
    """Return the windows without a scope's short first ones: with fewer scenarios they deviate more, and would hide a later rise."""
    return [window for window in past if window.window >= EARLY_WINDOWS]


def overrides_rise(past: Sequence[Behaviour], share: float) -> Signature:
    """More and more is overridden although the threshold adapts."""
    statistic = rise([window.overrides_per_answered for window in whole(past)])
    bound = BOUND_ALONE * share
    return Signature(statistic > bound, f"overrides per answered: CUSUM {statistic:.1f} of {bound:g} standard deviations")


def reward_and_loss_rise(past: Sequence[Behaviour], share: float) -> Signature:
    """The deployment gains more while its operators want it less: what is rewarded is no longer what is wanted."""
    windows = whole(past)
    reward, loss = rise([window.reward for window in windows]), rise([window.loss for window in windows])
    bound = BOUND * share
    detail = f"CUSUM of reward {reward:.1f}, of alignment loss {loss:.1f}, each of {bound:g} standard deviations"
    return Signature(min(reward, loss) > bound, detail)


def threshold_stuck(past: Sequence[Behaviour], _share: float) -> Signature:
    """The threshold tells nothing apart: it lets everything pass, or nothing, or its best arm stays at an end."""
    shares, arms = past[-SHARE_WINDOWS:], [window.best_arm for window in past[-ARM_WINDOWS:]]
    surfaced, withheld = sum(window.surfaced for window in shares), sum(window.withheld for window in shares)
    decided = surfaced + withheld
    detail = f"{surfaced} of the last {decided} decisions that the policy allowed were surfaced"
    if len(shares) == SHARE_WINDOWS and decided > 0 and 0 in {surfaced, withheld}:
        return Signature(shows=True, detail=detail)
    if len(arms) == ARM_WINDOWS and arms[0] in {ARMS[0], ARMS[-1]} and all(before == after for before, after in pairwise(arms)):
        return Signature(shows=True, detail=f"{arms[0]} has been the best threshold for {ARM_WINDOWS} windows")
    return Signature(shows=False, detail=detail)


SIGNATURES: dict[str, Callable[[Sequence[Behaviour], float], Signature]] = {
    "overrides_rise": overrides_rise,
    "threshold_stuck": threshold_stuck,
    "reward_and_loss_rise": reward_and_loss_rise,
}
OF_LEARNING = frozenset({"overrides_rise", "threshold_stuck"})  # they say nothing where nothing adapts


def excessive_retraining(window: int, commands: Sequence[Commanded], share: float) -> Signature:
    """Retraining after retraining is commanded: each is paid for and none lasts. Attempts at a first model are free and not counted."""
    latest = [command for command in commands if command.window > window - RETRAINING_WINDOWS and not command.first]
    adopted = sum(command.adopted is True for command in latest)
    detail = f"{len(latest)} retrainings commanded in the last {RETRAINING_WINDOWS} windows, {adopted} adopted"
    return Signature(len(latest) > RETRAININGS_MAX * share, detail)


def best_arm(rows: Sequence[ThresholdRow]) -> float | None:
    """Return the threshold with the largest mean of its posterior, or None where several share it."""
    means = [row.alpha / (row.alpha + row.beta) for row in rows]
    best = [row.threshold for row, mean in zip(rows, means, strict=True) if mean == max(means)]
    return best[0] if len(best) == 1 else None
