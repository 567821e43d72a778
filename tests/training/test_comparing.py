"""Fitting and off-policy comparison as plain functions, held against worlds whose truth is known."""

from types import SimpleNamespace

import hypothesis
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from agents import scoring
from agents.scoring import Channel
from agents.training import commands
from agents.training.fitting import fit
from agents.training.offpolicy import Logged, Scored, compare, costs, shares
from agents.training.offsets import PRIOR, confidences, fold, move, outputs_of
from agents.training.rows import Candidate, ExampleRow, ExamplesRow
from schemas.alignment import OffPolicy
from schemas.codecs import decode, encode
from schemas.events import Model
from schemas.identity import derived_name
from tests.deciding.logs import settings_with
from tests.training.streams import SCOPE, answer, command

K, M, THRESHOLD = 4.0, 1.0, 0.8


ANSWERED, REVIEWED = 0.7, 0.2


def world(draw: np.random.Generator, count: int) -> tuple[Logged, Scored, np.ndarray]:
    """What a log lets be judged of `count` decisions: surfaced by chances that depend on the scenario, then answered or reviewed by lot.

    Returns:
        The judged, how many there were, and x of all of them: what is wanted has logit 1 + 2.5 x.
    """
    x = draw.standard_normal(count)
    wanted = expit(1.0 + 2.5 * x)
    propensity = expit(2 * x)
    surfaced = (draw.random(count) < propensity).astype(float)
    judged = draw.random(count) < np.where(surfaced > 0, ANSWERED, REVIEWED)
    target = (draw.random(count) >= wanted).astype(float)
    columns = (surfaced, propensity, target, np.ones(count), np.full(count, 0.85), expit(0.4 + 1.5 * x))
    scored = Scored(int(surfaced.sum()), int(count - surfaced.sum()))
    return Logged(*(column[judged] for column in columns)), scored, x


def true_costs(x: np.ndarray) -> list[float]:
    """The costs of the two models on scenarios, from the world's own chances."""
    unwanted = 1 - expit(1.0 + 2.5 * x)
    return [float(np.mean(costs((r >= THRESHOLD).astype(float), unwanted, K, M))) for r in (np.full(len(x), 0.85), expit(0.4 + 1.5 * x))]


def test_estimates_are_unbiased() -> None:
    """Over many logs the estimates' mean is the true cost of each model, and the standard error is the spread of their difference."""
    draw = np.random.default_rng(7)
    errors, differences, told = [], [], []
    for _ in range(400):
        logged, scored, x = world(draw, 400)
        one = compare(logged, scored, THRESHOLD, K, M)
        truth = true_costs(x)
        errors.append([one.cost_in_force - truth[0], one.cost_challenger - truth[1]])
        differences.append(one.difference)
        told.append(one.standard_error)
    error = np.array(errors)
    assert np.all(np.abs(error.mean(axis=0)) < 3.5 * error.std(axis=0) / np.sqrt(len(error)) + 0.01)
    assert np.mean(told) == pytest.approx(np.std(differences), rel=0.2)


def test_counting_the_judged_alike_would_be_wrong() -> None:
    """What is judged is no fair sample: its plain mean misses the true cost by far more than the estimate does."""
    logged, scored, x = world(np.random.default_rng(8), 200_000)
    one, (_, truth) = compare(logged, scored, THRESHOLD, K, M), true_costs(x)
    plain = float(np.mean(costs((logged.challenger >= THRESHOLD).astype(float), logged.target, K, M)))
    assert abs(one.cost_challenger - truth) < 0.1 * abs(plain - truth)


def test_either_propensities_or_costs_may_be_wrong() -> None:
    """Doubly robust: nonsense models are carried by the propensities; propensities of nonsense by models that are right."""
    logged, scored, x = world(np.random.default_rng(9), 200_000)
    truth = float(np.mean(costs(np.ones(len(x)), 1 - expit(1.0 + 2.5 * x), K, M)))
    nonsense = logged._replace(in_force=np.full(len(logged.target), 0.81), challenger=np.full(len(logged.target), 0.99))
    assert compare(nonsense, scored, THRESHOLD, K, M).cost_challenger == pytest.approx(truth, rel=0.03)


def test_effective_sample_size_counts_what_the_judged_stand_for() -> None:
    """All judged alike count once each; where few of one kind stand for many, they count for little more than their number."""
    draw = np.random.default_rng(10)
    surfaced = np.r_[np.ones(100), np.zeros(100)]
    logged = Logged(surfaced, surfaced, draw.integers(0, 2, 200).astype(float), np.ones(200), np.full(200, 0.9), np.full(200, 0.5))
    assert compare(logged, Scored(100, 100), THRESHOLD, K, M).effective_sample_size == pytest.approx(200)
    few = Logged(*(column[:110] for column in logged))
    told = compare(few, Scored(100, 1_000), THRESHOLD, K, M)
    assert 10 < told.effective_sample_size < 15
    assert told.unsupported == pytest.approx(0)
    none = Logged(*(column[:100] for column in logged))
    assert compare(none, Scored(100, 300), THRESHOLD, K, M).unsupported == pytest.approx(0.75)


@given(st.lists(st.tuples(st.booleans(), st.floats(0.1, 1)), min_size=1, max_size=40), st.integers(0, 500), st.integers(0, 500))
def test_shares_sum_to_one_and_keep_the_kinds(told: list[tuple[bool, float]], surfaced: int, withheld: int) -> None:
    """Judged decisions stand for all: shares sum to 1, and surfaced to withheld as the log's counts, where both were judged."""
    kinds, weight = np.array([float(kind) for kind, _ in told]), np.array([one for _, one in told])
    share = shares(Logged(kinds, kinds, kinds, weight, kinds, kinds), Scored(surfaced, withheld))
    assert share.sum() == pytest.approx(1)
    assert np.all(share > 0)
    if 0 < kinds.sum() < len(kinds):
        assert share[kinds > 0].sum() == pytest.approx(max(surfaced, 1) / (max(surfaced, 1) + max(withheld, 1)))


@hypothesis.settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_a_model_against_itself_is_no_better(seed: int) -> None:
    """The difference of a model to itself is exactly 0, and so is its standard error."""
    logged, scored, _ = world(np.random.default_rng(seed), 60)
    told = compare(logged._replace(challenger=logged.in_force), scored, THRESHOLD, K, M)
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


def test_a_fit_names_no_more_than_a_model_may() -> None:
    """Of more features than a model's record can hold, those that come most often are fitted on, so that the model can be read."""
    made = examples(4, 100)
    for number, example in enumerate(made):
        example.features |= {f"rare-{number}-{place}": 1.0 for place in range(25)}
    fitted = fit(made)
    assert fitted is not None
    assert {"x", "nuisance"} < fitted.weights.keys()
    model = Model("m", SCOPE, 0, fitted.intercept, fitted.weights)
    assert decode("model", encode(model)) == model


def test_a_fit_is_the_same_twice() -> None:
    """One sample gives one model, bit for bit."""
    assert fit(examples(3, 500)) == fit(examples(3, 500))


@hypothesis.settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), max_size=12), st.floats(-2, 2), st.floats(-3, 3))
def test_candidates_do_not_touch_each_other(likes: list[bool], x: float, weight: float) -> None:
    """What a candidate's offset comes to does not depend on which others are folded beside it."""
    one, other = Candidate("a", 0, 0.3, {"x": weight}), Candidate("b", 0, -0.5, {"x": 1.0})
    answers = [answer("ana", liked=liked) for liked in likes]
    outputs = outputs_of([one, other], {"x": x, "y": 5.0})
    prior = np.array([PRIOR, PRIOR]).T
    both = move(outputs, prior, answers)
    assert np.array_equal(both, np.hstack((move(outputs[:1], prior[:, :1], answers), move(outputs[1:], prior[:, 1:], answers))))
    inside = confidences(outputs, both)
    assert np.all((inside > 0) & (inside < 1))


@hypothesis.settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1)), max_size=40), st.floats(-3, 3))
def test_a_candidate_learns_as_the_decider(told: list[tuple[bool, float, float, float]], x: float) -> None:
    """However a candidate's numbers are had, answer by answer or folded, they are those of the score's own rule."""
    model = Candidate("a", 0, 0.3, {"x": 1.5, "other": 2.0})
    answers = tuple(
        msgspec.structs.replace(answer("ana", liked=liked), alpha=alpha, beta=beta, counted=kappa) for liked, alpha, beta, kappa in told
    )
    offsets, drift = scoring.PRIOR_OFFSETS, scoring.Drift(0.0, 0.0)
    for one in answers:
        wanted, liked, channel = scoring.confidence(0.3 + 1.5 * x, offsets.offset), float(one.kind == "like"), Channel(one.alpha, one.beta)
        drift, offsets = scoring.forget(drift, scoring.update(offsets, liked, channel, wanted, one.counted), liked, channel, wanted)
    ruled = [offsets.offset, offsets.information, *drift]
    moved = move(outputs_of([model], {"x": x, "y": 1.0}), np.array([PRIOR]).T, answers)
    folded = fold(model, [ExampleRow(scenario_class="c", features={"x": x, "y": 1.0}, answers=answers)])["c"]
    assert moved[:, 0].tolist() == pytest.approx(ruled, rel=1e-9, abs=1e-9)
    assert list(folded) == pytest.approx(ruled, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("upside_down", [4, 5])
def test_the_newest_fit_of_a_good_line_is_offered(upside_down: int) -> None:
    """The newest fit is offered, unless the last that was compared was upside down: then the newest that was cheaper itself."""
    line = [Candidate(derived_name(SCOPE, "model", window), window, 0.0, {}) for window in range(7)]
    examples = []
    for window in range(1, 7):
        for number in range(60):
            unwanted = float(number % 2)
            right = 0.1 if unwanted else 0.9
            confidences = {"initial": 0.9} | {model.id: 1 - right if model.window == upside_down else right for model in line[:window]}
            examples.append(
                ExampleRow(
                    scenario_class="c",
                    surfaced=True,
                    scored=True,
                    propensity=0.95,
                    target=unwanted,
                    weight=1.0,
                    window=window,
                    confidences=confidences,
                )
            )
    turn = SimpleNamespace(
        scope=SCOPE,
        models=[Candidate("initial", -1, 0.0, {}), *line],
        examples=lambda: examples,
        examples_of=lambda _: ExamplesRow(surfaced=60),
        settings=settings_with(),
        row=SimpleNamespace(in_force="initial", adopted=None),
    )
    offered, evaluation = commands.offer(turn, command("c", (1, 6), 0))  # type: ignore[arg-type]  # what it asks of a turn
    assert evaluation is not None
    assert offered == (line[4] if upside_down == 5 else line[6])
    assert commands.refusal(offered, evaluation) is None
    for example in examples:
        example.confidences |= {model.id: 0.9 for model in line}
    assert commands.offer(turn, command("c", (1, 6), 0))[0] is None  # type: ignore[arg-type]  # the same
