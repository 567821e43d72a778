"""Which samples fire a scenario, and which end one."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.encoding.detector import Array, Rounds

HOUR_MS: Final = 3_600_000.0
DAY_MS: Final = 24 * HOUR_MS
CANDIDATE_SCORE: Final = 0.5
QUIET_MS: Final = HOUR_MS
STRONGER: Final = 1.4


class Candidate(NamedTuple):
    """A sample that fires: its row, the entity's candidates of the last 24 h (decayed count) before it, start of the symptoms."""

    row: int
    candidates: float
    start_ms: float


def judge(fixed: NDArray[np.void], times: Array, score: Array, rounds: Rounds) -> tuple[list[Candidate], list[int]]:
    """Apply the rule to each entity's samples in order.

    A sample over CANDIDATE_SCORE fires when the last such sample is an hour old, or when it is 1.4 times as strong as the last
    that fired, whose strength halves every hour. An entity that fired is clear at its first sample an hour after its last
    exceedance; one that falls silent is not.

    Args:
        fixed: shape (entities,) of `rows.FIXED`; moved on in place.
        times: ms, shape (samples,), in rounds.
        score: S, shape (samples,), in rounds.
        rounds: their layout.

    Returns:
        Samples that fire, and rows of samples that clear.
    """
    hot: dict[int, list[int]] = {rank: [] for rank in np.flatnonzero(fixed["open"]).tolist()}
    rows = np.flatnonzero(score > CANDIDATE_SCORE)
    for row, rank in zip(rows.tolist(), rounds.ranks[rows].tolist(), strict=True):
        hot.setdefault(rank, []).append(row)
    fired: list[Candidate] = []
    cleared: list[int] = []
    starts = np.array(rounds.starts)
    sizes = np.diff(starts)
    for rank, exceeding in hot.items():
        own = starts[:-1][sizes > rank] + rank
        _judge_entity(fixed[rank : rank + 1], own, times, score, exceeding, fired, cleared)
    return fired, cleared


def _judge_entity(
    fixed: NDArray[np.void],
    own: NDArray[np.intp],
    times: Array,
    score: Array,
    exceeding: list[int],
    fired: list[Candidate],
    cleared: list[int],
) -> None:
    exceeded, at, strength, start, candidates = (
        float(fixed[name][0]) for name in ("exceeded_ms", "fired_ms", "fired_score", "start_ms", "candidates")
    )
    is_open = bool(fixed["open"][0])
    own_times = times[own]
    for row in (*exceeding, None):
        if is_open:
            place = int(np.searchsorted(own_times, exceeded + QUIET_MS))
            if place < len(own) and (row is None or own[place] <= row):
                cleared.append(int(own[place]))
                is_open = False
        if row is None:
            break
        now, strong = float(times[row]), float(score[row])
        quiet = now - exceeded >= QUIET_MS
        if quiet:
            start = now
        if quiet or strong > STRONGER * strength * 0.5 ** ((now - at) / HOUR_MS):
            candidates *= 0.5 ** ((now - at) / DAY_MS)
            fired.append(Candidate(row, candidates, start))
            at, strength, is_open, candidates = now, strong, True, candidates + 1
        exceeded = now
    for name, value in zip(
        ("exceeded_ms", "fired_ms", "fired_score", "start_ms", "candidates", "open"),
        (exceeded, at, strength, start, candidates, is_open),
        strict=True,
    ):
        fixed[name] = value
