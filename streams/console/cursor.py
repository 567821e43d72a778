"""Cursors: where a reader of several topics stands, as a string that it hands back to go on from there.

    5L6g3nShT-eMCtK--X86sw/alignment:0=7,1=9;recommendation:0=12,1=40

names the cluster, and the next offset to read of every partition of the topics that were chosen. The empty string knows no place.
"""

import re
from collections.abc import Mapping
from itertools import groupby
from typing import NamedTuple

from schemas.errors import DecodeError

OFFSET_MAX = 2**63 - 1
# A topic's short name and one of its partitions, to the next offset to read there.
Places = Mapping[tuple[str, int], int]

_PLACE = r"(?:0|[1-9]\d{0,8})=(?:0|[1-9]\d{0,18})"
_TOPIC = rf"[a-z][a-z.-]*:{_PLACE}(?:,{_PLACE})*"
_CURSOR = re.compile(rf"[\w-]*/(?:{_TOPIC}(?:;{_TOPIC})*)?", re.ASCII)


class Cursor(NamedTuple):
    """Where a reader stands: the identity of the cluster, and the next offset of each partition that it reads."""

    cluster: str
    places: Places


NOWHERE = Cursor("", {})


def write(cursor: Cursor) -> str:
    """Write a cursor, topics and partitions in order: equal cursors are equal strings."""
    if cursor == NOWHERE:
        return ""
    by_topic = groupby(sorted(cursor.places.items()), key=lambda item: item[0][0])
    parts = (f"{topic}:{','.join(f'{partition}={offset}' for (_, partition), offset in items)}" for topic, items in by_topic)
    return f"{cursor.cluster}/{';'.join(parts)}"


def parse(text: str) -> Cursor:
    """Read a cursor.

    Raises:
        DecodeError: not as `write` writes one, a partition named twice, or an offset above 2⁶³ − 1.
    """
    if not text:
        return NOWHERE
    if not _CURSOR.fullmatch(text):
        raise DecodeError(f"{text[:80]!r} is not a cursor: give back one that this server gave, or none to begin from now")
    cluster, _, rest = text.partition("/")
    places: dict[tuple[str, int], int] = {}
    for part in filter(None, rest.split(";")):
        topic, _, numbers = part.partition(":")
        for number in numbers.split(","):
            partition, _, offset = number.partition("=")
            place = topic, int(partition)
            if place in places or int(offset) > OFFSET_MAX:
                wrong = "names it twice" if place in places else f"has offset {offset}"
                raise DecodeError(f"cursor, partition {partition} of {topic}: it {wrong}; give back a cursor that this server gave")
            places[place] = int(offset)
    return Cursor(cluster, places)


def of_positions(positions: Mapping[bytes, bytes]) -> Cursor:
    """Return where the read model stands, from its hash of positions; `NOWHERE` while there is none."""
    places = {}
    for field, value in positions.items():
        topic, colon, partition = field.decode().rpartition(":")
        if colon:
            places[topic, int(partition)] = int(value)
    return Cursor(positions.get(b"cluster", b"").decode(), places)


def at_least(held: Cursor, wanted: Cursor) -> bool:
    """Tell whether a reader at `held` has read all that one at `wanted` had, of the partitions that both read."""
    if wanted == NOWHERE:
        return True
    return held.cluster == wanted.cluster and all(held.places.get(place, offset) >= offset for place, offset in wanted.places.items())
