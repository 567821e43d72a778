"""Two models held against each other on logged decisions, doubly robust."""

from typing import NamedTuple

import numpy as np

from agents.scoring import Array
from schemas.alignment import OffPolicy

PROPENSITY_LEAST = 0.01  # below it the log says almost nothing of an action


class Logged(NamedTuple):
    """Judged decisions as columns of equal length.

    Attributes:
        surfaced: whether each was.
        propensity: the logged probability that it would be.
        target: y, in [0, 1].
        share: what each stands for among all decisions; they sum to 1.
        in_force: R under the model in force, from before it learned the target.
        challenger: R under the challenger, the same.
    """

    surfaced: Array
    propensity: Array
    target: Array
    share: Array
    in_force: Array
    challenger: Array


def shares(surfaced: Array, weight: Array, scored_surfaced: int, scored_withheld: int) -> Array:
    """Return what each judged decision stands for: surfaced and withheld ones together as much as there were of them.

    Args:
        surfaced: whether each was, shape (decisions,).
        weight: how much each counts among its kind, positive.
        scored_surfaced: decisions that were surfaced, judged or not.
        scored_withheld: decisions that were withheld.

    A kind of which nothing was judged stands for nothing; the other stands for all then.
    """
    share = np.zeros(len(surfaced))
    for kind, count in ((surfaced > 0, scored_surfaced), (surfaced == 0, scored_withheld)):
        if kind.any():
            share[kind] = max(count, 1) * weight[kind] / weight[kind].sum()
    return share / share.sum() if share.any() else share


def costs(surfaces: Array, target: Array, k: float, m: float) -> Array:
    """Return the cost of each decision: k for an unwanted recommendation, m for a miss, in expectation over y."""
    cost: Array = np.where(surfaces > 0, k * target, m * (1 - target))
    return cost


def compare(logged: Logged, threshold: float, k: float, m: float) -> OffPolicy:
    """Estimate the cost per decision under each of two models that surface where R passes the threshold.

        V(pi) = sum_i share_i [ c^(pi(x_i)) + 1{pi(x_i) = a_i} / p(a_i) (c_i - c^(a_i)) ]

    c^ is the cost that the mean of both models' R gives, so that neither is favoured; p the logged propensity of the action
    taken, .01 at least. The effective sample size is (sum w)^2 / sum w^2 over share_i 1{pi(x_i) = a_i} / p(a_i).

    Source: Dudik, Langford, Li, Doubly Robust Policy Evaluation and Learning, ICML 2011.
    """
    taken = logged.surfaced
    propensity = np.maximum(np.where(taken > 0, logged.propensity, 1 - logged.propensity), PROPENSITY_LEAST)
    unwanted = 1 - (logged.in_force + logged.challenger) / 2
    beyond = costs(taken, logged.target, k, m) - costs(taken, unwanted, k, m)
    values, sizes = [], []
    for confidence in (logged.in_force, logged.challenger):
        surfaces = (confidence >= threshold).astype(float)
        ratio = (surfaces == taken) / propensity
        values.append(costs(surfaces, unwanted, k, m) + ratio * beyond)
        weight = logged.share * ratio
        sizes.append(float(weight.sum() ** 2 / (weight**2).sum()) if weight.any() else 0.0)
    differences = values[0] - values[1]
    difference = float((logged.share * differences).sum())
    chance = np.where(logged.challenger >= threshold, logged.propensity, 1 - logged.propensity)
    return OffPolicy(
        judged=len(taken),
        effective_sample_size=min(sizes),
        unsupported=float(logged.share[chance < PROPENSITY_LEAST].sum()),
        cost_in_force=float((logged.share * values[0]).sum()),
        cost_challenger=float((logged.share * values[1]).sum()),
        difference=difference,
        standard_error=float(np.sqrt((logged.share**2 * (differences - difference) ** 2).sum())),
    )
