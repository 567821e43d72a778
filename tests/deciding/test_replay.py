"""Decider and learner as one fold: what the order of the log decides, and what its blocks do not."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agents.deciding.rows import ScopeRow
from agents.state import Row, read_row, row_key
from schemas.errors import RowError
from schemas.identity import SEPARATOR
from schemas.settings import Settings
from tests.deciding.logs import DEFAULT, PAPER_FIELDS, Folded, busy_log, in_teams, run, settings_with

SETTINGS = {
    "default": DEFAULT,
    "paper": settings_with(**PAPER_FIELDS),
    "mean": settings_with(score="mean"),
    "fixed": settings_with(selector="fixed", budget="raw", budget_start=2.0),
    "no_undo": settings_with(undo_window_ms=0),
    "equal": in_teams(settings_with(teams="equal", window_scenarios=20), ana="sre", ben="storage"),
    "no roster": in_teams(settings_with(teams="equal", score="mean", step="power")),
    "constant": settings_with(score="mean", step="constant", silence="pull"),
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.sets(st.integers(0, 400)))
@hypothesis_settings(max_examples=12)
def test_blocks_are_an_optimisation_not_a_meaning(settings: Settings, seed: int, cuts: set[int]) -> None:
    """Any way of cutting one log into blocks gives the same outputs and the same rows, byte for byte."""
    log = busy_log(seed)
    whole, cut, single = run(log, settings, set()), run(log, settings, cuts), run(log, settings, None)
    strip = [output._replace(ordinal=0) for output in whole.outputs]
    for other in (cut, single):
        assert [output._replace(ordinal=0) for output in other.outputs] == strip
        assert other.rows == whole.rows


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_replay_gives_the_same_bytes(settings: Settings) -> None:
    """A log of over 1,000 interleaved, late and changed answers with control records gives the same bytes again."""
    log = busy_log(7, scenarios=300, answers=1200)
    first, again = run(log, settings, set()), run(log, settings, set())
    assert first == again
    assert len(first.events("judgement")) > 50
    assert {"unknown_decision", "contradictory_revision", "not_surfaced", "undecodable"} <= set(first.reasons())


@given(seed=st.integers(0, 2**32 - 1))
@hypothesis_settings(max_examples=20)
def test_order_across_topics_matters(seed: int) -> None:
    """A decision and an answer that are merged the other way round do not give the same bytes."""
    log = busy_log(seed)
    random = np.random.default_rng(seed)
    places = [
        place
        for place in range(len(log) - 1)
        if {log[place].topic, log[place + 1].topic} == {"scenario", "feedback"} and b"poison" not in log[place].value + log[place + 1].value
    ]
    place = int(random.choice(places))
    swapped = [*log[:place], log[place + 1], log[place], *log[place + 2 :]]
    before, after = run(log, cuts=set()), run(swapped, cuts=set())
    emits = [output.value for output in before.outputs]
    # Only a pair that leaves no trace at all (a heartbeat that closes nothing beside an answer without effect) may commute.
    assert emits != [output.value for output in after.outputs] or before.rows == after.rows


def test_swapped_positions_change_the_bytes() -> None:
    """An answer taken before instead of after a decision of its scope changes what is written."""
    log = busy_log(7, scenarios=300, answers=1200)
    reference = [output.value for output in run(log, cuts=set()).outputs]
    changed = 0
    places = [place for place in range(len(log) - 1) if log[place].topic == "scenario" and log[place + 1].topic == "feedback"][:20]
    for place in places:
        swapped = [*log[:place], log[place + 1], log[place], *log[place + 2 :]]
        changed += [output.value for output in run(swapped, cuts=set()).outputs] != reference
    assert changed >= 15


def test_every_row_reads_back() -> None:
    """Every row carries its kind in its key and its schema version, and decodes as that kind."""
    kinds = {kind.kind: kind for kind in Row.__subclasses__()}
    for key, value in run(busy_log(3), cuts=set()).rows.items():
        assert read_row(kinds[key.decode().partition(SEPARATOR)[0]], value).version == 1


@pytest.mark.parametrize("value", [b"", b"junk", msgspec.msgpack.encode(ScopeRow(version=2))])
def test_a_row_of_another_release_stops_the_task(value: bytes) -> None:
    """State that this release cannot read raises, and no record is made a dead letter for it."""
    log = busy_log(3)[:20]
    folded = Folded(rows={row_key(ScopeRow, scope): value for scope in ("shop", "bank")})
    with pytest.raises(RowError):
        run(log, cuts=set(), onto=folded)
    assert folded.outputs == []
