"""Every rule of learning passes every check of the list; and every check fails a rule that deserves it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.monitoring.rules import MONITORS
from agents.scoring import SCHEDULES
from tests.checks import checks
from tests.checks.checks import CHECKS, ONCE, Check
from tests.checks.subjects import NEVER, OPTIONS, SELECTORS, SUBJECTS, Columns, Random, State, Subject

DRAWS = 2
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_every_rule_passes(subject: Subject, check: Check) -> None:
    """The check holds for the subject, whatever is drawn."""

    @settings(max_examples=1 if check in ONCE else DRAWS)
    @given(seed=seeds)
    def passes(seed: int) -> None:
        check(subject, np.random.default_rng(seed))

    passes()


def test_profiles_name_what_the_tables_hold() -> None:
    """Every step, monitor and selector that a profile can name is in its table, and the profile can name every step and monitor."""
    assert set(OPTIONS["step"]) == set(SCHEDULES)
    assert set(OPTIONS["monitor"]) == set(MONITORS)
    assert set(OPTIONS["selector"]) <= set(SELECTORS)


def test_subjects_cover_scores_and_selectors() -> None:
    """Every score and selector that a profile can name is a subject, and so is every function that returns a selection."""
    names = {subject.name for subject in SUBJECTS}
    assert len(names) == len(SUBJECTS)
    for kind in ("score", "selector"):
        covered = {word for name in names if name.startswith(f"{kind} ") for word in name.split()}
        assert set(OPTIONS[kind]) <= covered
    assert {f"selector function {name}" for name in SELECTORS} <= names


# Wrong subjects: a counter that adds `value` to its lane's sum.


def count(state: State, columns: Columns) -> tuple[State, Columns]:
    """Add each lane's value to its sum."""
    after = [total + value for total, value in zip(state, columns["value"].tolist(), strict=True)]
    return after, {"total": np.array(after), "moved": np.array(after) - np.array(state)}


def draw_values(random: Random, lanes: int) -> Columns:
    """A value and an answer for each lane."""
    return {"value": random.random(lanes), "liked": random.integers(0, 2, lanes).astype(float)}


COUNTER = Subject("counter", lambda lanes: [0.0] * lanes, count, draw_values, list[float])
CALLS: list[int] = []


def remembers(state: State, columns: Columns) -> tuple[State, Columns]:
    """Say how often it has been called."""
    CALLS.append(1)
    return state, {"total": len(CALLS) + 0 * columns["value"]}


def mixes(state: State, columns: Columns) -> tuple[State, Columns]:
    """Take the mean over the lanes."""
    return state, {"total": np.full(len(state), columns["value"].mean())}


def forgets(state: State, columns: Columns) -> tuple[State, Columns]:
    """Tell whether its state is still the tuple that it has left there."""
    kept = np.array([isinstance(own, tuple) for own in state])
    return [(value,) for value in columns["value"].tolist()], {"total": kept}


def hoards(state: State, columns: Columns) -> tuple[State, Columns]:
    """Keep every value."""
    return [[*own, value] for own, value in zip(state, columns["value"].tolist(), strict=True)], {}


WRONG: dict[Callable[..., None], Subject] = {
    checks.replay_equal: replace(COUNTER, step=remembers),
    checks.block_cut_equal: replace(COUNTER, step=mixes),
    checks.serialise_equal: replace(COUNTER, step=forgets, state=list[Any]),
    checks.refuses_what_is_no_number: replace(COUNTER, refuses={"value": NEVER}),
    checks.gives_shares: replace(COUNTER, shares=("total",)),
    checks.bounded_state: replace(COUNTER, start=lambda lanes: [[] for _ in range(lanes)], step=hoards),
    checks.monotone_where_it_claims: replace(COUNTER, monotone=(("value", "total", -1),)),
    checks.likes_raise: replace(COUNTER, moves=("moved",), toward=True),
    checks.unmoved_without_trust: replace(COUNTER, moves=("moved",), silenced=lambda columns, _random: columns),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_check_fails_a_wrong_rule(check: Check) -> None:
    """Of twenty draws one at least shows what is wrong with a rule that breaks one law alone."""

    def fails(seed: int) -> bool:
        try:
            check(WRONG[check], np.random.default_rng(seed))
        except (AssertionError, pytest.fail.Exception):
            return True
        return False

    assert any(fails(seed) for seed in range(20))
