"""Bytes to events and back, one decoder a topic; a fault becomes a DecodeError that says where."""

from typing import Any

import msgspec

from schemas import topics
from schemas.alignment import AlignmentEvent, RetrainingCommand, RetrainingResult
from schemas.errors import DecodeError
from schemas.events import Audit, Control, Decision, Feedback, Judgement, Merge, Model, Outcome, Recommendation, Sample, ScenarioEvent

HOUR_MS = 3_600_000

TYPES: dict[str, Any] = {
    topics.TELEMETRY.name: Sample,
    topics.SCENARIO.name: ScenarioEvent,
    topics.DECISION.name: Decision,
    topics.RECOMMENDATION.name: Recommendation,
    topics.FEEDBACK.name: Feedback,
    topics.OUTCOME.name: Outcome,
    topics.JUDGEMENT.name: Judgement,
    topics.ALIGNMENT.name: AlignmentEvent,
    topics.RETRAINING_COMMAND.name: RetrainingCommand,
    topics.RETRAINING_RESULT.name: RetrainingResult,
    topics.MODEL.name: Model,
    topics.CONTROL.name: Control,
    topics.MERGE.name: Merge,
    topics.AUDIT.name: Audit,
}
_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in TYPES.items()}
_ENCODER = msgspec.json.Encoder()


def encode(event: msgspec.Struct) -> bytes:
    """Write an event as JSON; the same event gives the same bytes."""
    return _ENCODER.encode(event)


def decode(topic: str, value: bytes | None) -> Any:  # noqa: ANN401  # one of TYPES, known by the topic alone
    """Read the event of one record of a topic.

    Raises:
        DecodeError: the value is absent, is not JSON, or is not what `schemas.events` describes.
    """
    if value is None:
        raise DecodeError(f"{topic}: a record without a value; send the JSON of {topic} as docs/events.md shows")
    try:
        return _DECODERS[topic].decode(value)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"{topic}: {error}; value starts with {value[:80]!r}") from error


def checked(topic: str, event: msgspec.Struct) -> Any:  # noqa: ANN401  # one of TYPES, known by the topic alone
    """Return an event that was built in code as its reader would get it: a copy, whose numbers have been held against their ranges.

    Raises:
        DecodeError: what JSON cannot carry (NaN, an infinite number, NumPy's scalars), or not what `schemas.events` describes.
    """
    try:
        return decode(topic, encode(event))
    except TypeError as error:
        raise DecodeError(f"{topic}: {error}; give Python's own numbers (`float(x)`, or `.tolist()` of an array)") from error
