"""The sum that accuses a source, as a plain function over arrays: what its formula promises, and what it finds over many courses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import trust
from agents.deciding import plain
from agents.deciding.rows import Recent
from agents.scoring import Number
from agents.trust import Coins, Voices
from experiments.studies import quarantine
from experiments.studies.quarantine import detect

shares = st.floats(0, 1)
answers = st.sampled_from([0.0, 1.0])
voice = st.tuples(answers, shares, shares)
cases = st.tuples(st.floats(0, 9), answers, st.lists(voice, min_size=3, max_size=3), shares, st.floats(0, 0.5))
Case = tuple[float, float, list[tuple[float, float, float]], float, float]
counts = st.floats(5, 500)
counted = st.tuples(shares, counts)
coins = st.builds(lambda a, b: Coins(a[0] * a[1], a[1], b[0] * b[1], b[1]), counted, counted)


def moved(statistic: float, liked: float, others: list[tuple[float, float, float]], wanted: float, error: float) -> float:
    """The sum after one answer."""
    return float(trust.disagree(statistic, liked, Voices(*np.array(others).T), wanted, error))


@given(st.lists(cases, min_size=1, max_size=8))
def test_arrays_are_scalars_side_by_side(each: list[Case]) -> None:
    """A vector of sources gives, element by element, the very bytes that each gives alone, and plain floats the same numbers."""
    statistic, liked, wanted, error = (np.array([case[index] for case in each]) for index in (0, 1, 3, 4))
    others = Voices(*np.array([case[2] for case in each]).transpose(2, 0, 1))
    together = np.asarray(trust.disagree(statistic, liked, others, wanted, error))
    assert together.tobytes() == np.array([moved(*case) for case in each]).tobytes()
    for (before, z, voices, q, e), expected in zip(each, together, strict=True):
        recent = [Recent("", bool(said), predicted, weight) for said, predicted, weight in voices]
        assert plain.disagree(before, z, recent, q, e) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(coins, st.floats(0, 20), st.floats(0, 20))
def test_suspicion_only_takes_away(before: Coins, statistic: float, other: float) -> None:
    """Without disagreement a source is heard as it is, from the bound on it tells nothing, and more never helps it; floats say the same."""
    own = trust.channel(before)
    assert trust.suspected(own, 0.0) == pytest.approx(own)
    assert trust.suspected(own, trust.QUARANTINE_BOUND + other).youden == pytest.approx(0.0, abs=1e-12)
    heard = trust.suspected(own, statistic)
    assert heard.youden == pytest.approx(trust.credit(statistic) * own.youden, abs=1e-12)
    less, more = sorted((statistic, other))
    assert abs(float(trust.suspected(own, more).youden)) <= abs(float(trust.suspected(own, less).youden)) + 1e-12
    assert plain.suspected(own, statistic) == pytest.approx(heard, rel=1e-12)


@given(cases, st.tuples(answers, shares))
def test_a_voice_without_weight_says_nothing(case: Case, silent: tuple[float, float]) -> None:
    """A source of zero trust changes nothing, whatever it says; where not even two others have any, the sum stays."""
    before, liked, others, wanted, error = case
    assert moved(before, liked, [*others, (*silent, 0.0)], wanted, error) == pytest.approx(moved(*case), rel=1e-12)
    assert moved(before, liked, [(*silent, 0.0), others[0]], wanted, error) == before


@given(cases)
def test_one_answer_moves_the_sum_by_less_than_one(case: Case) -> None:
    """It grows by 1 - .08 - .25 at most, and never by agreement; it is never negative."""
    before, liked, others, wanted, error = case
    after = moved(*case)
    assert max(0.0, before - 1.25) - 1e-9 <= after <= before + 0.67 + 1e-9
    agreeing = [(liked, predicted, weight) for _, predicted, weight in others]
    assert moved(before, liked, agreeing, wanted, error) <= after
    assert moved(before, liked, agreeing, wanted, error) <= before


@given(coins=st.lists(coins, min_size=1, max_size=5), wanted=shares)
def test_who_errs_like_the_others_is_expected_to_fall(coins: list[Coins], wanted: float) -> None:
    """Of one who errs at the mean rate, an answer lowers the sum on average, however noisy all are."""
    error = float(trust.mean_error(*np.array([trust.standing(each) for each in coins]).sum(axis=0)))
    assert 0 < error <= 0.5 + 1e-9
    likes = error + (1 - 2 * error) * wanted
    mean = 0.0
    for z, chance in ((1.0, likes), (0.0, 1 - likes)):
        for other, its in ((1.0, likes), (0.0, 1 - likes)):
            mean += chance * its * (moved(5.0, z, [(other, likes, 1.0)] * 2, wanted, error) - 5)
    assert mean <= -trust.QUARANTINE_DRIFT + 1e-9


@given(coins)
def test_standing_in_plain_floats(each: Coins) -> None:
    """What a source adds to the mean error is the same in plain floats, and nothing of one that is not trusted."""
    assert plain.standing(each) == pytest.approx([float(value) for value in trust.standing(each)], rel=1e-9, abs=1e-9)
    if float(trust.channel(each).youden) <= 0:
        assert plain.standing(each) == (0.0, 0.0)


def test_an_inverter_is_found_and_nobody_else() -> None:
    """Simulated: with a tenth of the answers inverted, from the first or after honest work, in each of 20 courses within 300 of its own."""
    for turns in (0, 1000):
        found = detect(range(20), share=0.1, turns=turns, answers=turns + 1500)
        assert (found.own > 0).mean() >= 0.9
        assert found.own.max() <= 300
        assert set(found.first) == {0}
        assert found.false.sum() == 0


@pytest.mark.parametrize("flips", [0.02, 0.4])
def test_the_honest_are_left_alone(flips: float) -> None:
    """Simulated: of 20,000 answers of careful and of noisy operators, half of them after a drift, none silences its source."""
    found = detect(range(10), answers=2000, drift=1000, flips=flips)
    assert (found.false.sum(), found.honest.sum()) == (0, 20_000)


def test_one_against_one_silences_neither() -> None:
    """Simulated: where one of only two operators lies, nobody is silenced: that they disagree does not tell who errs."""
    assert set(detect(range(10), share=0.5, operators=2, answers=800).first) == {quarantine.NEVER}


@pytest.mark.parametrize("wrong", ["nothing expected", "late drift"])
def test_a_typical_wrong_rule_accuses_the_honest(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    """Simulated: without the expected disagreement taken off, or with a drift of .1, honest noisy operators are silenced."""
    if wrong == "late drift":
        monkeypatch.setattr(trust, "QUARANTINE_DRIFT", 0.1)
    else:
        right = trust.disagree

        def bare(statistic: Number, liked: Number, others: Voices, wanted: Number, error: Number) -> Number:
            nothing = Voices(others.liked, np.ones_like(others.predicted), others.weight)
            return right(statistic, liked, nothing, np.ones_like(wanted), np.zeros_like(error))

        monkeypatch.setattr(trust, "disagree", bare)
    assert detect(range(10), answers=2000, flips=0.4).false.sum() > 0


def test_a_course_is_the_same_alone_and_beside_others() -> None:
    """One seed gives the same numbers whichever other seeds are simulated with it."""
    together = detect([3, 4, 5], share=0.2, answers=500)
    alone = detect([4], share=0.2, answers=500)
    assert [values[1] for values in together] == [values[0] for values in alone]
    assert quarantine.NEVER not in together.first
