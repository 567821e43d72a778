"""Alarms: rare where nothing is wrong, certain where something is, raised once and taken back once."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from agents.deciding.windows import EARLY_WINDOWS
from agents.monitoring.rows import HISTORY_WINDOWS, Behaviour
from agents.monitoring.signatures import (
    BACK,
    BASELINE_WINDOWS,
    DEVIATION_MAX,
    overrides_rise,
    reward_and_loss_rise,
    standardised,
    threshold_stuck,
)
from schemas.alignment import Alarm
from schemas.settings import ScopeSettings
from tests.deciding.logs import settings_with
from tests.folding import Entry
from tests.monitoring.streams import (
    SCOPE,
    Folded,
    behaviours,
    challenger,
    loss,
    result,
    thresholds,
)

RUNS, PEACE, CHANGE = 40, 100, 30
FloatArray = npt.NDArray[np.float64]


def shown(name: str, past: list[Behaviour]) -> list[bool]:
    """Whether a signature shows at the end of each window, of the windows that the monitor would have at hand."""
    signature = {"overrides": overrides_rise, "reward": reward_and_loss_rise}[name]
    return [signature(past[max(0, end - HISTORY_WINDOWS) : end], 1.0).shows for end in range(1, len(past) + 1)]


def rates(draw: np.random.Generator, share: float, later: float, windows: int, trials: int = 120) -> FloatArray:
    """Window means of a Bernoulli rate that changes at CHANGE."""
    return draw.binomial(trials, np.where(np.arange(windows) < CHANGE, share, later)) / trials


def rewards(draw: np.random.Generator, mean: float, later: float, windows: int, incidents: int = 20) -> FloatArray:
    """Window means of minutes saved, exponential, over 20 incidents."""
    return draw.gamma(incidents, 1 / incidents, windows) * np.where(np.arange(windows) < CHANGE, mean, later)


def test_no_false_alarm_where_nothing_changes() -> None:
    """In 40 runs of 100 windows with a constant override rate, loss and reward, neither signature shows."""
    for seed in range(RUNS):
        draw = np.random.default_rng(seed)
        past = behaviours(
            overrides=rates(draw, 0.1, 0.1, PEACE), loss=rates(draw, 0.2, 0.2, PEACE), reward=rewards(draw, 30.0, 30.0, PEACE)
        )
        assert not any(shown("overrides", past)), seed
        assert not any(shown("reward", past)), seed


def test_reward_and_loss_that_rise_are_found() -> None:
    """Where reward rises by half and loss from .2 to .27 of 120 (about two standard deviations), 40 of 40 are found, in 11 windows."""
    delays = []
    for seed in range(RUNS):
        draw = np.random.default_rng(seed)
        found = shown("reward", behaviours(loss=rates(draw, 0.2, 0.27, 60), reward=rewards(draw, 30.0, 45.0, 60)))
        assert not any(found[:CHANGE]), seed
        assert any(found), seed
        delays.append(found.index(True) - CHANGE + 1)
    assert np.median(delays) <= 11


def test_one_of_the_two_is_no_alarm() -> None:
    """Reward that rises alone is success, loss that rises alone is another alarm's: at most one run in twenty shows as both."""
    mistaken = 0
    for seed in range(RUNS):
        draw = np.random.default_rng(seed)
        mistaken += any(shown("reward", behaviours(loss=rates(draw, 0.2, 0.2, 60), reward=rewards(draw, 30.0, 45.0, 60))))
        mistaken += any(shown("reward", behaviours(loss=rates(draw, 0.2, 0.27, 60), reward=rewards(draw, 30.0, 30.0, 60))))
    assert mistaken <= 2 * RUNS / 20


def test_overrides_that_rise_are_found() -> None:
    """Where overrides per answered double from .1 to .2 (of 60 answers), 40 of 40 are found, with a median of at most 11 windows."""
    delays = []
    for seed in range(RUNS):
        found = shown("overrides", behaviours(overrides=rates(np.random.default_rng(seed), 0.1, 0.2, 60, 60)))
        assert not any(found[:CHANGE]), seed
        assert any(found), seed
        delays.append(found.index(True) - CHANGE + 1)
    assert np.median(delays) <= 11


@given(st.lists(st.floats(-1e3, 1e3), max_size=40), st.floats(-1e6, 1e6), st.floats(1e-3, 1e3))
def test_standardising_is_what_its_formula_says(values: list[float], level: float, unit: float) -> None:
    """Each z is Student's quantile of the window against those before it, whatever level and unit the values have."""
    x = np.round(np.array(values), 3)
    z = standardised(x)
    assert len(z) == len(x)
    assert np.all(np.abs(z) <= DEVIATION_MAX)
    for place in range(len(x)):
        past = x[:place]
        if place < BASELINE_WINDOWS or np.all(past == past[0]):
            assert z[place] == 0
            continue
        t = (x[place] - past.mean()) / (past.std(ddof=1) * np.sqrt(1 + 1 / place))
        assert z[place] == pytest.approx(np.clip(stats.norm.ppf(stats.t.cdf(t, place - 1)), -DEVIATION_MAX, DEVIATION_MAX), abs=1e-5)
    assert standardised(level + unit * x) == pytest.approx(z, abs=0.05)


@given(st.floats(-1e9, 1e9), st.integers(0, 60), st.floats(-1e9, 1e9))
def test_what_never_differs_says_nothing(level: float, count: int, last: float) -> None:
    """Constant values have no deviation, whatever comes after them, and one window alone never shows."""
    assert not standardised([level] * count).any()
    past = behaviours(overrides=[*[level] * count, last], loss=[*[level] * count, last], reward=[*[level] * count, last])
    assert not overrides_rise(past, BACK).shows
    assert not reward_and_loss_rise(past, 1.0).shows


@given(st.lists(st.floats(0, 1), min_size=EARLY_WINDOWS, max_size=EARLY_WINDOWS), st.integers(0, 100))
def test_short_first_windows_hide_nothing(first: list[float], seed: int) -> None:
    """Whatever a scope's short first windows say, both signatures of a rise come to the same after them."""
    draw = np.random.default_rng(seed)
    shares, minutes = rates(draw, 0.1, 0.3, 40), rewards(draw, 30.0, 45.0, 40)
    past = behaviours(overrides=shares, loss=shares, reward=minutes)
    short = [Behaviour(window, 30, 20, share, share, None, share) for window, share in enumerate(first)]
    for signature in (overrides_rise, reward_and_loss_rise):
        assert signature([*short, *past], 1.0) == signature(past, 1.0)


def alarms(log: list[Entry], name: str, **profile: object) -> list[tuple[int, bool]]:
    """The windows in which an alarm was raised (true) or taken back."""
    events = Folded(settings_with(**profile)).run(log).events("alignment", Alarm)
    return [(round((event.time_ms - events[0].time_ms) / 3_600_000), event.raised) for event in events if event.name == name]


def decider(windows: int, start: int = 0, best: float | None = None, **changed: int) -> list[Entry]:
    """Some windows of the decider, each with its threshold table."""
    return [entry for window in range(start, start + windows) for entry in (loss(window, **changed), thresholds(window, best))]


def test_a_rise_is_raised_once_and_taken_back_once() -> None:
    """An alarm is one event when it comes and one when it goes, though it stands for windows, and its detail has the numbers."""
    draw = np.random.default_rng(1)
    shares = np.concatenate([rates(draw, 0.1, 0.3, 50), rates(draw, 0.05, 0.05, 60)])
    log = [
        entry for window, share in enumerate(shares) for entry in (loss(window, overrides_per_answered=float(share)), thresholds(window))
    ]
    events = [event for event in Folded().run(log).events("alignment", Alarm) if event.name == "overrides_rise"]
    assert [event.raised for event in events] == [True, False]
    assert "CUSUM" in events[0].detail
    assert len({event.id for event in events}) == 2


@pytest.mark.parametrize(("surfaced", "withheld"), [(0, 200), (200, 0)])
def test_a_threshold_that_tells_nothing_apart(surfaced: int, withheld: int) -> None:
    """Three windows in which nothing, or everything, was surfaced raise the alarm; one that is mixed takes it back."""
    log = [*decider(3, surfaced=surfaced, withheld=withheld), *decider(1, 3)]
    assert alarms(log[:4], "threshold_stuck") == []
    assert [raised for _, raised in alarms(log, "threshold_stuck")] == [True, False]
    assert alarms(decider(3, surfaced=0, withheld=0, blocked=200), "threshold_stuck") == []


@pytest.mark.parametrize("arm", [0.5, 0.9])
def test_an_outermost_arm_that_stays_best(arm: float) -> None:
    """Five windows with an outermost arm best raise the alarm under the paper's selector, and under it alone."""
    assert [raised for _, raised in alarms(decider(5, best=arm), "threshold_stuck", selector="thompson")] == [True]
    assert alarms(decider(4, best=arm), "threshold_stuck", selector="thompson") == []
    assert alarms(decider(5, best=arm), "threshold_stuck") == []
    assert alarms(decider(5, best=0.7), "threshold_stuck", selector="thompson") == []
    assert alarms(decider(5), "threshold_stuck", selector="thompson") == []


def test_what_does_not_adapt_is_not_stuck() -> None:
    """Where learning is off, or nothing is surfaced on purpose, a threshold that stands still is no failure."""
    for scope in (ScopeSettings(learning=False), ScopeSettings(shadow=True)):
        settings = settings_with()
        settings.scopes[SCOPE] = scope
        assert Folded(settings).run(decider(8, surfaced=0, withheld=200)).events("alignment", Alarm) == []


def test_retraining_without_end() -> None:
    """The fourth command within ten windows raises the alarm once; it goes as they pass. Attempts at a first model do not count."""
    log: list[Entry] = []
    for window in range(60):
        log += [challenger(window, 200 if window < 28 else 0, 100), result(window, adopted=window > 26)]
    settings = settings_with(retraining_price=20.0)
    folded = Folded(settings).run(log)
    events = folded.events("alignment", Alarm)
    assert folded.commanded() == list(range(0, 30, 3))
    assert [(event.name, event.raised) for event in events] == [("excessive_retraining", True), ("excessive_retraining", False)]
    assert events[0].detail.startswith("4 retrainings")
    free = [entry for window in range(30) for entry in (challenger(window, 200, 100, model="initial"), result(window))]
    assert Folded(settings).run(free).events("alignment", Alarm) == []


def test_an_alarm_goes_later_than_it_comes() -> None:
    """Between half of its bound and the bound, a CUSUM keeps its alarm and raises none."""
    steady = [0.1, 0.2] * 10
    once, twice = [*steady, 0.35], [*steady, 0.35, 0.35]
    for signature, between in ((overrides_rise, behaviours(overrides=twice)), (reward_and_loss_rise, behaviours(loss=once, reward=once))):
        assert not signature(between, 1.0).shows
        assert signature(between, BACK).shows


def test_stuck_needs_three_windows() -> None:
    """The share is looked at over three windows, and says of how many decisions."""
    past = [Behaviour(window, 0, 50, None, None, None, 0.0) for window in range(3)]
    assert not threshold_stuck(past[:2], 1.0).shows
    assert threshold_stuck(past, 1.0) == (True, "0 of the last 150 decisions that the policy allowed were surfaced")
