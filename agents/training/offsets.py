"""Every candidate has offsets of its own: each answer moves the class's offset under each of them, as the decider would have.

The numbers of a class are an array of shape (4, candidates): offset (logit), information, rising and falling sum.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import exp

import numpy as np
from scipy.special import expit

from agents import scoring
from agents.deciding import plain
from agents.deciding.rows import ClassRow
from agents.scoring import CONFIDENCE_EDGE, DRIFT_BOUND, DRIFT_SHIFT, PRIOR_INFORMATION, YOUDEN_LEAST, Array, Channel
from agents.training.rows import Candidate, ExampleRow
from schemas.events import Answer, JudgedAnswer, Verdict

PRIOR = (0.0, PRIOR_INFORMATION, 0.0, 0.0)
LIKED = {Answer.LIKE.value: 1.0, Answer.OVERRIDE.value: 0.0, Verdict.INCIDENT.value: 1.0, Verdict.NONE.value: 0.0}
ODDS = np.array([[exp(DRIFT_SHIFT)], [exp(-DRIFT_SHIFT)]])  # by which the odds q/(1 - q) grow where a class has jumped up, or down


def heard(answers: Iterable[JudgedAnswer]) -> list[JudgedAnswer]:
    """Return the answers that move something: what counted 0 (unheard, frozen, quarantined) does not."""
    return [answer for answer in answers if answer.counted > 0 and answer.kind in LIKED]


def outputs_of(models: Sequence[Candidate], features: Mapping[str, float]) -> Array:
    """Return f(x) of one scenario under each candidate, in logit; a feature that the scenario lacks adds nothing."""
    weights = np.array([[model.weights.get(name, 0.0) for name in features] for model in models])
    intercepts = np.array([model.intercept for model in models])
    outputs: Array = intercepts + (weights.reshape(len(models), -1) * np.array(list(features.values()))).sum(axis=1)
    return outputs


def confidences(outputs: Array, own: Array) -> Array:
    """Return R of one scenario under each candidate, each with its own offset."""
    return _inside(expit(outputs + own[0]))


def move(outputs: Array, own: Array, answers: Iterable[JudgedAnswer]) -> Array:
    """Return a class's numbers under each candidate after the answers to one scenario, in their order.

    `scoring.update` and then `scoring.forget` of each, in fewer operations: one answer to one class, whose source is one.

    Args:
        outputs: f(x) of the scenario under each candidate, shape (candidates,).
        own: the class's numbers, shape (4, candidates).
        answers: as they were applied.
    """
    offset, information, sums = own[0].copy(), own[1].copy(), own[2:].copy()
    for answer in heard(answers):
        alpha, beta, kappa, liked = answer.alpha, answer.beta, answer.counted, LIKED[answer.kind]
        youden = alpha + beta - 1
        if youden <= YOUDEN_LEAST:
            continue
        wanted = _inside(expit(outputs + offset))
        unwanted = 1 - wanted
        predicted = _inside(alpha * wanted + (1 - beta) * unwanted)
        slope, noise = youden * wanted * unwanted, predicted * (1 - predicted)
        information += kappa * slope * slope / noise
        offset += kappa * (liked - predicted) * slope / (noise * information)
        jumped = wanted * ODDS
        jumped /= jumped + unwanted
        likes = _inside(alpha * jumped + (1 - beta) * (1 - jumped))
        sums += np.log(likes / predicted if liked else (1 - likes) / (1 - predicted))
        np.maximum(sums, 0.0, out=sums)
        rises, falls = sums > DRIFT_BOUND
        jumps = rises | falls
        if jumps.any():
            offset += np.where(rises, DRIFT_SHIFT, np.where(falls, -DRIFT_SHIFT, 0.0))
            information[jumps] = np.minimum(information[jumps], PRIOR_INFORMATION)
            sums[:, jumps] = 0.0
    return np.vstack((offset, information, sums))


def fold(model: Candidate, examples: Iterable[ExampleRow]) -> dict[str, tuple[float, float, float, float]]:
    """Return each class's numbers under one candidate, from the prior on, by the answers to examples in their order."""
    rows: dict[str, ClassRow] = {}
    for example in examples:
        row = rows.get(example.scenario_class)
        if row is None:
            row = rows[example.scenario_class] = ClassRow(information=PRIOR_INFORMATION, draw_information=PRIOR_INFORMATION)
        output = scoring.model_output(example.features, model.intercept, model.weights)
        for answer in heard(example.answers):
            wanted = plain.confidence(output, row.offset)
            plain.hear(row, LIKED[answer.kind], Channel(answer.alpha, answer.beta), wanted, answer.counted)
    return {name: (row.offset, row.information, row.rising, row.falling) for name, row in rows.items()}


def _inside(share: Array) -> Array:
    inside: Array = np.minimum(np.maximum(share, CONFIDENCE_EDGE), 1 - CONFIDENCE_EDGE)
    return inside
