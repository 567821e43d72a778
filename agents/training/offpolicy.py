"""Two models held against each other on logged decisions, doubly robust."""

from typing import NamedTuple

import numpy as np

from agents.scoring import Array
from schemas.alignment import OffPolicy

OBSERVED_LEAST = 0.01  # the least chance of being judged that a decision is weighted by


class Logged(NamedTuple):
    """Judged decisions as columns of equal length.

    Attributes:
        surfaced: whether each was.
        propensity: the logged probability that it would be.
        target: y, in [0, 1].
        weight: how much those who told it are trusted, in (0, 1].
        in_force: R under the model in force, from before it learned the target.
        challenger: R under the challenger, the same.
    """

    surfaced: Array
    propensity: Array
    target: Array
    weight: Array
    in_force: Array
    challenger: Array


class Scored(NamedTuple):
    """How many decisions there were, judged or not."""

    surfaced: int
    withheld: int


def costs(surfaces: Array, target: Array, k: float, m: float) -> Array:
    """Return the cost of each decision: k for an unwanted recommendation, m for a miss, in expectation over y."""
    cost: Array = np.where(surfaces > 0, k * target, m * (1 - target))
    return cost


def observed(logged: Logged, scored: Scored) -> Array:
    """Return the probability with which each decision came to be judged: p a + (1 - p) r, .01 at least.

    a and r are the shares of the surfaced and of the withheld decisions that were judged: an answer or an outcome comes whatever
    the scenario is, but whether it was surfaced depends on it, with the logged propensity p.
    """
    count = logged.surfaced.sum()
    a, r = count / max(scored.surfaced, count, 1), (len(logged.surfaced) - count) / max(scored.withheld, len(logged.surfaced) - count, 1)
    chance: Array = np.maximum(logged.propensity * a + (1 - logged.propensity) * r, OBSERVED_LEAST)
    return chance


def shares(logged: Logged, scored: Scored) -> Array:
    """Return what each judged decision stands for, summing to 1: surfaced and withheld ones together as much as there were of them.

    A kind of which nothing was judged stands for nothing; the other stands for all then.
    """
    share = np.zeros(len(logged.surfaced))
    for kind, count in ((logged.surfaced > 0, scored.surfaced), (logged.surfaced == 0, scored.withheld)):
        if kind.any():
            share[kind] = max(count, 1) * logged.weight[kind] / logged.weight[kind].sum()
    total: Array = share / share.sum()
    return total


def compare(logged: Logged, scored: Scored, threshold: float, k: float, m: float) -> OffPolicy:
    """Estimate the cost per decision under each of two models that surface where R passes the threshold.

        V(pi) = sum_i share_i c^(pi(x_i)) + sum_i w_i [ c_i(pi(x_i)) - c^(pi(x_i)) ],   w_i ~ 1 / P(judged | x_i)

    A target tells the cost of both actions, so what has to be weighted for is being judged. c^ is the cost that the mean of both
    models' R gives, so that neither is favoured. The estimate is right if either these costs or the propensities are.
    The effective sample size is (sum w)^2 / sum w^2, and no more than the trust in those who judged; `unsupported` the share of
    all decisions that no judged one stands for.

    Args:
        logged: at least one judged decision.
        scored: how many there were to judge.
        threshold: in (0, 1).
        k: cost of an unwanted recommendation.
        m: cost of a miss.

    Source: Robins, Rotnitzky, Zhao, JASA 89 (1994); Dudik, Langford, Li, ICML 2011; DESIGN section 7.
    """
    chance = observed(logged, scored)
    share, weight = shares(logged, scored), logged.weight / chance
    weight /= weight.sum()
    unwanted = 1 - (logged.in_force + logged.challenger) / 2
    values, expectations, errors = [], [], []
    actions = [(confidence >= threshold).astype(float) for confidence in (logged.in_force, logged.challenger)]
    for surfaces in actions:
        expected = costs(surfaces, unwanted, k, m)
        expectations.append(expected)
        errors.append(costs(surfaces, logged.target, k, m) - expected)
        values.append(float((share * expected).sum() + (weight * errors[-1]).sum()))
    expectation, surprise = expectations[0] - expectations[1], errors[0] - errors[1]
    spread = share * (expectation - (share * expectation).sum()) + weight * (surprise - (weight * surprise).sum())
    return OffPolicy(
        judged=len(chance),
        effective_sample_size=float(min(1 / (weight**2).sum(), logged.weight.sum())),
        differing=int((actions[0] != actions[1]).sum()),
        unsupported=float(max(0.0, 1 - (1 / chance).sum() / max(scored.surfaced + scored.withheld, 1))),
        cost_in_force=values[0],
        cost_challenger=values[1],
        difference=values[0] - values[1],
        standard_error=float(np.sqrt((spread**2).sum())),
    )
