"""One record's turn in its scope, and the fold over a block: record by record, each wholly applied or wholly refused.

What goes through here is some thousand times rarer than samples, so the fold goes by record; the arithmetic in it
(`agents.scoring`, `agents.trust`) is the same that studies run over arrays.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

from msgspec import Struct

from agents.state import State
from agents.step import Block, Context, Output, Result, Rows, dead_letter
from schemas import codecs
from schemas.errors import DecodeError, FutureTimeError, PartitionError, RecordError, StateError
from schemas.events import Positions
from schemas.headers import Headers, cloud_event, event_id, trace_of
from schemas.identity import partition_of, source_name
from schemas.settings import Settings


class Emitted(NamedTuple):
    """One derived event: short name of its topic, its scope, its name, event time, what it says, and the trace it belongs to."""

    topic: str
    scope: str
    identity: str
    time_ms: int
    event: Any  # a struct of `schemas.events` or `schemas.alignment`, as the topic says
    trace: str


@dataclass
class Turn:
    """One record's turn in its scope: the state it may change, what it is, and what it writes."""

    group: ClassVar[str]

    state: State
    settings: Settings
    positions: Positions
    partition: int
    scope: str
    identity: str
    trace: str
    index: int
    outputs: list[Emitted] = field(default_factory=list)

    def emit(self, topic: str, identity: str, time_ms: int, event: Struct, trace: str | None = None) -> None:
        """Write one derived event under the scope's key."""
        self.outputs.append(Emitted(topic, self.scope, identity, time_ms, event, trace or self.trace))

    def records(self) -> list[Output]:
        """Return what the turn has written as it travels."""
        source = f"npo/{self.group}/{self.partition}"
        return [
            Output(
                each.topic,
                each.scope.encode(),
                codecs.encode(each.event),
                cloud_event(each.identity, each.topic, source, each.time_ms, each.trace),
                self.index,
            )
            for each in self.outputs
        ]


T = TypeVar("T", bound=Turn)


class Timed(Protocol):
    """Any input event of a task."""

    @property
    def time_ms(self) -> int:
        """Event time."""
        ...


def fold(rows: Rows, block: Block, context: Context, kind: type[T], handle: Callable[[T, Any], None]) -> Result:
    """Handle the records of a block in order; one that cannot be handled goes to the dead-letter topic with its reason.

    Raises:
        StateError: the rows cannot be read, which is no fault of a record.
    """
    state = State(rows)
    outputs: list[Output] = []
    for index in range(len(block.offsets)):
        try:
            event = codecs.decode(block.topic, block.values[index])
            turn = begin(kind, state, block, index, context, scope_of(block, index, context, event))
            handle(turn, event)
            written = turn.records()
            state.commit()
        except (StateError, MemoryError):
            raise
        except RecordError as error:
            state.rollback()
            outputs.append(dead_letter(block, index, error.reason, str(error)))
        except Exception as error:  # noqa: BLE001  # whatever a record breaks, its neighbours go on and it is kept with its reason
            state.rollback()
            outputs.append(dead_letter(block, index, "step_failed", f"{type(error).__name__}: {error}"))
        else:
            outputs.extend(written)
    return Result(outputs, state.changes())


def begin(kind: type[T], state: State, block: Block, index: int, context: Context, scope: str) -> T:
    """Open the turn of one record: its name, its trace, and the positions its outputs will tell."""
    headers: Headers = block.headers[index]
    offset = block.offsets[index]
    identity = event_id(headers) or source_name(block.topic, block.partition, offset)
    positions = {**context.positions, block.topic: offset + 1}
    return kind(state, context.settings, positions, block.partition, scope, identity, trace_of(headers, identity), index)


def scope_of(block: Block, index: int, context: Context, event: Timed) -> str:
    """Return the scope of a record after checking its key, partition and time; empty for a command to all scopes.

    Raises:
        DecodeError: no key, or a key that is not the scope that the event names.
        PartitionError: the key belongs to another partition.
        FutureTimeError: event time over an hour ahead of the append time.
    """
    key = block.keys[index]
    named: str | None = getattr(event, "scope", None)
    if block.topic == "control":
        scope = named or ""
    elif not key:
        raise DecodeError(f"{block.topic}: a record without a key; the key is the scope, as the recommendation's own key")
    else:
        scope = key.decode(errors="replace")
        if named is not None and named != scope:
            raise DecodeError(f"{block.topic}: key {scope!r} but scope {named!r}; they must be equal")
    right = partition_of(scope.encode(), context.partitions) if scope else block.partition
    if right != block.partition:
        raise PartitionError(
            f"{block.topic}: scope {scope!r} belongs to partition {right}, not {block.partition}; "
            "use Kafka's default partitioner (librdkafka: partitioner=murmur2_random)"
        )
    # A command takes effect where it stands in the log: a kill from a fast clock is a kill.
    ahead_ms = event.time_ms - block.timestamps_ms[index] if block.topic != "control" else 0
    if ahead_ms > codecs.HOUR_MS:
        raise FutureTimeError(
            f"{block.topic}: time_ms {event.time_ms} is {ahead_ms} ms ahead of the time the broker appended it; an hour at most is taken"
        )
    return scope
