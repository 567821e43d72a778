"""The arithmetic of the deciding task in plain floats against `agents.scoring`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import alignment, scoring, trust
from agents.deciding import learning, plain
from agents.deciding.rows import SourceRow
from agents.deciding.turn import coins_of
from agents.scoring import Channel, Drift, Offsets
from agents.thresholds import ARMS

shares = st.floats(0, 1)
answers = st.lists(
    st.tuples(st.floats(-1e200, 1e200) | st.floats(-9, 9), st.sampled_from([0.0, 1.0]), shares, shares), min_size=1, max_size=60
)


@given(log=answers, counted=st.lists(st.floats(0.01, 1), min_size=60, max_size=60))
def test_a_class_hears_in_plain_floats_what_it_hears_in_arrays(log: list[tuple[float, float, float, float]], counted: list[float]) -> None:
    """Whatever a class hears, from truth to lies and at the edges of confidence, each answer gives the numbers of `scoring`."""
    row = learning.new_class()
    for (output, liked, alpha, beta), kappa in zip(log, counted, strict=False):
        before = Offsets(row.offset, row.information, row.draw_information)
        drift, heard = Drift(row.rising, row.falling), Channel(alpha, beta)
        wanted = plain.confidence(output, row.offset)
        assert wanted == pytest.approx(float(scoring.confidence(output, row.offset)), rel=1e-12)
        after = scoring.update(before, liked, heard, wanted, kappa)
        drift, after = scoring.forget(drift, after, liked, heard, wanted)
        plain.hear(row, liked, heard, wanted, kappa)
        ours = [row.rising, row.falling, row.offset, row.information, row.draw_information]
        assert ours == pytest.approx([float(value) for value in (*drift, *after)], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("liked", [0.0, 1.0])
def test_a_class_that_turns_jumps_in_plain_floats_too(liked: float) -> None:
    """A class that was known well forgets and jumps at the same answer as in `scoring`, and both sums start anew."""
    row, heard, jumps = learning.new_class(), Channel(0.95, 0.95), []
    for number in range(90):
        z = liked if number < 60 else 1 - liked
        wanted = plain.confidence(0.0, row.offset)
        before, drift = Offsets(row.offset, row.information, row.draw_information), Drift(row.rising, row.falling)
        drift, after = scoring.forget(drift, scoring.update(before, z, heard, wanted, 1.0), z, heard, wanted)
        plain.hear(row, z, heard, wanted, 1.0)
        assert [row.rising, row.falling, row.offset, row.information] == pytest.approx([*drift, *after[:2]], rel=1e-9, abs=1e-9)
        jumps.append(row.information < before.information)
    assert any(jumps)


@given(source_answers=st.integers(1, 500), others=st.integers(0, 500))
def test_the_share_that_counts_is_the_same(source_answers: int, others: int) -> None:
    """Kappa in plain floats is that of `scoring`."""
    class_answers = source_answers + others
    assert plain.cap(class_answers, source_answers) == scoring.cap(class_answers, source_answers)


confidences = st.floats(0, 1) | st.sampled_from(ARMS)


@given(log=st.lists(st.tuples(confidences, st.booleans()), max_size=30))
def test_the_threshold_table_counts_the_same(log: list[tuple[float, bool]]) -> None:
    """The table in plain numbers is that of `alignment`, scenario by scenario and answer by answer, also at the thresholds themselves."""
    table, expected = alignment.empty_counts().tolist(), alignment.empty_counts()
    for confidence, wanted in log:
        plain.count_scenario(table, confidence)
        plain.count_known(table, confidence, wanted=wanted)
        expected = alignment.count_scenarios(expected, np.array([confidence]))
        expected = alignment.count_known(expected, np.array([confidence]), np.array([wanted]))
    assert table == expected.tolist()


counts = st.floats(0.01, 1000)


@given(heard=st.tuples(counts, counts, counts, counts), answers=st.integers(0, 900), overrides=st.integers(0, 900), rate=shares)
def test_trust_and_wealth_are_the_same(heard: tuple[float, float, float, float], answers: int, overrides: int, rate: float) -> None:
    """Channel, weight and wealth of a source in plain floats are exactly those of `trust`."""
    likes, wanted, against, unwanted = heard
    row = SourceRow(likes=likes, wanted=likes + wanted, overrides=against, unwanted=against + unwanted)
    source = trust.channel(coins_of(row))
    assert plain.channel(row) == tuple(source)
    assert plain.weight(source) == trust.weight(source)
    assert plain.wealth(source, answers, overrides, rate) == trust.wealth(source, answers, overrides, rate)
