"""The numbers that are shown: counted once, whoever counts them and in whatever order the topics come."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.events import Heartbeat
from streams.serving.tally import Tally


def heartbeat(scope: str, time_ms: int, samples: int) -> Heartbeat:
    """A heartbeat of which only scope, time and samples matter."""
    return Heartbeat(f"{scope}-{time_ms}", scope, time_ms, samples, 0, 0, 1)


@given(
    st.lists(
        st.tuples(st.sampled_from(("npo/encoding/0", "npo/encoding/1")), st.sampled_from(("web", "db")), st.integers(0, 50)), max_size=20
    )
)
def test_samples_are_the_sum_of_what_each_encoder_last_said(beats: list[tuple[str, str, int]]) -> None:
    """Heartbeats carry each encoder's count so far: samples of a scope are the sum of the encoders' largest counts."""
    tally = Tally()
    largest: dict[tuple[str, str], int] = {}
    for time_ms, (source, scope, samples) in enumerate(beats):
        tally.add("scenario", heartbeat(scope, time_ms, samples), source)
        largest[source, scope] = max(largest.get((source, scope), 0), samples)
    assert {scope: numbers.samples for scope, numbers in tally.scopes.items()} == {
        scope: sum(count for (_, name), count in largest.items() if name == scope) for scope in tally.scopes
    }
    assert tally.total().samples == sum(largest.values())


def test_topics_that_show_nothing_are_left_out() -> None:
    """Records of other topics make no scope and change no number."""
    tally = Tally()
    tally.add("telemetry", heartbeat("web", 1, 1))
    assert tally.scopes == {}
    assert tally.total().override_rates == {"surfaced": None, "answered": None, "scenario": None}
