"""The topology in memory: however records are prepared and released, what is written is what single records in turn lead to."""

from functools import cache
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from experiments.lockstep import Memory, Record
from experiments.lockstep_kafka import running
from schemas import topics
from schemas.errors import StackError
from schemas.settings import Deployment
from streams.topology import TOPOLOGY
from tests.deciding.logs import settings_with
from tests.encoding.telemetry import messy

TELEMETRY = topics.TELEMETRY.name
# What others than the encoder write.
LATER = tuple(topic.name for topic in (topics.DECISION, topics.RECOMMENDATION, topics.JUDGEMENT, topics.ALIGNMENT))
KEPT = (topics.SCENARIO.name, topics.dead_letter(TELEMETRY), *LATER)


class Course(NamedTuple):
    """What was written by topic, and after which records something was that the encoder did not write."""

    written: dict[str, list[Record]]
    stops: list[int]


def memory() -> Memory:
    """A pipeline that nobody answers; windows are short, so that they end."""
    return Memory(TOPOLOGY, settings_with(window_scenarios=2, override_cost=1.0), KEPT)


@cache
def log() -> list[Record]:
    """Telemetry with all that goes wrong on the way."""
    return [Record(record.key, record.value, record.headers) for record in messy(4, count=400)]


def take(pipeline: Memory, written: dict[str, list[Record]]) -> int:
    """Add what is new of every topic, and count what others than the encoder wrote."""
    new = {topic: pipeline.read(topic) for topic in KEPT}
    for topic, records in new.items():
        written[topic] += records
    return sum(len(new[topic]) for topic in LATER)


@cache
def one_by_one() -> Course:
    """Send record after record, each settled before the next."""
    pipeline, stops = memory(), list[int]()
    written: dict[str, list[Record]] = {topic: [] for topic in KEPT}
    for number, record in enumerate(log()):
        pipeline.send(TELEMETRY, [record])
        pipeline.settle()
        if take(pipeline, written):
            stops.append(number + 1)
    return Course(written, stops)


@given(st.lists(st.integers(1, 700), max_size=4), st.lists(st.integers(1, 300), max_size=6))
@hypothesis_settings(max_examples=12)
def test_prepared_is_as_one_by_one(sizes: list[int], pauses: list[int]) -> None:
    """Whatever is prepared at once and wherever a release is told to pause, the same is written, and it stops where others wrote."""
    pipeline, stops = memory(), list[int]()
    written: dict[str, list[Record]] = {topic: [] for topic in KEPT}
    begin = 0
    for size in [*sizes, len(log())]:
        part = log()[begin : begin + size]
        if not part:
            break
        pipeline.prepare(TELEMETRY, part)
        done, waits = 0, list(pauses)
        while done < len(part):
            until = min(len(part), done + (waits.pop() if waits else len(part)))
            done = pipeline.release(until)
            assert done <= until
            if take(pipeline, written):
                stops.append(begin + done)
        begin += len(part)
    assert written == one_by_one().written
    assert stops == one_by_one().stops


def test_everything_is_written() -> None:
    """The log leads to every kind of record, or the test above would hold of nothing."""
    assert all(one_by_one().written.values())
    assert 8 < len(one_by_one().stops) < len(log()) / 2


def test_a_stack_of_several_partitions_is_refused() -> None:
    """With more than one partition there is no one order, so that lockstep means nothing."""
    with pytest.raises(StackError, match="4 partitions"), running(Deployment(partitions=4), TOPOLOGY, ()):
        pass
