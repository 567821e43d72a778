"""The whole topology in lockstep: send, let everything settle, look at what came of it, send what is due next.

`Memory` is the pipeline without broker, store and time: each task's steps over its inputs, with what one task writes handed to
those that read it until nothing is left. `experiments.lockstep_kafka` has the same interface over a running stack.
"""

from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import NamedTuple, Protocol

from agents.step import Block, Context, Output
from schemas.events import TIME_MS_MAX
from schemas.headers import Headers
from schemas.settings import Settings
from streams.engine.compute import State, compute
from streams.groups import TaskGroup
from streams.logs.replay import limits_of

# All topics have one partition: the order of the records of one topic is then that in which they were sent.
PARTITIONS = 1


class Record(NamedTuple):
    """What travels, its topic and place apart."""

    key: bytes | None
    value: bytes | None
    headers: Headers


class Pipeline(Protocol):
    """What can be driven in lockstep."""

    def send(self, topic: str, records: Sequence[Record]) -> None:
        """Append records to a topic that no task writes; each carries a `ce_id`, so that no name depends on an offset."""
        ...

    def settle(self) -> object:
        """Wait until every task has taken all its inputs, also what other tasks wrote meanwhile."""
        ...

    def read(self, topic: str) -> list[Record]:
        """Return what was written to one of the kept topics since it was last read."""
        ...


class _Task:
    """The task of one group: its rows, its positions, and what waits for it by topic."""

    def __init__(self, group: TaskGroup, settings: Settings) -> None:
        self.group = group
        self.steps = {topic.name: agent.step for agent in group.agents for topic in agent.reads}
        self.positions = dict.fromkeys(self.steps, 0)
        self.waiting = {topic: _empty(topic) for topic in self.steps}
        self._rows: dict[bytes, bytes] = {}
        self._settings = settings
        self._limits = limits_of(group)

    def take(self, topic: str) -> list[Output]:
        """Take all that waits in one topic as one block, as a worker does, and return what is written."""
        block, self.waiting[topic] = self.waiting[topic], _empty(topic)
        state = State(self._rows.get)
        context = Context(self._settings, MappingProxyType(self.positions.copy()), PARTITIONS)
        outputs = [timed.output for timed in compute(self.steps[topic], state, block, context, self._limits)]
        for key, row in state.pending.items():
            if row is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = row
        self.positions[topic] = block.offsets[-1] + 1
        return outputs


class Memory:
    """A topology in memory.

    Args:
        topology: the task groups.
        settings: what decisions depend on.
        keep: short names of the topics that will be read.
    """

    def __init__(self, topology: Iterable[TaskGroup], settings: Settings, keep: Collection[str]) -> None:
        self._tasks = [_Task(group, settings) for group in topology]
        self._ends: Counter[str] = Counter()
        self._kept: dict[str, list[Record]] = {topic: [] for topic in keep}
        self._held: deque[tuple[int, list[Output]]] = deque()

    def send(self, topic: str, records: Sequence[Record]) -> None:
        """Append records to a topic."""
        for record in records:
            self._append(topic, record)

    def settle(self) -> int:
        """Let every task take what waits for it until nothing does, and return how many records were written meanwhile."""
        written = 0
        while work := [(task, topic) for task in self._tasks for topic, block in task.waiting.items() if block.offsets]:
            for task, topic in work:
                written += self._write(task.take(topic))
        return written

    def read(self, topic: str) -> list[Record]:
        """Return what was written to a kept topic since it was last read."""
        records, self._kept[topic] = self._kept[topic], []
        return records

    def prepare(self, topic: str, records: Sequence[Record]) -> None:
        """Let the task that reads `topic` alone take records ahead of all others, and hold back what it writes until `release`.

        What that task writes depends on nothing else, so that this is the same as if the records came one by one.
        """
        assert not self._held, "release what was prepared before"
        (task,) = (task for task in self._tasks if set(task.steps) == {topic})
        for record in records:
            self._append(topic, record)
        for ordinal, outputs in groupby(task.take(topic), key=lambda output: output.ordinal):
            self._held.append((ordinal, list(outputs)))

    def release(self, until: int) -> int:
        """Let what came of the prepared records before `until` settle, record by record, as far as the first that makes others write.

        Returns:
            The index after that record, or `until`: where a chunk of records has to end so that nothing else is on its way
            while what it led to goes around.
        """
        while self._held and self._held[0][0] < until:
            ordinal, outputs = self._held.popleft()
            self._write(outputs)
            if self.settle():
                return ordinal + 1
        return until

    def _write(self, outputs: list[Output]) -> int:
        for output in outputs:
            self._append(output.topic, Record(output.key, output.value, output.headers))
        return len(outputs)

    def _append(self, topic: str, record: Record) -> None:
        offset = self._ends[topic]
        self._ends[topic] += 1
        if topic in self._kept:
            self._kept[topic].append(record)
        for task in self._tasks:
            block = task.waiting.get(topic)
            if block is not None:
                block.offsets.append(offset)
                # No record is ahead of the time at which it was appended.
                block.timestamps_ms.append(TIME_MS_MAX)
                block.keys.append(record.key)
                block.values.append(record.value)
                block.headers.append(record.headers)


def _empty(topic: str) -> Block:
    return Block(topic, 0, [], [], [], [], [])
