"""The score: how likely operators are to want a scenario surfaced, and how an answer moves it.

All functions take floats or arrays of one shape and work element by element, one answer per class at a time.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

Array = NDArray[np.float64]
Number = float | Array
Schedule = Callable[[Number, Number, Number], Number]

PRIOR_DEVIATION = 2.0  # sigma_b
PRIOR_INFORMATION = 1 / PRIOR_DEVIATION**2
CAP_SHARE = 0.2  # the share of a class's answers above which one source's answers are damped
CAP_FREE = 2.0  # answers of one source that are never damped
YOUDEN_LEAST = 0.02  # a source this close to a coin flip moves nothing
DRAW_FLOOR = 0.1  # least share of J^2 that an answer adds to the information for the draw
DRIFT_BOUND = 5.0
DRIFT_SHIFT = 2.0  # logit
STEP_POWER = 0.7  # of the step `power`
STEP_CONSTANT = 0.1  # the step `constant`
CONFIDENCE_EDGE = 1e-9  # keeps q(1 - q) above zero in double precision


class Channel(NamedTuple):
    """A source of answers: alpha = P(like | wanted), beta = P(override | unwanted)."""

    alpha: Number
    beta: Number

    @property
    def youden(self) -> Number:
        """J = alpha + beta - 1: 1 for a perfect source, 0 for a coin, negative for a liar."""
        return self.alpha + self.beta - 1


class Offsets(NamedTuple):
    """A class's offset b_c (logit), its information H_c, and the information for the draw D_c."""

    offset: Number
    information: Number
    draw_information: Number


class Drift(NamedTuple):
    """A class's two sums of log likelihood ratios: that it has become wanted more, and less, by `DRIFT_SHIFT`."""

    rising: Number
    falling: Number


PERFECT = Channel(1.0, 1.0)
OUTCOME_CHANNEL = Channel(0.95, 0.95)
PRIOR_OFFSETS = Offsets(0.0, PRIOR_INFORMATION, PRIOR_INFORMATION)


def contributions(features: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    """Return what each feature adds to the model's output, in logit; a feature that the scenario lacks adds nothing."""
    return {name: weight * features[name] for name, weight in weights.items() if name in features}


def model_output(features: Mapping[str, float], intercept: float, weights: Mapping[str, float]) -> float:
    """Return f(x), logit; not finite where the model cannot be asked about such features."""
    return intercept + sum(contributions(features, weights).values())


def confidence(model_output: Number, offset: Number) -> Number:
    """Return R(x, c) = sigma(f(x) + b_c), kept inside the open interval (0, 1)."""
    inside: Number = np.clip(expit(np.asarray(model_output) + offset), CONFIDENCE_EDGE, 1 - CONFIDENCE_EDGE)[()]
    return inside


def cap(class_answers: Number, source_answers: Number) -> Number:
    """Return kappa = min(1, max(2, n_c / 5) / n_cj): how much of an answer counts, so that no source dominates a class.

    Args:
        class_answers: n_c, answers of the class with this one.
        source_answers: n_cj, this source's answers among them with this one.
    """
    return np.minimum(1.0, np.maximum(CAP_FREE, CAP_SHARE * np.asarray(class_answers)) / source_answers)[()]


def predicted_like(channel: Channel, wanted: Number) -> Number:
    """Return pi = alpha q + (1 - beta)(1 - q): the probability that this source says like."""
    return channel.alpha * wanted + (1 - channel.beta) * (1 - wanted)


def update(before: Offsets, liked: Number, channel: Channel, wanted: Number, kappa: Number) -> Offsets:
    """Move each class's offset toward the answer it received.

    Args:
        before: the classes' offsets.
        liked: z, 1 for like and 0 for override.
        channel: the sources' coins, in [0, 1].
        wanted: q = R before the answer, in (0, 1).
        kappa: share of the answer that counts, from `cap`.

    A source with J <= .02 moves nothing. Source: Robbins-Monro recursion with gain 1/H, DESIGN section 7.
    """
    youden = np.asarray(channel.youden)
    heard = youden > YOUDEN_LEAST
    predicted = np.clip(predicted_like(channel, wanted), CONFIDENCE_EDGE, 1 - CONFIDENCE_EDGE)
    slope = youden * wanted * (1 - np.asarray(wanted))
    noise = predicted * (1 - predicted)
    gained = np.where(heard, slope**2 / noise, 0.0)
    information = before.information + kappa * gained
    moved = np.where(heard, kappa * (liked - predicted) * slope / (noise * information), 0.0)
    draw = np.where(heard, kappa * np.maximum(gained, DRAW_FLOOR * youden**2), 0.0)
    return Offsets((before.offset + moved)[()], information[()], (before.draw_information + draw)[()])


def forget(drift: Drift, offsets: Offsets, liked: Number, channel: Channel, wanted: Number) -> tuple[Drift, Offsets]:
    """Watch each class for a jump, and let it forget where there is one.

    g+- <- max(0, g+- + log(pi+-(z) / pi(z))) with logit q shifted by +-2 in pi+-; when one passes 5, b moves by the shift, H and D
    fall to 1/4 at most, and both sums start anew.

    Args:
        drift: the sums before the answer.
        offsets: the class after `update` has taken the answer.
        liked: z.
        channel: the source's coins: what a known liar says does not look like a jump. A source with J <= .02 moves nothing.
        wanted: q before the answer.

    Source: Page's CUSUM through the source's channel, DESIGN section 7.
    """
    heard = np.asarray(channel.youden) > YOUDEN_LEAST
    said = _likelihood(channel, wanted, liked)
    sums = []
    for before, shift in zip(drift, (DRIFT_SHIFT, -DRIFT_SHIFT), strict=True):
        shifted = expit(logit(wanted) + shift)
        gained = np.where(heard, np.log(_likelihood(channel, shifted, liked) / said), 0.0)
        sums.append(np.maximum(0.0, before + gained))
    rises, falls = (total > DRIFT_BOUND for total in sums)
    jumps = rises | falls
    moved = offsets.offset + np.where(rises, DRIFT_SHIFT, np.where(falls, -DRIFT_SHIFT, 0.0))
    information, draw = (
        np.where(jumps, np.minimum(value, PRIOR_INFORMATION), value) for value in (offsets.information, offsets.draw_information)
    )
    rising, falling = (np.where(jumps, 0.0, total)[()] for total in sums)
    return Drift(rising, falling), Offsets(moved[()], information[()], draw[()])


def fold(answers: Sequence[Array]) -> tuple[Drift, Offsets]:
    """Fold each class's answers from the prior, in order: round r takes every class's r-th answer.

    Args:
        answers: one array a class, shape (answers, 5): model output (logit), z, alpha, beta, kappa.

    Returns:
        The classes' sums and offsets, shape (classes,) each.
    """
    counts = np.array([len(each) for each in answers], dtype=np.int64)
    drift = Drift(np.zeros(len(counts)), np.zeros(len(counts)))
    state = Offsets(*(np.full(len(counts), value) for value in PRIOR_OFFSETS))
    for number in range(counts.max(initial=0)):
        heard = np.flatnonzero(counts > number).tolist()
        output, liked, alpha, beta, kappa = np.stack([answers[index][number] for index in heard]).T
        before = Offsets(*(np.asarray(values)[heard] for values in state))
        wanted = confidence(output, before.offset)
        after = update(before, liked, Channel(alpha, beta), wanted, kappa)
        sums, after = forget(Drift(*(np.asarray(values)[heard] for values in drift)), after, liked, Channel(alpha, beta), wanted)
        for values, moved in zip((*drift, *state), (*sums, *after), strict=True):
            np.asarray(values)[heard] = moved
    return drift, state


def _likelihood(channel: Channel, wanted: Number, liked: Number) -> Number:
    """Return P(z), the probability of what a source has said; never 0."""
    likes = np.clip(predicted_like(channel, wanted), CONFIDENCE_EDGE, 1 - CONFIDENCE_EDGE)
    said: Number = np.where(np.asarray(liked) > 0, likes, 1 - likes)[()]
    return said


def mean_misalignment(prior_weight: Number, prior_mean: Number, weight: Number, weighted: Number) -> Number:
    """Return M = (n0 m0 + sum w y) / (n0 + sum w), the running estimate of the target y; R = 1 - M.

    Source: arXiv:2507.21131 section 4.3 with the step eta_k = w_k / (n0 + N_k).
    """
    return (prior_weight * prior_mean + weighted) / (prior_weight + weight)


def harmonic(prior_weight: Number, weight_so_far: Number, weight: Number) -> Number:
    """Return eta = w / (n0 + N): M is then the mean of the targets and the prior, and forgets nothing."""
    return weight / (prior_weight + weight_so_far + weight)


def power(prior_weight: Number, weight_so_far: Number, weight: Number) -> Number:
    """Return eta = w (n0 + N)^-.7, at most 1: larger steps than `harmonic`, which forget slowly."""
    return np.minimum(1.0, weight * (prior_weight + weight_so_far + np.asarray(weight)) ** -STEP_POWER)[()]


def constant(prior_weight: Number, weight_so_far: Number, weight: Number) -> Number:
    """Return eta = .1 w, at most 1: the memory of about ten answers, whose error never falls."""
    del prior_weight, weight_so_far
    return np.minimum(1.0, STEP_CONSTANT * np.asarray(weight))[()]


# Steps of the `mean` score by name: eta in [0, 1] of n0, of the weight of the answers before, and of w, this answer's; N is with it.
# eta is 0 where w is. Source: arXiv:2507.21131 section 4.3; `power` and `constant` for study.
SCHEDULES: dict[str, Schedule] = {"harmonic": harmonic, "power": power, "constant": constant}


def mean_update(before: Number, target: Number, eta: Number) -> Number:
    """Return M + eta (y - M): the running estimate of the target after one answer.

    Args:
        before: M, in [0, 1].
        target: y, in [0, 1].
        eta: the step, in [0, 1], of `SCHEDULES`.
    """
    return before + eta * (target - before)


def mean_weighted(prior_weight: Number, prior_mean: Number, weight: Number, misalignment: Number) -> Number:
    """Return the sum of w y with which `mean_misalignment` gives M: what a mean with another step than `harmonic` is kept as."""
    return misalignment * (prior_weight + weight) - prior_weight * prior_mean
