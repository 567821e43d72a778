"""The messages of the AsyncAPI document: one for each kind of event, Arrow batches, dead letters, and the schemas of their headers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from schemas import errors, topics
from schemas.codecs import TYPES, decode
from schemas.errors import RecordError
from schemas.events import NAME_LENGTH_MAX
from schemas.headers import ARROW, CONTENT_TYPE, JSON, TRACEPARENT, cloud_event
from schemas.reference import EXAMPLES, structs
from schemas.topics import MERGE, TELEMETRY, Topic, physical
from streams.contracts.schemas import Schema
from streams.engine.compute import TooLargeError

BINDINGS = "0.5.0"
ARROW_MESSAGE = "SampleBatch"
DEAD_LETTER = "DeadLetter"
DIGITS = {"type": "string", "pattern": "^[0-9]+$"}
KEYS = {
    "entity": "The entity.",
    "scope": "The scope; for an answer, the recommendation's own key.",
    "scope|command|subject": "Scope (`*` for all), command and subject; the record's partition is the scope's.",
    "task": "The task, e.g. `deciding-3`.",
    "name": "Who asked, by the name of the token.",
}


def messages(topic: Topic) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give a topic's messages: one for each kind of event, and Arrow batches of telemetry."""
    for struct in structs(TYPES[topic.name]):
        paths = sorted((EXAMPLES / topic.name).glob("*.json"))
        examples = [_example(path) for path in paths if type(decode(topic.name, path.read_bytes())) is struct]
        yield f"{topic.name}.{struct.__name__}", _event(topic, struct, examples)
    if topic is TELEMETRY:
        yield f"{topic.name}.{ARROW_MESSAGE}", _arrow()


def _event(topic: Topic, struct: type[msgspec.Struct], examples: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": struct.__name__,
        "title": f"{struct.__name__} on {physical(topic.name)}",
        "summary": " ".join((struct.__doc__ or "").partition("\n\n")[0].split()),
        "contentType": JSON.decode(),
        "headers": _headers_of(topic),
        "payload": {"$ref": f"#/components/schemas/{struct.__name__}"},
        "bindings": _key(topic),
        "examples": examples,
    }


def _example(path: Path) -> dict[str, Any]:
    return {"name": path.stem, "payload": json.loads(path.read_bytes())}


def _arrow() -> dict[str, Any]:
    headers = {"type": "object", "properties": {CONTENT_TYPE: {"const": ARROW.decode()}}, "required": [CONTENT_TYPE]}
    return {
        "name": ARROW_MESSAGE,
        "title": f"{ARROW_MESSAGE} on {physical(TELEMETRY.name)}",
        "summary": "Samples of one entity as record batches of one Arrow IPC stream.",
        "description": (
            "Columns: `time_ms` (integer milliseconds or timestamps), metrics of any integer or floating type, `scope` and `entity` "
            "where wanted. A record belongs to one trace with all its samples, if it has a traceparent."
        ),
        "contentType": ARROW.decode(),
        "headers": {"type": "object", "allOf": [{"$ref": "#/components/schemas/GivenHeaders"}, headers]},
        "payload": {"type": "string", "contentMediaType": ARROW.decode(), "contentEncoding": "binary"},
        "bindings": _key(TELEMETRY),
    }


def letter(topic: Topic) -> dict[str, Any]:
    """Return the message of a topic's dead letters."""
    names = {"type": "object", "properties": {"npo_topic": {"const": topic.name}}}
    return {
        "name": DEAD_LETTER,
        "title": f"{DEAD_LETTER} of {physical(topic.name)}",
        "summary": f"A record of {physical(topic.name)} as it came, with its own headers and these.",
        # The record's own content-type header goes on saying what it is; it may be wrong, which is why it is here.
        "contentType": "application/octet-stream",
        "headers": {"type": "object", "allOf": [{"$ref": "#/components/schemas/DeadLetterHeaders"}, names]},
        "payload": {"description": "The record's value, whatever it was."},
        "bindings": _key(topic),
    }


def _key(topic: Topic) -> dict[str, Any]:
    limits = {} if topic is MERGE else {"minLength": 1}
    if topic.key in {"entity", "scope"}:
        limits["maxLength"] = NAME_LENGTH_MAX
    return {"kafka": {"key": {"type": "string", "description": KEYS[topic.key], **limits}, "bindingVersion": BINDINGS}}


def _headers_of(topic: Topic) -> Schema:
    """Return the schema of a topic's headers: written by the pipeline, or given by whoever sends."""
    given = topic in topics.INPUTS
    content = {"not": {"const": ARROW.decode()}} if given else {"const": JSON.decode()}
    names = {"ce_type": {"const": f"npo.{topic.name}.v1"}, CONTENT_TYPE: content}
    whole = "GivenHeaders" if given else "Headers"
    return {"type": "object", "allOf": [{"$ref": f"#/components/schemas/{whole}"}, {"properties": names}]}


def header_schemas() -> dict[str, Schema]:
    """Return the schemas of headers, whose names are the writer's own and whose values are text in UTF-8."""
    written = {name: value.decode() for name, value in cloud_event("5842f13c41d10e6d", "scenario", "npo/encoding/0", 0, "1" * 32)}
    properties = {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"type": "string", "minLength": 1, "description": "Names the record; of one id on a topic, the later is a repetition."},
        "ce_source": {"type": "string", "minLength": 1, "format": "uri-reference", "description": "Who made it, e.g. `npo/deciding/3`."},
        "ce_type": {"type": "string", "minLength": 1},
        "ce_time": {"type": "string", "format": "date-time", "description": "Event time."},
        CONTENT_TYPE: {"type": "string"},
        TRACEPARENT: {
            "type": "string",
            "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$",
            "description": "W3C trace context: the trace of what caused the record, and a span of its own.",
        },
    }
    assert properties.keys() == written.keys(), "the headers of an event are others than those described here"
    letter = {
        "npo_reason": {"type": "string", "enum": _reasons()},
        "npo_detail": {"type": "string", "maxLength": 1000},
        "npo_topic": {"type": "string", "description": "Short name of the topic."},
        "npo_partition": DIGITS,
        "npo_offset": DIGITS,
        "npo_timestamp_ms": DIGITS | {"description": "When the broker appended it, milliseconds since 1970 UTC."},
        "npo_group": {"type": "string", "description": "The task group that refused it: several may read a topic."},
    }
    loose = properties | {TRACEPARENT: {"type": "string", "description": "Carried on if it is valid; tracestate is not."}}
    return {
        "Headers": {
            "type": "object",
            "description": "A CloudEvent in binary mode, with trace context.",
            "properties": properties,
            "required": list(properties),
            "examples": [written],
        },
        "GivenHeaders": {
            "type": "object",
            "description": "A CloudEvent in binary mode, as far as the sender makes it one: none of it is needed.",
            "properties": {name: loose[name] for name in loose if name != "ce_time"} | {"ce_time": {"type": "string"}},
        },
        "DeadLetterHeaders": {
            "type": "object",
            "description": "The record's own headers, and why and whence it is here.",
            "properties": letter,
            "required": list(letter),
        },
    }


def _reasons() -> list[str]:
    kinds: list[type[RecordError]] = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RecordError)]
    return sorted({kind.reason for kind in kinds if kind is not RecordError} | {TooLargeError.reason, "step_failed"})
