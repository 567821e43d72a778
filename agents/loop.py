"""The loop as plain calls: scenarios, answers and outcomes go in as events, and what came of each comes back as events.

The same handlers as in the pipeline, over rows that stay objects: no bytes, no broker, no store, no time. Studies run it a thousand
times; a loop of one's own runs it as `docs/embedding.md` shows. What a worker would send to the dead-letter topic is raised.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from msgspec import Struct

from agents import turn
from agents.deciding import decider, learner
from agents.deciding.turn import Turn as DecidingTurn
from agents.monitoring import monitor
from agents.monitoring.turn import Turn as MonitoringTurn
from agents.state import Row, State
from agents.training import trainer
from agents.training.turn import Turn as TrainingTurn
from agents.turn import Emitted
from schemas import codecs
from schemas.errors import DecodeError
from schemas.events import Action, Scenario
from schemas.headers import trace_of
from schemas.identity import source_name
from schemas.settings import Settings, check

R = TypeVar("R", bound=Row)
Handler = Callable[[Any, Any], None]
NO_ACTION = Action("none", blast_radius=0, reversible=True)


class LiveState(State):
    """Rows as objects that are changed where they are; nothing can be undone."""

    def __init__(self) -> None:
        super().__init__({})
        self._live: dict[tuple[type[Row] | str, ...], Row] = {}

    def find(self, kind: type[R], *parts: str) -> R | None:
        """Return a row that may be changed in place, or None."""
        return self._live.get((kind, *parts))  # type: ignore[return-value]  # the key's first part is the row's kind

    def get(self, kind: type[R], *parts: str) -> R:
        """Return a row that may be changed in place, a new one where there is none."""
        row = self.find(kind, *parts)
        if row is None:
            row = kind()
            self._live[(kind, *parts)] = row
        return row

    def put(self, row: Row, *parts: str) -> None:
        """Write a whole row."""
        self._live[(type(row), *parts)] = row

    def delete(self, kind: type[Row], *parts: str) -> None:
        """Delete a row."""
        self._live.pop((kind, *parts), None)

    def commit(self) -> None:
        """Do nothing: what is changed stays."""

    def rollback(self) -> None:
        """Say that what has been changed cannot be undone.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("rows that stay objects cannot be rolled back; run the records through the steps to see what broke")


class Waiting(NamedTuple):
    """One event on its way to a task."""

    offset: int
    scope: str
    identity: str
    event: Struct
    trace: str


class Task:
    """One task of the loop: the kind of its turns, and what handles each topic that it reads."""

    def __init__(self, kind: type[turn.Turn], handlers: dict[str, Handler]) -> None:
        self.kind = kind
        self.handlers = handlers
        self.positions = dict.fromkeys(handlers, 0)
        self.waiting: dict[str, list[Waiting]] = {topic: [] for topic in handlers}
        self.state = LiveState()

    def take(self, topic: str, settings: Settings) -> list[Emitted]:
        """Take all that waits in one topic, in order, and return what is written."""
        block, self.waiting[topic] = self.waiting[topic], []
        before, emitted = self.positions.copy(), []
        self.positions[topic] = block[-1].offset + 1
        for each in block:
            positions = {**before, topic: each.offset + 1}
            own = self.kind(self.state, settings, positions, 0, each.scope, each.identity, each.trace, 0)
            self.handlers[topic](own, each.event)
            emitted += own.outputs
        return emitted


def scenario(name: str, scope: str, time_ms: int, scenario_class: str, features: dict[str, float], entity: str = "") -> Scenario:
    """Return a scenario that no telemetry stands behind: what a loop of one's own needs to say of one.

    Args:
        name: its id, from which its decision's draw is seeded; one that comes twice is decided once.
        scope: who answers for it.
        time_ms: event time, milliseconds since 1970; it moves the scope's clock.
        scenario_class: label under which answers are pooled.
        features: x, by name, finite; {} for classes alone.
        entity: what it happens at; without one each scenario has an entity of its own, so that no cooldown holds it back.
    """
    entity = entity or f"entity-of-{name}"
    return Scenario(name, scope, entity, time_ms, scenario_class, 1.0, (), NO_ACTION, features, {}, time_ms, {}, [], 0, 0, ())


class Loop:
    """Decider and learner, and unless it is left out the second loop of trainer and monitor, of any number of scopes.

    Args:
        settings: what decisions depend on.
        retraining: whether models are fitted and put in force; without it a loop is faster, and `model` can still be sent.

    Raises:
        SettingsError: settings with a value out of range.
    """

    def __init__(self, settings: Settings, *, retraining: bool = True) -> None:
        check(settings)
        self.settings = settings
        deciding = Task(DecidingTurn, decider.HANDLERS | learner.HANDLERS)
        second = (Task(TrainingTurn, trainer.HANDLERS), Task(MonitoringTurn, monitor.HANDLERS))
        self.tasks = (deciding, *second) if retraining else (deciding,)
        self._readers = {topic: [task for task in self.tasks if topic in task.handlers] for task in self.tasks for topic in task.handlers}
        self._ends: Counter[str] = Counter()
        self._waiting = 0

    def send(self, topic: str, event: Struct, *, scope: str | None = None, identity: str = "") -> list[Emitted]:
        """Hand one event to the tasks that read its topic, let everything settle, and return all that was written, in order.

        Args:
            topic: short name: scenario, feedback, outcome, control or model.
            event: of that topic, see `schemas.events`.
            scope: whose it is: a feedback or an outcome does not say; a command without one is to all scopes.
            identity: the record's name, from which draws are seeded; a scenario's own `id` seeds its decision.

        Raises:
            RecordError: what a worker would send to the dead-letter topic; a NaN, or a number out of range, is a `DecodeError`.
        """
        if topic not in self._readers:
            raise DecodeError(f"{topic!r} is not a topic that this loop reads; give one of {', '.join(sorted(self._readers))}")
        event = codecs.checked(topic, event)
        named = getattr(event, "scope", None)
        key = scope or named or ""
        if named is not None and named != key:
            raise DecodeError(f"{topic}: scope={key!r}, but the event names {named!r}; leave one out")
        if not key and topic != "control":
            raise DecodeError(f"{topic}: whose is it? Give scope=..., as of the recommendation")
        self._append(Emitted(topic, key, identity or source_name(topic, 0, self._ends[topic]), 0, event, ""))
        written: list[Emitted] = []
        while self._waiting:
            work = [(task, name) for task in self.tasks for name, block in task.waiting.items() if block]
            for task, name in work:
                self._waiting -= len(task.waiting[name])
                emitted = task.take(name, self.settings)
                for each in emitted:
                    self._append(each)
                written += emitted
        return written

    def _append(self, event: Emitted) -> None:
        readers = self._readers.get(event.topic)
        if not readers:
            return
        offset = self._ends[event.topic]
        self._ends[event.topic] += 1
        waiting = Waiting(offset, event.scope, event.identity, event.event, event.trace or trace_of((), event.identity))
        for task in readers:
            task.waiting[event.topic].append(waiting)
        self._waiting += len(readers)
