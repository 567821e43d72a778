"""The list of checks that every subject passes: plain functions that fail by an assertion."""

from collections.abc import Callable
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from schemas.errors import NpoError
from tests.checks.subjects import Columns, Random, State, Subject

Check = Callable[[Subject, Random], None]

LANES_MAX, STEPS_MAX = 6, 8
TOLERANCE = 1e-9  # of a comparison between two inputs; what must be the same is the same to the byte


def replay_equal(subject: Subject, random: Random) -> None:
    """The same inputs give the same bytes a second time: nothing is drawn but from the inputs, nothing is remembered outside the state."""
    log, lanes = draw(subject, random)
    assert run(subject, log, lanes) == run(subject, log, lanes)


def block_cut_equal(subject: Subject, random: Random) -> None:
    """Lanes that come in several blocks, cut anywhere and in another order, give the bytes that they give together."""
    log, lanes = draw(subject, random)
    order = random.permutation(lanes)
    cuts = np.sort(random.integers(0, lanes + 1, 2)).tolist()
    parts = [order[start:end] for start, end in pairwise([0, *cuts, lanes]) if start < end]
    whole = run(subject, log, lanes)
    alone = {int(lane): own for part in parts for lane, own in zip(part, run(subject, cut(log, part), len(part)), strict=True)}
    assert [alone[lane] for lane in range(lanes)] == whole


def serialise_equal(subject: Subject, random: Random) -> None:
    """A state that goes through msgpack between any two steps goes on as the one that did not."""
    log, lanes = draw(subject, random)
    assert run(subject, log, lanes, stored=set(random.integers(0, len(log), 3).tolist())) == run(subject, log, lanes)


def refuses_what_is_no_number(subject: Subject, random: Random) -> None:
    """NaN, an infinite number, or one out of range, is an error of the tree and no answer, in any lane and input; the state stays.

    What comes from records and profiles only is refused at their boundary, see `test_profiles`.
    """
    log, lanes = draw(subject, random)
    state, _ = walk(subject, log[:-1], lanes)
    before = msgspec.msgpack.encode(state)
    told = {name: np.ones_like(column) if column.dtype == np.bool_ else column for name, column in log[-1].items()}
    for name, values in subject.refuses.items():
        for value in values:
            column = told[name].astype(float)
            column.flat[random.integers(column.size)] = value
            with pytest.raises(NpoError, match=name):
                subject.step(state, told | {name: column})
    assert msgspec.msgpack.encode(state) == before


def gives_shares(subject: Subject, random: Random) -> None:
    """What is a share or a probability is in [0, 1], at the edges of the inputs too, and nothing is NaN."""
    log, lanes = draw(subject, random)
    for outputs in walk(subject, log, lanes)[1]:
        assert all(np.all(np.isfinite(column)) for column in outputs.values())
        assert all(np.all((outputs[name] >= 0) & (outputs[name] <= 1)) for name in subject.shares)


def bounded_state(subject: Subject, random: Random) -> None:
    """After very many steps (10,000 as a rule) a lane's state is still under its bound."""
    state, log = subject.start(1), subject.draw(random, subject.long)
    for number in range(subject.long if state != [None] else 1):
        state, _ = subject.step(state, {name: column[number : number + 1] for name, column in log.items()})
    assert len(msgspec.msgpack.encode(state)) <= subject.bytes_max


def monotone_where_it_claims(subject: Subject, random: Random) -> None:
    """A larger input never moves an output against the sign that the subject claims for it, all else equal.

    A higher confidence never lowers the propensity, a higher advantage never lowers a monitor's statistic, and so on.
    """
    log, lanes = draw(subject, random)
    for name, output, sign in subject.monotone:
        column = log[-1][name]
        raised = column + random.exponential(0.3, column.shape)
        if name in {"target", "paper_loss", "confidence", "estimates"}:
            raised = np.minimum(raised, 1.0)
        less, more = (subject.step(walk(subject, log[:-1], lanes)[0], log[-1] | {name: values})[1][output] for values in (column, raised))
        assert np.all(sign * (more - less) >= -TOLERANCE)


def likes_raise(subject: Subject, random: Random) -> None:
    """A like never lowers what it moves and an override never raises it, whoever says it."""
    if not subject.toward:
        return
    log, lanes = draw(subject, random)
    for inputs, outputs in zip(log, walk(subject, log, lanes)[1], strict=True):
        assert np.all((2 * inputs["liked"] - 1) * outputs[subject.moves[0]] >= 0)


def unmoved_without_trust(subject: Subject, random: Random) -> None:
    """What sources of zero trust say moves nothing, whatever has been learned before."""
    if subject.silenced is None:
        return
    log, lanes = draw(subject, random)
    state, _ = walk(subject, log[:-1], lanes)
    for _ in range(3):
        state, outputs = subject.step(state, subject.silenced(subject.draw(random, lanes), random))
        assert all(np.all(outputs[name] == 0) for name in subject.moves)


CHECKS: tuple[Check, ...] = (
    replay_equal,
    block_cut_equal,
    serialise_equal,
    refuses_what_is_no_number,
    gives_shares,
    bounded_state,
    monotone_where_it_claims,
    likes_raise,
    unmoved_without_trust,
)
ONCE = frozenset({bounded_state})  # long, and the same whatever is drawn


def draw(subject: Subject, random: Random) -> tuple[list[Columns], int]:
    """A log of some steps, and its lanes."""
    lanes = int(random.integers(1, LANES_MAX))
    return [subject.draw(random, lanes) for _ in range(random.integers(1, STEPS_MAX))], lanes


def cut(log: list[Columns], lanes: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[Columns]:
    """The same log of some of its lanes."""
    return [{name: column[lanes] for name, column in inputs.items()} for inputs in log]


def walk(subject: Subject, log: list[Columns], lanes: int, stored: set[int] | None = None) -> tuple[State, list[Columns]]:
    """Take a log's steps; the state goes through msgpack before those in `stored`."""
    state, told = subject.start(lanes), []
    for number, inputs in enumerate(log):
        if number in (stored or ()):
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=subject.state)
        state, outputs = subject.step(state, inputs)
        told.append(outputs)
    return state, told


def run(subject: Subject, log: list[Columns], lanes: int, stored: set[int] | None = None) -> list[bytes]:
    """The bytes of each lane's outputs and last state."""
    state, told = walk(subject, log, lanes, stored)
    return [
        b"".join(np.asarray(column[lane]).tobytes() for outputs in told for column in outputs.values()) + msgspec.msgpack.encode(own)
        for lane, own in enumerate(state)
    ]
