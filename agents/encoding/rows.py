"""The state of the encoder: one packed row per entity, one small row per scope, both with their schema version."""

import struct
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from schemas.errors import RowError
from schemas.events import METRICS_MAX

VERSION: Final = 1
STREAMS: Final = 3
RING: Final = 12
WARM_UP_SAMPLES: Final = 120
HISTORY_MS: Final = 3 * 86_400_000
PEERS_MAX: Final = 256

# What an entity keeps once; times in ms, -inf for never.
FIXED = np.dtype(
    [
        ("last_ms", "<f8"),
        ("step_ms", "<f8"),
        ("gap", "<f8"),
        ("exceeded_ms", "<f8"),
        ("fired_ms", "<f8"),
        ("fired_score", "<f8"),
        ("open", "<f8"),
        ("start_ms", "<f8"),
        ("candidates", "<f8"),
        ("level", "<f8"),
        ("level_weight", "<f8"),
        ("recent", "<f8", (2, STREAMS)),
        ("times_ms", "<f8", (RING,)),
    ]
)
# What it keeps for each metric: slices of the rows of a matrix (FIELDS, metrics). The first five are per stream.
MEAN, VARIANCE, WEIGHT, LOW, HIGH = (slice(STREAMS * k, STREAMS * (k + 1)) for k in range(5))
FIRST, SEEN = 5 * STREAMS, 5 * STREAMS + 1
LAST = slice(SEEN + 1, SEEN + 1 + RING)
FIELDS = LAST.stop

# Not 0, so that a metric never seen gives 0/WEIGHT = 0 as the gain of its statistics.
WEIGHT_START = 1e-300
_LENGTH = struct.Struct("<I")
_FRESH = np.zeros(1, FIXED)
for _name in ("last_ms", "exceeded_ms", "fired_ms"):
    _FRESH[_name] = -np.inf
_FRESH["gap"] = 1
_FRESH["times_ms"] = np.nan


def blank(metrics: int) -> NDArray[np.float64]:
    """Return the matrix of metrics that were never seen."""
    matrix = np.zeros((FIELDS, metrics))
    matrix[WEIGHT] = WEIGHT_START
    matrix[LOW] = np.inf
    matrix[HIGH] = -np.inf
    matrix[FIRST] = np.inf
    matrix[LAST] = np.nan
    return matrix


class Head(Struct, array_like=True):
    """Start of an entity's row: what is not a number."""

    version: int
    scope: str
    names: list[str]


class EntityState:
    """One entity in memory: `fixed` shape (1,) of FIXED, `matrix` shape (FIELDS, metrics), `scope` of its latest sample."""

    __slots__ = ("columns", "fixed", "matrix", "names", "scope")

    def __init__(self, scope: str, names: tuple[str, ...], fixed: NDArray[np.void], matrix: NDArray[np.float64]) -> None:
        self.scope = scope
        self.names = names
        self.columns = {name: place for place, name in enumerate(names)}
        self.fixed = fixed
        self.matrix = matrix

    @classmethod
    def unpack(cls, row: bytes | None) -> "EntityState":
        """Read a row.

        Raises:
            RowError: the row is of another schema version.
        """
        if row is None:
            return cls("", (), _FRESH.copy(), blank(0))
        start = _LENGTH.size + _LENGTH.unpack_from(row)[0]
        head = _head(row[_LENGTH.size : start])
        fixed = np.frombuffer(row, FIXED, count=1, offset=start)
        matrix = np.frombuffer(row, offset=start + FIXED.itemsize).reshape(FIELDS, len(head.names))
        return cls(head.scope, tuple(head.names), fixed, matrix)

    def pack(self) -> bytes:
        """Write the row."""
        head = msgspec.msgpack.encode(Head(VERSION, self.scope, list(self.names)))
        return b"".join((_LENGTH.pack(len(head)), head, self.fixed.tobytes(), self.matrix.tobytes()))

    def learn(self, names: tuple[str, ...], values: NDArray[np.float64]) -> int:
        """Take up metrics in the order in which they first have a value, then by name; a name without one is not kept.

        Args:
            names: metrics of consecutive samples.
            values: shape (samples, metrics), NaN where missing.

        Returns:
            How many of the samples fit: all, or those before the one that would take the entity over METRICS_MAX metrics.
        """
        if names == self.names:
            return len(values)
        unknown = [place for place, name in enumerate(names) if name not in self.columns]
        present = ~np.isnan(values[:, unknown])
        arrivals = sorted((int(np.argmax(present[:, k])), names[place]) for k, place in enumerate(unknown) if present[:, k].any())
        fits = len(values)
        room = METRICS_MAX - len(self.names)
        if len(arrivals) > room:
            fits = arrivals[room][0]
            arrivals = [arrival for arrival in arrivals if arrival[0] < fits]
        if arrivals:
            new = tuple(name for _, name in arrivals)
            self.columns.update((name, len(self.names) + k) for k, name in enumerate(new))
            self.names += new
            self.matrix = np.concatenate((self.matrix, blank(len(new))), axis=1)
        return fits

    def make_room(self, incoming: list[str]) -> None:
        """Forget metrics without a value in the last RING samples; where that is not enough, all that are not incoming."""
        kept = [place for place in range(len(self.names)) if not np.isnan(self.matrix[LAST, place]).all()]
        if len({*incoming, *(self.names[place] for place in kept)}) > METRICS_MAX:
            kept = [place for place in range(len(self.names)) if self.names[place] in incoming]
        self.names = tuple(self.names[place] for place in kept)
        self.columns = {name: place for place, name in enumerate(self.names)}
        self.matrix = self.matrix[:, kept]


def _head(data: bytes) -> Head:
    version = data[1] if len(data) > 1 else None
    if version != VERSION:
        raise RowError(f"an entity's row of version {version}, this release reads {VERSION}; rebuild the state by replaying telemetry")
    return msgspec.msgpack.decode(data, type=Head)


class Fired(Struct, array_like=True):
    """One scenario of the scope that peers are compared with."""

    time_ms: int
    entity: str
    label: str


class ScopeState(Struct, array_like=True):
    """What one encoder task knows of one scope."""

    version: int = VERSION
    latest_ms: int = -1
    samples: int = 0
    repeated: int = 0
    out_of_order: int = 0
    entities: int = 0
    fired: list[Fired] = field(default_factory=list)

    @classmethod
    def unpack(cls, row: bytes | None) -> "ScopeState":
        """Read a row.

        Raises:
            RowError: the row is of another schema version.
        """
        if row is None:
            return cls()
        if row[1] != VERSION:
            raise RowError(f"a scope's row of version {row[1]}, this release reads {VERSION}; rebuild the state by replaying telemetry")
        return msgspec.msgpack.decode(row, type=cls)

    def pack(self) -> bytes:
        """Write the row."""
        return msgspec.msgpack.encode(self)


def entity_key(entity: str) -> bytes:
    """Return the key of an entity's row."""
    return b"entity:" + entity.encode()


def scope_key(scope: str) -> bytes:
    """Return the key of a scope's row."""
    return b"scope:" + scope.encode()
