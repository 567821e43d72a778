"""Monitor and trainer together: judgements in, models out, commanded when the world turns and not otherwise."""

from itertools import groupby

import pytest

from schemas.alignment import Fidelity
from tests.monitoring.streams import SETTINGS, Folded
from tests.training.streams import Folded as Trainer
from tests.training.streams import judgements


def loop(seed: int, windows: int, turn_at: int | None) -> tuple[Trainer, Folded]:
    """Run both over one scope's judgements, window by window, each reading what the other wrote."""
    trainer, monitor = Trainer(SETTINGS), Folded(SETTINGS)
    for _, events in groupby(judgements(seed, windows, turn_at=turn_at), key=lambda event: event.window):
        trainer.run([("judgement", event) for event in events], cuts=set())
        before = 0
        while len(trainer.outputs) + len(monitor.outputs) > before:
            before = len(trainer.outputs) + len(monitor.outputs)
            for topic in ("alignment", "retraining-result"):
                monitor.run([(topic, event) for event in trainer.events(topic)[monitor.positions[topic] :]])
            for topic, source in (("retraining-command", monitor), ("model", trainer)):
                trainer.run([(topic, event) for event in source.events(topic)[trainer.positions[topic] :]])
    assert not trainer.dead()
    assert not monitor.dead()
    return trainer, monitor


@pytest.mark.parametrize("seed", [1, 3])
def test_the_loop_follows_a_world_that_turns(seed: int) -> None:
    """A first model is deployed at once; where the world turns, another one within five windows, at a cost near the best in hindsight."""
    trainer, monitor = loop(seed, 13, turn_at=6)
    adopted = [result.window for result in trainer.events("retraining-result") if result.status == "adopted"]
    assert adopted[0] <= 4
    assert any(6 < window <= 11 for window in adopted)
    last = monitor.events("alignment", Fidelity)[-1]
    assert 0 <= last.fidelity <= 1
    assert last.cost <= 1.5 * last.cost_best


def test_the_loop_keeps_still_where_nothing_turns() -> None:
    """In a world that stays as it is, the first model is the only one that is deployed."""
    trainer, _ = loop(0, 10, turn_at=None)
    assert [result.status for result in trainer.events("retraining-result")].count("adopted") == 1
