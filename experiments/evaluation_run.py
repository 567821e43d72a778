"""The course of an evaluation: telemetry in time order, answers when they are due, everything settled in between.

A chunk of telemetry ends where something was written that other tasks read, and where an answer is due: so nothing else is on
its way while that goes around, and a running stack, whose tasks run at once, comes to what the run in memory comes to.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import accumulate, islice

from msgspec import Struct
from msgspec.structs import replace

from experiments.evaluation_alerts import Alerts
from experiments.evaluation_answers import Operator
from experiments.evaluation_data import Course
from experiments.lockstep import Memory, Pipeline, Record
from schemas import topics
from schemas.codecs import decode
from schemas.errors import StackError
from schemas.events import Answer, Decision, Life, Recommendation
from schemas.headers import find, rfc3339
from streams.logs import datasets

# Samples that are read, and sent to a running stack, at once at most.
WINDOW = 4_096
TELEMETRY, FEEDBACK, DECISION, RECOMMENDATION = (
    topic.name for topic in (topics.TELEMETRY, topics.FEEDBACK, topics.DECISION, topics.RECOMMENDATION)
)
LETTERS = tuple(topics.dead_letter(topic.name) for topic in topics.TOPICS)
KEPT = (DECISION, RECOMMENDATION, *LETTERS)


class Counts(Struct):
    """What came of one data set after history; `scenarios` are decided, or repeat what is open."""

    entities: int = 0
    rows: int = 0
    scenarios: int = 0
    surfaced: int = 0
    withheld: int = 0
    blocked: int = 0
    answered: int = 0
    likes: int = 0
    overrides: int = 0


class Run:
    """One evaluation.

    Args:
        memory: the pipeline in memory, new, that keeps KEPT.
        courses: the entities.
        operator: who answers.
        running: a running stack, new, that is to come to the same; what it surfaces is then what counts.
    """

    def __init__(self, memory: Memory, courses: dict[str, Course], operator: Operator, running: Pipeline | None = None) -> None:
        self.alerts = Alerts()
        self.refused: Counter[str] = Counter()
        self.counts: defaultdict[str, Counts] = defaultdict(Counts)
        self._memory, self._running = memory, running
        self._courses, self._operator = courses, operator
        for course in courses.values():
            counts = self.counts[course.dataset]
            counts.entities += 1
            counts.rows += len(course.clock_ms) - course.history

    def go(self, advance: Callable[[int], object]) -> None:
        """Run over all telemetry; `advance` is told how many samples were taken.

        Raises:
            StackError: the running stack came to something else than the run in memory.
        """
        telemetry = datasets.samples([course.series for course in self._courses.values()])
        clock_ms = 0
        while window := list(islice(telemetry, WINDOW)):
            records = [Record(one.key, one.value, one.headers) for one in window]
            times_ms = list(accumulate((one.time_ms for one in window), max, initial=clock_ms))[1:]
            clock_ms = times_ms[-1]
            self._take(records, times_ms, advance)

    def _take(self, records: Sequence[Record], times_ms: list[int], advance: Callable[[int], object]) -> None:
        self._memory.prepare(TELEMETRY, records)
        done = 0
        while done < len(records):
            until = bisect_right(times_ms, self._operator.due_ms, lo=done)
            if until == done:
                answers = self._operator.say(times_ms[done], self.alerts)
                self._memory.send(FEEDBACK, answers)
                self._memory.settle()
                self._follow(FEEDBACK, answers, times_ms[done])
                continue
            reached = self._memory.release(until)
            self._follow(TELEMETRY, records[done:reached], times_ms[reached - 1])
            advance(reached - done)
            done = reached

    def _follow(self, topic: str, sent: Sequence[Record], time_ms: int) -> None:
        """Let the running stack do what the run in memory has done, and look at what came of it."""
        surfaced = self._memory.read(RECOMMENDATION)
        if self._running is not None:
            expected = surfaced
            self._running.send(topic, sent)
            self._running.settle()
            surfaced = self._running.read(RECOMMENDATION)
            if [_without_positions(record) for record in surfaced] != [_without_positions(record) for record in expected]:
                raise StackError(
                    f"at {rfc3339(time_ms)} the running stack wrote other recommendations than the run in memory:\n"
                    f"stack: {[record.value for record in surfaced]}\nmemory: {[record.value for record in expected]}\n"
                    "Both run the same steps; look at the dead-letter topics and at the workers' logs"
                )
        for record in surfaced:
            event = decode(RECOMMENDATION, record.value)
            self.alerts.add(event)
            self._operator.hear(event)
            if event.life is Life.UPDATED and event.time_ms >= self._courses[event.entity].tested_ms:
                self.counts[event.scope].scenarios += 1
        for record in self._memory.read(DECISION):
            self._count(decode(DECISION, record.value))
        for name in LETTERS:
            for record in self._memory.read(name):
                self.refused[f"{name}: {(find(record.headers, 'npo_reason') or b'').decode()}"] += 1

    def _count(self, decision: Decision) -> None:
        if decision.time_ms >= self._courses[decision.entity].tested_ms:
            counts = self.counts[decision.scope]
            counts.scenarios += 1
            setattr(counts, decision.status.value, getattr(counts, decision.status.value) + 1)

    def summary(self) -> dict[str, Counts]:
        """Return the counts of each data set, with what was answered."""
        said = Counter((self._courses[self.alerts.by_id[name].entity].dataset, kind) for name, kind in self._operator.said.items())
        return {
            dataset: replace(
                counts,
                answered=said[dataset, Answer.LIKE] + said[dataset, Answer.OVERRIDE],
                likes=said[dataset, Answer.LIKE],
                overrides=said[dataset, Answer.OVERRIDE],
            )
            for dataset, counts in self.counts.items()
        }


def _without_positions(record: Record) -> tuple[bytes | None, Recommendation, object]:
    """Return what must be the same wherever it was written: offsets count markers of transactions too."""
    return record.key, replace(decode(RECOMMENDATION, record.value), positions={}), record.headers
