"""The score against its formula, and what becomes of odd samples."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.encoding.detector import Array, Scored, advance, rounds_of
from agents.encoding.rows import LAST, MEAN, VARIANCE, WARM_UP_SAMPLES, WEIGHT, EntityState
from schemas.errors import RowError
from schemas.events import Heartbeat, Scenario
from tests.encoding.reference import scores
from tests.encoding.telemetry import HOUR_MS, METRICS, STEP_MS, Run, as_json, run, steady

MINUTES_MS: Array = np.arange(500, dtype=np.float64) * 60_000


def state_of(run: Run, entity: str) -> EntityState:
    """Return an entity's row at the end of a run."""
    return EntityState.unpack(run.rows[b"entity:" + entity.encode()])


def statistics(run: Run, entity: str, metric: str, part: slice) -> list[float]:
    """Return one statistic of a metric, by stream."""
    state = state_of(run, entity)
    numbers: list[float] = state.matrix[part, state.columns[metric]].tolist()
    return numbers


def scored(times: Array, values: Array) -> Scored:
    """Score one entity's samples by the encoder's own arithmetic."""
    state = EntityState.unpack(None)
    state.learn(tuple(map(str, range(values.shape[1]))), np.zeros((1, values.shape[1])))
    last = np.full((2, 1, values.shape[1]), np.nan)
    return advance(state.fixed, state.matrix[None].copy(), last, times, values, rounds_of(np.array([len(times)])))


def score(times: Array, values: Array) -> Array:
    """Return S of one entity's samples."""
    return scored(times, values).score


@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 8))
@settings(max_examples=15)
def test_the_score_is_its_formula(seed: int, width: int) -> None:
    """S equals the scalar formula over jittered times, gaps, outliers and missing metrics, into the fourth day."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(np.where(rng.random(400) < 0.02, 8e6, 9e5) + rng.integers(0, 10_000, 400)).astype(float)
    values = rng.normal(size=(400, width)) * 10.0 ** rng.integers(-3, 9, width)
    values[rng.random(values.shape) < 0.05] = np.nan
    values[rng.random(values.shape) < 0.02] *= 30
    expected = scores(times.tolist(), values.tolist())
    assert max(expected) > 0.1
    assert score(times, values) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_nothing_fires_before_the_warm_up() -> None:
    """Wild values fire no scenario until a metric has had 120, and do at the next."""
    early = steady("machine", WARM_UP_SAMPLES + 1, range(1, WARM_UP_SAMPLES, 7))
    assert run([as_json(one) for one in early[:-1]]).events(Scenario) == []
    late = steady("machine", WARM_UP_SAMPLES + 1, [WARM_UP_SAMPLES])
    assert len(run([as_json(one) for one in late]).events(Scenario)) == 1


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-9, 6e8, -3.3])
def test_a_constant_metric_never_alarms(value: float) -> None:
    """Neither a constant nor its rounding noise (of float32) scores, and nothing divides by zero."""
    assert score(MINUTES_MS, np.full((500, 3), value)).max() == 0
    noise = 1 + np.random.default_rng(0).integers(-1, 2, (500, 3)) * np.float64(2.0**-24)
    assert score(MINUTES_MS, value * noise).max() < 0.1


def test_a_constant_metric_that_moves_does_score() -> None:
    """The floor under the spread hides rounding, not a change of one in a thousand."""
    values = np.full((500, 1), 100.0)
    values[400:] *= 1.001
    assert score(MINUTES_MS, values)[400] > 1


def test_repeated_and_late_samples_only_count() -> None:
    """A sample of a time that was had, or older, is counted on the scope's heartbeat and changes no entity's row."""
    samples = steady("machine", 150, [130])
    plain = run([as_json(one) for one in samples])
    odd = run([as_json(one) for one in [*samples[:140], samples[139], samples[139], samples[20], *samples[140:]]])
    assert odd.rows[b"entity:machine"] == plain.rows[b"entity:machine"]
    last: Heartbeat = odd.events(Heartbeat)[-1]
    assert (last.samples, last.repeated, last.out_of_order, last.entities) == (153, 2, 1, 1)
    assert len(odd.events(Scenario)) == len(plain.events(Scenario))


def test_a_missing_metric_leaves_its_statistics_alone() -> None:
    """While a metric is null, NaN or absent, its mean and variance stand still, and the others go on."""
    samples = steady("machine", 150)
    for row in range(140, 150):
        if row % 2:
            samples[row]["metrics"]["cpu_r"] = None
        else:
            del samples[row]["metrics"]["cpu_r"]
    before, after = run([as_json(one) for one in samples[:140]]), run([as_json(one) for one in samples])
    for part in (MEAN, VARIANCE):
        assert statistics(before, "machine", "cpu_r", part) == statistics(after, "machine", "cpu_r", part)
        assert statistics(before, "machine", "mem_u", part) != statistics(after, "machine", "mem_u", part)


def test_a_new_metric_counts_after_a_warm_up_of_its_own() -> None:
    """A metric that comes later is taken up, fires nothing in its first 120 values, and can afterwards."""

    def with_new(wild: int) -> list[dict[str, Any]]:
        samples = steady("machine", 400)
        for row in range(200, 400):
            samples[row]["metrics"]["queue_depth"] = 1000.0 if row == wild else 5.0 + row % 3
        return samples

    assert run([as_json(one) for one in with_new(200 + WARM_UP_SAMPLES - 1)]).events(Scenario) == []
    fired: list[Scenario] = run([as_json(one) for one in with_new(200 + WARM_UP_SAMPLES)]).events(Scenario)
    assert [one.symptoms[0].metric for one in fired] == ["queue_depth"]


def test_differences_start_again_after_a_gap() -> None:
    """A jump across a gap is no difference: the streams of differences are silent at it, as they are not without the gap."""

    def jumping(gap_ms: int) -> Scenario:
        samples = steady("machine", 200, range(150, 200))
        for one in samples[150:]:
            one["time_ms"] += gap_ms
        first: Scenario = run([as_json(one) for one in samples]).events(Scenario)[0]
        return first

    assert jumping(0).detector_scores["d1"] > 0.5
    apart = jumping(10 * STEP_MS)
    assert apart.detector_scores["raw"] > 0.5
    assert (apart.detector_scores["d1"], apart.detector_scores["d2"]) == (0, 0)


def test_statistics_survive_an_outage() -> None:
    """After any gap the next sample moves a mean by three steps' decay at most, however long the gap was."""
    hour, month = (
        run([as_json(one) for one in [*samples[:-1], samples[-1] | {"time_ms": samples[-1]["time_ms"] + gap_ms}]])
        for samples in [steady("machine", 150)]
        for gap_ms in (HOUR_MS, 720 * HOUR_MS)
    )
    assert statistics(hour, "machine", "cpu_r", MEAN) == statistics(month, "machine", "cpu_r", MEAN)


def test_decay_follows_time_not_samples() -> None:
    """The same hours sampled five times as often leave about the same weight of the past."""
    fine = run([as_json(one) for one in steady("machine", 1000, seed=1)])
    coarse = run([as_json(one) for one in steady("machine", 200, seed=1, step_ms=5 * STEP_MS)])
    weights = [state_of(one, "machine").matrix[WEIGHT, 0][0] for one in (fine, coarse)]
    assert weights[0] == pytest.approx(weights[1], rel=0.02)


def test_the_own_level_starts_after_the_warm_up() -> None:
    """The level that S is compared with is the mean of earlier S, without the zeros of the warm-up."""
    result = scored(MINUTES_MS, np.random.default_rng(0).normal(size=(500, 4)))
    assert result.level[WARM_UP_SAMPLES] == 0
    for count in (1, 2, 50):
        mean = result.score[WARM_UP_SAMPLES : WARM_UP_SAMPLES + count].mean()
        assert result.level[WARM_UP_SAMPLES + count] == pytest.approx(mean, rel=0.01)


def test_a_row_holds_the_last_values() -> None:
    """The ring of a row is the last twelve samples, whatever came before."""
    samples = steady("machine", 40)
    state = state_of(run([as_json(one) for one in samples]), "machine")
    assert state.names == tuple(sorted(METRICS))
    assert state.matrix[LAST].tolist() == [[one["metrics"][name] for name in state.names] for one in samples[-12:]]
    assert state.fixed["times_ms"][0].tolist() == [one["time_ms"] for one in samples[-12:]]


def test_a_row_of_another_version_is_refused() -> None:
    """A row that a later release wrote is a clear error, never read as numbers."""
    rows = run([as_json(one) for one in steady("machine", 3)]).rows
    for key, row in rows.items():
        at = 5 if key.startswith(b"entity") else 1
        later = {**rows, key: row[:at] + bytes([row[at] + 1]) + row[at + 1 :]}
        with pytest.raises(RowError, match="version 2, this release reads 1"):
            run([as_json(one) for one in steady("machine", 4)[3:]], rows=later)
