"""What the simulated world must hold."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.world import (
    FROZEN_SCOPE,
    HOUR_MS,
    METRICS,
    QUIET_MS,
    SCOPE,
    START_MS,
    STEP_MS,
    World,
    entity_name,
    event_at,
    events,
    longer,
    server_of,
    telemetry,
    time_of,
)

SMALL = World(seed=5, busy_h=48, servers=6)
steps = st.integers(0, SMALL.steps - 1)


@settings(max_examples=20)
@given(steps, steps)
def test_any_slice_is_the_same_bytes(one: int, other: int) -> None:
    """A slice made alone equals the same slice of the whole."""
    first, last = min(one, other), max(one, other) + 1
    assert telemetry(SMALL, first, last).tobytes() == telemetry(SMALL, 0, SMALL.steps)[first:last].tobytes()


def test_a_server_does_not_depend_on_how_many_there_are() -> None:
    """A server's telemetry and events are its own: more servers beside it change nothing."""
    more = World(seed=5, busy_h=48, servers=8)
    assert telemetry(more, 400, 1200)[:, :6].tobytes() == telemetry(SMALL, 400, 1200).tobytes()
    assert all(events(more, server) == events(SMALL, server) for server in range(6))


def test_another_seed_is_another_world() -> None:
    """Seeds matter, to noise and to events."""
    other = World(seed=6, busy_h=48, servers=6)
    assert not np.any(np.all(telemetry(other, 0, 50) == telemetry(SMALL, 0, 50), axis=(0, 1)))
    assert events(other, 0) != events(SMALL, 0)


def test_a_longer_world_goes_on_where_the_shorter_one_ends() -> None:
    """Until its events end all is the same, the turn too; then they go on, past the shorter world's telemetry."""
    more = longer(SMALL, 24)
    assert (more.turn_ms, more.quiet_ms) == (SMALL.turn_ms, time_of(SMALL.steps) + 24 * HOUR_MS)
    last = (SMALL.quiet_ms - START_MS) // STEP_MS
    assert telemetry(more, 0, last).tobytes() == telemetry(SMALL, 0, last).tobytes()
    assert any(event.start_ms >= time_of(SMALL.steps) for server in range(SMALL.servers) for event in events(more, server))


def test_both_scopes_are_the_same_servers() -> None:
    """Names in the two scopes differ, and lead to the same server."""
    for server in range(SMALL.servers):
        names = {entity_name(SCOPE, server), entity_name(FROZEN_SCOPE, server)}
        assert len(names) == 2
        assert {server_of(name) for name in names} == {server}


def test_nothing_happens_in_warm_up_and_tail() -> None:
    """Every event begins after the warm-up and before the quiet end, and ends before the telemetry does."""
    for server in range(SMALL.servers):
        for event in events(SMALL, server):
            assert SMALL.busy_ms <= event.start_ms < SMALL.quiet_ms
            assert event.start_ms < event.end_ms < time_of(SMALL.steps)


def test_events_of_one_server_keep_apart() -> None:
    """Two hours lie between any two events of one server, backups included."""
    for server in range(SMALL.servers):
        known = events(SMALL, server)
        assert len(known) >= 2
        assert all(after.start_ms - before.end_ms >= QUIET_MS for before, after in pairwise(known))


def test_event_at_is_what_happens_then() -> None:
    """An event is found from its first moment to its last, and nothing outside."""
    for event in events(SMALL, 2):
        assert event_at(SMALL, 2, event.start_ms) == event == event_at(SMALL, 2, event.end_ms - 1)
        assert event_at(SMALL, 2, event.start_ms - 1) is None
        assert event_at(SMALL, 2, event.end_ms) is None


def test_values_are_possible() -> None:
    """No metric is negative or above its ceiling, none is missing."""
    whole = telemetry(SMALL, 0, SMALL.steps)
    assert np.all(np.isfinite(whole))
    assert np.all(whole > 0)
    assert np.all(whole <= np.array([metric.ceiling for metric in METRICS.values()]))
