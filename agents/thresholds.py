"""Threshold selectors: what must be passed to be surfaced, the draw, and the propensity that is logged.

A selector decides one scenario with its own generator. The rules beneath (`drawn`, `propensity`, `propensity_of_mean`,
`arm_probabilities`) take floats or arrays of one shape and work element by element.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import betainc, betaincinv, expit, logit, ndtr

from agents.scoring import PRIOR_INFORMATION, Array, Number

ARMS = (0.5, 0.6, 0.7, 0.8, 0.9)
TEMPER = 0.33
EXPLORATION = 0.01  # share surfaced as audited exploration while the budget is closed
COUNT_LEAST = 1e-9  # of a Beta's parameters
NODES = 128
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(NODES)


class Selection(NamedTuple):
    """One draw: the confidence or threshold drawn, the threshold in force, whether it passes, and how probable that was."""

    draw: float | None
    threshold: float
    passes: bool
    propensity: float


def posterior(model_output: float, offset: float, draw_information: float, threshold: float, random: np.random.Generator) -> Selection:
    """Draw the class's offset from its tempered posterior and surface if the confidence so drawn passes.

    b ~ N(b_c, s^2), s the `deviation`; propensity Phi((f(x) + b_c - logit tau) / s). Source: DESIGN section 7, wider
    where little is known.
    """
    draw = float(drawn(model_output, offset, draw_information, random.standard_normal()))
    return Selection(draw, threshold, draw >= threshold, float(propensity(model_output, offset, draw_information, threshold)))


def deviation(draw_information: Number) -> Number:
    """Return the standard deviation with which a class's offset is drawn: s^2 = .33^2 / D_c (1 + D_0 / D_c), D_0 = 1 / sigma_b^2.

    Where little is known a class is tried more boldly, which matters where no outcome tells of what is withheld: with .33^2 / D_c alone
    a new class at R = .5 is surfaced once in 56 times, with twice that once in 15.
    """
    spread: Number = TEMPER * np.sqrt((1 + PRIOR_INFORMATION / draw_information) / draw_information)
    return spread


def drawn(model_output: Number, offset: Number, draw_information: Number, normal: Number) -> Number:
    """Return the confidence that a class's tempered posterior gives with a standard normal number: sigma(f(x) + b_c + s n).

    Args:
        model_output: f(x), logit.
        offset: b_c, logit.
        draw_information: D_c, positive.
        normal: n; `random.standard_normal(shape)` for arrays.
    """
    confidence: Number = expit(model_output + offset + deviation(draw_information) * normal)
    return confidence


def propensity(model_output: Number, offset: Number, draw_information: Number, threshold: Number) -> Number:
    """Return the probability that what is `drawn` passes a threshold in (0, 1): Phi((f(x) + b_c - logit tau) / s)."""
    passes: Number = ndtr((model_output + offset - logit(threshold)) / deviation(draw_information))
    return passes


def propensity_of_mean(misaligned: Number, aligned: Number, threshold: Number) -> Number:
    """Return the probability that a draw from Beta(aligned, misaligned), both positive, passes a threshold in [0, 1]."""
    passes: Number = 1 - betainc(aligned, misaligned, threshold)
    return passes


def posterior_mean(misaligned: float, aligned: float, threshold: float, random: np.random.Generator) -> Selection:
    """Draw the confidence of a `mean` score from Beta(aligned, misaligned), the weighted answers with the prior's.

    Either is at least 1e-9: a step that forgets can leave nothing of the prior, and a prior mean of 0 or 1 has nothing of one side.
    """
    misaligned, aligned = max(misaligned, COUNT_LEAST), max(aligned, COUNT_LEAST)
    draw = float(random.beta(aligned, misaligned))
    return Selection(draw, threshold, draw >= threshold, float(propensity_of_mean(misaligned, aligned, threshold)))


def thompson(confidence: float, likes: Array, overrides: Array, random: np.random.Generator) -> Selection:
    """Draw each arm's success rate and take the arm with the largest draw as the threshold (the paper's selector).

    Args:
        confidence: R of the scenario.
        likes: first parameter of each arm's Beta posterior, shape (5,).
        overrides: second parameter, shape (5,).
        random: the scenario's own generator.

    Source: arXiv:2507.21131; propensity by quadrature over the arms that the confidence passes.
    """
    arm = int(np.argmax(random.beta(likes, overrides)))
    chances = arm_probabilities(likes, overrides)
    passing = [chance for chance, threshold in zip(chances, ARMS, strict=True) if confidence >= threshold]
    return Selection(ARMS[arm], ARMS[arm], confidence >= ARMS[arm], min(1.0, float(sum(passing))))


def arm_probabilities(likes: Array, overrides: Array) -> Array:
    """Return the probability that each arm has the largest draw, shape (..., 5), summing to 1 over the arms.

    Args:
        likes: first parameter of each arm's Beta posterior, positive, shape (..., 5).
        overrides: second parameter, the same.

    Gauss-Legendre over each arm's own quantiles, which is where its posterior is, however narrow.
    """
    quantiles = (_NODES + 1) / 2
    successes, failures = np.asarray(likes)[..., np.newaxis], np.asarray(overrides)[..., np.newaxis]
    chances = []
    for arm in range(len(ARMS)):
        draw = betaincinv(successes[..., arm, :], failures[..., arm, :], quantiles)
        below = [betainc(successes[..., other, :], failures[..., other, :], draw) for other in range(len(ARMS)) if other != arm]
        chances.append(np.sum(_WEIGHTS * np.prod(below, axis=0), axis=-1) / 2)
    total = np.stack(chances, axis=-1)
    return np.asarray(total / np.sum(total, axis=-1, keepdims=True))


def fixed(confidence: float, threshold: float) -> Selection:
    """Surface if the confidence passes a constant threshold; nothing is drawn."""
    passes = confidence >= threshold
    return Selection(None, threshold, passes, float(passes))
