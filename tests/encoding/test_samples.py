"""What may come in: any bytes at all, and what becomes of the bad ones."""

from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.encoding.rows import ScopeState
from schemas.headers import ARROW, CONTENT_TYPE, find
from tests.encoding.telemetry import HOUR_MS, START_MS, Record, as_arrow, as_json, run, sample, steady, stream_of

ARROW_HEADERS = ((CONTENT_TYPE, ARROW),)
GOOD = sample("machine", START_MS, {"cpu": 1.0})
TIMES = pa.array([START_MS, START_MS + 1], pa.int64())


def taken(record: Record) -> int:
    """Return how many samples of a record counted, between two good records that must count whatever it is."""
    before, after = as_json(sample("before", START_MS, {"cpu": 1.0}, "x")), as_json(sample("after", START_MS, {"cpu": 1.0}, "x"))
    result = run([before, record, after])
    assert {b"entity:before", b"entity:after"} <= result.rows.keys()
    dead = [output for output in result.outputs if output.topic == "telemetry.dlq"]
    counted = sum(ScopeState.unpack(row).samples for key, row in result.rows.items() if key.startswith(b"scope:")) - 2
    if dead:
        assert [(output.key, output.value, output.ordinal) for output in dead] == [(record.key or b"", record.value, 1)]
        assert counted == 0
    return counted


def reason(record: Record) -> str:
    """Return why a record is dead."""
    [(_, why)] = run([record]).reasons()
    return why


@given(key=st.none() | st.binary(max_size=8), value=st.none() | st.binary(max_size=300), arrow=st.booleans())
@example(b"\xff", b'{"entity":"a","time_ms":1,"metrics":{}}', False)  # noqa: FBT003 - hypothesis takes them by place
@example(None, b"[" * 100_000, False)  # noqa: FBT003
def test_no_bytes_break_the_step(key: bytes | None, value: bytes | None, arrow: bool) -> None:  # noqa: FBT001
    """Whatever the bytes: an output to the dead-letter topic or a sample that counts, and the neighbours go on."""
    assert taken(Record(key, value, ARROW_HEADERS if arrow else ())) in (0, 1)


@given(st.data())
@settings(max_examples=200)
def test_no_spoilt_arrow_breaks_the_step(data: st.DataObject) -> None:
    """A valid stream with a few bytes changed or its end cut off is dead or read, and never more than its rows count."""
    value = bytearray(as_arrow(steady("machine", 4, scope="y"), keyed=False).value or b"")
    for _ in range(data.draw(st.integers(1, 4))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(value)))
    assert taken(Record(None, bytes(value[: cut if data.draw(st.booleans()) else None]), ARROW_HEADERS)) in range(5)


@given(
    st.fixed_dictionaries(
        {"entity": st.text(max_size=3), "time_ms": st.integers(-5, 2**45) | st.text(max_size=2)},
        optional={
            "metrics": st.dictionaries(st.text(max_size=3), st.none() | st.floats(allow_nan=False) | st.booleans() | st.text(max_size=2)),
            "scope": st.none() | st.text(max_size=3),
        },
    )
)
def test_no_json_breaks_the_step(value: dict[str, Any]) -> None:
    """JSON that is nearly a sample is dead or counts."""
    assert taken(Record(None, msgspec.json.encode(value))) in (0, 1)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "undecodable"),
        (None, "undecodable"),
        (b"not json", "undecodable"),
        (b"[]", "undecodable"),
        (b'{"entity":"","time_ms":1,"metrics":{}}', "undecodable"),
        (b'{"entity":"machine","time_ms":"1","metrics":{}}', "undecodable"),
        (b'{"entity":"machine","time_ms":1,"metrics":{"a":"x"}}', "undecodable"),
        (b'{"entity":"machine","time_ms":1,"metrics":{"a":1e101}}', "undecodable"),
        (b'{"entity":"machine","time_ms":1,"metrics":{"a":NaN}}', "undecodable"),
        (b'{"entity":"machine","time_ms":-1,"metrics":{}}', "undecodable"),
        (b'{"entity":"other","time_ms":1,"metrics":{}}', "undecodable"),
        (msgspec.json.encode(GOOD | {"metrics": {str(k): 0 for k in range(2001)}}), "undecodable"),
        (msgspec.json.encode(GOOD | {"time_ms": START_MS + HOUR_MS + 1}), "future_time"),
    ],
)
def test_a_bad_sample_is_dead_with_its_reason(value: bytes | None, why: str) -> None:
    """Each kind of bad JSON has the reason of the error tree, and leaves no row."""
    record = Record(b"machine", value, appended_ms=START_MS)
    assert reason(record) == why
    assert run([record]).rows == {}


BAD_BATCHES: list[tuple[dict[str, Any], str]] = [
    ({"cpu": [1.0, 2.0]}, "undecodable"),
    ({"time_ms": pa.array([START_MS, None], pa.int64())}, "undecodable"),
    ({"time_ms": pa.array([0.5, 1.0])}, "undecodable"),
    ({"time_ms": pa.array([-1, 1])}, "undecodable"),
    ({"time_ms": TIMES, "cpu": ["a", "b"]}, "undecodable"),
    ({"time_ms": TIMES, "cpu": [True, False]}, "undecodable"),
    ({"time_ms": TIMES, "cpu": [1.0, float("inf")]}, "undecodable"),
    ({"time_ms": TIMES, "cpu": [1.0, 1e101]}, "undecodable"),
    ({"time_ms": TIMES, "entity": ["machine", "other"]}, "undecodable"),
    ({"time_ms": TIMES, "entity": ["machine", None]}, "undecodable"),
    ({"time_ms": TIMES, "entity": ["other", "other"]}, "undecodable"),
    ({"time_ms": TIMES, "scope": ["", "a"]}, "undecodable"),
    ({"time_ms": TIMES, "scope": [1, 2]}, "undecodable"),
    ({"time_ms": TIMES, "": [1, 2]}, "undecodable"),
    ({"time_ms": TIMES} | {str(k): [1, 2] for k in range(2001)}, "undecodable"),
    ({"time_ms": pa.array([START_MS, START_MS + HOUR_MS + 1])}, "future_time"),
]


def batch_record(columns: dict[str, Any], key: bytes | None = b"machine") -> Record:
    """Write columns as one Arrow record that was appended at the start."""
    batch = pa.record_batch({name: pa.array(column) if isinstance(column, list) else column for name, column in columns.items()})
    return Record(key, stream_of(batch), ARROW_HEADERS, START_MS)


@pytest.mark.parametrize(("columns", "why"), BAD_BATCHES)
def test_a_bad_batch_is_dead_whole(columns: dict[str, Any], why: str) -> None:
    """One bad row or column makes the whole Arrow record dead, with its reason; no row of it counts."""
    record = batch_record(columns)
    assert reason(record) == why
    assert run([record]).rows == {}


def test_an_arrow_record_of_no_entity_is_dead() -> None:
    """Without key and without `entity` column nobody knows whose samples they are; the same column names are no help twice."""
    assert reason(batch_record({"time_ms": TIMES, "cpu": [1, 2]}, key=None)) == "undecodable"
    twice = pa.RecordBatch.from_arrays([TIMES, pa.array([1, 2]), pa.array([1, 2])], names=["time_ms", "cpu", "cpu"])
    assert reason(Record(b"machine", stream_of(twice), ARROW_HEADERS)) == "undecodable"


@pytest.mark.parametrize("offsets", [[0, 7, 2], [0, 99, 14], [0, -7, 14], [0, 7, 1 << 30]])
def test_strings_outside_their_buffer_are_never_read(offsets: list[int]) -> None:
    """A column whose offsets lead astray makes its record dead before anything follows them."""
    record = batch_record({"time_ms": TIMES, "cpu": [1, 2], "scope": ["billing", "catalog"]})
    good, bad = np.array([0, 7, 14], np.int32).tobytes(), np.array(offsets, np.int32).tobytes()
    assert (record.value or b"").count(good) == 1
    spoilt = record._replace(value=(record.value or b"").replace(good, bad))
    [output] = run([spoilt]).outputs
    assert b"Invalid: " in (find(output.headers, "npo_detail") or b"")
    assert taken(spoilt) == 0
    assert taken(record) == 2


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.dictionary(pa.int8(), pa.float64()), pa.timestamp("ns"), pa.null()]
)
def test_metrics_are_of_any_number_type(kind: pa.DataType) -> None:
    """Integers and floats of any width are taken; other types are not."""
    numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    column = pa.array(np.array([1, 2], np.float16)) if kind == pa.float16() else pa.nulls(2, kind)
    assert taken(batch_record({"time_ms": TIMES, "cpu": column})) == (2 if numbers else 0)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_times_may_be_timestamps(unit: str, zone: str | None) -> None:
    """A timestamp column of any unit and zone means the same instants as integer milliseconds."""
    seconds = pa.array([START_MS, START_MS + 1000], pa.int64()).cast(pa.timestamp("ms")).cast(pa.timestamp(unit))
    plain = run([batch_record({"time_ms": pa.array([START_MS, START_MS + 1000]), "cpu": [1, 2]})])
    stamped = run([batch_record({"time_ms": seconds.cast(pa.timestamp(unit, tz=zone)), "cpu": [1, 2]})])
    assert stamped.rows == plain.rows


def test_several_batches_and_none_are_taken() -> None:
    """A stream of several batches counts all rows, numbered on; a stream of no rows counts none and is not dead."""
    batch = pa.record_batch({"time_ms": TIMES, "cpu": [1, 2]})
    later = pa.record_batch({"time_ms": pa.array([START_MS + 2, START_MS + 3]), "cpu": [1, 2]})
    assert taken(Record(b"machine", stream_of(batch, later), ARROW_HEADERS)) == 4
    empty = run([Record(b"machine", stream_of(batch.slice(0, 0)), ARROW_HEADERS)])
    assert (empty.outputs, empty.rows) == ([], {})


def test_a_sample_without_key_belongs_to_its_entity() -> None:
    """A record without key counts for the entity that it names, as one with the key does."""
    assert run([as_json(GOOD, keyed=False)]).rows == run([as_json(GOOD)]).rows
    assert run([as_arrow([GOOD], keyed=False)]).rows == run([as_json(GOOD)]).rows
