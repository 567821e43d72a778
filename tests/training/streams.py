"""Made-up judgements of one scope, from a world whose truth is known, and what folds them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from msgspec import Struct
from scipy.special import expit

from agents.training.trainer import train
from schemas.alignment import RetrainingCommand
from schemas.events import JudgedAnswer, Judgement, Reason, Status
from schemas.settings import Settings
from tests.deciding.logs import START_MS, settings_with
from tests.folding import Folding

SETTINGS = settings_with()
SCOPE = "shop"
TOPICS = ("judgement", "retraining-command", "model", "control")
Entry = tuple[str, Struct]


def answer(source: str, *, liked: bool, time_ms: int = START_MS, sequence: int = 1) -> JudgedAnswer:
    """One answer of a good source, as it was applied."""
    return JudgedAnswer(source, "like" if liked else "override", time_ms, 0.95, 0.95, 1.0, float(not liked), 0.0, sequence, 1.0)


def judgements(
    seed: int,
    windows: int,
    a_window: int = 200,
    turn_at: int | None = None,
    strength: float = 3.0,
    answered: float = 1.0,
) -> Iterator[Judgement]:
    """Yield judgements, one a scenario, half of them surfaced by lot: wanted with logit 1.5 + strength x, from `turn_at` on -strength x.

    Args:
        seed: of everything drawn.
        windows: of `a_window` decisions each.
        a_window: decisions in a window.
        turn_at: window from which on the feature says the opposite.
        strength: of the feature x ~ N(0, 1), in logit.
        answered: share of the decisions that are judged.
    """
    draw, surfaced = np.random.default_rng(seed), 0
    for number in range(windows * a_window):
        window = number // a_window
        x, answers, shown = float(draw.standard_normal()), draw.random() < answered, bool(draw.random() < 0.5)
        sign = -1 if turn_at is not None and window >= turn_at else 1
        liked = bool(draw.random() < expit(1.5 + sign * strength * x))
        surfaced += shown
        if answers:
            kind = {} if shown else {"status": Status.WITHHELD, "reason": Reason.BELOW_THRESHOLD, "closed_by": "outcome"}
            counts = {"scored_surfaced": surfaced, "scored_withheld": number + 1 - surfaced}
            yield judgement(number, window, x, liked=liked, propensity=0.5, **kind, **counts)


def judgement(number: int, window: int, x: float, *, liked: bool, **changed: Any) -> Judgement:  # noqa: ANN401 - any field
    """The judgement of one surfaced decision."""
    time_ms = START_MS + number * 60_000
    fields: dict[str, Any] = {
        "decision": f"d{number}", "revision": 1, "scope": SCOPE, "entity": f"web-{number % 7}",
        "scenario_class": f"{SCOPE}|m{number % 3}:up|restart", "time_ms": time_ms, "decided_ms": time_ms, "status": Status.SURFACED,
        "closed_by": "answer", "features": {"log_score": 0.2, "x": x}, "model": "initial", "model_output": 0.0, "confidence": 0.9,
        "propensity": 0.95, "target": float(not liked), "weight": 1.0, "answers": (answer("ana", liked=liked, sequence=number // 3 + 1),),
        "positions": {}, "reason": Reason.PASSED, "window": window, "scored_surfaced": number, "scored_withheld": 0,
    }  # fmt: skip
    return Judgement(**(fields | changed))


def command(identity: str, evidence: tuple[int, int], number: int) -> RetrainingCommand:
    """A command over some windows."""
    return RetrainingCommand(
        identity, SCOPE, START_MS + number * 60_000, "challenger", evidence[1], *evidence, 25.0, 20.0, 2, None, "npo/monitoring/0", {}
    )


class Folded(Folding):
    """What a log came to at the trainer."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        super().__init__(train, TOPICS, SCOPE, settings)


def log_of(events: Iterator[Judgement]) -> list[Entry]:
    """Return judgements as a log."""
    return [("judgement", event) for event in events]
