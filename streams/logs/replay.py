"""Run a log's inputs through the steps again, block by block in the order in which each task took them.

`fold` is what a task means, without broker, store or time: a worker that differs from it is wrong.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, MutableMapping
from types import MappingProxyType
from typing import NamedTuple

from agents.step import Block, Context, Output
from schemas import topics
from schemas.codecs import decode
from schemas.errors import ReplayError
from schemas.events import MergeStep
from schemas.headers import Headers, find
from schemas.settings import Settings
from streams.engine.compute import Limits, State, compute
from streams.groups import DEAD_LETTER_BYTES_MAX, RECORD_BYTES_MAX, TaskGroup
from streams.logs.files import Log


class Taken(NamedTuple):
    """A block as a task took it, and the position after it, which is beyond markers and aborted records too."""

    block: Block
    next: int


class Produced(NamedTuple):
    """One output, and the task that wrote it, e.g. `npo/deciding/3`."""

    source: str
    output: Output


def source(group: str, partition: int) -> str:
    """Name a task as the headers of its records do (`ce_source`)."""
    return f"npo/{group}/{partition}"


def written_by_task(groups: Iterable[TaskGroup], topic: str, headers: Headers) -> bool:
    """Tell whether a task of the groups wrote a record of a topic: people write to some of the topics that tasks write to."""
    name = (find(headers, "ce_source") or b"").decode(errors="replace")
    writers = (group.name for group in groups if any(each.name == topic for each in group.outputs))
    return any(name.startswith(f"npo/{writer}/") for writer in writers)


def merge_key(group: str, partition: int) -> bytes:
    """Return the key of a task's records on the merge topic."""
    return f"{group}-{partition}".encode()


def limits_of(group: TaskGroup) -> Limits:
    """Return the largest records that the topics of a group take, as `npo topics apply` creates them."""
    records = {topic.name: RECORD_BYTES_MAX for topic in group.outputs}
    letters = {topics.dead_letter(topic.name): DEAD_LETTER_BYTES_MAX for topic in group.inputs}
    return Limits(records | letters, RECORD_BYTES_MAX, group.name)


def fold(
    group: TaskGroup, taken: Iterable[Taken], settings: Settings, partitions: int, rows: MutableMapping[bytes, bytes]
) -> Iterator[Output]:
    """Give what one task writes, and leave in `rows` the state it ends with.

    Args:
        group: the task's group: which step takes the blocks of which topic.
        taken: the blocks in the order in which the task took them.
        settings: what decisions depend on.
        partitions: of each of the group's topics.
        rows: the state to start from; changed in place.
    """
    steps = {topic.name: agent.step for agent in group.agents for topic in agent.reads}
    limits = limits_of(group)
    positions = dict.fromkeys(steps, 0)
    for block, next_position in taken:
        if block.offsets:
            state = State(rows.get)
            context = Context(settings, MappingProxyType(positions.copy()), partitions)
            yield from (timed.output for timed in compute(steps[block.topic], state, block, context, limits))
            for key, row in state.pending.items():
                if row is None:
                    rows.pop(key, None)
                else:
                    rows[key] = row
        positions[block.topic] = next_position


def replay(topology: Iterable[TaskGroup], log: Log, settings: Settings) -> Iterator[Produced]:
    """Run every task of a topology over its recorded inputs: all of one task, then all of the next.

    A group that reads one topic takes it in the order of offsets, as far as its workers had got; a group that reads several
    takes them in the order that its records on the merge topic give.

    Raises:
        ReplayError: the log does not hold what a replay needs: see `require_whole`; or its merge records have a gap.
    """
    groups = tuple(topology)
    require_whole(groups, log)
    for group in groups:
        partitions = len(log.manifest.topics[group.inputs[0].name])
        for partition in range(partitions):
            name, rows = source(group.name, partition), dict[bytes, bytes]()
            for output in fold(group, taken(group, partition, log), settings, partitions, rows):
                yield Produced(name, output)


def require_whole(groups: Iterable[TaskGroup], log: Log) -> None:
    """Check that a log has every topic that the groups read or write, from offset 0.

    Raises:
        ReplayError: a topic is absent, does not start at 0, or has another number of partitions than what is read with it.
    """
    held = log.manifest.topics
    for group in groups:
        inputs = [topic.name for topic in group.inputs]
        merge = (topics.MERGE.name,) if group.merges else ()
        for topic in (*inputs, *(topic.name for topic in group.outputs), *merge):
            if topic not in held:
                raise ReplayError(f"the log has no topic {topic}, which {group.name} needs; export all topics of the deployment")
            for partition, part in enumerate(held[topic]):
                if part.first > 0:
                    raise ReplayError(
                        f"{topic}-{partition} starts at offset {part.first}: what was before it is deleted, and state cannot be "
                        "rebuilt without it. Export sooner or set retention.ms=-1 (`npo topics plan`); to start anew from these "
                        "inputs, `npo import` them into a fresh deployment and export that"
                    )
        counts = {topic: len(held[topic]) for topic in inputs}
        if len(set(counts.values())) > 1:
            raise ReplayError(f"{group.name} reads topics with different numbers of partitions: {counts}")


def taken(group: TaskGroup, partition: int, log: Log) -> Iterator[Taken]:
    """Give the blocks of one task in the order in which it took them.

    Raises:
        ReplayError: two merge records of the task do not meet.
    """
    inputs = [topic.name for topic in group.inputs]
    if not group.merges:
        processed = log.manifest.topics[inputs[0]][partition].processed
        for block in log.read(inputs[0], partition):
            count = len(block.offsets) if processed is None else bisect_left(block.offsets, processed)
            if count:
                yield Taken(between(block, 0, count), block.offsets[count - 1] + 1)
        return
    cursors = {topic: _Cursor(topic, partition, log.read(topic, partition)) for topic in inputs}
    positions = dict.fromkeys(inputs, 0)
    for step in merge_steps(group.name, partition, log):
        if step.start != positions.get(step.topic):
            raise ReplayError(
                f"{source(group.name, partition)}: the merge topic goes on at offset {step.start} of {step.topic}, where "
                f"{positions.get(step.topic)} was next: a merge record is missing or in another order; export the log again"
            )
        positions[step.topic] = step.next
        yield Taken(cursors[step.topic].take(step.next), step.next)


def merge_steps(group: str, partition: int, log: Log) -> Iterator[MergeStep]:
    """Give the order in which one task took its inputs, as it recorded it: all in one partition, whichever that is."""
    key = merge_key(group, partition)
    for place in range(len(log.manifest.topics[topics.MERGE.name])):
        for block in log.read(topics.MERGE.name, place):
            for record_key, value in zip(block.keys, block.values, strict=True):
                if record_key == key:
                    yield from decode(topics.MERGE.name, value).steps


def between(block: Block, start: int, stop: int | None) -> Block:
    """Return the records `start` to `stop` (excluded) of a block."""
    return Block(
        block.topic,
        block.partition,
        block.offsets[start:stop],
        block.timestamps_ms[start:stop],
        block.keys[start:stop],
        block.values[start:stop],
        block.headers[start:stop],
    )


def joined(first: Block, second: Block) -> Block:
    """Return the records of two blocks of one partition as one."""
    return Block(
        first.topic,
        first.partition,
        first.offsets + second.offsets,
        first.timestamps_ms + second.timestamps_ms,
        first.keys + second.keys,
        first.values + second.values,
        first.headers + second.headers,
    )


class _Cursor:
    """Takes records off the blocks of one partition up to given offsets; the cuts between these blocks do not matter."""

    def __init__(self, topic: str, partition: int, blocks: Iterator[Block]) -> None:
        self._empty = Block(topic, partition, [], [], [], [], [])
        self._rest = self._empty
        self._blocks = blocks

    def take(self, until: int) -> Block:
        taken = self._empty
        while True:
            index = bisect_left(self._rest.offsets, until)
            taken, self._rest = joined(taken, between(self._rest, 0, index)), between(self._rest, index, None)
            if self._rest.offsets:
                return taken
            self._rest = next(self._blocks, self._empty)
            if not self._rest.offsets:
                return taken
