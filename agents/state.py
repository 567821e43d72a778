"""The rows of one task during one block: read through, changed in place, undone for one record at a time.

Rows are msgpack; a row's key begins with its kind. Objects never outlive a block without going through their bytes.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar, TypeVar, cast

import msgspec
from msgspec import Struct

from agents.step import Rows
from schemas.errors import DecodeError, RowError
from schemas.identity import SEPARATOR

SCHEMA_VERSION = 1


class Row(Struct, kw_only=True):
    """Any row: its kind, which begins its key, and its schema version."""

    kind: ClassVar[str]
    version: int = SCHEMA_VERSION


R = TypeVar("R", bound=Row)
_ENCODER = msgspec.msgpack.Encoder()


@lru_cache
def _decoder(kind: type[Row]) -> msgspec.msgpack.Decoder[Row]:
    return msgspec.msgpack.Decoder(kind)


def row_key(kind: type[Row], *parts: str) -> bytes:
    """Return the key of a row: its kind and what it is about.

    Raises:
        DecodeError: a name that holds the separator, and would be another row's key.
    """
    if any(SEPARATOR in part for part in parts):
        raise DecodeError(f"a name with the control character U+001F: {parts!r}; leave it out of scopes, entities, decisions and operators")
    return SEPARATOR.join((kind.kind, *parts)).encode()


def read_row(kind: type[R], value: bytes) -> R:
    """Read a row.

    Raises:
        RowError: not a row of this kind and schema version.
    """
    try:
        row = cast("R", _decoder(kind).decode(value))
    except msgspec.DecodeError as error:
        raise RowError(f"a {kind.kind} row that cannot be read: {error}; rebuild the state by replaying the inputs") from error
    if row.version != SCHEMA_VERSION:
        raise RowError(
            f"a {kind.kind} row of version {row.version}, this release reads {SCHEMA_VERSION}; rebuild the state from the inputs"
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
        """Keep what the record has changed: all of it, or nothing where a row cannot be written."""
        encoded = {key: None if row is None else _ENCODER.encode(row) for key, row in self._touched.items()}
        for key, value in encoded.items():
            row = self._touched[key]
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
