"""Which decision a record of a log came after: what an import waits for before it sends the record.

Telemetry takes its way through two tasks; what goes to the deciding task at once would overtake it. An answer comes after its
decision, an outcome after the decisions of its entity inside its interval, a command or a model after all that its partition had
decided when it was appended.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from schemas import topics
from schemas.codecs import decode
from schemas.errors import DecodeError
from schemas.events import Outcome
from streams.logs.files import Log


class Decided(Struct):
    """What a log tells of a decision."""

    id: str
    entity: str = ""
    time_ms: int = 0


class _Answered(Struct):
    decision: str


_DECISION = msgspec.json.Decoder(Decided)
_ANSWER = msgspec.json.Decoder(_Answered)


@dataclass
class Course:
    """Decisions of one partition, or of one entity in it, with the times at which they were appended, in the order of the log."""

    appended_ms: list[int] = field(default_factory=list)
    decided: list[Decided] = field(default_factory=list)

    def until(self, timestamp_ms: int) -> Iterator[Decided]:
        """Yield the decisions that were appended before a time, the latest first."""
        for index in reversed(range(bisect_left(self.appended_ms, timestamp_ms))):
            yield self.decided[index]


@dataclass
class Precedence:
    """The decisions of a log, by partition, and by partition and entity.

    `known` are their ids; None for a log without a decision topic: then an answer comes after its decision, and nothing else waits.
    """

    known: set[str] | None = None
    courses: dict[tuple[int, str | None], Course] = field(default_factory=dict)

    def add(self, partition: int, timestamp_ms: int, decision: Decided) -> None:
        """Note a decision."""
        for entity in (None, decision.entity):
            course = self.courses.setdefault((partition, entity), Course())
            course.appended_ms.append(timestamp_ms)
            course.decided.append(decision)

    def before(self, topic: str, partition: int, timestamp_ms: int, value: bytes | None) -> str | None:
        """Return the decision that a record came after, None where there is none to wait for."""
        if topic == topics.FEEDBACK.name:
            decision = _decision_of(value)
            return decision if self.known is None or decision in self.known else None
        if topic in {topics.CONTROL.name, topics.MODEL.name}:
            return next((each.id for each in self.courses.get((partition, None), Course()).until(timestamp_ms)), None)
        if topic != topics.OUTCOME.name or (outcome := _outcome_of(value)) is None:
            return None
        about = self.courses.get((partition, outcome.entity), Course()).until(timestamp_ms)
        return next((each.id for each in about if outcome.start_ms <= each.time_ms < outcome.end_ms), None)


def read_precedence(log: Log) -> Precedence:
    """Read the decisions of a log."""
    name = topics.DECISION.name
    if name not in log.manifest.topics:
        return Precedence()
    known: set[str] = set()
    found = Precedence(known)
    for partition in range(len(log.manifest.topics[name])):
        for block in log.read(name, partition):
            for timestamp_ms, value in zip(block.timestamps_ms, block.values, strict=True):
                for decision in decisions([value]):
                    known.add(decision.id)
                    found.add(partition, timestamp_ms, decision)
    return found


def decisions(values: Iterable[bytes | None]) -> Iterator[Decided]:
    """Yield the decisions of records, leaving out what is none of ours."""
    for value in values:
        with suppress(msgspec.DecodeError):
            yield _DECISION.decode(value or b"")


def _decision_of(value: bytes | None) -> str | None:
    try:
        return _ANSWER.decode(value or b"").decision
    except msgspec.DecodeError:
        return None


def _outcome_of(value: bytes | None) -> Outcome | None:
    try:
        outcome: Outcome = decode(topics.OUTCOME.name, value)
    except DecodeError:
        return None
    return outcome
