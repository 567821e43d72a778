"""The fold that decider and learner share: record by record, each wholly applied or wholly refused.

Scenarios, answers and outcomes are some thousand times rarer than samples, so the fold goes by record; the arithmetic in it
(`agents.scoring`, `agents.trust`) is the same that studies run over arrays.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from msgspec import Struct

from agents.deciding.rows import DecisionRow, GlobalRow, ScopeRow, SourceRow, SourcesRow, State
from agents.scoring import PERFECT, Channel
from agents.step import Block, Context, Output, Result, Rows, dead_letter
from agents.trust import Coins, channel, prior
from schemas import codecs
from schemas.errors import DecodeError, FutureTimeError, PartitionError, RecordError, StateError
from schemas.events import Alarm, Positions
from schemas.headers import Headers, cloud_event, event_id, trace_of
from schemas.identity import derived_name, partition_of, source_name
from schemas.settings import Settings

SOURCES_MAX = 2_000
OTHERS = "(others)"


@dataclass
class Turn:
    """One record's turn in its scope: the state it may change, what it is, and what it writes."""

    state: State
    settings: Settings
    positions: Positions
    partition: int
    scope: str
    identity: str
    trace: str
    index: int
    outputs: list[Output] = field(default_factory=list)

    def emit(self, topic: str, identity: str, time_ms: int, event: Struct, trace: str | None = None) -> None:
        """Write one derived event under the scope's key."""
        headers = cloud_event(identity, topic, f"npo/deciding/{self.partition}", time_ms, trace or self.trace)
        self.outputs.append(Output(topic, self.scope.encode(), codecs.encode(event), headers, self.index))

    @cached_property
    def row(self) -> ScopeRow:
        """The scope's row; a new scope starts under the profile's initial model."""
        row = self.state.find(ScopeRow, self.scope)
        if row is None:
            profile = self.settings.profile
            row = ScopeRow(model="initial", intercept=profile.initial_intercept, weights=dict(profile.initial_weights))
            self.state.put(row, self.scope)
        return row

    def source(self, name: str) -> SourceRow:
        """Return a source's row; a new one starts with the roster's prior, or an unknown account's.

        Beyond SOURCES_MAX names all new ones share one row, so that made-up accounts cannot outgrow a record.
        """
        row = self.state.find(SourceRow, self.scope, name)
        if row is None and name != OTHERS and len(self.state.get(SourcesRow, self.scope).names) >= SOURCES_MAX:
            return self.source(OTHERS)
        if row is None:
            team = self.settings.catalogue.operators.get(name)
            likes, wanted, overrides, unwanted = (float(count) for count in prior(on_roster=team is not None))
            row = SourceRow(likes=likes, wanted=wanted, overrides=overrides, unwanted=unwanted, team=team)
            self.state.put(row, self.scope, name)
            self.state.get(SourcesRow, self.scope).names.append(name)
        return row

    def channel(self, source: SourceRow) -> Channel:
        """Return the channel through which a source's answers are heard: perfect where the profile has no trust."""
        return channel(coins_of(source)) if self.settings.profile.trust else PERFECT

    def killed(self) -> bool:
        """Tell whether the kill switch is on, for the scope or for all."""
        return self.row.killed or self.state.get(GlobalRow).killed

    def frozen(self) -> bool:
        """Tell whether learning is frozen, for the scope or for all."""
        return self.row.frozen or self.state.get(GlobalRow).frozen

    def learns(self) -> bool:
        """Tell whether answers move anything in the scope: its setting, and no freeze."""
        return self.settings.learns(self.scope) and not self.frozen()

    def alarm(self, name: str, *, raised: bool, detail: str) -> None:
        """Raise an alarm on the alignment topic, or take it back."""
        time_ms = self.row.clock_ms
        identity = derived_name(self.identity, f"alarm-{name}")
        self.emit("alignment", identity, time_ms, Alarm(identity, self.scope, time_ms, name, raised, detail, self.positions))


def coins_of(source: SourceRow) -> Coins:
    """Return a source's coins as numbers."""
    return Coins(source.likes, source.wanted, source.overrides, source.unwanted)


def next_identity(decision: DecisionRow, kind: str) -> str:
    """Name the next event of a decision's life."""
    decision.events += 1
    return derived_name(decision.id, kind, decision.events)


class Timed(Protocol):
    """Any input event of the task."""

    @property
    def time_ms(self) -> int:
        """Event time."""
        ...


Handler = Callable[[Turn, Any], None]


def fold(rows: Rows, block: Block, context: Context, handle: Handler) -> Result:
    """Handle the records of a block in order; one that cannot be handled goes to the dead-letter topic with its reason.

    Raises:
        StateError: the rows cannot be read, which is no fault of a record.
    """
    state = State(rows)
    outputs: list[Output] = []
    for index in range(len(block.offsets)):
        try:
            event = codecs.decode(block.topic, block.values[index])
            turn = begin(state, block, index, context, scope_of(block, index, context, event))
            handle(turn, event)
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
            outputs.extend(turn.outputs)
    return Result(outputs, state.changes())


def begin(state: State, block: Block, index: int, context: Context, scope: str) -> Turn:
    """Open the turn of one record: its name, its trace, and the positions its outputs will tell."""
    headers: Headers = block.headers[index]
    offset = block.offsets[index]
    identity = event_id(headers) or source_name(block.topic, block.partition, offset)
    positions = {**context.positions, block.topic: offset + 1}
    return Turn(state, context.settings, positions, block.partition, scope, identity, trace_of(headers, identity), index)


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
