"""What another profile would have cost on a log: told with an interval that holds, or not told."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as settings_of_examples
from hypothesis import strategies as st

from agents import whatif
from agents.whatif import Estimate, Scenarios, compare, verdict
from experiments.studies.what_if import BOLD, K, M, asked, lived, settings_of, true_difference
from schemas.events import Reason
from streams.cli import main
from streams.logs.whatif import Future, decided_along, events, what_if
from streams.topology import TOPOLOGY
from tests.deciding.logs import PAPER_FIELDS, settings_with
from tests.replay.simulation import memory_log, save
from tests.replay.test_whole_path import deployment

DECIDING = next(group for group in TOPOLOGY if group.name == "deciding")


def drawn(seed: int, *, answered: float = 0.5, reviewed: float = 0.1, count: int = 2_000, wrong: bool = False) -> tuple[Scenarios, Any]:
    """Scenarios with a drawn log and, apart, what each was: the logged policy surfaces what is wanted, the other is bolder."""
    draw = np.random.default_rng(seed)
    wanted = draw.beta(0.8, 0.8, count)
    logged, other = np.clip(wanted**3, 0.02, 0.98), np.clip(wanted, 0.02, 0.98)
    target = (draw.random(count) > wanted).astype(float)
    surfaced = (draw.random(count) < logged).astype(float)
    judged = draw.random(count) < np.where(surfaced > 0, answered, reviewed)
    expected = np.full(count, 0.5) if wrong else 1 - wanted
    told = Scenarios(
        surfaced,
        logged,
        other,
        judged.astype(float),
        np.where(judged, target, 9.0),
        expected,
        np.ones(count),
        np.floor(np.arange(count) / 2),
    )
    return told, target


@pytest.mark.parametrize("wrong", [False, True], ids=["scores that are right", "scores that know nothing"])
def test_the_interval_holds_the_truth(wrong: bool) -> None:  # noqa: FBT001  # a case of the test
    """In 19 of 20 logs, without bias, whether the scores are right or not; the mean over judged or surfaced ones is far off."""
    errors, held = list[float](), 0
    of_judged, of_surfaced = list[float](), list[float]()
    for seed in range(200):
        scenarios, target = drawn(seed, wrong=wrong)
        told, truth = compare(scenarios, K, M).difference, true_difference(scenarios, target)
        assert told.value is not None
        errors.append(told.value - truth)
        held += told.low <= truth <= told.high
        judged = scenarios.trust > 0
        for naive, kind in ((of_judged, judged), (of_surfaced, judged & (scenarios.surfaced > 0))):
            naive.append(true_difference(Scenarios(*(column[kind] for column in scenarios)), target[kind]) - truth)
    standard_error = np.std(errors) / np.sqrt(len(errors))
    assert abs(np.mean(errors)) < 3 * standard_error
    assert held >= 0.92 * len(errors)
    for naive in (of_judged, of_surfaced):
        assert abs(np.mean(naive)) > 20 * standard_error


@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1))
@settings_of_examples(max_examples=40)
def test_what_is_known_is_not_estimated(seed: int, answered: float, reviewed: float) -> None:
    """Where everything was judged, the value is the truth; where too little was, there is none, and its bounds hold the truth."""
    scenarios, target = drawn(seed, answered=1.0, reviewed=1.0, count=300)
    told = compare(scenarios, K, M)
    truth = true_difference(scenarios, target)
    assert told.difference.value == pytest.approx(truth)
    assert told.effective == pytest.approx(300)
    scenarios, target = drawn(seed, answered=answered, reviewed=reviewed, count=80)
    told = compare(scenarios, K, M)
    assert told.difference.value is None
    assert told.difference.low <= true_difference(scenarios, target) <= told.difference.high
    for side, surfacing in ((told.logged, scenarios.logged), (told.other, scenarios.other)):
        assert side.cost.low <= np.mean(K * surfacing * target + M * (1 - surfacing) * (1 - target)) <= side.cost.high


def test_what_is_blocked_is_not_known() -> None:
    """Scenarios that could not be judged widen the interval by their worst and best case, and no more."""
    scenarios, _ = drawn(1, answered=1.0, reviewed=1.0)
    blocked = np.arange(2_000) < 200
    part = scenarios._replace(
        reachable=np.where(blocked, 0.0, 1.0), logged=np.where(blocked, 0.0, scenarios.logged), trust=np.where(blocked, 0.0, 1.0)
    )
    told = compare(part, K, M)
    assert told.unsupported == pytest.approx(0.1)
    whole = compare(Scenarios(*(column[~blocked] for column in part)), K, M)
    width = [each.difference.high - each.difference.low for each in (told, whole)]
    assert width[0] == pytest.approx(0.9 * width[1] + (K + M) * part.other[blocked].sum() / 2_000, rel=0.02)


def test_a_closed_loop_is_estimated_from_the_log_of_another() -> None:
    """A bolder profile's cost from a cautious one's log is within three standard errors; the mean over what was shown is not."""
    off, naive = [], []
    for seed in range(4):
        scenarios, target = asked(lived(seed, reviewed=0.4), settings_of(seed, **BOLD))
        told, truth = compare(scenarios, K, M).difference, true_difference(scenarios, target)
        assert told.value is not None
        standard_error = (told.high - told.low) / 2 / whatif.STANDARD_ERRORS
        shown = (scenarios.trust > 0) & (scenarios.surfaced > 0)
        of_shown = true_difference(Scenarios(*(column[shown] for column in scenarios)), target[shown])
        off.append((told.value - truth) / standard_error)
        naive.append((of_shown - truth) / standard_error)
    assert np.abs(off).max() < 3
    assert np.min(naive) < -3


def test_a_log_that_nobody_judged_tells_nothing() -> None:
    """No value, no effective sample, and the sentence says so."""
    scenarios, target = asked(lived(1, count=300, answered=0.0, reviewed=0.0), settings_of(1, selector="fixed", fixed_threshold=0.4))
    told = compare(scenarios, K, M)
    assert (told.judged, told.effective, told.difference.value) == (0, 0.0, None)
    assert told.difference.low <= true_difference(scenarios, target) <= told.difference.high
    assert verdict(told, "bold").startswith("the log cannot tell: nobody judged")


def test_what_a_fixed_threshold_withheld_and_nobody_reviewed_is_not_told() -> None:
    """Propensities of 0 and 1 and no outcomes: the log knows of nothing that it withheld, however many answers it has."""
    fixed: dict[str, Any] = {"selector": "fixed", "budget": "off"}
    log = lived(2, count=500, reviewed=0.0, fixed_threshold=0.45, **fixed)
    scenarios, target = asked(log, settings_of(2, fixed_threshold=0.2, **fixed))
    assert set(scenarios.logged) <= {0.0, 1.0}
    told = compare(scenarios, K, M)
    assert told.unsupported_differing == 1.0
    assert told.unsupported == pytest.approx(1 - scenarios.surfaced.mean())
    assert told.difference.low <= true_difference(scenarios, target) <= told.difference.high
    assert verdict(told, "bold").startswith("the log cannot tell: of what bold decides otherwise, 100%")


def test_without_a_source_nothing_of_it_is_left() -> None:
    """Leaving out the only source of outcomes leaves the withheld ones unjudged; leaving out who never spoke changes nothing."""
    log = lived(3, count=500)
    whole, _ = asked(log, settings_of(3))
    nobody, _ = asked(log, settings_of(3), "nobody")
    assert compare(nobody, K, M) == compare(whole, K, M)
    assert compare(whole, K, M).difference == Estimate(0.0, 0.0, 0.0)
    unreviewed, _ = asked(log, settings_of(3), "outcome:outcome")
    assert unreviewed.trust[unreviewed.surfaced == 0].max() == 0.0
    assert compare(unreviewed, K, M).differing > 0


def test_repeats_and_cooldown_are_those_of_the_log() -> None:
    """Entities that show the same again and again: other settings decide anew what the log decided, and nothing beside it."""
    log = lived(4, count=400, entities=5)
    cooled = sum(decision.reason == Reason.COOLDOWN for decision in log.decisions.values())
    assert min(cooled, 400 - len(log.decisions)) >= 5
    own, _ = asked(log, settings_of(4))
    assert len(own.other) == len(log.decisions) - cooled
    assert np.array_equal(own.other, own.logged)
    bold, _ = asked(log, settings_of(4, score="mean", prior_mean=0.2, **BOLD))
    assert len(bold.other) == len(own.other)
    assert bold.other.min() > 0


@pytest.mark.parametrize("profile", [{}, PAPER_FIELDS], ids=["default", "paper"])
def test_the_logs_own_profile_decides_as_the_log_did(
    profile: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over late, changed and unknown answers and a kill: every propensity and score is the logged one; other settings differ."""
    settings = settings_with(window_scenarios=10, **profile)
    log = memory_log(deployment(settings), settings)
    decisions: dict[str, Any] = {decision.id: decision for decision in events(log, "decision")}  # type: ignore[attr-defined]
    followed = dict(decided_along(DECIDING, log, settings, {name: each.reason for name, each in decisions.items()}, ""))
    assert followed == {name: Future(each.propensity, each.confidence, each.verdict.allowed) for name, each in decisions.items()}
    told = what_if(DECIDING, log, settings)
    assert {each.difference for each in told.values()} == {Estimate(0.0, 0.0, 0.0)}
    assert all("no difference" in verdict(each, "own") for each in told.values())
    save(log, tmp_path)
    other = "default" if profile else "paper"
    assert main(["replay", str(tmp_path), "--profile", other, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["scopes"].keys() == told.keys()
    assert all(each["differing"] > 0 and each["verdict"].startswith("the log cannot tell") for each in printed["scopes"].values())
    assert main(["replay", str(tmp_path), "--profile", other]) == 0
    assert "the log cannot tell" in " ".join(capsys.readouterr().out.split())
    assert main(["replay", str(tmp_path), "--profile", "none of these"]) != 0
    assert "one of default, paper" in capsys.readouterr().err
    assert main(["replay", str(tmp_path), "--without", "never-spoke"]) != 0
    assert "nothing that 'never-spoke' said was judged" in capsys.readouterr().err
    assert max(each.effective for each in told.values()) < whatif.EFFECTIVE_LEAST
