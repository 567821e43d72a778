"""`npo answer`: one operator's answer to one recommendation."""

import asyncio
import getpass
import json as json_text
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Literal, TypeVar

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from cyclopts import Parameter
from msgspec import Struct, to_builtins

from schemas import topics
from schemas.codecs import encode
from schemas.errors import SettingsError, UnknownDecisionError
from schemas.events import Answer, Feedback, StandingAnswer
from schemas.headers import CONTENT_TYPE, JSON
from schemas.identity import partition_of
from schemas.settings import Deployment
from streams.home import connect
from streams.logs.reading import bounds, open_reader, partition_counts, read_blocks, require
from streams.logs.sending import open_sender

# Enough to hold a heartbeat of each of some hundred scopes.
TAIL_RECORDS = 2_000


class Shown(Struct):
    """What an answer needs to know of a recommendation's record."""

    id: str
    scope: str
    time_ms: int
    answers: tuple[StandingAnswer, ...] = ()


class Timed(Struct):
    """What any scenario or decision tells of its scope's time."""

    scope: str
    time_ms: int
    decided_ms: int = 0


T = TypeVar("T")

_SHOWN = msgspec.json.Decoder(Shown)
_GIVEN = msgspec.json.Decoder(Feedback)
_TIMED = msgspec.json.Decoder(Timed)


def answer(
    decision: str,
    kind: Literal["override", "like", "neutral", "retract"],
    *,
    operator: Annotated[str | None, Parameter(name="--as")] = None,
    reason: str | None = None,
    note: str | None = None,
    revision: int | None = None,
    scope: str | None = None,
    json: bool = False,
) -> int:
    """Answer a recommendation.

    The answer's time is the event time of the recommendation's scope: the largest that its recommendations, decisions and
    telemetry heartbeats on the topics tell. Where telemetry is live that is within a minute of now; in a replay of
    historic telemetry it is that history's time, never the wall clock of another era.

    Args:
        decision: The recommendation's id, or the beginning of it where only one begins so.
        kind: override (it was unwanted), like, neutral, or retract (take the answer back).
        operator: Who answers; the account that runs the command if not given.
        reason: A reason code of the deployment's own.
        note: Free text.
        revision: One more than this operator's last answer if not given.
        scope: Look among this scope's recommendations only.
        json: Print what was sent as JSON.

    Raises:
        UnknownDecisionError: no recommendation has this id, or several begin with it.
    """
    sent = asyncio.run(send_answer(connect(), decision, Answer(kind), operator or getpass.getuser(), reason, note, revision, scope))
    done = f"sent: {sent.kind} by {sent.operator} to {sent.decision}, revision {sent.revision}; `npo watch` counts it when it is taken"
    print(json_text.dumps(to_builtins(sent)) if json else done)  # noqa: T201 - the command's result
    return 0


async def send_answer(
    deployment: Deployment,
    decision: str,
    kind: Answer,
    operator: str,
    reason: str | None = None,
    note: str | None = None,
    revision: int | None = None,
    scope: str | None = None,
) -> Feedback:
    """Send one answer to the feedback topic under the recommendation's own key; see `answer`.

    Raises:
        UnknownDecisionError: no recommendation has this id, or several begin with it.
        SettingsError: not an answer, e.g. a note that is too long.
        TopologyError: the topics do not exist.
    """
    counts = await partition_counts(deployment)
    require(counts, [topics.RECOMMENDATION.name, topics.FEEDBACK.name], deployment)
    async with open_reader(deployment) as consumer:
        key, shown = await find_recommendation(consumer, deployment.topic_prefix, counts, decision, scope)
        time_ms = await event_time(consumer, deployment.topic_prefix, counts, key, shown)
        partition = partition_of(key, counts[topics.FEEDBACK.name])
        # Not of those that stand: a retracted answer does not, and the next one must still be newer.
        given = [
            earlier.revision
            async for _, earlier in _records(consumer, topics.FEEDBACK.name, deployment.topic_prefix, partition, _GIVEN)
            if (earlier.decision, earlier.operator) == (shown.id, operator)
        ]
    last = max([*given, *(standing.revision for standing in shown.answers if standing.operator == operator)], default=0)
    fields = {"decision": shown.id, "operator": operator, "kind": kind, "time_ms": time_ms, "reason": reason, "note": note}
    try:
        feedback = msgspec.convert({**fields, "revision": last + 1 if revision is None else revision}, Feedback)
    except msgspec.ValidationError as error:
        raise SettingsError(f"not an answer: {error}; change the option of that name") from error
    async with open_sender(deployment) as sender:
        await sender.send(topics.FEEDBACK.name, partition, key, encode(feedback), ((CONTENT_TYPE, JSON),))
    return feedback


async def find_recommendation(
    consumer: AIOKafkaConsumer, prefix: str, counts: dict[str, int], decision: str, scope: str | None
) -> tuple[bytes, Shown]:
    """Find key and last record of a recommendation by its id or the beginning of it.

    Raises:
        UnknownDecisionError: none, or several.
    """
    count = counts[topics.RECOMMENDATION.name]
    matches: dict[str, tuple[bytes, Shown]] = {}
    for partition in range(count) if scope is None else [partition_of(scope.encode(), count)]:
        async for key, shown in _records(consumer, topics.RECOMMENDATION.name, prefix, partition, _SHOWN):
            if shown.id.startswith(decision) and scope in {None, shown.scope}:
                matches[shown.id] = (key, shown)
    if decision in matches or len(matches) == 1:
        return matches[decision if decision in matches else next(iter(matches))]
    if matches:
        raise UnknownDecisionError(f"{len(matches)} recommendations begin with {decision}: {', '.join(list(matches)[:5])}; give more of it")
    within = f" in scope {scope}" if scope else ""
    raise UnknownDecisionError(f"no recommendation {decision}{within}; `npo watch` lists those that can be answered")


async def event_time(consumer: AIOKafkaConsumer, prefix: str, counts: dict[str, int], key: bytes, shown: Shown) -> int:
    """Return the event time of a recommendation's scope, as far as the newest records of its partition tell."""
    time_ms = shown.time_ms
    for name in (topics.RECOMMENDATION.name, topics.DECISION.name, topics.SCENARIO.name):
        if name in counts:
            async for _, timed in _records(consumer, name, prefix, partition_of(key, counts[name]), _TIMED, TAIL_RECORDS):
                if timed.scope == shown.scope:
                    time_ms = max(time_ms, timed.time_ms, timed.decided_ms)
    return time_ms


async def _records(
    consumer: AIOKafkaConsumer, name: str, prefix: str, partition: int, decoder: msgspec.json.Decoder[T], last: int | None = None
) -> AsyncIterator[tuple[bytes, T]]:
    """Read a partition, or its last records, leaving out what is none of ours."""
    place = TopicPartition(topics.physical(name, prefix), partition)
    held = (await bounds(consumer, [place]))[place]
    start = held.first if last is None else max(held.first, held.end - last)
    async for block in read_blocks(consumer, name, place, start, held.end):
        for key, value in zip(block.keys, block.values, strict=True):
            with suppress(msgspec.DecodeError):
                yield key or b"", decoder.decode(value or b"")
