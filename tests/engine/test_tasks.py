"""What a task takes next, and what it refuses to take."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from agents.step import Block
from schemas.errors import PositionError, TopologyError
from schemas.settings import Deployment, load_settings
from streams.engine.broker import TopicFacts, check_positions
from streams.engine.fetch import BLOCK_RECORDS_MAX, Delivery
from streams.engine.liveness import Watchdog
from streams.engine.metrics import Metrics
from streams.engine.plan import Plan, check_partitions
from streams.engine.task import Task
from streams.engine.transactions import whole_tasks
from tests.engine.toy import TOPOLOGY

TOPICS = {"npo.alpha.v1": "alpha", "npo.beta.v1": "beta", "npo.control.v1": "control"}


def delivery(topic: str, start: int, following: int, offsets: list[int] | None = None) -> Delivery:
    """A delivery of these offsets, of all between its positions if none are given."""
    offsets = list(range(start, following)) if offsets is None else offsets
    count = len(offsets)
    return Delivery(Block(topic, 0, offsets, [0] * count, [b"k"] * count, [b"v"] * count, [()] * count), start, following)


def new_task(control_due: int = 0, **positions: int) -> Task:
    """A task at these positions that nobody runs."""
    plan: Any = SimpleNamespace(application="test")
    store: Any = None
    task = Task(plan, 0, store, Watchdog(60), Metrics("test", load_settings(Deployment())))
    task.positions = {"alpha": 0, "beta": 0, "control": 0} | positions
    task._control_due = control_due
    return task


def give(task: Task, *deliveries: Delivery) -> None:
    """Offer deliveries and put them."""
    for one in deliveries:
        task.offer(one)
        task.put(one)


def taken(task: Task) -> list[tuple[str, int, int]]:
    """What the task takes for its next transaction."""
    work = task._take()
    for one in work:
        task.positions[one.block.topic] = one.next
    return [(one.block.topic, one.start, one.next) for one in work]


def test_control_that_has_been_fetched_comes_first() -> None:
    """From the moment a control block is fetched nothing else is taken; when it arrives it overtakes what waits."""
    task = new_task()
    control = delivery("control", 0, 2)
    give(task, delivery("alpha", 0, 3))
    task.offer(control)
    assert taken(task) == []
    task.put(control)
    assert taken(task) == [("control", 0, 2), ("alpha", 0, 3)]


def test_at_the_start_control_up_to_the_end_comes_first() -> None:
    """What was in the control topic at the fence is taken before anything else; markers at its end count as taken."""
    task = new_task(control_due=4)
    give(task, delivery("alpha", 0, 3), delivery("control", 0, 2))
    assert taken(task) == [("control", 0, 2)]
    assert taken(task) == []
    give(task, delivery("control", 2, 4, []))
    assert taken(task) == [("control", 2, 4), ("alpha", 0, 3)]


def test_moves_without_records_wait_for_a_transaction_and_ride_along() -> None:
    """Markers alone make no transaction; the next one begins where the last ended, so that the merge order has no holes."""
    task = new_task()
    for start in range(4):
        give(task, delivery("alpha", start, start + 1, []))
        assert taken(task) == []
    give(task, delivery("beta", 0, 1))
    assert taken(task) == [("alpha", 0, 4), ("beta", 0, 1)]


@given(cuts=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=12))
def test_what_comes_again_is_taken_once_and_a_gap_raises(cuts: list[tuple[int, int]]) -> None:
    """Redelivered records are dropped, whatever the cut; records that were never delivered are an error, never a jump."""
    task = new_task()
    position = 0
    seen: list[int] = []
    for first, second in cuts:
        start, following = min(first, second), max(first, second)
        give(task, delivery("alpha", start, following))
        if start > position:
            with pytest.raises(PositionError, match=f"at {position} of alpha and was given {start}"):
                task._take()
            return
        for one in task._take():
            seen += one.block.offsets
            task.positions["alpha"] = one.next
        position = max(position, following)
    assert seen == list(range(position))


def test_a_transaction_and_a_queue_have_limits() -> None:
    """Blocks share a transaction up to a full block; a full queue takes no more until something is taken."""
    task = new_task()
    half = BLOCK_RECORDS_MAX // 2
    give(task, delivery("alpha", 0, half), delivery("beta", 0, half))
    assert not task.has_room
    give(task, delivery("alpha", half, half + 1))
    assert taken(task) == [("alpha", 0, half), ("beta", 0, half)]
    assert task.has_room
    assert taken(task) == [("alpha", half, half + 1)]


@given(position=st.none() | st.integers(0, 20), start=st.integers(0, 20), length=st.integers(0, 20))
def test_positions_outside_the_log_raise(position: int | None, start: int, length: int) -> None:
    """A committed position below the log's start or beyond its end raises; none at all does not."""
    place = TopicPartition("npo.alpha.v1", 0)
    log = ({place: position}, {place: start}, {place: start + length})
    if position is None or start <= position <= start + length:
        check_positions("group", *log)
    else:
        with pytest.raises(PositionError, match=f"at {position} of npo.alpha.v1, partition 0, which holds {start} to {start + length}"):
            check_positions("group", *log)


@given(lost=st.sets(st.tuples(st.sampled_from(sorted(TOPICS)), st.integers(0, 2))))
def test_an_assignment_that_tears_a_task_apart_raises(lost: set[tuple[str, int]]) -> None:
    """A partition number with some of its topics only is refused; one with none is not ours; changelogs do not count."""
    assigned = {TP(topic, partition) for topic in (*TOPICS, "npo-pair-toys-changelog") for partition in range(3)} - {
        TP(*place) for place in lost
    }
    left = {partition: sum(TP(topic, partition) in assigned for topic in TOPICS) for partition in range(3)}
    if all(count in {0, len(TOPICS)} for count in left.values()):
        assert whole_tasks(assigned, TOPICS) == [partition for partition, count in left.items() if count]
    else:
        with pytest.raises(TopologyError, match="without"):
            whole_tasks(assigned, TOPICS)


def test_topics_that_are_read_together_must_have_equal_partitions() -> None:
    """A topic with another number of partitions than its group's changelog is named, with both numbers."""
    deployment: Any = SimpleNamespace(topic_prefix="npo.", application="npo")
    topics = dict.fromkeys([*TOPICS, "npo-pair-toys-changelog"], TopicFacts(4, 1_000)) | {"npo.beta.v1": TopicFacts(6, 1_000)}
    settings: Any = None
    with pytest.raises(TopologyError, match=r"npo\.beta\.v1 has 6 partitions, npo-pair-toys-changelog has 4"):
        check_partitions(Plan(deployment, settings, TOPOLOGY[0], topics))
