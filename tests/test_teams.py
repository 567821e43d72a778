"""Teams as plain functions: what each counts, where they differ, and what one number is made of theirs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agents import teams
from agents.scoring import Array

counts = st.lists(st.integers(1, 500), min_size=1, max_size=6)


@st.composite
def told(draw: st.DrawFn) -> tuple[Array, Array]:
    """Estimates and answers of a few teams on a few scenarios; one team at least has answered each."""
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 5)))
    estimates = draw(arrays(np.float64, shape, elements=st.floats(0, 1)))
    weights = draw(arrays(np.float64, shape, elements=st.sampled_from([0.0, 1.0, 7.0, 300.0])))
    weights[:, draw(st.integers(0, shape[1] - 1))] = 5.0
    return estimates, weights


@given(counts)
def test_teams_of_some_size_count_equally(answers: list[int]) -> None:
    """n_team times its multiplier is n/T for every team of at least n/2T, double the team's answers for a smaller one."""
    sizes = np.array(answers)
    weighed = sizes * teams.share(sizes.sum(), len(sizes), sizes)
    assert weighed == pytest.approx(np.minimum(sizes.sum() / len(sizes), 2 * sizes))


@given(st.integers(1, 500))
def test_a_single_team_counts_as_without_teams(answers: int) -> None:
    """Where one team answers, nothing is multiplied."""
    assert teams.share(answers, 1, answers) == 1.0


@given(told())
def test_aggregates_lie_between_the_teams(case: tuple[Array, Array]) -> None:
    """Whatever makes one number of the teams' is between the least and the greatest of those that have answered."""
    estimates, weights = case
    heard = np.where(weights > 0, estimates, np.nan)
    for aggregate in teams.AGGREGATORS.values():
        together = aggregate(estimates, weights)
        assert together.shape == estimates.shape[:-1]
        assert np.all((together >= np.nanmin(heard, axis=-1) - 1e-12) & (together <= np.nanmax(heard, axis=-1) + 1e-12))


@given(told(), st.floats(0, 1))
def test_a_team_that_has_not_answered_says_nothing(case: tuple[Array, Array], silent: float) -> None:
    """One more team without an answer changes no aggregate, whatever its estimate."""
    estimates, weights = case
    more = np.concatenate([estimates, np.full((*estimates.shape[:-1], 1), silent)], axis=-1)
    none = np.concatenate([weights, np.zeros((*weights.shape[:-1], 1))], axis=-1)
    for aggregate in teams.AGGREGATORS.values():
        assert aggregate(more, none) == pytest.approx(aggregate(estimates, weights))


@given(told(), st.data())
def test_aggregates_rise_with_what_a_team_wants(case: tuple[Array, Array], data: st.DataObject) -> None:
    """Where a team wants something more, no aggregate wants it less."""
    estimates, weights = case
    raised = np.minimum(1.0, estimates + data.draw(arrays(np.float64, estimates.shape, elements=st.floats(0, 1))))
    for aggregate in teams.AGGREGATORS.values():
        assert np.all(aggregate(raised, weights) >= aggregate(estimates, weights) - 1e-12)


@given(told())
def test_aggregates_of_many_are_those_of_each_alone(case: tuple[Array, Array]) -> None:
    """An array of scenarios gives, one by one, what each gives alone."""
    for aggregate in teams.AGGREGATORS.values():
        alone = [float(aggregate(estimates, weights)) for estimates, weights in zip(*case, strict=True)]
        assert aggregate(*case) == pytest.approx(alone)


def test_who_spoils_what() -> None:
    """A small team that refuses everything moves volume a little and the median not at all, and spoils equal, minimax and veto."""
    estimates, weights = np.array([1.0, 1.0, 0.0]), np.array([60.0, 30.0, 10.0])
    said = {name: float(aggregate(estimates, weights)) for name, aggregate in teams.AGGREGATORS.items()}
    assert said == pytest.approx({"volume": 0.9, "equal": 2 / 3, "minimax": 0.5, "median": 1.0, "veto": 0.0})


@given(told(), st.floats(0.1, 10), st.floats(0.1, 10))
def test_minimax_makes_the_worst_teams_regret_smallest(case: tuple[Array, Array], k: float, m: float) -> None:
    """Surfacing where the minimax estimate passes k/(k + m) gives the worst team no more regret than doing the other thing."""
    estimates, weights = case
    costs = np.where(weights > 0, estimates, np.nan)
    surfaced, withheld = k * (1 - costs), m * costs
    best = np.minimum(surfaced, withheld)
    regrets = np.nanmax(surfaced - best, axis=-1), np.nanmax(withheld - best, axis=-1)
    passes = teams.minimax(estimates, weights) >= k / (k + m)
    assert np.all(np.where(passes, *regrets) <= np.where(passes, *regrets[::-1]) + 1e-9)


@pytest.mark.parametrize(
    ("estimates", "weights"),
    [([np.nan, 0.5], [1, 1]), ([1.5, 0.5], [1, 1]), ([0.5, 0.5], [1, -1]), ([0.5, 0.5], [1, np.inf]), ([0.5, 0.5], [0, 0])],
)
def test_what_no_number_can_be_made_of_is_refused(estimates: list[float], weights: list[float]) -> None:
    """No number, one out of range, and teams of which none has answered are refused, by every aggregate."""
    for aggregate in teams.AGGREGATORS.values():
        with pytest.raises(ValueError, match="team"):
            aggregate(np.array(estimates), np.array(weights))


@given(st.data())
def test_conflict_is_two_teams_that_differ(data: st.DataObject) -> None:
    """A decision is in conflict where one answering team overrides and another does not; who has not answered does not count."""
    shape = (data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5)))
    overridden, answered = (data.draw(arrays(np.bool_, shape)) for _ in range(2))
    expected = [len({over for over, said in zip(*rows, strict=True) if said}) == 2 for rows in zip(overridden, answered, strict=True)]
    assert teams.conflict(overridden, answered).tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=6))
def test_the_worst_team_overrides_most_often(pairs: list[tuple[int, int]]) -> None:
    """No team that has answered has a higher rate than the worst; there is none where nobody has answered."""
    overridden, answered = np.array([min(p) for p in pairs], dtype=float), np.array([p[1] for p in pairs], dtype=float)
    rates, worst = teams.override_rates(overridden, answered), teams.worst(overridden, answered)
    assert (worst is None) == (not answered.any())
    if worst is not None:
        assert answered[worst] > 0
        assert rates[worst] == rates.max()
