"""Fitting and off-policy comparison as plain functions, held against worlds whose truth is known."""

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from agents.training.fitting import fit
from agents.training.offpolicy import Logged, compare, costs, shares
from agents.training.offsets import PRIOR, confidences, move, output_of
from agents.training.rows import Candidate, ExampleRow
from schemas.alignment import OffPolicy
from tests.training.streams import answer

K, M, THRESHOLD = 4.0, 1.0, 0.8


def world(draw: np.random.Generator, count: int, propensity: float) -> tuple[Logged, np.ndarray]:
    """Judged decisions of a log that surfaces by lot, two models (one blind, one near the truth), and the true chance of being wanted."""
    x = draw.standard_normal(count)
    wanted = expit(1.0 + 2.5 * x)
    target = (draw.random(count) >= wanted).astype(float)
    surfaced = (draw.random(count) < propensity).astype(float)
    chance = np.full(count, propensity)
    return Logged(surfaced, chance, target, np.full(count, 1 / count), np.full(count, 0.85), expit(1.1 + 2.3 * x)), wanted


@pytest.mark.parametrize("propensity", [0.3, 0.5, 0.8])
def test_estimates_are_unbiased(propensity: float) -> None:
    """Over many logs the estimates' mean is the true cost of each policy, and the standard error is their spread."""
    draw = np.random.default_rng(7)
    found, truths = [], []
    for _ in range(400):
        logged, wanted = world(draw, 250, propensity)
        found.append(compare(logged, THRESHOLD, K, M))
        truths.append([np.mean(costs((r >= THRESHOLD).astype(float), 1 - wanted, K, M)) for r in (logged.in_force, logged.challenger)])
    estimates = np.array([[one.cost_in_force, one.cost_challenger] for one in found])
    error = estimates - np.array(truths)
    assert np.all(np.abs(error.mean(axis=0)) < 3.5 * error.std(axis=0) / np.sqrt(len(found)))
    spread = np.std([one.difference for one in found])
    assert np.mean([one.standard_error for one in found]) == pytest.approx(spread, rel=0.15)


def test_either_propensities_or_costs_may_be_wrong() -> None:
    """Doubly robust: with wrong models the propensities carry the estimate; with no support for an action the models do."""
    draw = np.random.default_rng(8)
    logged, wanted = world(draw, 200_000, 0.5)
    nonsense = logged._replace(in_force=np.full(200_000, 0.81), challenger=expit(3 + 0.1 * draw.standard_normal(200_000)))
    truth = np.mean(costs(np.ones(200_000), 1 - wanted, K, M))
    assert compare(nonsense, THRESHOLD, K, M).cost_challenger == pytest.approx(truth, rel=0.02)
    good = logged._replace(surfaced=np.zeros(200_000), propensity=np.zeros(200_000), in_force=wanted, challenger=wanted)
    truth = np.mean(costs((wanted >= THRESHOLD).astype(float), 1 - wanted, K, M))
    assert compare(good, THRESHOLD, K, M).cost_challenger == pytest.approx(truth, rel=0.02)


def test_effective_sample_size_counts_what_the_log_can_tell() -> None:
    """Deterministic agreement counts every decision once, a policy that the log never followed counts none, and lots count their share."""
    draw = np.random.default_rng(9)
    logged, _ = world(draw, 500, 0.5)
    surfaces = np.ones(500)
    same = logged._replace(surfaced=surfaces, propensity=surfaces, in_force=np.full(500, 0.9), challenger=np.full(500, 0.95))
    assert compare(same, THRESHOLD, K, M).effective_sample_size == pytest.approx(500)
    never = same._replace(challenger=np.full(500, 0.2))
    told = compare(never, THRESHOLD, K, M)
    assert told.effective_sample_size == 0.0
    assert told.unsupported == pytest.approx(1.0)
    half = compare(logged._replace(challenger=np.full(500, 0.9)), THRESHOLD, K, M)
    assert 200 < half.effective_sample_size < 300


@given(st.lists(st.tuples(st.booleans(), st.floats(0.1, 1)), min_size=1, max_size=40), st.integers(0, 500), st.integers(0, 500))
def test_shares_sum_to_one_and_keep_the_kinds(told: list[tuple[bool, float]], surfaced: int, withheld: int) -> None:
    """Judged decisions stand for all: shares sum to 1, and surfaced to withheld as the log's counts, where both were judged."""
    kinds, weight = np.array([float(kind) for kind, _ in told]), np.array([one for _, one in told])
    share = shares(kinds, weight, surfaced, withheld)
    assert share.sum() == pytest.approx(1)
    assert np.all(share > 0)
    if 0 < kinds.sum() < len(kinds):
        assert share[kinds > 0].sum() == pytest.approx(max(surfaced, 1) / (max(surfaced, 1) + max(withheld, 1)))


@hypothesis.settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_a_model_against_itself_is_no_better(seed: int) -> None:
    """The difference of a model to itself is exactly 0, and so is its standard error."""
    logged, _ = world(np.random.default_rng(seed), 60, 0.5)
    told = compare(logged._replace(challenger=logged.in_force), THRESHOLD, K, M)
    assert isinstance(told, OffPolicy)
    assert (told.difference, told.standard_error) == (0.0, 0.0)


def examples(seed: int, count: int, weight: float = 1.0) -> list[ExampleRow]:
    """Judged scenarios: wanted with logit 2 x less a class's own 1.5, beside a feature that says nothing."""
    draw = np.random.default_rng(seed)
    made = []
    for number in range(count):
        x, nuisance = draw.standard_normal(2)
        wanted = draw.random() < expit(2 * x - 1.5 * (number % 2))
        made.append(ExampleRow(
            scenario_class=f"c{number % 2}", features={"x": x, "nuisance": nuisance}, target=float(not wanted), weight=weight,
        ))  # fmt: skip
    return made


def test_a_fit_finds_what_tells() -> None:
    """The weight of the feature that tells is found beside classes that differ, that of the other is near 0."""
    fitted = fit(examples(1, 4000))
    assert fitted is not None
    assert fitted.weights["x"] == pytest.approx(2, abs=0.25)
    assert abs(fitted.weights["nuisance"]) < 0.1
    assert fitted.examples == 4000


def test_a_fit_weighs_by_trust() -> None:
    """What nobody trusted is fitted on by nobody, and what was trusted less pulls less."""
    assert fit(examples(2, 200, weight=0.0)) is None
    light, heavy = fit(examples(2, 200, weight=0.01)), fit(examples(2, 200))
    assert light is not None
    assert heavy is not None
    assert abs(light.weights["x"]) < 0.5 * abs(heavy.weights["x"])


def test_a_fit_is_the_same_twice() -> None:
    """One sample gives one model, bit for bit."""
    assert fit(examples(3, 500)) == fit(examples(3, 500))


@hypothesis.settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), max_size=12), st.floats(-2, 2), st.floats(-3, 3))
def test_candidates_do_not_touch_each_other(likes: list[bool], x: float, weight: float) -> None:
    """What a candidate's offset comes to does not depend on which others are folded beside it."""
    one, other = Candidate("a", 0, 0.3, {"x": weight}), Candidate("b", 0, -0.5, {"x": 1.0})
    answers = [answer("ana", liked=liked) for liked in likes]
    outputs = [output_of(model, {"x": x, "y": 5.0}) for model in (one, other)]
    both = move(outputs, [PRIOR, PRIOR], answers)
    assert both == [*move(outputs[:1], [PRIOR], answers), *move(outputs[1:], [PRIOR], answers)]
    assert all(0 < confidence < 1 for confidence in confidences(outputs, both))
