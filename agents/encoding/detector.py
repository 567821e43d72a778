"""Running statistics of every metric and the score S of every sample, for many entities at once.

Three streams look at each metric: its value, and its differences over one and two samples. In each, with `a` the share of a
half-life that has passed and everything causal,

    z = |y - mean| / (sqrt(variance) + .02 range + floor), at most 30
    mean <- mean + g (y - mean)        variance <- (1 - g)(variance + g (y - mean)^2)
    weight <- weight + a (1 - weight)  g = a / weight

where `g` is `a` with its start corrected for bias, and `range` is that of the first three days. A stream's score is the mean of
its five largest z, averaged over its last samples and divided by its scale; S is the root mean square of the streams.

Nothing is reduced across samples or entities, and sums have a fixed order, so neither a block's cut nor padding moves a bit.
"""

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.encoding.rows import FIRST, HIGH, HISTORY_MS, LOW, MEAN, SEEN, STREAMS, VARIANCE, WARM_UP_SAMPLES, WEIGHT

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

HOUR_MS: Final = 3_600_000.0
NAMES: Final = ("raw", "d2", "d1")
HALF_LIVES_MS: Final = np.array([72.0, 24.0, 12.0]) * HOUR_MS
SCALES: Final = np.array([6.0, 4.2, 4.0])
SMOOTHED: Final = np.array([False, True, True])
TOP: Final = 5
STREAM_CAP: Final = 4.0
Z_CAP: Final = 30.0
RANGE_SHARE: Final = 0.02
# A deviation under a millionth of the metric's level is rounding, as of float32 sources.
FLOOR_SHARE: Final = 1e-6
FLOOR: Final = 1e-12
# Elapsed time counts up to three usual steps; beyond that it is a gap, and differences start again after it.
GAP_STEPS: Final = 3.0
STEP_GAIN: Final = 0.1
FIRST_STEP_MS: Final = 60_000.0
LEVEL_HALF_LIFE_MS: Final = 24 * HOUR_MS


class Rounds(NamedTuple):
    """Samples in rounds: round r holds the r-th sample of every entity that has one.

    Entities are ranked by falling number of samples, so that those of a round are the first `starts[r + 1] - starts[r]`.
    `numbers` and `ranks` are each sample's round and entity. `before` and `before2` index the entity's previous samples in an
    array that begins with two more rounds, of all entities: the last but one and the last sample of earlier blocks. `last`
    and `last2` index each entity's last samples in the same array.
    """

    starts: list[int]
    numbers: Indices
    ranks: Indices
    before: Indices
    before2: Indices
    last: Indices
    last2: Indices


class Scored(NamedTuple):
    """What came of the samples, in rounds; `now` and `highest` (of the last three samples) are the streams' scores.

    `deviation` is y - mean, `spread` the standard deviation, both (samples, streams, metrics) as before the sample.
    """

    score: Array
    now: Array
    highest: Array
    level: Array
    z: Array
    deviation: Array
    spread: Array


def rounds_of(counts: Indices) -> Rounds:
    """Lay out entities with `counts` samples each, in falling order."""
    entities = len(counts)
    active = np.searchsorted(-counts, -np.arange(int(counts[0])), side="left")
    starts = np.concatenate(([0], np.cumsum(active)))
    extended = np.concatenate(([0, entities], starts + 2 * entities))
    number = np.repeat(np.arange(len(active)), active)
    ranks = np.arange(len(number)) - starts[number]
    everyone = np.arange(entities)
    return Rounds(
        starts.tolist(),
        number,
        ranks,
        before=extended[number + 1] + ranks,
        before2=extended[number] + ranks,
        last=extended[counts + 1] + everyone,
        last2=extended[counts] + everyone,
    )


def advance(fixed: NDArray[np.void], matrix: Array, last: Array, times: Array, values: Array, rounds: Rounds) -> Scored:
    """Score samples and move the statistics on.

    Args:
        fixed: shape (entities,) of `rows.FIXED`; moved on in place.
        matrix: shape (entities, FIELDS, metrics); its statistics are moved on in place (not its ring).
        last: the last two samples of each entity, shape (2, entities, metrics), NaN where missing; moved on in place.
        times: ms, shape (samples,), in rounds.
        values: shape (samples, metrics), in rounds, NaN where missing.
        rounds: their layout.
    """
    elapsed, gap, gap_before = _steps(fixed, times, rounds)
    y = _differences(last, values, gap, gap_before, rounds)
    present = ~np.isnan(y)
    np.copyto(y, 0.0, where=~present)
    reach, ready = _history(matrix, times, y, present, rounds)
    gain = (1.0 - np.exp2(-elapsed[:, None] / HALF_LIVES_MS))[:, :, None] * present
    deviation, variance = _moments(matrix, y, gain, rounds)
    spread = np.sqrt(variance, out=variance)
    counted = present if ready is None else present & ready[:, None, :]
    z = _z(y, deviation, spread, reach, counted)
    now, highest = _streams(fixed, z, counted, gap, gap_before, rounds)
    squares = now * now
    score = np.sqrt((squares[:, 0] + squares[:, 1] + squares[:, 2]) / STREAMS)
    level = _level(fixed, score, np.where(counted.any(axis=(1, 2)), elapsed, 0.0), rounds)
    return Scored(score, now, highest, level, z, deviation, spread)


def _steps(fixed: NDArray[np.void], times: Array, rounds: Rounds) -> tuple[Array, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return elapsed time (at most three usual steps), and whether there was a gap before this and before the last sample."""
    entities, samples = len(fixed), len(times)
    known = np.concatenate((np.full(entities, -np.inf), fixed["last_ms"], times))
    previous = known[rounds.before]
    first = np.isneginf(previous)
    elapsed = np.where(first, 0.0, times - np.where(first, 0.0, previous))
    usual, step = np.empty(samples), fixed["step_ms"].copy()
    for start, end in pairwise(rounds.starts):
        passed, own = elapsed[start:end], step[: end - start]
        np.copyto(own, passed, where=own == 0)
        usual[start:end] = own
        own += STEP_GAIN * (np.minimum(passed, GAP_STEPS * own) - own)
    gap = first | (elapsed > GAP_STEPS * usual)
    gaps = np.concatenate((np.zeros(entities, bool), fixed["gap"] > 0, gap))
    fixed["last_ms"], fixed["step_ms"], fixed["gap"] = known[rounds.last], step, gaps[rounds.last]
    return np.where(first, FIRST_STEP_MS, np.minimum(elapsed, GAP_STEPS * usual)), gap, gaps[rounds.before]


def _differences(last: Array, values: Array, gap: NDArray[np.bool_], gap_before: NDArray[np.bool_], rounds: Rounds) -> Array:
    """Return values and their differences over two and one samples, shape (samples, streams, metrics), NaN across a gap."""
    known = np.concatenate((last[0], last[1], values))
    y = np.empty((len(values), STREAMS, values.shape[1]))
    y[:, 0] = values
    np.subtract(values, known[rounds.before2], out=y[:, 1])
    np.subtract(values, known[rounds.before], out=y[:, 2])
    y[gap | gap_before, 1] = np.nan
    y[gap, 2] = np.nan
    last[0], last[1] = known[rounds.last2], known[rounds.last]
    return y


def _history(matrix: Array, times: Array, y: Array, present: NDArray[np.bool_], rounds: Rounds) -> tuple[Array, NDArray[np.bool_] | None]:
    """Return the range of each stream's history before each sample, and which metrics have had enough samples (None: all)."""
    low, high, first, seen = matrix[:, LOW], matrix[:, HIGH], matrix[:, FIRST], matrix[:, SEEN]
    if (times.min() >= first + HISTORY_MS).all() and (seen >= WARM_UP_SAMPLES).all():
        return np.maximum(high - low, 0.0)[rounds.ranks], None
    reach = np.empty_like(y)
    ready = np.empty(y[:, 0].shape, bool)
    for start, end in pairwise(rounds.starts):
        active, there, now = slice(end - start), present[start:end], times[start:end, None]
        ready[start:end] = seen[active] >= WARM_UP_SAMPLES
        np.maximum(high[active] - low[active], 0.0, out=reach[start:end])
        np.copyto(first[active], now, where=there[:, 0] & np.isinf(first[active]))
        young = there & (now < first[active] + HISTORY_MS)[:, None, :]
        np.minimum(low[active], y[start:end], out=low[active], where=young)
        np.maximum(high[active], y[start:end], out=high[active], where=young)
        seen[active] = np.minimum(seen[active] + there[:, 0], WARM_UP_SAMPLES)
    return reach, ready


def _moments(matrix: Array, y: Array, gain: Array, rounds: Rounds) -> tuple[Array, Array]:
    """Return y - mean and variance as before each sample; leave mean, variance and weight after the last ones in `matrix`.

    Source: exponentially weighted moments, Finch (2009), "Incremental calculation of weighted mean and variance", section 9.
    """
    mean, variance, weight = (np.ascontiguousarray(matrix[:, part]) for part in (MEAN, VARIANCE, WEIGHT))
    deviation, before = np.empty_like(y), np.empty_like(y)
    scratch = np.empty_like(mean)
    for start, end in pairwise(rounds.starts):
        count = end - start
        m, v, w, s = mean[:count], variance[:count], weight[:count], scratch[:count]
        g, d = gain[start:end], deviation[start:end]
        before[start:end] = v
        np.subtract(1.0, w, out=s)
        s *= g
        w += s
        g /= w
        np.subtract(y[start:end], m, out=d)
        np.multiply(g, d, out=s)
        m += s
        s *= d
        v += s
        np.subtract(1.0, g, out=s)
        v *= s
    matrix[:, MEAN], matrix[:, VARIANCE], matrix[:, WEIGHT] = mean, variance, weight
    return deviation, before


def _z(y: Array, deviation: Array, spread: Array, reach: Array, counted: NDArray[np.bool_]) -> Array:
    """Return deviations in spreads, 0 where a metric does not count."""
    floor = np.abs(y[:, 0] - deviation[:, 0])
    floor *= FLOOR_SHARE
    floor += FLOOR
    scale = np.multiply(reach, RANGE_SHARE, out=reach)
    scale += spread
    scale += floor[:, None, :]
    z = np.abs(deviation)
    z /= scale
    np.minimum(z, Z_CAP, out=z)
    z *= counted
    return z


def _streams(
    fixed: NDArray[np.void], z: Array, counted: NDArray[np.bool_], gap: NDArray[np.bool_], gap_before: NDArray[np.bool_], rounds: Rounds
) -> tuple[Array, Array]:
    """Return each stream's score now and the highest of its last three samples, shape (samples, streams)."""
    size = min(TOP, z.shape[2])
    top = np.sort(np.partition(z, z.shape[2] - size, axis=2)[:, :, -size:], axis=2) if size else z
    total = np.zeros(z.shape[:2])
    for place in range(size - 1, -1, -1):
        total += top[:, :, place]
    mean = total / np.clip(np.count_nonzero(counted, axis=2), 1, TOP)
    known = np.concatenate((fixed["recent"][:, 0], fixed["recent"][:, 1], mean))
    fixed["recent"][:, 0], fixed["recent"][:, 1] = known[rounds.last2], known[rounds.last]
    one = np.where(gap[:, None], 0.0, known[rounds.before])
    two = np.where((gap | gap_before)[:, None], 0.0, known[rounds.before2])
    smooth = np.where(SMOOTHED, (mean + one + two) / 3.0, mean)
    highest = np.maximum(np.maximum(mean, one), two)
    return np.minimum(smooth / SCALES, STREAM_CAP), np.minimum(highest / SCALES, STREAM_CAP)


def _level(fixed: NDArray[np.void], score: Array, elapsed: Array, rounds: Rounds) -> Array:
    """Return each entity's own recent level of S (running mean, half-life 24 h) as before each sample."""
    gain = 1.0 - np.exp2(-elapsed / LEVEL_HALF_LIFE_MS)
    level, weight, before = fixed["level"].copy(), fixed["level_weight"].copy(), np.empty(len(score))
    for start, end in pairwise(rounds.starts):
        own, size = level[: end - start], weight[: end - start]
        before[start:end] = own
        size += gain[start:end] * (1.0 - size)
        own += gain[start:end] / np.maximum(size, 1e-300) * (score[start:end] - own)
    fixed["level"], fixed["level_weight"] = level, weight
    return before
