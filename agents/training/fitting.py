"""Fitting a challenger: a ridge logistic over features, jointly with an intercept per class."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from agents.scoring import PRIOR_DEVIATION
from agents.training.rows import ExampleRow
from schemas.events import METRICS_MAX

WEIGHT_VARIANCE = 2.0  # of the prior N(0, 2) of a weight
EXAMPLES_LEAST = 20
CLASSES_MAX = 100  # with an intercept of their own, the most frequent; the rest share one
ITERATIONS_MAX = 200


class Fitted(NamedTuple):
    """f(x) = intercept + sum of weights[name] * x[name], in logit, and the number of examples that it was fitted on."""

    intercept: float
    weights: dict[str, float]
    examples: int


def fit(examples: Sequence[ExampleRow]) -> Fitted | None:
    """Fit the log odds that a scenario is wanted on judged ones.

    Every example counts as wanted by 1 - target and as unwanted by target, times the trust in those who told it. Weights have the
    prior N(0, 2), class intercepts N(0, sigma_b^2): scaled so that one ridge penalty is both. Class intercepts are left out
    of the model: offsets are had by folding the answers again. Of more features than a model can name the most frequent count.

    Returns:
        None where there are too few examples, or all of them say the same.

    Source: DESIGN section 7, "Trainer and meta-monitor".
    """
    known = [example for example in examples if example.target is not None and example.weight > 0]
    wanted = np.array([example.weight * (1 - (example.target or 0.0)) for example in known])
    unwanted = np.array([example.weight * (example.target or 0.0) for example in known])
    if len(known) < EXAMPLES_LEAST or wanted.sum() == 0 or unwanted.sum() == 0:
        return None
    # Imported here: it takes a second that the other tasks need not wait.
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    names = most_frequent((name for example in known for name in example.features), METRICS_MAX)
    classes = {name: place for place, name in enumerate(most_frequent((example.scenario_class for example in known), CLASSES_MAX))}
    design = np.zeros((len(known), len(names) + len(classes) + 1))
    for place, name in enumerate(names):
        design[:, place] = [example.features.get(name, 0.0) for example in known]
    of_class = [len(names) + classes.get(example.scenario_class, len(classes)) for example in known]
    design[np.arange(len(known)), of_class] = PRIOR_DEVIATION / np.sqrt(WEIGHT_VARIANCE)
    regression = LogisticRegression(C=WEIGHT_VARIANCE, solver="newton-cholesky", tol=1e-8, max_iter=ITERATIONS_MAX)
    labels, weight = np.repeat([1, 0], len(known)), np.concatenate([wanted, unwanted])
    counts_for = weight > 0
    # Sums over threads would depend on their number.
    with threads().limit(limits=1):
        regression.fit(np.vstack([design, design])[counts_for], labels[counts_for], sample_weight=weight[counts_for])
    weights = regression.coef_[0, : len(names)].tolist()
    return Fitted(float(regression.intercept_[0]), dict(zip(names, weights, strict=True)), len(known))


def most_frequent(names: Iterable[str], number: int) -> list[str]:
    """Return the names that come most often, so many at most, in the order of the alphabet; of equals the first by name."""
    counts = Counter(names)
    return sorted(sorted(counts, key=lambda name: (-counts[name], name))[:number])


@cache
def threads() -> ThreadpoolController:
    """Return what limits the threads of the numeric libraries; looking for them takes as long as half a fit."""
    return ThreadpoolController()
