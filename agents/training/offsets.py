"""Every candidate has offsets of its own: each answer moves the class's offset under each of them, as the decider would have."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from agents import scoring
from agents.scoring import Channel, Drift, Offsets
from agents.training.rows import Candidate, OwnOffset
from schemas.events import Answer, JudgedAnswer, Verdict

PRIOR = OwnOffset(0.0, scoring.PRIOR_INFORMATION, 0.0, 0.0)
LIKED = {Answer.LIKE.value: 1.0, Answer.OVERRIDE.value: 0.0, Verdict.INCIDENT.value: 1.0, Verdict.NONE.value: 0.0}


def output_of(model: Candidate, features: Mapping[str, float]) -> float:
    """Return f(x) of a model, in logit; a feature that the scenario lacks adds nothing."""
    return scoring.model_output(features, model.intercept, model.weights)


def confidences(outputs: Sequence[float], own: Sequence[OwnOffset]) -> list[float]:
    """Return R of one scenario under each candidate, each with its own offset."""
    offsets = np.array([offset.offset for offset in own])
    confidence: list[float] = np.atleast_1d(scoring.confidence(np.array(outputs), offsets)).tolist()
    return confidence


def move(outputs: Sequence[float], own: Sequence[OwnOffset], answers: Iterable[JudgedAnswer]) -> list[OwnOffset]:
    """Move a class's offset under each candidate by the answers to one scenario, in their order.

    Args:
        outputs: f(x) of the scenario under each candidate.
        own: the class's offset under each.
        answers: as they were applied: what counted 0 (unheard, frozen, quarantined) moves nothing.
    """
    heard = [answer for answer in answers if answer.counted > 0 and answer.kind in LIKED]
    if not heard or not own:
        return list(own)
    model_output = np.array(outputs)
    offset, information, rising, falling = (np.array(column) for column in zip(*(_columns(one) for one in own), strict=True))
    offsets, drift = Offsets(offset, information, information), Drift(rising, falling)
    for answer in heard:
        channel, liked = Channel(answer.alpha, answer.beta), LIKED[answer.kind]
        wanted = scoring.confidence(model_output, offsets.offset)
        offsets = scoring.update(offsets, liked, channel, wanted, answer.counted)
        drift, offsets = scoring.forget(drift, offsets, liked, channel, wanted)
    columns = (np.asarray(column).tolist() for column in (offsets.offset, offsets.information, *drift))
    return [OwnOffset(*one) for one in zip(*columns, strict=True)]


def _columns(own: OwnOffset) -> tuple[float, float, float, float]:
    return own.offset, own.information, own.rising, own.falling
