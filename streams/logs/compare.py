"""Hold what a replay produces against what the log says was written: value, key and headers, byte for byte."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec
from msgspec import Struct

from schemas import topics
from schemas.headers import Headers, find
from schemas.identity import partition_of
from streams.groups import TaskGroup
from streams.logs.files import Log
from streams.logs.replay import Produced, source, written_by_task

UNKNOWN = "unknown source"
ABSENT = "(absent)"
DEAD_LETTER = topics.dead_letter("")
INPUTS = frozenset(topic.name for topic in topics.INPUTS)


class Record(NamedTuple):
    """One derived record, as logged (`offset` is its place) or as replayed (`offset` is None)."""

    offset: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers


class Difference(NamedTuple):
    """One record that is not the same: `logged` is None where the log lacks it, `replayed` where the replay does."""

    topic: str
    partition: int
    source: str
    logged: Record | None
    replayed: Record | None


class Comparison(Struct):
    """What a comparison came to.

    `unfinished` counts records at the very end of a log that was exported while workers ran: written by only one side because
    the export cut between a task's inputs and its outputs.
    """

    compared: int = 0
    different: int = 0
    missing: int = 0
    extra: int = 0
    unfinished: int = 0
    first: Difference | None = None

    @property
    def equal(self) -> bool:
        """Tell whether every record is the same."""
        return not (self.different or self.missing or self.extra)

    def found(self, kind: str, difference: Difference) -> None:
        """Count one difference, and keep the first."""
        setattr(self, kind, getattr(self, kind) + 1)
        self.first = self.first or difference


class Lane(NamedTuple):
    """What one task wrote to one partition of one topic: the unit in which order is compared."""

    topic: str
    partition: int
    source: str


class _Logged:
    """The logged records of one lane that the replay has not met yet, in order."""

    def __init__(self) -> None:
        self.records: deque[tuple[bytes, Record]] = deque()
        self.names: Counter[bytes] = Counter()

    def append(self, name: bytes, record: Record) -> None:
        self.records.append((name, record))
        self.names[name] += 1

    def pop(self) -> tuple[bytes, Record]:
        name, record = self.records.popleft()
        self.names[name] -= 1
        return name, record


def compare(topology: Iterable[TaskGroup], log: Log, produced: Iterable[Produced]) -> Comparison:
    """Compare replayed outputs with the log's derived records, lane by lane in order; what people wrote beside them is none.

    Where the two part, records are matched again by name (`ce_id`; dead letters by the place they come from), so that one
    absent record counts once.

    Args:
        topology: the groups that were replayed.
        log: the log they were replayed from.
        produced: the outputs of each task in its order.
    """
    counts = {topic: len(parts) for topic, parts in log.manifest.topics.items()}
    groups = tuple(topology)
    lanes = _lanes(groups, log)
    comparison = Comparison()
    for name, output in produced:
        replayed = Record(None, output.key, output.value, output.headers)
        lane = Lane(output.topic, partition_of(output.key, counts.get(output.topic, 1)), name)
        logged = lanes.setdefault(lane, _Logged())
        identity = _identity(lane.topic, output.headers)
        if not logged.records and not log.manifest.quiet:
            comparison.unfinished += 1
            continue
        if not logged.names[identity]:
            comparison.found("missing", Difference(*lane, None, replayed))
            continue
        while True:
            other, record = logged.pop()
            if other == identity:
                break
            comparison.found("extra", Difference(*lane, record, None))
        comparison.compared += 1
        if record[1:] != replayed[1:]:
            comparison.found("different", Difference(*lane, record, replayed))
    for lane, logged in lanes.items():
        if lane.source != UNKNOWN and not log.manifest.quiet:
            comparison.unfinished += len(logged.records)
            continue
        for _, record in logged.records:
            comparison.found("extra", Difference(*lane, record, None))
    return comparison


def describe(difference: Difference) -> list[str]:
    """Say which record differs and in what, one line a field."""
    topic, partition, task, logged, replayed = difference
    record = logged or replayed
    assert record is not None
    place = "" if record.offset is None else f" offset {record.offset}"
    heading = f"{topic}-{partition}{place}, written by {task}, {_identity(topic, record.headers).decode(errors='replace')}"
    if logged is None:
        return [f"{heading}: not in the log", f"  replay: {_text(record.value)}"]
    if replayed is None:
        return [f"{heading}: not in the replay", f"  log: {_text(record.value)}"]
    sides = [{"key": one.key, "value": _parsed(one.value), "headers": dict(one.headers)} for one in (logged, replayed)]
    lines = [f"  {path}: log {left}, replay {right}" for path, left, right in _fields(sides[0], sides[1], "")]
    return [f"{heading}: not the same bytes", *(lines or ["  the same JSON, written in other bytes"])]


def _lanes(groups: tuple[TaskGroup, ...], log: Log) -> dict[Lane, _Logged]:
    lanes: dict[Lane, _Logged] = {}
    written = [topic.name for group in groups for topic in group.outputs]
    written += [topics.dead_letter(topic.name) for group in groups for topic in group.inputs]
    for topic in dict.fromkeys(written):
        by_people = topic in INPUTS
        for partition in range(len(log.manifest.topics.get(topic, ()))):
            for block in log.read(topic, partition):
                for offset, key, value, headers in zip(block.offsets, block.keys, block.values, block.headers, strict=True):
                    if by_people and not written_by_task(groups, topic, headers):
                        continue
                    lane = Lane(topic, partition, _writer(topic, headers))
                    lanes.setdefault(lane, _Logged()).append(_identity(topic, headers), Record(offset, key, value, headers))
    return lanes


def _writer(topic: str, headers: Headers) -> str:
    """Return the task that wrote a record: dead letters keep their source's own headers, and say who refused it behind them."""
    if not topic.endswith(DEAD_LETTER):
        return (find(headers, "ce_source") or UNKNOWN.encode()).decode(errors="replace")
    last = dict(headers)
    group, partition = last.get("npo_group", b"").decode(errors="replace"), last.get("npo_partition", b"")
    return source(group, int(partition)) if group and partition.isdigit() else UNKNOWN


def _identity(topic: str, headers: Headers) -> bytes:
    if topic.endswith(DEAD_LETTER):
        return b"-".join(find(headers, name) or b"" for name in ("npo_topic", "npo_partition", "npo_offset"))
    return find(headers, "ce_id") or b""


def _parsed(value: bytes | None) -> object:
    try:
        return None if value is None else msgspec.json.decode(value)
    except msgspec.DecodeError:
        return value


def _text(value: object) -> str:
    return repr(value) if not isinstance(value, bytes) else value[:500].decode(errors="backslashreplace")


def _fields(left: object, right: object, path: str) -> Iterator[tuple[str, str, str]]:
    """Walk two JSON values and give the paths at which they differ."""
    if isinstance(left, dict) and isinstance(right, dict):
        for name in {**left, **right}:
            yield from _fields(left.get(name, ABSENT), right.get(name, ABSENT), f"{path}.{name}".lstrip("."))
    elif isinstance(left, list) and isinstance(right, list):
        for index in range(max(len(left), len(right))):
            sides = [side[index] if index < len(side) else ABSENT for side in (left, right)]
            yield from _fields(sides[0], sides[1], f"{path}[{index}]")
    elif left != right:
        yield path, _text(left), _text(right)
