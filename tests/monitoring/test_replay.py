"""The order inside each writer's records decides, and nothing else: neither blocks nor how the writers interleave."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agents.monitoring.rows import BehaviourRow, MonitorRow, WindowsRow
from agents.state import Row, read_row, row_key
from schemas import codecs
from schemas.alignment import Alarm, Fidelity, MonitorDecision, TrustSummary
from schemas.errors import RowError
from schemas.events import BudgetState
from schemas.settings import Settings
from tests.deciding.logs import settings_with
from tests.folding import Entry
from tests.monitoring.streams import (
    BETTER,
    NO_BETTER,
    SCOPE,
    TOO_FEW,
    Folded,
    at,
    challenger,
    command_of,
    loss,
    result,
    thresholds,
    without_positions,
)

SETTINGS = {
    "challenger": settings_with(),
    "threshold": settings_with(monitor="threshold", selector="thompson"),
    "learned": settings_with(monitor="learned"),
    "periodic": settings_with(monitor="periodic", retraining_period_windows=4),
    "random": settings_with(monitor="random", retraining_period_windows=4),
    "always": settings_with(monitor="always"),
    "never": settings_with(monitor="never"),
}
SEEDS = st.integers(0, 2**32 - 1)


def decider(seed: int, windows: int = 30) -> list[Entry]:
    """What the decider writes: windows with everything that moves, their tables, and records that are not for the monitor."""
    draw, log = np.random.default_rng(seed), []
    for window in range(windows):
        worse = 0.2 if window > 18 else 0.0
        entry = loss(
            window,
            float(draw.uniform(0.0, 0.6)),
            surfaced=int(draw.integers(0, 2)) * 100,
            overrides_per_answered=float(draw.uniform(0.0, 0.1)) + worse,
            loss=float(draw.uniform(0.0, 0.1)) + worse,
            reward_minutes=float(draw.uniform(0, 10)) + 100 * worse,
        )
        log += [entry, loss(-1, 0.9), thresholds(window, float(draw.choice([0.5, 0.9], p=[0.2, 0.8])))]
        log.append(("alignment", TrustSummary(f"t{window}", SCOPE, at(window), window, (), BudgetState(1.0, 1.0, 0), {})))
    return log


def trainer(seed: int, windows: int = 30) -> list[Entry]:
    """What the trainer writes: windows, some of them never, and what came of commands, sooner or later."""
    draw, log = np.random.default_rng(seed), []
    model, late = "initial", []
    for window in range(windows):
        if draw.random() < 0.1:
            continue
        costs = {model: 100.0, **{f"c{past}": float(draw.integers(60, 120)) for past in range(max(0, window - 5), window)}}
        log.append(challenger(window, float(draw.integers(80, 140)), costs.get(f"c{window - 1}"), model=model, costs=costs))
        adopted = bool(draw.random() < 0.5)
        late.append(result(window, [BETTER, NO_BETTER, TOO_FEW, None][draw.integers(4)], adopted=adopted))
        if draw.random() < 0.6:
            log += late
            late = []
        if adopted and draw.random() < 0.5:
            model = f"c{window}"
        if draw.random() < 0.05:
            model = "given"
    return log + late


def interleaved(seed: int, *streams: list[Entry]) -> list[Entry]:
    """The streams merged by lot, each in its own order; in runs of random length."""
    draw, left, log = np.random.default_rng(seed), [list(stream) for stream in streams if stream], []
    while left:
        stream = left[int(draw.integers(len(left)))]
        count = int(draw.integers(1, 12))
        log += stream[:count]
        del stream[:count]
        left = [stream for stream in left if stream]
    return log


def meaning(folded: Folded) -> dict[str, list[Any]]:
    """What was written, positions aside, in the order of each kind."""
    alarms = without_positions(folded.events("alignment", Alarm))
    return {
        "commands": without_positions(folded.events("retraining-command")),
        "decisions": without_positions(folded.events("alignment", MonitorDecision)),
        "fidelity": without_positions(folded.events("alignment", Fidelity)),
        **{name: [alarm for alarm in alarms if alarm.name == name] for name in sorted({alarm.name for alarm in alarms})},
    }


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@given(seed=SEEDS, cuts=st.sets(st.integers(0, 250)))
@hypothesis_settings(max_examples=15)
def test_blocks_are_an_optimisation_not_a_meaning(settings: Settings, seed: int, cuts: set[int]) -> None:
    """Any way of cutting one log into blocks gives the same outputs and the same rows, byte for byte."""
    log = interleaved(seed, decider(seed), trainer(seed))
    whole, cut, single = (Folded(settings).run(log, where) for where in (set(), cuts, None))
    strip = [output._replace(ordinal=0) for output in whole.outputs]
    assert strip
    for other in (cut, single):
        assert [output._replace(ordinal=0) for output in other.outputs] == strip
        assert other.rows == whole.rows


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@given(seed=SEEDS, first=SEEDS, second=SEEDS)
@hypothesis_settings(max_examples=40)
def test_how_writers_interleave_does_not_matter(settings: Settings, seed: int, first: int, second: int) -> None:
    """Decider, trainer and the monitor's own records, merged in any way, give the same commands, actions, fidelity, alarms and rows."""
    writers = decider(seed), trainer(seed)
    one = Folded(settings).run(interleaved(first, *writers), set())
    own: list[Entry] = [("alignment", event) for event in one.events("alignment")]
    other = Folded(settings).run(interleaved(second, *writers, own), set())
    assert meaning(other) == meaning(one)
    assert other.rows == one.rows


def test_the_logs_of_these_tests_hold_everything() -> None:
    """Commands, waits, fidelity and every alarm of the monitor occur in them."""
    seen: set[str] = set()
    for seed in range(12):
        for settings in SETTINGS.values():
            seen |= {name for name, events in meaning(Folded(settings).run([*decider(seed), *trainer(seed)], set())).items() if events}
    assert seen >= {"commands", "decisions", "fidelity", "overrides_rise", "reward_and_loss_rise", "threshold_stuck"}


def test_its_own_records_move_nothing() -> None:
    """The monitor that reads back what it wrote writes nothing and touches no row."""
    folded = Folded().run([*decider(1), *trainer(1)])
    own: list[Entry] = [("alignment", event) for event in folded.events("alignment")]
    assert len(own) > 30
    before, count = dict(folded.rows), len(folded.outputs)
    folded.run(own)
    assert (folded.rows, len(folded.outputs)) == (before, count)


def test_every_row_reads_back() -> None:
    """Every row carries its kind in its key and its schema version, and its kind is no other row's."""
    rows = Folded().run([*decider(2), *trainer(2)]).rows
    assert set(rows) == {row_key(kind, SCOPE) for kind in (MonitorRow, WindowsRow, BehaviourRow)}
    for kind in (MonitorRow, WindowsRow, BehaviourRow):
        assert read_row(kind, rows[row_key(kind, SCOPE)]).version == 1
    kinds = [kind.kind for kind in Row.__subclasses__()]
    assert len(kinds) == len(set(kinds))


def test_a_row_of_another_release_stops_the_task() -> None:
    """State that this release cannot read raises, and no record is made a dead letter for it."""
    folded = Folded()
    folded.rows[row_key(MonitorRow, SCOPE)] = b"junk"
    with pytest.raises(RowError):
        folded.run(trainer(1))
    assert folded.outputs == []


def test_commands_are_named_by_scope_and_window() -> None:
    """The same window's command has the same name in every run: its name is its idempotency key."""
    for seed in range(5):
        for command in Folded().run(trainer(seed)).events("retraining-command"):
            assert command.id == command_of(command.window)
            assert codecs.decode("retraining-command", codecs.encode(command)) == command
