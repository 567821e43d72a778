"""Replay of logs of a toy topology: the same log gives the same bytes, and any change is found."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from agents.step import Block, Context, Output, Result, Rows, dead_letter
from schemas.errors import ReplayError
from schemas.headers import cloud_event, event_id
from schemas.identity import derived_name, partition_of, source_name
from schemas.topics import CONTROL, DECISION, FEEDBACK, RECOMMENDATION, SCENARIO, TELEMETRY
from streams.groups import Agent, TaskGroup
from streams.logs.compare import Comparison, compare, describe
from streams.logs.files import Log, Manifest, Part, open_log
from streams.logs.replay import between, joined, replay
from tests.replay.simulation import SETTINGS, Topics, append, empty, memory_log, merge_changed, save, simulate

PARTITIONS = 3
KEYS = [b"a", b"b", b"c", b"d", b"e"]


@pytest.fixture(autouse=True, scope="module")
def _silence() -> Iterator[None]:
    """Steps that break are logged with their traceback, which takes longer than the rest."""
    with structlog.testing.capture_logs():
        yield


def chain(rows: Rows, block: Block, context: Context, group: str, writes: str) -> Result:
    """A step that depends on everything it may: each record's output holds a digest of all that its key had, and positions."""
    outputs, changed = [], dict[bytes, bytes | None]()
    for index, (offset, key, value, headers) in enumerate(zip(block.offsets, block.keys, block.values, block.headers, strict=True)):
        if value == b"bad":
            outputs.append(dead_letter(block, index, "bad", "it says so"))
            continue
        if value == b"breaks":
            raise ValueError(value)
        assert key is not None
        row = changed[key] if key in changed else rows.get(key)
        digest = hashlib.sha256((row or b"") + block.topic.encode() + (value or b"")).hexdigest()[:16]
        changed[key] = None if digest.startswith("0") else digest.encode()
        name = event_id(headers) or source_name(block.topic, block.partition, offset)
        others = {topic: position for topic, position in context.positions.items() if topic != block.topic}
        text = json.dumps({"digest": digest, "positions": others}).encode()
        derived = cloud_event(derived_name(name, writes), writes, f"npo/{group}/{block.partition}", 0, "0" * 32)
        outputs.append(Output(writes, key, text, derived, index))
    return Result(outputs, changed)


TOY = (
    TaskGroup("first", "x", (Agent("one", (TELEMETRY,), lambda r, b, c: chain(r, b, c, "first", "scenario"), (SCENARIO,)),)),
    TaskGroup("second", "y", (
        Agent("two", (SCENARIO, CONTROL), lambda r, b, c: chain(r, b, c, "second", "decision"), (DECISION,)),
        Agent("three", (FEEDBACK,), lambda r, b, c: chain(r, b, c, "second", "recommendation"), (RECOMMENDATION,)),
    )),
)  # fmt: skip


@st.composite
def toy_logs(draw: st.DrawFn) -> Topics:
    """Topics of a deployment that ran the toy topology over drawn inputs, merged in a drawn order."""
    inputs = {topic: [empty(topic, partition) for partition in range(PARTITIONS)] for topic in ("telemetry", "control", "feedback")}
    values = st.one_of(st.binary(max_size=3), st.sampled_from([b"bad", b"breaks", None]))
    records = st.tuples(st.sampled_from(sorted(inputs)), st.sampled_from(KEYS), values, st.integers(0, 2))
    for topic, key, value, gap in draw(st.lists(records, max_size=60)):
        append(inputs, topic, partition_of(key, PARTITIONS), (0, key, value, ()), gap)
    return simulate(TOY, inputs, SETTINGS, draw(st.integers(0, 1000)))


def check(log: Log) -> Comparison:
    """Replay and compare."""
    return compare(TOY, log, replay(TOY, log, log.manifest.settings))


def derived_places(held: Topics) -> list[tuple[str, int, int]]:
    """Where the derived records are: topic, partition, index."""
    derived = [topic for topic in held if topic not in {"telemetry", "control", "feedback", "merge"}]
    return [(topic, block.partition, index) for topic in derived for block in held[topic] for index in range(len(block.offsets))]


@given(toy_logs())
def test_a_log_replays_to_the_same_bytes(held: Topics) -> None:
    """Every derived record of a log, dead letters of broken steps included, comes out of a replay with the same bytes."""
    result = check(memory_log(held, SETTINGS))
    assert result.equal, result.first
    assert result.compared == len(derived_places(held))


@given(toy_logs(), st.data())
def test_a_changed_byte_is_found(held: Topics, data: st.DataObject) -> None:
    """One byte more in the value, key or headers of any derived record is one difference, found at that record."""
    places = derived_places(held)
    if not places:
        return
    topic, partition, index = data.draw(st.sampled_from(places))
    block = held[topic][partition]
    column = data.draw(st.sampled_from(["keys", "values", "headers"]))
    keys, values, headers = list(block.keys), list(block.values), list(block.headers)
    if column == "headers":
        headers[index] = (*headers[index], ("more", b""))
    else:
        changed = keys if column == "keys" else values
        changed[index] = (changed[index] or b"") + b" "
    held[topic][partition] = block._replace(keys=keys, values=values, headers=headers)
    result = check(memory_log(held, SETTINGS))
    # A scenario is an input of the next group too, which then derives something else.
    assert result.different >= 1
    if topic != "scenario":
        assert (result.different, result.missing, result.extra) == (1, 0, 0)
        assert result.first is not None
        assert result.first.logged is not None
        assert (result.first.topic, result.first.partition, result.first.logged.offset) == (topic, partition, block.offsets[index])
        assert len(describe(result.first)) > 1


@given(toy_logs(), st.data())
def test_a_record_too_few_or_too_many_is_found(held: Topics, data: st.DataObject) -> None:
    """A derived record that the log lacks counts as missing once, one that it has twice as too many once; nothing else differs."""
    places = [place for place in derived_places(held) if place[0] != "scenario"]
    if not places:
        return
    topic, partition, index = data.draw(st.sampled_from(places))
    block = held[topic][partition]
    before, record, after = between(block, 0, index), between(block, index, index + 1), between(block, index + 1, None)
    held[topic][partition] = joined(before, after)
    result = check(memory_log(held, SETTINGS))
    assert (result.different, result.missing, result.extra) == (0, 1, 0)
    held[topic][partition] = joined(joined(before, joined(record, record)), after)
    result = check(memory_log(held, SETTINGS))
    assert (result.different, result.missing, result.extra) == (0, 0, 1)


def _with_topics(manifest: Manifest, **topics_held: tuple[Part, ...]) -> Manifest:
    return msgspec.structs.replace(manifest, topics={**manifest.topics, **topics_held})


def interleaved() -> Topics:
    """A log in which one key has scenarios, feedback and control, taken in turns."""
    inputs = {topic: [empty(topic, 0)] for topic in ("telemetry", "control", "feedback")}
    for index in range(40):
        append(inputs, ("telemetry", "feedback", "control", "feedback")[index % 4], 0, (0, b"a", str(index).encode(), ()))
    return simulate(TOY, inputs, SETTINGS, seed=1, block_records=2)


@given(st.data())
def test_two_swapped_blocks_are_found(data: st.DataObject) -> None:
    """Two neighbouring blocks of different topics in the other order give other bytes, whichever they are."""
    held = interleaved()
    steps = [step for value in held["merge"][0].values for step in json.loads(value or b"")["steps"]]
    index = data.draw(st.sampled_from([i for i in range(len(steps) - 1) if steps[i][0] != steps[i + 1][0]]))
    log = memory_log(merge_changed(held, 0, {index: index + 1, index + 1: index}), SETTINGS)
    assert check(memory_log(held, SETTINGS)).equal
    assert not check(log).equal


def test_a_gap_in_the_merge_is_an_error() -> None:
    """Two blocks of one topic in the other order, or a lost merge record, cannot be replayed, and the message says where."""
    held = interleaved()
    steps = [step for value in held["merge"][0].values for step in json.loads(value or b"")["steps"]]
    first, second = [index for index, step in enumerate(steps) if step[0] == "feedback"][:2]
    with pytest.raises(ReplayError, match="npo/second/0: the merge topic goes on at offset"):
        check(memory_log(merge_changed(held, 0, {first: second, second: first}), SETTINGS))
    held["merge"][0] = between(held["merge"][0], 1, None)
    with pytest.raises(ReplayError, match="merge record is missing"):
        check(memory_log(held, SETTINGS))


def test_a_log_that_is_not_whole_is_an_error() -> None:
    """A topic that starts after offset 0 or is absent is an error with the remedy, not a difference."""
    log = memory_log(interleaved(), SETTINGS)
    with pytest.raises(ReplayError, match=r"feedback-0 starts at offset 5.*npo import"):
        check(log._replace(manifest=_with_topics(log.manifest, feedback=(Part(5, 9, 4, 5, 8),))))
    absent = {name: parts for name, parts in log.manifest.topics.items() if name != "merge"}
    with pytest.raises(ReplayError, match="no topic merge"):
        check(log._replace(manifest=msgspec.structs.replace(log.manifest, topics=absent)))


@given(toy_logs(), st.integers(0, 5))
def test_the_end_of_a_live_log_is_not_compared(held: Topics, processed: int) -> None:
    """Telemetry beyond what the workers had committed is not run; a log that was cut while they ran is equal up to its ends."""
    log = memory_log(held, SETTINGS)
    parts = tuple(msgspec.structs.replace(part, processed=processed) for part in log.manifest.topics["telemetry"])
    manifest = _with_topics(log.manifest, telemetry=parts)
    lost = sum(offset >= processed for block in held["telemetry"] for offset in block.offsets)
    strict, live = (check(log._replace(manifest=msgspec.structs.replace(manifest, quiet=quiet))) for quiet in (True, False))
    assert strict.extra == lost
    assert live.equal
    assert live.unfinished == lost


def test_parquet_and_memory_replay_alike(tmp_path: Path) -> None:
    """A log replays from parquet as it does from memory, equal and different alike."""
    held = interleaved()
    save(memory_log(held, SETTINGS), tmp_path)
    assert check(open_log(tmp_path)) == check(memory_log(held, SETTINGS))
    assert check(open_log(tmp_path)).compared == len(derived_places(held))
