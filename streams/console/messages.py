"""What listeners are told of the records of the topics that they follow."""

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import msgspec
from aiokafka import ConsumerRecord
from msgspec import Raw, Struct

from agents.step import Block
from schemas import codecs, topics
from schemas.errors import DecodeError
from schemas.events import Control
from schemas.headers import Headers
from streams.serving.following import why_refused

REFUSED = tuple(topics.dead_letter(topic.name) for topic in (topics.FEEDBACK, topics.OUTCOME, topics.CONTROL, topics.TELEMETRY))
# Their values are told too; those of telemetry may be many and large, and are none of the page's.
TOLD_WHOLE = frozenset({topics.FEEDBACK.name, topics.OUTCOME.name, topics.CONTROL.name})
KEYED_BY_SCOPE = frozenset({topics.FEEDBACK.name, topics.OUTCOME.name})


class Refused(Struct, frozen=True):
    """A record that the pipeline refused: where it stood, why, and what it said.

    Attributes:
        topic: The topic that it was sent to.
        partition: Where it stood there, -1 where that is not known.
        offset: The same.
        time_ms: When it was refused, by the broker's clock.
        reason: The kind of fault, as `schemas.errors` names them.
        detail: What was wrong.
        scope: The scope that it is about; None where it does not say.
        event: The record's event; None where it is none, or a sample.
    """

    topic: str
    partition: int
    offset: int
    time_ms: int
    reason: str
    detail: str
    scope: str | None
    event: Raw | None


class Message(Struct, frozen=True):
    """What a listener is told of one record: where it stands and what it says."""

    topic: str
    partition: int
    offset: int
    event: Raw


class Record(NamedTuple):
    """One record of a block, with the names that `aiokafka.ConsumerRecord` has for them."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Event(NamedTuple):
    """One event: where it stands, the scope that it is about (None: all, or not known), and what listeners are told as JSON."""

    topic: str
    partition: int
    offset: int
    scope: str | None
    data: bytes


def records_of(block: Block) -> Iterator[Record]:
    """Return the records of a block in turn."""
    for values in zip(block.offsets, block.timestamps_ms, block.keys, block.values, block.headers, strict=True):
        yield Record(block.partition, *values)


def tell(name: str, record: ConsumerRecord, partitions: int) -> Event | None:
    """Return what listeners are told of a record; None for one that its readers in the pipeline refuse: a dead letter tells of it."""
    if name in REFUSED:
        refused = tell_refused(record)
        return Event(name, record.partition, record.offset, refused.scope, _data(name, record, refused))
    try:
        event = codecs.decode(name, record.value)
    except DecodeError:
        return None
    if why_refused(name, event, record, partitions):
        return None
    return Event(name, record.partition, record.offset, event.scope, _data(name, record, event))


def tell_refused(record: ConsumerRecord) -> Refused:
    """Read a dead letter: the last header of a name is the refusal's own, others may have come with the record."""
    headers = {name: value.decode(errors="replace") for name, value in record.headers if value and name.startswith("npo_")}
    partition, offset = (
        int(text) if text.isdecimal() else -1 for text in (headers.get("npo_partition", ""), headers.get("npo_offset", ""))
    )
    topic = headers.get("npo_topic", "")
    event = None
    if topic in TOLD_WHOLE:
        with suppress(DecodeError):
            event = codecs.decode(topic, record.value)
    # The key of an answer or outcome is its scope; a command names its own.
    scope = event.scope if isinstance(event, Control) else (record.key or b"").decode(errors="replace") if topic in KEYED_BY_SCOPE else None
    return Refused(
        topic=topic,
        partition=partition,
        offset=offset,
        time_ms=record.timestamp,
        reason=headers.get("npo_reason", ""),
        detail=headers.get("npo_detail", ""),
        scope=scope or None,
        event=None if event is None else Raw(codecs.encode(event)),
    )


def _data(name: str, record: ConsumerRecord, event: Struct) -> bytes:
    """Write what listeners are told as JSON, in one line whatever white space the record itself has."""
    return msgspec.json.encode(Message(name, record.partition, record.offset, Raw(codecs.encode(event))))
