"""Made-up windows of one scope as decider and trainer tell them, and what folds them."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from agents.deciding.windows import EARLY_WINDOWS
from agents.monitoring.monitor import monitor
from agents.monitoring.rows import Behaviour, Window
from agents.thresholds import ARMS
from schemas.alignment import (
    ChallengerWindow,
    LossWindow,
    OffPolicy,
    Rate,
    RetrainingResult,
    SourceTrust,
    ThresholdRow,
    ThresholdTable,
    TrustSummary,
)
from schemas.events import BudgetState
from schemas.identity import derived_name
from schemas.settings import Settings
from tests.deciding.logs import START_MS, settings_with
from tests.folding import Entry, Folding

SCOPE = "shop"
SETTINGS = settings_with()
TOPICS = ("alignment", "retraining-result")

Series = Sequence[float] | npt.NDArray[np.float64]
UNKNOWN = Rate(0, 0, 0.0, 1.0)
BETTER = OffPolicy(400, 250.0, 0.0, 0.4, 0.3, 0.1, 0.02, 60)
NO_BETTER = OffPolicy(400, 250.0, 0.0, 0.4, 0.39, 0.01, 0.02, 60)
TOO_FEW = OffPolicy(60, 40.0, 0.0, 0.4, 0.2, 0.2, 0.1, 25)


def at(window: int) -> int:
    """When a window ends."""
    return START_MS + window * 3_600_000


def challenger(
    window: int,
    in_force: float = 100.0,
    other: float | None = 100.0,
    *,
    model: str = "m0",
    costs: dict[str, float] | None = None,
    fitted: str | None = None,
    deviation: float | None = None,
) -> Entry:
    """What the trainer says of a window: what the model in force cost, and the challenger fitted at the end of the one before."""
    name = None if other is None else f"c{window - 1}"
    known = {model: in_force} | ({} if name is None or other is None else {name: other}) if costs is None else costs
    event = ChallengerWindow(
        id=derived_name(SCOPE, "challenger", window),
        scope=SCOPE,
        time_ms=at(window),
        window=window,
        judged=120,
        surfaced=100,
        withheld=20,
        in_force=model,
        challenger=name,
        cost_in_force=in_force,
        cost_challenger=other,
        costs=known,
        next=f"c{window}" if fitted is None else fitted,
        examples=500,
        positions={"judgement": window},
        deviation=deviation,
    )
    return "alignment", event


def command_of(window: int) -> str:
    """The id of the command at a window's end."""
    return derived_name(SCOPE, "retraining-command", window)


def result(window: int, evaluation: OffPolicy | None = BETTER, *, adopted: bool = False, command: str | None = None) -> Entry:
    """What came of the command of a window."""
    name = command or command_of(window)
    event = RetrainingResult(
        id=derived_name(name, "result"),
        command=name,
        scope=SCOPE,
        time_ms=at(window),
        window=window + 1,
        status="adopted" if adopted else "refused",
        reason="because",
        in_force="m0",
        evaluation=evaluation,
        model=None,
        positions={},
    )
    return "retraining-result", event


def loss(window: int, paper: float | None = 0.1, **changed: Any) -> Entry:  # noqa: ANN401 - any field
    """What the decider says of a window."""
    fields: dict[str, Any] = {
        "id": derived_name(SCOPE, "window", window), "scope": SCOPE, "time_ms": at(window), "window": window, "scenarios": 200,
        "surfaced": 120, "withheld": 80, "blocked": 0, "answers": {}, "override_given_answered": UNKNOWN, "miss_given_outcome": UNKNOWN,
        "loss": None, "loss_low": 0.0, "loss_high": 1.0, "paper_loss": paper, "paper_loss_floor": 0.0, "overrides_per_surfaced": None,
        "overrides_per_answered": None, "overrides_per_scenario": None, "reward_minutes": 0.0, "positions": {"scenario": window},
    }  # fmt: skip
    return "alignment", LossWindow(**(fields | changed))


def thresholds(window: int, best: float | None = None) -> Entry:
    """The threshold table of a window; `best` is the arm with the largest mean, without it all are alike."""
    rows = tuple(ThresholdRow(arm, 0, 0, 0, 0, 9.0 if arm == best else 1.0, 1.0) for arm in ARMS)
    return "alignment", ThresholdTable(derived_name(SCOPE, "thresholds", window), SCOPE, at(window), window, 0, rows, {})


def trust(window: int, weight: float = 1.0) -> Entry:
    """What the decider says of its sources at a window's end, last of all."""
    source = SourceTrust("ana", 0.9, 0.9, weight, 40, 4)
    return "alignment", TrustSummary(
        derived_name(SCOPE, "trust", window), SCOPE, at(window), window, (source,), BudgetState(1.0, 1.0, 0), {}
    )


class Folded(Folding):
    """What a log came to at the monitor."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        super().__init__(monitor, TOPICS, SCOPE, settings)

    def commanded(self) -> list[int]:
        """The windows at whose end a retraining was commanded."""
        return [command.window for command in self.events("retraining-command")]


def without_positions(events: list[Any]) -> list[Any]:
    """The events, positions aside."""
    return [msgspec.structs.replace(event, positions={}) for event in events]


def seen(
    window: int,
    costs: dict[str, float],
    *,
    in_force: str,
    cost_in_force: float | None = None,
    fitted: str | None = None,
    first: bool = False,
) -> Window:
    """One window as hindsight sees it."""
    cost = costs[in_force] if cost_in_force is None else cost_in_force
    return Window(window, at(window), in_force, first, None, fitted, 100, cost, None, costs)


def behaviours(*, overrides: Series = (), loss: Series = (), reward: Series = ()) -> list[Behaviour]:
    """Windows of the decider, none of them short, in which these change and everything else stands still."""
    count = max(len(overrides), len(loss), len(reward))
    columns = [series if len(series) else np.full(count, 0.1) for series in (overrides, loss, reward)]
    return [
        Behaviour(window, 120, 80, float(one), float(two), None, float(three))
        for window, (one, two, three) in enumerate(zip(*columns, strict=True), EARLY_WINDOWS)
    ]
