"""Records of telemetry to columns: JSON samples and Arrow batches, each record whole or in the dead-letter topic."""

import struct
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.encoding.arrow import read_batches
from agents.step import Block, Output, dead_letter
from schemas.codecs import HOUR_MS, decode
from schemas.errors import DecodeError, FutureTimeError, RecordError
from schemas.events import Sample
from schemas.headers import ARROW, CONTENT_TYPE, Headers, event_id, find
from schemas.identity import source_name

DEFAULT_SCOPE = "default"


class Segment(NamedTuple):
    """Consecutive samples of one entity with the same metrics in the same order; `packed` float64, row after row."""

    names: tuple[str, ...]
    packed: list[bytes]
    places: list[int]

    def values(self) -> NDArray[np.float64]:
        """Return the values, shape (samples, metrics), NaN where missing."""
        return np.frombuffer(b"".join(self.packed)).reshape(len(self.places), len(self.names))


class Source(NamedTuple):
    """One entity of the block: name, scope where its samples name none, and its samples."""

    entity: str
    scope: str
    segments: list[Segment]


class Samples(NamedTuple):
    """The samples of a block in the order of the log; `rows` is the row inside an Arrow record, -1 for JSON."""

    sources: list[Source]
    owners: list[int]
    times_ms: list[int]
    scopes: list[str]
    records: list[int]
    rows: list[int]
    dead: list[Output]


def sample_id(block: Block, record: int, row: int) -> str:
    """Name a sample: the record's `ce_id`, else its place in the log; `#row` inside an Arrow record."""
    name = event_id(block.headers[record]) or source_name(block.topic, block.partition, block.offsets[record])
    return name if row < 0 else f"{name}#{row}"


def read_samples(block: Block, scopes: dict[str, str]) -> Samples:
    """Decode a block.

    A record that is not what `schemas.events.Sample` (or an Arrow stream of its columns) describes, whose key is not its
    entity, or whose time is over an hour ahead of the time at which it was appended, is dead: no sample of it counts.

    Args:
        block: telemetry.
        scopes: the catalogue's scope by entity, for samples that name none.
    """
    samples = Samples([], [], [], [], [], [], [])
    by_name: dict[str, int] = {}
    for record, (key, value, headers) in enumerate(zip(block.keys, block.values, block.headers, strict=True)):
        try:
            if headers and _is_arrow(headers):
                _append_batches(samples, by_name, scopes, block, record)
            else:
                sample = decode("telemetry", value)
                entity = sample.entity
                if key is not None and key != entity.encode():
                    raise DecodeError(f"telemetry: key {key!r} is not the entity {entity!r}; write the entity as the record's key")
                _check_time(sample.time_ms, block.timestamps_ms[record])
                owner = by_name.get(entity)
                if owner is None:
                    owner = _add_source(samples, by_name, scopes, entity)
                _append_sample(samples, owner, sample, record)
        except RecordError as error:
            samples.dead.append(dead_letter(block, record, error.reason, str(error)))
    return samples


def _append_sample(samples: Samples, owner: int, sample: Sample, record: int) -> None:
    source, metrics = samples.sources[owner], sample.metrics
    segment = _segment(source, tuple(metrics))
    try:
        packed = _packer(len(metrics))(*metrics.values())
    except struct.error:
        packed = _packer(len(metrics))(*(np.nan if value is None else value for value in metrics.values()))
    segment.packed.append(packed)
    segment.places.append(len(samples.owners))
    samples.owners.append(owner)
    samples.times_ms.append(sample.time_ms)
    samples.scopes.append(sample.scope or source.scope)
    samples.records.append(record)
    samples.rows.append(-1)


def _append_batches(samples: Samples, by_name: dict[str, int], scopes: dict[str, str], block: Block, record: int) -> None:
    entity, batches = read_batches(block.values[record], block.keys[record])
    for batch in batches:
        _check_time(int(batch.times_ms.max(initial=0)), block.timestamps_ms[record])
    row = 0
    for batch in batches:
        count = len(batch.times_ms)
        if not count:
            continue
        owner = by_name[entity] if entity in by_name else _add_source(samples, by_name, scopes, entity)
        source, start = samples.sources[owner], len(samples.owners)
        segment = _segment(source, batch.names)
        segment.packed.append(batch.values.tobytes())
        segment.places.extend(range(start, start + count))
        samples.owners.extend([owner] * count)
        samples.times_ms.extend(batch.times_ms.tolist())
        samples.scopes.extend(scope or source.scope for scope in batch.scopes or [None] * count)
        samples.records.extend([record] * count)
        samples.rows.extend(range(row, row + count))
        row += count


def _add_source(samples: Samples, by_name: dict[str, int], scopes: dict[str, str], entity: str) -> int:
    owner = by_name[entity] = len(samples.sources)
    samples.sources.append(Source(entity, scopes.get(entity, DEFAULT_SCOPE), []))
    return owner


def _segment(source: Source, names: tuple[str, ...]) -> Segment:
    if not source.segments or source.segments[-1].names != names:
        source.segments.append(Segment(names, [], []))
    return source.segments[-1]


def _check_time(time_ms: int, appended_ms: int) -> None:
    if time_ms > appended_ms + HOUR_MS:
        raise FutureTimeError(
            f"telemetry: time_ms {time_ms} is over an hour ahead of {appended_ms}, when it was appended; set the producer's clock"
        )


def _is_arrow(headers: Headers) -> bool:
    return find(headers, CONTENT_TYPE) == ARROW


@cache
def _packer(count: int) -> Callable[..., bytes]:
    return struct.Struct(f"={count}d").pack
