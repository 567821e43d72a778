"""The rows of the monitoring task: one msgpack struct a row, a key says its kind."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import msgspec
from msgspec import Struct

from agents.state import Row
from agents.training.turn import CANDIDATE_WINDOWS
from schemas.alignment import OffPolicy

HISTORY_WINDOWS = CANDIDATE_WINDOWS  # further back no candidate is held against the others
WAITING_MAX = 2 * HISTORY_WINDOWS  # a window and a result each


class Window(Struct, array_like=True, frozen=True, tag="window"):
    """What the trainer has said of one window; `first` while no model but the initial one has been in force.

    `deviation` is the standard deviation of the challenger's advantage.
    """

    window: int
    time_ms: int
    in_force: str
    first: bool
    challenger: str | None
    next: str | None
    judged: int
    cost_in_force: float
    cost_challenger: float | None
    costs: dict[str, float]
    deviation: float = 0.0

    @property
    def advantage(self) -> float | None:
        """What the challenger would have saved over the window, in the declared costs."""
        return None if self.cost_challenger is None else self.cost_in_force - self.cost_challenger


class Answered(Struct, array_like=True, frozen=True, tag="answered"):
    """What the trainer has said of one command."""

    command: str
    adopted: bool
    evaluation: OffPolicy | None


class Evidence(Struct, array_like=True, frozen=True):
    """The statistic that the monitor watches, the first window that it speaks of, and the variance of what was added up since."""

    statistic: float = 0.0
    since: int | None = None
    variance: float = 0.0


class Sight(NamedTuple):
    """What is known of a window beside what the trainer says.

    Attributes:
        loss: alignment loss per scenario, None where it is not known.
        before: that of the window before.
        width: of the loss's interval.
        paper_loss: the mean target y, None where nothing closed.
        trust: mean trust in who has answered, in [0, 1].
        past: the windows before, oldest first.
        since: windows since the last command, or since the scope's first window.
        draw: uniform in [0, 1), seeded by the window.
    """

    loss: float | None = None
    before: float | None = None
    width: float = 0.0
    paper_loss: float | None = None
    trust: float = 1.0
    past: Sequence[Window] = ()
    since: int = 0
    draw: float = 1.0


class Seen(Struct, array_like=True, frozen=True):
    """What the monitor `learned` saw at the end of a window."""

    window: int
    features: tuple[float, ...]


class Learned(Struct, array_like=True, frozen=True):
    """What the monitor `learned` has learned, none before its first step, and what it saw of late."""

    weights: tuple[float, ...] = ()
    seen: tuple[Seen, ...] = ()


class Commanded(Struct, array_like=True):
    """One command: at the end of which window, for a first model or not, adopted or not (None: no result has come).

    `judgements` is what the evidence must hold before the next one, where the trainer found too little in it.
    """

    id: str
    window: int
    first: bool
    adopted: bool | None = None
    judgements: int = 0


class MonitorRow(Row):
    """One scope: the last window taken in, the evidence, the commands of the last windows, and whether they are too many.

    `waiting` are records of the trainer, in their order, before which a loss window has to come. `started` is the first window taken in.
    """

    kind: ClassVar[str] = "monitor"
    last: int = -1
    started: int = -1
    first: bool = True
    evidence: Evidence = Evidence()
    learned: Learned = Learned()
    commands: list[Commanded] = msgspec.field(default_factory=list)
    waiting: list[Window | Answered] = msgspec.field(default_factory=list)
    raised: list[str] = msgspec.field(default_factory=list)


class WindowsRow(Row):
    """The last windows of one scope as the trainer has told them, oldest first."""

    kind: ClassVar[str] = "monitor_windows"
    windows: list[Window] = msgspec.field(default_factory=list)


class Behaviour(Struct, array_like=True):
    """What the decider has said of one window; the reward in minutes per scenario, the best arm where there is one.

    `width` is that of the loss's interval, `trust` the mean trust in the answers given so far, None before it is told.
    """

    window: int
    surfaced: int
    withheld: int
    overrides_per_answered: float | None
    loss: float | None
    paper_loss: float | None
    reward: float
    best_arm: float | None = None
    width: float = 0.0
    trust: float | None = None


class BehaviourRow(Row):
    """The last windows of one scope as the decider has told them, oldest first, and the alarms raised."""

    kind: ClassVar[str] = "monitor_behaviour"
    windows: list[Behaviour] = msgspec.field(default_factory=list)
    raised: list[str] = msgspec.field(default_factory=list)
