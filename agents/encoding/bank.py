"""Many entities' states side by side as padded arrays: scored together, in portions that fit the cache."""

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.encoding.candidates import Candidate, judge
from agents.encoding.detector import Array, Indices, Rounds, Scored, advance, rounds_of
from agents.encoding.rows import FIELDS, FIRST, FIXED, LAST, RING, SEEN, WARM_UP_SAMPLES, WEIGHT, WEIGHT_START, EntityState

# Values of one portion: some arrays of this many floats stay in a core's second-level cache.
PORTION_VALUES: Final = 1 << 14


class Series(NamedTuple):
    """Consecutive new samples of one entity: `places` in the block, ms, values (samples, metrics of the state)."""

    state: EntityState
    places: Indices
    times: Array
    values: Array


class Firing(NamedTuple):
    """A sample that fires, with all that its scenario is made of; arrays over the entity's metrics, excerpt over samples first."""

    place: int
    names: tuple[str, ...]
    time_ms: int
    start_ms: int
    candidates: float
    score: float
    level: float
    now: Array
    highest: Array
    z: Array
    deviation: Array
    spread: Array
    excerpt_times: Array
    excerpt: Array


class Found(NamedTuple):
    """Samples that fire, and places of samples that clear."""

    fired: list[Firing]
    cleared: list[int]


def score_all(series: Iterable[Series]) -> Found:
    """Score the samples of each series, moving its state on; entities of similar width are padded to one array."""
    widths: dict[int, list[Series]] = {}
    for one in series:
        widths.setdefault(len(one.state.names).bit_length(), []).append(one)
    found = Found([], [])
    for group in widths.values():
        _score_group(sorted(group, key=lambda one: -len(one.times)), found)
    return found


def _score_group(group: list[Series], found: Found) -> None:
    width = max(len(one.state.names) for one in group)
    counts = np.array([len(one.times) for one in group])
    fixed = np.frombuffer(bytearray(b"".join([one.state.fixed.tobytes() for one in group])), FIXED)
    matrix = np.zeros((len(group), FIELDS, width))
    # Padding: metrics without a value that ask for no history.
    matrix[:, WEIGHT], matrix[:, FIRST], matrix[:, SEEN], matrix[:, LAST] = WEIGHT_START, -np.inf, WARM_UP_SAMPLES, np.nan
    values = np.full((int(counts.sum()), width), np.nan)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    for rank, one in enumerate(group):
        matrix[rank, :, : len(one.state.names)] = one.state.matrix
        values[offsets[rank] : offsets[rank + 1], : one.values.shape[1]] = one.values
    times = np.concatenate([one.times for one in group])
    last = np.stack((matrix[:, LAST.stop - 2], matrix[:, LAST.stop - 1]))
    for begin, rounds in _portions(counts, width):
        active = slice(len(rounds.last))
        numbers = begin + rounds.numbers
        pack = offsets[rounds.ranks] + numbers
        part = last[:, active].copy()
        scored = advance(fixed[active], matrix[active], part, times[pack], values[pack], rounds)
        last[:, active] = part
        fired, cleared = judge(fixed[active], times[pack], scored.score, rounds)
        found.cleared.extend(int(group[rounds.ranks[row]].places[numbers[row]]) for row in cleared)
        found.fired.extend(_firing(group[rounds.ranks[one.row]], int(numbers[one.row]), scored, one) for one in fired)
    for rank, one in enumerate(group):
        _write_back(one, fixed[rank : rank + 1], matrix[rank])


def _portions(counts: Indices, width: int) -> Iterable[tuple[int, Rounds]]:
    """Cut samples into portions of whole rounds: the number of the first round, and the layout of the portion."""
    begin, end = 0, int(counts[0])
    while begin < end:
        entities = int(np.searchsorted(-counts, -begin, side="left"))
        size = max(1, PORTION_VALUES // (max(1, width) * entities))
        yield begin, rounds_of(np.minimum(counts[:entities] - begin, size))
        begin += size


def _recent(one: Series, number: int) -> tuple[Array, Array]:
    """Return times and values of the RING samples that end with this one, NaN before the first."""
    begin = max(0, number + 1 - RING)
    times = np.concatenate((one.state.fixed["times_ms"][0], one.times[begin : number + 1]))[-RING:]
    return times, np.concatenate((one.state.matrix[LAST], one.values[begin : number + 1]))[-RING:]


def _firing(one: Series, number: int, scored: Scored, candidate: Candidate) -> Firing:
    times, values = _recent(one, number)
    row = candidate.row
    own = slice(len(one.state.names))
    return Firing(
        place=int(one.places[number]),
        names=one.state.names,
        time_ms=int(one.times[number]),
        start_ms=int(candidate.start_ms),
        candidates=candidate.candidates,
        score=float(scored.score[row]),
        level=float(scored.level[row]),
        now=scored.now[row],
        highest=scored.highest[row],
        z=scored.z[row, :, own].copy(),
        deviation=scored.deviation[row, :, own].copy(),
        spread=scored.spread[row, :, own].copy(),
        excerpt_times=times,
        excerpt=values,
    )


def _write_back(one: Series, fixed: NDArray[np.void], matrix: Array) -> None:
    times, values = _recent(one, len(one.times) - 1)
    one.state.matrix = matrix[:, : len(one.state.names)].copy()
    one.state.matrix[LAST] = values
    one.state.fixed = fixed.copy()
    one.state.fixed["times_ms"] = times
