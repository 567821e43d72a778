"""Answers of operators: what one says becomes a record of the feedback topic, and is known again there."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import NamedTuple
from weakref import WeakValueDictionary

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct, to_builtins
from msgspec.structs import replace

from agents.deciding.turn import OTHERS, OUTCOME_PREFIX
from agents.step import Block
from schemas.codecs import decode, encode
from schemas.errors import ContradictionError, DecodeError, SettingsError
from schemas.events import Answer, Feedback, StandingAnswer
from schemas.headers import CONTENT_TYPE
from schemas.headers import JSON as JSON_TYPE
from schemas.identity import SEPARATOR, partition_of
from schemas.topics import FEEDBACK, physical
from streams.logs.reading import bounds, read_blocks
from streams.logs.taking import Letter

# So many answers of one partition are remembered; beyond, it is read again from where it is asked for.
REMEMBERED_MAX = 100_000


class Said(Struct):
    """What an operator says; without a revision, one more than the operator's last."""

    kind: Answer
    operator: str
    reason: str | None = None
    note: str | None = None
    revision: int | None = None
    counter_proposal: str | None = None
    team: str | None = None


class Logged(NamedTuple):
    """An answer on the log, and its offset."""

    feedback: Feedback
    offset: int


def check_operator(operator: str) -> None:
    """Check that the pipeline takes answers under a name.

    Raises:
        SettingsError: it does not: the name means something else there.
    """
    if operator.startswith(OUTCOME_PREFIX) or operator == OTHERS or SEPARATOR in operator:
        raise SettingsError(
            f"operator {operator!r}: a name that begins with {OUTCOME_PREFIX!r}, is {OTHERS!r} or holds U+001F means something else; "
            "choose another"
        )


def compose(said: Said, decision: str, time_ms: int, earlier: Iterable[Feedback]) -> Feedback:
    """Return the answer as it is written.

    Args:
        said: What the operator says.
        decision: To which decision.
        time_ms: Event time of the decision's scope.
        earlier: Answers on the log; of other operators and to other decisions too.

    Raises:
        SettingsError: not an answer, e.g. a note that is too long.
    """
    check_operator(said.operator)
    revision = said.revision
    if revision is None:
        revision = 1 + max((each.revision for each in earlier if (each.decision, each.operator) == (decision, said.operator)), default=0)
    try:
        return msgspec.convert({**to_builtins(said), "decision": decision, "time_ms": time_ms, "revision": revision}, Feedback)
    except msgspec.ValidationError as error:
        raise SettingsError(f"not an answer: {error}; change what has that name") from error


def standing(decision: str, answers: Iterable[StandingAnswer]) -> list[Feedback]:
    """Return the answers that stand at a recommendation, as far as they tell what comes next."""
    return [Feedback(decision, each.operator, each.kind, each.time_ms, each.revision) for each in answers]


def letter(feedback: Feedback, key: bytes, partitions: int) -> Letter:
    """Return the record of an answer, under the recommendation's own key."""
    return Letter(FEEDBACK.name, partition_of(key, partitions), key, encode(feedback), ((CONTENT_TYPE, JSON_TYPE),))


def repeated(feedback: Feedback, own: list[Logged], *, revised: bool) -> Logged | None:
    """Return the answer on the log that an answer repeats; None where it is news.

    Args:
        feedback: The answer.
        own: What the operator has said to this decision.
        revised: Whether the operator named the revision; else saying one's latest answer again is no news.

    Raises:
        ContradictionError: the revision is on the log with another content, or a later one is.
    """
    if not own:
        return None
    latest = max(own, key=lambda each: each.feedback.revision)
    same = {each.feedback.revision: each for each in own}.get(feedback.revision) if revised else latest
    if same is not None and content(same.feedback) == content(feedback):
        return same
    if not revised or feedback.revision > latest.feedback.revision:
        return None
    what = f"says {same.feedback.kind} or has another reason or note" if same else f"is older than {latest.feedback.revision}"
    raise ContradictionError(
        f"operator {feedback.operator!r}, decision {feedback.decision!r}: revision {feedback.revision} {what} on the log already; a change "
        f"of mind needs revision {latest.feedback.revision + 1}, or none"
    )


def content(feedback: Feedback) -> Feedback:
    """Return an answer without what a repetition may have otherwise."""
    return replace(feedback, time_ms=0, revision=1)


class Remembered:
    """Answers of one partition from `start` to `end`, by decision, then operator and revision; the first of each counts."""

    def __init__(self, start: int) -> None:
        self.start = self.end = start
        self.looked_s = float("-inf")
        self.count = 0
        self.answers: dict[str, dict[tuple[str, int], Logged]] = {}

    def add(self, logged: Logged) -> None:
        """Remember one answer."""
        own = self.answers.setdefault(logged.feedback.decision, {})
        place = logged.feedback.operator, logged.feedback.revision
        self.count += place not in own
        if place not in own or logged.offset < own[place].offset:
            own[place] = logged


class AnswerLog:
    """What the feedback topic says of a decision: read once, then only what has been added since, whoever wrote it.

    Args:
        consumer: As `open_reader` gives it; its own.
        prefix: Begins the names of topics.
    """

    def __init__(self, consumer: AIOKafkaConsumer, prefix: str) -> None:
        self._consumer = consumer
        self._prefix = prefix
        self._remembered: dict[int, Remembered] = {}
        self._epoch = 0
        self._reading = asyncio.Lock()
        self._turns = WeakValueDictionary[tuple[str, str], asyncio.Lock]()

    def turn(self, decision: str, operator: str) -> asyncio.Lock:
        """Return the lock to hold from asking what an operator has said to a decision until more of it is written."""
        return self._turns.setdefault((decision, operator), asyncio.Lock())

    def begin(self, epoch: int) -> None:
        """Forget everything where the epoch is another: the topics may have been made anew."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._remembered.clear()

    async def of(self, decision: str, operator: str, partition: int, start: int) -> list[Logged]:
        """Return what an operator has said to a decision, as of now.

        Args:
            decision: The decision's id.
            operator: The operator.
            partition: Of the feedback topic, where the answers to its scope are.
            start: An offset before the first answer to it.
        """
        asked_s = asyncio.get_running_loop().time()
        async with self._reading:
            remembered = self._remembered.get(partition)
            if remembered is None or remembered.count > REMEMBERED_MAX:
                remembered = self._remembered[partition] = Remembered(start)
            # Who has waited here while another began to look need not look again.
            if start < remembered.start or remembered.looked_s < asked_s:
                await self._look(remembered, partition, start)
        return [each for (by, _), each in remembered.answers.get(decision, {}).items() if by == operator]

    async def value(self, name: str, partition: int, offset: int) -> bytes | None:
        """Return the value of one record of a topic; None where the log has it no more."""
        place = TopicPartition(physical(name, self._prefix), partition)
        async with self._reading:
            held = (await bounds(self._consumer, [place]))[place]
            end = offset + 1 if held.first <= offset < held.end else offset
            values = [value async for block in self._blocks(name, place, offset, end) for value in block.values]
        return values[0] if values else None

    def add(self, partition: int, logged: Logged) -> None:
        """Remember an answer that has just been written: an open transaction of another writer may hide it from readers."""
        remembered = self._remembered.get(partition)
        if remembered is not None:
            remembered.add(logged)
            # Where nobody else has written in between, it need not be read again.
            remembered.end += logged.offset == remembered.end

    async def _look(self, remembered: Remembered, partition: int, start: int) -> None:
        begun_s = asyncio.get_running_loop().time()
        place = TopicPartition(physical(FEEDBACK.name, self._prefix), partition)
        end = (await self._consumer.end_offsets([place]))[place]
        if end < remembered.start:
            # No topic shrinks: this one was made anew.
            remembered.answers.clear()
            remembered.count = 0
            remembered.start = remembered.end = end
        # What is above the end was written by this server, above an open transaction: it is read again once that has ended.
        remembered.start, remembered.end = min(remembered.start, end), min(remembered.end, end)
        unread = [(begin, stop) for begin, stop in ((start, remembered.start), (remembered.end, end)) if begin < stop]
        first = (await self._consumer.beginning_offsets([place]))[place] if unread else 0
        for begin, stop in unread:
            async for block in self._blocks(FEEDBACK.name, place, max(begin, first), stop):
                for offset, value in zip(block.offsets, block.values, strict=True):
                    try:
                        remembered.add(Logged(decode(FEEDBACK.name, value), offset))
                    except DecodeError:
                        continue
        remembered.start, remembered.end = min(start, remembered.start), max(remembered.end, end)
        remembered.looked_s = begun_s

    async def _blocks(self, name: str, place: TopicPartition, start: int, end: int) -> AsyncIterator[Block]:
        """Read one partition, and leave it: what is assigned is fetched for ever."""
        if start < end:
            async for block in read_blocks(self._consumer, name, place, start, end):
                yield block
            self._consumer.pause(place)
