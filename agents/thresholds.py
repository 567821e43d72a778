"""Threshold selectors: what must be passed to be surfaced, the draw, and the propensity that is logged."""

from typing import NamedTuple

import numpy as np
from scipy.special import betainc, betaincinv, expit, logit, ndtr

from agents.scoring import Array

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

    b ~ N(b_c, .33^2 / D_c); propensity Phi((f(x) + b_c - logit tau) sqrt(D_c) / .33). Source: DESIGN section 7.
    """
    deviation = TEMPER / np.sqrt(draw_information)
    drawn = float(expit(model_output + offset + deviation * random.standard_normal()))
    propensity = float(ndtr((model_output + offset - logit(threshold)) / deviation))
    return Selection(drawn, threshold, drawn >= threshold, propensity)


def posterior_mean(misaligned: float, aligned: float, threshold: float, random: np.random.Generator) -> Selection:
    """Draw the confidence of a `mean` score from Beta(aligned, misaligned), the weighted answers with the prior's.

    Either is at least 1e-9: a step that forgets can leave nothing of the prior, and a prior mean of 0 or 1 has nothing of one side.
    """
    misaligned, aligned = max(misaligned, COUNT_LEAST), max(aligned, COUNT_LEAST)
    drawn = float(random.beta(aligned, misaligned))
    return Selection(drawn, threshold, drawn >= threshold, float(1 - betainc(aligned, misaligned, threshold)))


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
    """Return the probability that each arm has the largest draw, shape (5,), summing to 1.

    Gauss-Legendre over each arm's own quantiles, which is where its posterior is, however narrow.
    """
    quantiles = (_NODES + 1) / 2
    chances = []
    for arm in range(len(ARMS)):
        drawn = betaincinv(likes[arm], overrides[arm], quantiles)
        below = [betainc(likes[other], overrides[other], drawn) for other in range(len(ARMS)) if other != arm]
        chances.append(np.sum(_WEIGHTS * np.prod(below, axis=0)) / 2)
    return np.asarray(chances / np.sum(chances))


def fixed(confidence: float, threshold: float) -> Selection:
    """Surface if the confidence passes a constant threshold; nothing is drawn."""
    passes = confidence >= threshold
    return Selection(None, threshold, passes, float(passes))
