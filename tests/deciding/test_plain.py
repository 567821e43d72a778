"""The arithmetic of the deciding task in plain floats against `agents.scoring`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import scoring
from agents.deciding import learning, plain
from agents.scoring import Channel, Drift, Offsets

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
