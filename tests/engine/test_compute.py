"""A step that raises: only the records that break it are refused."""

from collections.abc import Iterator
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.step import Block, Context, Result, Rows, Step
from schemas.errors import StateError, TopologyError, UnknownDecisionError
from schemas.headers import find
from schemas.settings import Settings
from streams.engine.compute import Limits, State, compute, record_bytes
from streams.engine.fetch import slice_block
from tests.engine import toy

SETTINGS = cast("Settings", None)
LIMITS = Limits({"out": 100_000, "alpha.dlq": 2_000}, 10_000, "pair")


@pytest.fixture(autouse=True, scope="module")
def small_huge_outputs() -> Iterator[None]:
    """Above the limits here, and quick to make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy, "HUGE_BYTES", 200_000)
        yield


def empty(key: bytes) -> None:
    """Read a row of a store without rows."""


def block_of(values: list[bytes]) -> Block:
    """A block of topic alpha, from offset 10."""
    count = len(values)
    offsets = list(range(10, 10 + count))
    return Block(
        "alpha", 0, offsets, [offset * 100 for offset in offsets], [b"k%d" % (i % 3) for i in range(count)], [*values], [()] * count
    )


def context() -> Context:
    """Before the block."""
    return Context(SETTINGS, {"alpha": 10, "beta": 4}, 1)


@given(values=st.lists(st.sampled_from([b"fine", b"fine", toy.POISON, toy.HUGE, toy.FORGET]), min_size=1, max_size=20))
def test_only_the_records_that_break_a_step_are_refused(values: list[bytes]) -> None:
    """All others come to the outputs, rows and order that they come to without them; refused ones stand in their places."""
    state, alone = State(empty), State(empty)
    done = compute(toy.step, state, block_of(values), context(), LIMITS)
    good = [index for index, value in enumerate(values) if value not in {toy.POISON, toy.HUGE}]
    expected = []
    for index in good:
        one = slice_block(block_of(values), index, index + 1)
        expected += compute(toy.step, alone, one, context(), LIMITS)
    assert [(one.output[:4], one.timestamp_ms) for one in done if one.output.topic == "out"] == [
        (one.output[:4], one.timestamp_ms) for one in expected
    ]
    assert state.pending == alone.pending
    places = [int(find(one.output.headers, "npo_offset") or one.timestamp_ms // 100) for one in done]
    assert places == block_of(values).offsets


def test_a_refused_record_names_its_reason() -> None:
    """An error of the tree gives its own reason, any other is `step_failed`; a letter too long for its topic is cut and says so."""

    def unknown(rows: Rows, block: Block, context: Context) -> Result:  # noqa: ARG001 - a step's
        raise UnknownDecisionError("no such decision")

    def refuse(values: list[bytes], step: Step = unknown) -> list[tuple[bytes | None, bytes | None, bytes | None]]:
        outputs = [one.output for one in compute(step, State(empty), block_of(values), context(), LIMITS)]
        assert all(record_bytes(output) <= LIMITS.topics["alpha.dlq"] for output in outputs)
        assert all(find(output.headers, "npo_group") == b"pair" for output in outputs)
        return [(output.value, find(output.headers, "npo_reason"), find(output.headers, "npo_detail")) for output in outputs]

    assert refuse([b"a"]) == [(b"a", b"unknown_decision", b"UnknownDecisionError: no such decision")]
    assert refuse([toy.POISON], toy.step) == [(toy.POISON, b"step_failed", b"ValueError: poison")]
    ((value, _, detail),) = refuse([b"x" * 5_000])
    assert value == b"x" * 1_000
    assert detail is not None
    assert detail.startswith(b"cut to 1000 bytes")


def test_a_row_too_large_refuses_the_record_that_wrote_it() -> None:
    """What the changelog does not take is never written: the row stays as it was."""

    def grow(rows: Rows, block: Block, context: Context) -> Result:  # noqa: ARG001 - a step's
        row = rows.get(b"row") or b""
        for value in block.values:
            row += value or b""
        return Result([], {b"row": row})

    state = State(empty)
    outputs = compute(grow, state, block_of([b"a" * 6_000, b"b" * 6_000, b"c"]), context(), LIMITS)
    assert state.pending == {b"row": b"a" * 6_000 + b"c"}
    assert [one.output.ordinal for one in outputs] == [0]
    assert find(outputs[0].output.headers, "npo_offset") == b"11"


def test_faults_that_no_record_has_are_raised() -> None:
    """A store that cannot be read, and a step that writes where it may not, are no reason to refuse records."""

    def broken(key: bytes) -> bytes | None:
        raise OSError(f"disk: {key!r}")

    with pytest.raises(StateError, match="disk"):
        compute(toy.step, State(broken), block_of([b"a", b"b"]), context(), LIMITS)
    with pytest.raises(TopologyError, match="out"):
        compute(toy.step, State(empty), block_of([b"a"]), context(), LIMITS._replace(topics={"alpha.dlq": 2_000}))
