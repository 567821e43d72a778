"""The rows of the deciding task: one msgpack struct a row, a key says its kind.

A row is read into an object, changed in place, and written when the record that changed it has been handled without
error; a record that breaks is rolled back. Objects never outlive that without going through their bytes.
"""

from dataclasses import dataclass, field
from typing import TypeVar, cast

import msgspec
from msgspec import Struct

from agents.alignment import empty_counts
from agents.step import Rows
from agents.thresholds import ARMS
from schemas.errors import DecodeError, RowError
from schemas.events import Action, JudgedAnswer, StandingAnswer, Status, Symptom
from schemas.identity import SEPARATOR

SCHEMA_VERSION = 1
RECENT_MAX = 512  # decisions of one entity that an outcome can still reach


class Row(Struct, kw_only=True):
    """Any row: its schema version."""

    version: int = SCHEMA_VERSION


class GlobalRow(Row):
    """What a control record to all scopes has set; every partition holds one."""

    killed: bool = False
    frozen: bool = False


class Counts(Struct):
    """What is counted of a window, and of the whole past."""

    scenarios: int = 0
    surfaced: int = 0
    withheld: int = 0
    blocked: int = 0
    explored: int = 0
    like: int = 0
    override: int = 0
    neutral: int = 0
    skipped: int = 0
    answered: int = 0
    overridden: int = 0
    reviewed: int = 0
    missed: int = 0
    reward_minutes: float = 0.0


class Surfaced(Struct, array_like=True):
    """One recommendation of the last hour, for the policy's rates."""

    time_ms: int
    entity: str
    action: str


class ScopeRow(Row):
    """One scope: clock, control state, model, budget, hours in which something falls due, counts, threshold table and arms."""

    clock_ms: int = 0
    killed: bool = False
    frozen: bool = False
    model: str = ""
    intercept: float = 0.0
    weights: dict[str, float] = msgspec.field(default_factory=dict)
    open: int = 0
    earned_trusted: float = 0.0
    earned_raw: float = 0.0
    budget_closed: bool = False
    surfaced: list[Surfaced] = msgspec.field(default_factory=list)
    due_hours: list[int] = msgspec.field(default_factory=list)
    window: int = 0
    current: Counts = msgspec.field(default_factory=Counts)
    total: Counts = msgspec.field(default_factory=Counts)
    table: list[list[int]] = msgspec.field(default_factory=lambda: empty_counts().tolist())
    arm_likes: list[float] = msgspec.field(default_factory=lambda: [1.0] * len(ARMS))
    arm_overrides: list[float] = msgspec.field(default_factory=lambda: [1.0] * len(ARMS))


class SourcesRow(Row):
    """The names of all sources that have answered in a scope, in the order of their first answer."""

    names: list[str] = msgspec.field(default_factory=list)


class RewardsRow(Row):
    """The last outcomes whose reward was counted, so that one delivered twice counts once."""

    names: list[str] = msgspec.field(default_factory=list)


class Recent(Struct, array_like=True):
    """One of the last answers of a class: what the pairwise disagreement of sources is measured against."""

    source: str
    liked: bool
    predicted: float | None
    weight: float


class ClassRow(Row):
    """One class: score, information, forgetting sums, counts by source, and the ring of kept judgements."""

    offset: float = 0.0
    information: float = 0.0
    draw_information: float = 0.0
    rising: float = 0.0
    falling: float = 0.0
    weight: float = 0.0
    weighted: float = 0.0
    answers: int = 0
    by_source: dict[str, int] = msgspec.field(default_factory=dict)
    likes: int = 0
    overrides: int = 0
    outcomes: int = 0
    recent: list[Recent] = msgspec.field(default_factory=list)
    kept: int = 0


class SourceRow(Row):
    """One source of answers in one scope: its two coins, what it has answered, what it adds to the budget."""

    likes: float = 0.0
    wanted: float = 0.0
    overrides: float = 0.0
    unwanted: float = 0.0
    answered: int = 0
    overridden: int = 0
    earned: float = 0.0
    disagreement: float = 0.0
    quarantined: bool = False
    team: str | None = None


class EntityRow(Row):
    """One entity: open surfaced decisions by class, when and how confidently each class was last judged, the latest decisions."""

    open: dict[str, str] = msgspec.field(default_factory=dict)
    last_ms: dict[str, int] = msgspec.field(default_factory=dict)
    last_confidence: dict[str, float] = msgspec.field(default_factory=dict)
    recent: list[tuple[int, str]] = msgspec.field(default_factory=list)


class DecisionRow(Row):
    """One decision while answers or outcomes can still reach it."""

    id: str
    entity: str
    scenario_class: str
    time_ms: int
    decided_ms: int
    deadline_ms: int
    status: Status
    explored: bool
    scored: bool
    closed: bool
    features: dict[str, float]
    model: str
    model_output: float
    confidence: float
    threshold: float
    propensity: float
    action: Action
    symptoms: tuple[Symptom, ...]
    peers_alike: int
    trace: str
    due_ms: int = 0
    cleared: bool = False
    known: bool = False
    repeats: int = 0
    answers: list[StandingAnswer] = msgspec.field(default_factory=list)
    late: list[StandingAnswer] = msgspec.field(default_factory=list)
    judged: list[JudgedAnswer] = msgspec.field(default_factory=list)
    revision: int = 0
    slot: int = -1
    events: int = 0


class KeptRow(Row):
    """One of the last judgements of a class, as re-expression and revocation need it."""

    decision: str = ""
    features: dict[str, float] = msgspec.field(default_factory=dict)
    surfaced: bool = False
    propensity: float = 0.0
    answers: tuple[JudgedAnswer, ...] = ()


class Due(Struct, array_like=True):
    """One decision that falls due: to be closed, or to be forgotten."""

    time_ms: int
    decision: str


class DueRow(Row):
    """What falls due in one hour of a scope's time."""

    entries: list[Due] = msgspec.field(default_factory=list)


R = TypeVar("R", bound=Row)

KINDS: dict[type[Row], str] = {
    GlobalRow: "global",
    ScopeRow: "scope",
    SourcesRow: "sources",
    RewardsRow: "rewards",
    ClassRow: "class",
    SourceRow: "source",
    EntityRow: "entity",
    DecisionRow: "decision",
    KeptRow: "kept",
    DueRow: "due",
}
_DECODERS = {kind: msgspec.msgpack.Decoder(kind) for kind in KINDS}
_ENCODER = msgspec.msgpack.Encoder()


def row_key(kind: type[Row], *parts: str) -> bytes:
    """Return the key of a row: its kind and what it is about.

    Raises:
        DecodeError: a name that holds the separator, and would be another row's key.
    """
    if any(SEPARATOR in part for part in parts):
        raise DecodeError(f"a name with the control character U+001F: {parts!r}; leave it out of scopes, entities, decisions and operators")
    return SEPARATOR.join((KINDS[kind], *parts)).encode()


def read_row(kind: type[R], value: bytes) -> R:
    """Read a row.

    Raises:
        RowError: not a row of this kind and schema version.
    """
    try:
        row = cast("R", _DECODERS[kind].decode(value))
    except msgspec.DecodeError as error:
        raise RowError(f"a {KINDS[kind]} row that cannot be read: {error}; rebuild the state by replaying the inputs") from error
    if row.version != SCHEMA_VERSION:
        raise RowError(
            f"a {KINDS[kind]} row of version {row.version}, this release reads {SCHEMA_VERSION}; rebuild the state from the inputs"
        )
    return row


@dataclass
class State:
    """The rows of one task during one block, with an undo for one record at a time."""

    rows: Rows
    _bytes: dict[bytes, bytes | None] = field(default_factory=dict)
    _objects: dict[bytes, Row] = field(default_factory=dict)
    _touched: dict[bytes, Row | None] = field(default_factory=dict)
    _changed: dict[bytes, bytes | None] = field(default_factory=dict)

    def find(self, kind: type[R], *parts: str) -> R | None:
        """Return a row that may be changed in place, or None."""
        key = row_key(kind, *parts)
        if key in self._touched:
            return self._touched[key]  # type: ignore[return-value]  # the key's first part is the row's kind
        row = self._objects.get(key)
        if row is None:
            value = self._stored(key)
            if value is None:
                return None
            row = read_row(kind, value)
        self._touched[key] = row
        return row  # type: ignore[return-value]  # the key's first part is the row's kind

    def get(self, kind: type[R], *parts: str) -> R:
        """Return a row that may be changed in place, a new one where there is none."""
        row = self.find(kind, *parts)
        if row is None:
            row = kind()
            self._touched[row_key(kind, *parts)] = row
        return row

    def put(self, row: Row, *parts: str) -> None:
        """Write a whole row."""
        self._touched[row_key(type(row), *parts)] = row

    def delete(self, kind: type[Row], *parts: str) -> None:
        """Delete a row."""
        self._touched[row_key(kind, *parts)] = None

    def commit(self) -> None:
        """Keep what the record has changed."""
        for key, row in self._touched.items():
            value = None if row is None else _ENCODER.encode(row)
            if value != self._stored(key):
                self._bytes[key] = self._changed[key] = value
            if row is None:
                self._objects.pop(key, None)
            else:
                self._objects[key] = row
        self._touched.clear()

    def rollback(self) -> None:
        """Forget what the record has changed."""
        for key in self._touched:
            self._objects.pop(key, None)
        self._touched.clear()

    def changes(self) -> dict[bytes, bytes | None]:
        """Return the rows that differ from the committed state, in the order of their keys."""
        return {key: value for key, value in sorted(self._changed.items()) if value != self.rows.get(key)}

    def _stored(self, key: bytes) -> bytes | None:
        if key not in self._bytes:
            self._bytes[key] = self.rows.get(key)
        return self._bytes[key]
