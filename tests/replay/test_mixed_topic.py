"""A topic to which people and a task write, and dead letters of a topic that two groups read: what a replay compares of them."""

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from schemas.headers import Headers
from schemas.identity import partition_of
from schemas.topics import CONTROL, DECISION, FEEDBACK, MODEL
from streams.groups import Agent, TaskGroup
from streams.logs.compare import Comparison, compare
from streams.logs.replay import between, joined, replay, written_by_task
from tests.replay.simulation import SETTINGS, Topics, append, empty, memory_log, simulate
from tests.replay.test_replay import KEYS, PARTITIONS, chain

TRAINING = TaskGroup(
    "training", "x", (Agent("trainer", (FEEDBACK, CONTROL), lambda r, b, c: chain(r, b, c, "training", "model"), (MODEL,)),)
)
DECIDING = TaskGroup(
    "deciding", "y", (Agent("decider", (MODEL, CONTROL), lambda r, b, c: chain(r, b, c, "deciding", "decision"), (DECISION,)),)
)
MIXED = (TRAINING, DECIDING)
# Who wrote a record by hand, or nobody says; a name that begins like a task's is none.
HANDS: tuple[Headers, ...] = ((), (("ce_source", b"npo/model"),), (("ce_source", b"npo/trainingx/0"), ("ce_id", b"m")))


@pytest.fixture(autouse=True, scope="module")
def _silence() -> Iterator[None]:
    """Steps that break are logged with their traceback, which takes longer than the rest."""
    with structlog.testing.capture_logs():
        yield


@st.composite
def mixed_logs(draw: st.DrawFn) -> Topics:
    """Topics of a deployment whose model topic has records of people before, and after, those of the training tasks."""
    held: Topics = {topic: [empty(topic, partition) for partition in range(PARTITIONS)] for topic in ("feedback", "control", "model")}
    keys, values = st.sampled_from(KEYS), st.one_of(st.binary(max_size=3), st.sampled_from([b"bad", b"breaks"]))
    by_hand = st.lists(st.tuples(keys, values, st.sampled_from(HANDS)), min_size=1, max_size=5)

    def write(topic: str, key: bytes, value: bytes, headers: Headers = ()) -> None:
        append(held, topic, partition_of(key, PARTITIONS), (0, key, value, headers))

    for topic, key, value in draw(st.lists(st.tuples(st.sampled_from(["feedback", "control"]), keys, values), max_size=30)):
        write(topic, key, value)
    for key, value, headers in draw(by_hand):
        write("model", key, value, headers)
    held = simulate((TRAINING,), held, SETTINGS, draw(st.integers(0, 1000)))
    for key, value, headers in draw(by_hand):
        write("model", key, value, headers)
    held = simulate((DECIDING,), held, SETTINGS, draw(st.integers(0, 1000)))
    # The two groups' tasks write to one dead-letter topic, each when it comes to it, and each in its own order.
    for index, block in enumerate(held["control.dlq"]):
        shuffled = empty(block.topic, block.partition)
        writers = [(dict(headers)["npo_group"], dict(headers)["npo_partition"]) for headers in block.headers]
        waiting = {writer: iter([place for place, each in enumerate(writers) if each == writer]) for writer in writers}
        for writer in draw(st.permutations(writers)):
            place = next(waiting[writer])
            shuffled = joined(shuffled, between(block, place, place + 1))
        held["control.dlq"][index] = shuffled._replace(offsets=block.offsets)
    return held


def check(held: Topics) -> Comparison:
    """Replay and compare."""
    log = memory_log(held, SETTINGS)
    return compare(MIXED, log, replay(MIXED, log, SETTINGS))


def trained_places(held: Topics) -> list[tuple[int, int]]:
    """Where the model topic has what a task wrote: partition, index."""
    return [
        (block.partition, index)
        for block in held["model"]
        for index, headers in enumerate(block.headers)
        if dict(headers).get("ce_source", b"").startswith(b"npo/training/")
    ]


@given(mixed_logs())
def test_only_what_tasks_wrote_is_compared(held: Topics) -> None:
    """A log with both kinds of models replays to the same bytes; each derived record is compared, and none of people's."""
    result = check(held)
    assert result.equal, result.first
    derived = sum(len(block.offsets) for topic in held if topic == "decision" or topic.endswith(".dlq") for block in held[topic])
    assert result.compared == derived + len(trained_places(held))


@given(mixed_logs(), st.data())
def test_a_trained_model_that_is_changed_or_lost_is_found(held: Topics, data: st.DataObject) -> None:
    """A task's record on the mixed topic counts as different when changed, as missing when lost."""
    places = trained_places(held)
    if not places:
        return
    partition, index = data.draw(st.sampled_from(places))
    block = held["model"][partition]
    held["model"][partition] = block._replace(
        values=[*block.values[:index], (block.values[index] or b"") + b" ", *block.values[index + 1 :]]
    )
    result = check(held)
    assert result.first is not None
    assert result.different >= 1
    assert (result.first.topic, result.first.source) == ("model", f"npo/training/{partition}")
    held["model"][partition] = joined(between(block, 0, index), between(block, index + 1, None))
    assert check(held).missing >= 1


@given(mixed_logs(), st.data())
def test_the_decider_is_given_what_people_wrote(held: Topics, data: st.DataObject) -> None:
    """Another model by hand, in the place of one that decisions follow from, gives other decisions."""
    places = [(block.partition, index) for block in held["model"] for index in range(len(block.offsets))]
    places = [place for place in places if place not in trained_places(held)]
    partition, index = data.draw(st.sampled_from(places))
    block = held["model"][partition]
    held["model"][partition] = block._replace(values=[*block.values[:index], b"another", *block.values[index + 1 :]])
    assert not check(held).equal


@pytest.mark.parametrize("headers", HANDS)
def test_what_people_write_is_no_tasks(headers: Headers) -> None:
    """Only the source of a task of a group that writes the topic makes a record that task's."""
    assert not written_by_task(MIXED, "model", headers)
    assert written_by_task(MIXED, "model", (("ce_source", b"npo/training/0"),))
    assert not written_by_task(MIXED, "model", (("ce_source", b"npo/deciding/0"),))
