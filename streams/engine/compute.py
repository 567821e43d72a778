"""Run a step over a block so that no record can stop the task: what breaks the step, and only that, becomes a dead letter."""

import traceback
from collections.abc import Callable, Mapping
from typing import NamedTuple

import structlog

from agents.step import Block, Context, Output, Result, Step, dead_letter
from schemas import topics
from schemas.errors import RecordError, StateError, TopologyError
from streams.engine.fetch import slice_block

# What a record of Kafka's format takes beside key, value and headers, at most.
RECORD_OVERHEAD_BYTES = 96

log = structlog.get_logger()


class TooLargeError(RecordError):
    """An output or row that no topic takes; the record that caused it is what gives way."""

    reason = "output_too_large"


class Timed(NamedTuple):
    """An output with its record time: the time at which the broker appended the record that caused it."""

    output: Output
    timestamp_ms: int


class State:
    """The rows of one task: those of the store, overlaid by those that the open transaction is about to write.

    Args:
        read: reads a row from the store.
    """

    def __init__(self, read: Callable[[bytes], bytes | None]) -> None:
        self._read = read
        self.pending: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """Return the row's bytes, or None.

        Raises:
            StateError: the store cannot be read; no fault of the record, so that it must not become a dead letter.
        """
        if key in self.pending:
            return self.pending[key]
        try:
            return self._read(key)
        except Exception as error:
            raise StateError(f"cannot read row {key!r}: {error}; if it stays so, delete the state directory: it is rebuilt") from error


class Limits(NamedTuple):
    """What a group may write: the largest record, in bytes, that each topic takes (by short name), and the state's changelog.

    Its dead letters carry the group's name.
    """

    topics: Mapping[str, int]
    changelog: int
    group: str


def record_bytes(output: Output) -> int:
    """Return an upper bound on the size of a record, in bytes."""
    headers = sum(len(name.encode()) + len(value) + 10 for name, value in output.headers)
    return len(output.key) + len(output.value or b"") + headers + RECORD_OVERHEAD_BYTES


def compute(step: Step, state: State, block: Block, context: Context, limits: Limits) -> list[Timed]:
    """Run a step over a block, put its rows into the state, and return its outputs.

    Steps answer for bad records themselves. Where one raises all the same, the block is cut in halves until the record
    is alone: a step's results do not depend on the cut. That record becomes a dead letter and changes no row.

    Raises:
        StateError: the store cannot be read.
        TopologyError: the step writes to a topic that is not its own.
        MemoryError: there is too little memory.
    """
    try:
        result = step(state, block, context)
        letters = topics.dead_letter(block.topic)
        outputs = [_signed(output, limits) if output.topic == letters else output for output in result.outputs]
        _check(Result(outputs, result.rows), limits)
    except (StateError, TopologyError, MemoryError):
        raise
    except BaseException as error:
        # Whatever a step raises, its record is to blame; a panic of a library in Rust is no Exception to Python.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if len(block.offsets) == 1:
            return [Timed(_reject(block, error, limits), block.timestamps_ms[0])]
        middle = len(block.offsets) // 2
        positions = {**context.positions, block.topic: block.offsets[middle]}
        first = compute(step, state, slice_block(block, 0, middle), context, limits)
        return first + compute(step, state, slice_block(block, middle, len(block.offsets)), context._replace(positions=positions), limits)
    state.pending.update(result.rows)
    return [Timed(output, block.timestamps_ms[output.ordinal]) for output in outputs]


def _signed(letter: Output, limits: Limits) -> Output:
    """Return a dead letter with the name of the group that refused the record: several groups may read its topic."""
    return letter._replace(headers=(*letter.headers, ("npo_group", limits.group.encode())))


def _check(result: Result, limits: Limits) -> None:
    """Raise TooLargeError if a topic would not take one of a step's outputs or rows."""
    for output in result.outputs:
        limit = limits.topics.get(output.topic)
        if limit is None:
            raise TopologyError(f"a step writes to {output.topic}, its agent may write to {sorted(limits.topics)}; add it to the topology")
        if (size := record_bytes(output)) > limit:
            raise TooLargeError(f"an output of {size} bytes to {output.topic}, which takes {limit}")
    for key, row in result.rows.items():
        if row is not None and len(key) + len(row) + RECORD_OVERHEAD_BYTES > limits.changelog:
            raise TooLargeError(f"row {key[:100]!r} of {len(row)} bytes, the changelog takes {limits.changelog}")


def _reject(block: Block, error: BaseException, limits: Limits) -> Output:
    reason = error.reason if isinstance(error, RecordError) else "step_failed"
    detail = f"{type(error).__name__}: {error}"
    # Where, but no traceback: a flood of bad records must not become a flood of pages.
    where = str(traceback.extract_tb(error.__traceback__)[-1])
    log.error(
        "record refused", topic=block.topic, partition=block.partition, offset=block.offsets[0], reason=reason, detail=detail, where=where
    )
    letter = _signed(dead_letter(block, 0, reason, detail), limits)
    limit = limits.topics[letter.topic]
    if record_bytes(letter) > limit:
        kept = (block.values[0] or b"")[: limit // 2]
        bare = block._replace(values=[kept], headers=[()])
        letter = _signed(dead_letter(bare, 0, reason, f"cut to {len(kept)} bytes, headers left out; {detail}"), limits)
    return letter
