"""The encoder as a step: blind to blocks, replayed to the byte, the same for JSON and Arrow."""

import msgspec
import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.encoding.rows import SEEN, EntityState
from schemas.events import Cleared, Heartbeat, Scenario
from schemas.headers import ARROW, CONTENT_TYPE
from tests.encoding.telemetry import Record, as_arrow, as_json, messy, run, sample, steady, stream_of


@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(1, 900), max_size=40))
@settings(max_examples=25)
def test_encoding_is_blind_to_block_boundaries(seed: int, cuts: list[int]) -> None:
    """Any way of cutting one log into blocks gives the same outputs and rows, byte for byte."""
    log = messy(seed)
    assert run(log, cuts) == run(log)


def test_one_record_a_block_changes_nothing() -> None:
    """The finest cut gives what the whole gives, in a log that has all kinds of output."""
    log = messy(4)
    whole = run(log)
    assert all(whole.events(kind) for kind in (Scenario, Cleared, Heartbeat))
    assert whole.reasons()
    assert run(log, range(len(log))) == whole


def test_entities_of_any_width_do_not_touch_each_other() -> None:
    """Padding to a wider neighbour changes no bit of an entity's row and scenarios."""
    narrow = [as_json(one) for one in steady("narrow", 140, [130], metrics=("a", "b", "cpu"), scope="narrow")]
    wide = [as_json(one) for one in steady("wide", 140, [131], metrics=[f"metric_{k}" for k in range(70)])]
    near = [as_json(one) for one in steady("near", 140, [132], metrics=("a", "b"))]
    mixed = [record for trio in zip(narrow, wide, near, strict=True) for record in trio]
    alone, together = run(narrow), run(mixed)
    assert alone.rows[b"entity:narrow"] == together.rows[b"entity:narrow"]
    unnamed = [
        [msgspec.structs.replace(event, id="", parents=()) for event in one.events(Scenario) if event.entity == "narrow"]
        for one in (alone, together)
    ]
    assert unnamed[0]
    assert unnamed[0] == unnamed[1]


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 50))
@settings(max_examples=10)
def test_json_and_arrow_are_two_spellings(seed: int, size: int) -> None:
    """The same samples as JSON or as Arrow batches give the same rows, and the same events but for their names."""
    rng = np.random.default_rng(seed)
    samples = steady("machine", 160, rng.integers(125, 160, 5), seed=seed, scope="web")
    for one in samples:
        if rng.random() < 0.1:
            one["metrics"][str(rng.choice(list(one["metrics"])))] = None
        if rng.random() < 0.1:
            one["metrics"] = dict(list(one["metrics"].items())[1:])
    as_lines = run([as_json(one) for one in samples])
    as_batches = run([as_arrow(samples[at : at + size]) for at in range(0, len(samples), size)])
    assert as_lines.rows == as_batches.rows
    spelled = [[msgspec.structs.replace(event, id="") for event in one.events(Heartbeat)] for one in (as_lines, as_batches)]
    assert spelled[0] == spelled[1]
    found = [[msgspec.structs.replace(event, id="", parents=()) for event in one.events(Scenario)] for one in (as_lines, as_batches)]
    assert found[0]
    assert found[0] == found[1]


def test_derived_names_come_from_the_sample() -> None:
    """An event's parent is the sample's `ce_id`, else its place; in Arrow with its row; and all ids differ."""
    samples = steady("machine", 140, [130])
    named = run([as_json(one, identity=f"s{row}") for row, one in enumerate(samples)])
    assert named.events(Scenario)[0].parents == ("s130",)
    placed = run([as_json(one) for one in samples])
    assert placed.events(Scenario)[0].parents == ("telemetry-0-130",)
    batched = run([as_arrow(samples, identity="batch")])
    assert batched.events(Scenario)[0].parents == ("batch#130",)
    parts = [
        pa.RecordBatch.from_pylist([{"time_ms": one["time_ms"]} | one["metrics"] for one in half]) for half in (samples[:70], samples[70:])
    ]
    several = run([Record(b"machine", stream_of(*parts), ((CONTENT_TYPE, ARROW), ("ce_id", b"several")))])
    assert several.events(Scenario)[0].parents == ("several#130",)
    ids = [event.id for event in named.events()]
    assert len(set(ids)) == len(ids)


def test_an_entity_of_changing_metrics_is_bounded_and_blind_to_blocks() -> None:
    """Ever new metric names leave a row within the limit of 2,000, whatever the cut."""
    log = []
    for number in range(60):
        names = [f"{'kept' if k < 20 else number}_{k}" for k in range(150)]
        log.append(as_json(sample("machine", 1_600_000_000_000 + number * 60_000, dict.fromkeys(names, float(number)))))
    whole = run(log)
    assert run(log, range(len(log))) == whole
    assert run(log, [7, 31]) == whole
    # 29 numbers a metric.
    assert len(whole.rows[b"entity:machine"]) < 2000 * (29 * 8 + 20)
    # Metrics that were never away were never forgotten: all their values count.
    state = EntityState.unpack(whole.rows[b"entity:machine"])
    assert [int(state.matrix[SEEN, state.columns[f"kept_{k}"]]) for k in range(20)] == [60] * 20
