"""Score, trust and thresholds as plain functions over arrays: what each formula promises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from agents import scoring, thresholds, trust
from agents.scoring import PERFECT, PRIOR_OFFSETS, Channel, Drift, Number, Offsets

shares = st.floats(0.02, 0.98)
answers = st.sampled_from([0.0, 1.0])
offsets = st.builds(Offsets, st.floats(-6, 6), st.floats(0.25, 100), st.floats(0.25, 100))
channels = st.builds(Channel, st.floats(0.02, 0.98), st.floats(0.02, 0.98))


@given(offsets, answers, shares)
def test_a_perfect_source_moves_by_the_error_over_the_information(before: Offsets, liked: float, wanted: float) -> None:
    """With J = 1 the update is (z - q) / H with H grown by q(1 - q)."""
    after = scoring.update(before, liked, PERFECT, wanted, 1.0)
    information = before.information + wanted * (1 - wanted)
    assert after.information == pytest.approx(information)
    assert after.offset == pytest.approx(before.offset + (liked - wanted) / information)


@given(offsets, channels, shares, st.floats(0.05, 1))
def test_a_like_raises_and_an_override_lowers(before: Offsets, channel: Channel, wanted: float, kappa: float) -> None:
    """An answer moves the offset to its side, more the more it counts; a source at or below a coin flip moves nothing."""
    liked, overridden = (scoring.update(before, z, channel, wanted, kappa) for z in (1.0, 0.0))
    if channel.youden <= scoring.YOUDEN_LEAST:
        assert liked == overridden == before
    else:
        assert overridden.offset <= before.offset <= liked.offset
        assert liked.information >= before.information
        assert liked.draw_information > before.draw_information


@given(st.lists(st.tuples(offsets, answers, channels, shares), min_size=1, max_size=8))
def test_arrays_are_scalars_side_by_side(cases: list[tuple[Offsets, float, Channel, float]]) -> None:
    """A vector of classes gives, element by element, the very bytes that each gives alone."""
    before = Offsets(*np.array([case[0] for case in cases]).T)
    channel = Channel(*np.array([case[2] for case in cases]).T)
    liked, wanted = np.array([case[1] for case in cases]), np.array([case[3] for case in cases])
    together = np.array(scoring.update(before, liked, channel, wanted, 1.0))
    alone = np.array([scoring.update(*case, 1.0) for case in cases]).T
    assert together.tobytes() == np.ascontiguousarray(alone).tobytes()


@given(st.integers(1, 500), st.integers(1, 500))
def test_no_source_dominates_a_class(class_answers: int, source_answers: int) -> None:
    """A source's first two answers count in full; all its answers together count for at most a fifth of the class, or two."""
    source_answers = min(source_answers, class_answers)
    kappa = scoring.cap(class_answers, source_answers)
    assert 0 < kappa <= 1
    assert kappa * source_answers <= max(2, class_answers / 5) + 1e-9
    assert scoring.cap(class_answers, min(2, source_answers)) == 1


@pytest.mark.parametrize("count", [1, 10, 100, 1000])
def test_mean_score_has_its_closed_form_error(count: int) -> None:
    """The mean's squared error over 20,000 chains is [n0^2 (m0 - p)^2 + n p (1 - p)] / (n0 + n)^2, within 7 %."""
    weight, mean, rate = 4.0, 0.5, 0.3
    overridden = np.random.default_rng(1).binomial(count, rate, size=20_000)
    error = np.mean((scoring.mean_misalignment(weight, mean, count, overridden.astype(float)) - rate) ** 2)
    expected = (weight**2 * (mean - rate) ** 2 + count * rate * (1 - rate)) / (weight + count) ** 2
    assert error / expected == pytest.approx(1, abs=0.07)


outputs = st.floats(-8, 8)
heard_answers = st.lists(st.tuples(outputs, answers, channels, st.floats(0.05, 1)), max_size=40)


@given(st.lists(heard_answers, max_size=6))
def test_classes_fold_side_by_side_as_each_alone(classes: list[list[tuple[float, float, Channel, float]]]) -> None:
    """Folding many classes at once, round by round, gives what each gives alone, answer by answer."""
    rows = [np.array([(output, liked, *channel, kappa) for output, liked, channel, kappa in each], dtype=np.float64) for each in classes]
    drifts, offsets_ = scoring.fold([each.reshape(-1, 5) for each in rows])
    folded = np.array([*drifts, *offsets_]).T
    for each, together in zip(classes, folded, strict=True):
        drift, state = Drift(0.0, 0.0), PRIOR_OFFSETS
        for output, liked, channel, kappa in each:
            wanted = scoring.confidence(output, state.offset)
            drift, state = scoring.forget(drift, scoring.update(state, liked, channel, wanted, kappa), liked, channel, wanted)
        assert together.tolist() == pytest.approx([*drift, *state], rel=1e-12, abs=1e-12)


@given(st.dictionaries(st.sampled_from("abc"), st.floats(-5, 5)), st.dictionaries(st.sampled_from("abcd"), st.floats(-5, 5)), outputs)
def test_a_missing_feature_adds_nothing(features: dict[str, float], weights: dict[str, float], intercept: float) -> None:
    """The model's output is the intercept and what the weighted features add; one that is missing is as one of 0."""
    whole = dict.fromkeys("abcd", 0.0) | features
    assert scoring.model_output(features, intercept, weights) == pytest.approx(scoring.model_output(whole, intercept, weights))
    assert scoring.model_output({}, intercept, weights) == intercept


@pytest.mark.parametrize("wanted", [0.95, 0.05])
def test_logit_score_finds_the_side_of_the_threshold(wanted: float) -> None:
    """Sixty honest answers with 5 % error bring a class to the right side of .8 in at least 98 % of 500 chains."""
    random = np.random.default_rng(2)
    chains, channel = 500, Channel(0.95, 0.95)
    state = Offsets(*(np.full(chains, value) for value in PRIOR_OFFSETS))
    for _ in range(60):
        is_wanted = random.random(chains) < wanted
        says_like = np.where(random.random(chains) < 0.05, ~is_wanted, is_wanted).astype(float)
        state = scoring.update(state, says_like, channel, scoring.confidence(0.0, state.offset), 1.0)
    passes = scoring.confidence(0.0, state.offset) >= 0.8
    assert np.mean(passes == (wanted >= 0.8)) >= 0.98


def answered(chains: int, count: int, like_rate: float, channel: Channel, seed: int) -> tuple[Drift, Offsets]:
    """Chains of one class each after `count` answers of a source, of which a share likes."""
    random = np.random.default_rng(seed)
    drift, state = Drift(np.zeros(chains), np.zeros(chains)), Offsets(*(np.full(chains, value) for value in PRIOR_OFFSETS))
    for _ in range(count):
        drift, state = hear(drift, state, (random.random(chains) < like_rate).astype(float), channel)
    return drift, state


def hear(drift: Drift, state: Offsets, liked: Number, channel: Channel) -> tuple[Drift, Offsets]:
    """One answer a class: update, then forget."""
    wanted = scoring.confidence(0.0, state.offset)
    return scoring.forget(drift, scoring.update(state, liked, channel, wanted, 1.0), liked, channel, wanted)


def test_a_class_that_turns_bad_is_withheld_soon() -> None:
    """Of 300 classes with 1,000 answers that turn bad, half are under .8 after at most 8 answers, nine in ten after 12."""
    channel = Channel(0.98, 0.98)
    drift, state = answered(300, 1000, 0.97, channel, seed=7)
    random = np.random.default_rng(8)
    needed = np.zeros(300)
    for _ in range(40):
        above = np.asarray(scoring.confidence(0.0, state.offset)) >= 0.8
        needed += above
        drift, state = hear(drift, state, (random.random(300) < 0.04).astype(float), channel)
    assert np.median(needed) <= 8
    assert np.quantile(needed, 0.9) <= 12


def test_a_steady_class_forgets_rarely() -> None:
    """Over 300 classes of 1,000 steady answers fewer than one in e^5 is taken for a jump, as Lorden's bound for a CUSUM promises."""
    channel = Channel(0.95, 0.95)
    jumps, random = 0, np.random.default_rng(9)
    drift, state = answered(300, 50, 0.9, channel, seed=10)
    for _ in range(1000):
        before = np.asarray(state.information)
        drift, state = hear(drift, state, (random.random(300) < 0.9).astype(float), channel)
        jumps += int(np.sum(np.asarray(state.information) < before))
    assert 0 < jumps / (300 * 1000) < np.exp(-scoring.DRIFT_BOUND)


@given(offsets, answers, shares, st.floats(0, 4.9), st.floats(0, 4.9))
def test_a_known_liar_does_not_look_like_a_jump(before: Offsets, liked: float, wanted: float, rising: float, falling: float) -> None:
    """A source without information moves neither sums nor offsets; an answer moves the two sums to opposite sides."""
    assert scoring.forget(Drift(rising, falling), before, liked, Channel(0.5, 0.5), wanted) == (Drift(rising, falling), before)
    after, _ = scoring.forget(Drift(rising, falling), before, liked, Channel(0.9, 0.9), wanted)
    if after != Drift(0.0, 0.0):
        assert (after.rising > rising) == bool(liked)
        assert (after.falling > falling) != bool(liked)


def observed(coins: trust.Coins, liked: float, wanted: float) -> trust.Coins:
    """The coins after one answer, by EM."""
    return trust.count(coins, liked, trust.posterior(coins, liked, wanted), 1.0)


def test_trust_separates_the_honest_from_the_liar() -> None:
    """After 100 answers in classes that are known well, an honest unknown account has weight 1 and an inverter none."""
    random = np.random.default_rng(3)
    honest = liar = trust.prior(on_roster=False)
    assert trust.weight(trust.channel(honest)) == pytest.approx(0.1)
    for _ in range(100):
        wanted = random.random() < 0.5
        belief = 0.95 if wanted else 0.05
        honest = observed(honest, float(wanted), belief)
        liar = observed(liar, float(not wanted), belief)
    assert trust.weight(trust.channel(honest)) == 1
    assert trust.weight(trust.channel(liar)) == 0


@given(st.lists(st.tuples(answers, shares), max_size=50))
def test_coins_stay_coins(log: list[tuple[float, float]]) -> None:
    """Whatever is answered, both coins stay inside (0, 1) and one answer adds one count, an outcome five."""
    coins = trust.prior(on_roster=True)
    for count, (liked, wanted) in enumerate(log, 1):
        coins = observed(coins, liked, wanted)
        assert coins.wanted + coins.unwanted == pytest.approx(10 + count)
        assert 0 < trust.channel(coins).alpha < 1
        assert 0 < trust.channel(coins).beta < 1
    told = trust.count(coins, 1.0, 0.0, trust.OUTCOME_WEIGHT)
    assert told.unwanted == pytest.approx(coins.unwanted + 5)


@given(log=st.lists(st.tuples(answers, shares, st.sampled_from([1.0, 5.0])), max_size=30), on_roster=st.booleans())
def test_what_coins_counted_can_be_taken_back(log: list[tuple[float, float, float]], *, on_roster: bool) -> None:
    """Counts taken back, in any order, leave the coins as they were."""
    coins = trust.prior(on_roster=on_roster)
    for liked, wanted, amount in log:
        coins = trust.count(coins, liked, wanted, amount)
    for liked, wanted, amount in log:
        coins = trust.count(coins, liked, wanted, -amount)
    assert coins == pytest.approx(trust.prior(on_roster=on_roster))


@given(shares, channels)
def test_the_answer_is_part_of_the_evidence(wanted: float, channel: Channel) -> None:
    """A like of a source with information makes wanted more probable and an override less, as Bayes' rule has it."""
    coins = trust.Coins(5 * channel.alpha, 5.0, 5 * channel.beta, 5.0)
    likes = trust.posterior(coins, 1.0, wanted)
    overrides = trust.posterior(coins, 0.0, wanted)
    says_like = float(scoring.predicted_like(channel, wanted))
    assert says_like * likes + (1 - says_like) * overrides == pytest.approx(wanted)
    assert (likes - overrides) * channel.youden >= -1e-12


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_an_honest_source_earns_what_it_overrides_by_error(answered: int, overridden: int) -> None:
    """A perfect source earns r a answer and pays 1 an override; a source without trust neither earns nor pays."""
    assert trust.wealth(PERFECT, answered, overridden, 0.1) == pytest.approx(0.1 * answered - overridden)
    assert trust.wealth(Channel(0.5, 0.4), answered, overridden, 0.1) == 0


@pytest.mark.parametrize(("output", "information"), [(1.0, 0.25), (2.0, 4.0), (1.386, 1.0)])
def test_posterior_propensity_is_the_share_that_passes(output: float, information: float) -> None:
    """Of 20,000 draws the share that passes is the logged propensity, within three standard errors."""
    random = np.random.default_rng(4)
    draws = [thresholds.posterior(output, 0.0, information, 0.8, random) for _ in range(20_000)]
    propensity = draws[0].propensity
    assert np.mean([draw.passes for draw in draws]) == pytest.approx(propensity, abs=3 * np.sqrt(propensity * (1 - propensity) / 20_000))


@pytest.mark.parametrize("confidence", [0.55, 0.75, 0.95])
def test_thompson_propensity_is_the_share_that_passes(confidence: float) -> None:
    """Of 5,000 draws of arms the share whose threshold the confidence passes is the logged propensity."""
    random = np.random.default_rng(5)
    likes, overrides = np.array([8.0, 4, 3, 9, 1]), np.array([3.0, 2, 1, 2, 1])
    draws = [thresholds.thompson(confidence, likes, overrides, random) for _ in range(5_000)]
    propensity = draws[0].propensity
    assert np.mean([draw.passes for draw in draws]) == pytest.approx(propensity, abs=0.025)
    assert thresholds.arm_probabilities(likes, overrides).sum() == pytest.approx(1)


@pytest.mark.parametrize("answers", [1e3, 1e5, 1e8])
def test_thompson_propensity_holds_for_narrow_posteriors(answers: float) -> None:
    """However many answers an arm has, the arms' probabilities are finite, sum to 1, and are those of 20,000 draws."""
    likes = np.array([0.60, 0.61, 0.60, 0.59, 0.58]) * answers
    overrides = answers - likes
    draws = np.random.default_rng(12).beta(likes, overrides, size=(20_000, 5)).argmax(axis=1)
    expected = np.bincount(draws, minlength=5) / 20_000
    assert thresholds.arm_probabilities(likes, overrides) == pytest.approx(expected, abs=0.02)


@given(st.floats(0.01, 0.99))
def test_fixed_threshold_is_certain(confidence: float) -> None:
    """A fixed threshold draws nothing and has propensity 0 or 1."""
    selection = thresholds.fixed(confidence, 0.8)
    assert (selection.draw, selection.propensity) == (None, float(confidence >= 0.8))


def test_mean_posterior_propensity_is_the_share_that_passes() -> None:
    """Of 20,000 Beta draws the share that passes is the logged propensity."""
    random = np.random.default_rng(6)
    draws = [thresholds.posterior_mean(3.0, 9.0, 0.8, random) for _ in range(20_000)]
    assert np.mean([draw.passes for draw in draws]) == pytest.approx(draws[0].propensity, abs=0.01)


def test_confidence_stays_inside_the_unit_interval() -> None:
    """No model output makes confidence 0 or 1, so no information ever vanishes by rounding."""
    confidence = np.asarray(scoring.confidence(np.array([-1e6, -40.0, 0.0, 40.0, 1e6]), 0.0))
    assert np.all((confidence > 0) & (confidence < 1))
    assert confidence[2] == expit(0.0)
    assert scoring.confidence(float(logit(0.8)), 0.0) == pytest.approx(0.8)


schedules = pytest.mark.parametrize("schedule", scoring.SCHEDULES.values(), ids=scoring.SCHEDULES)


@schedules
@given(st.floats(0.01, 50), st.floats(0, 1e5), st.floats(0, 2), shares, st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_a_step_goes_toward_the_target(
    schedule: scoring.Schedule, prior: float, so_far: float, weight: float, before: float, target: float
) -> None:
    """Every step is in [0, 1] and grows with the weight; M goes toward y, never past it, and an answer of no weight moves nothing."""
    eta = schedule(prior, so_far, weight)
    after = scoring.mean_update(before, target, eta)
    assert 0 <= eta <= 1
    assert min(before, target) - 1e-12 <= after <= max(before, target) + 1e-12
    assert scoring.mean_update(before, target, schedule(prior, so_far, 0.0)) == before
    assert schedule(prior, so_far, weight / 2) <= eta


@given(st.floats(0.01, 50), shares, st.lists(st.tuples(st.floats(0, 2), st.floats(0, 1)), max_size=40))
def test_the_harmonic_step_is_the_mean(prior: float, mean: float, log: list[tuple[float, float]]) -> None:
    """Answer by answer, the harmonic recursion gives the mean of targets and prior by weight."""
    estimate, so_far = mean, 0.0
    for weight, target in log:
        estimate = float(scoring.mean_update(estimate, target, scoring.harmonic(prior, so_far, weight)))
        so_far += weight
    weighted = sum(weight * target for weight, target in log)
    assert estimate == pytest.approx(float(scoring.mean_misalignment(prior, mean, so_far, weighted)), abs=1e-9)


@given(st.floats(0.01, 50), shares, st.floats(0, 1e4), shares)
def test_a_mean_of_any_step_is_kept_as_a_sum(prior: float, mean: float, weight: float, misalignment: float) -> None:
    """The sum that an estimate is kept as gives the estimate again."""
    weighted = scoring.mean_weighted(prior, mean, weight, misalignment)
    assert scoring.mean_misalignment(prior, mean, weight, weighted) == pytest.approx(misalignment, abs=1e-12)


def test_a_constant_step_forgets_and_a_harmonic_one_does_not() -> None:
    """After 1,000 likes, 30 overrides bring M past .9 with the constant step, past .2 with the power, to .03 with the harmonic."""
    ends = {}
    for name, schedule in scoring.SCHEDULES.items():
        estimate = 0.5
        for number in range(1030):
            estimate = float(scoring.mean_update(estimate, float(number >= 1000), schedule(4.0, float(number), 1.0)))
        ends[name] = estimate
    assert ends["constant"] > 0.9
    assert 0.2 < ends["power"] < 0.3
    assert ends["harmonic"] == pytest.approx((2 + 30) / 1034)


@pytest.mark.parametrize(("misaligned", "aligned"), [(0.0, 9.0), (9.0, 0.0), (-1e-17, 3.0)])
def test_a_mean_with_nothing_left_of_one_side_still_draws(misaligned: float, aligned: float) -> None:
    """A Beta without one of its sides is drawn from all the same: surely one way."""
    drawn = thresholds.posterior_mean(misaligned, aligned, 0.8, np.random.default_rng(1))
    assert drawn.passes == (aligned > misaligned)
    assert drawn.propensity == pytest.approx(float(aligned > misaligned), abs=1e-6)
