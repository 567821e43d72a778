"""A record's turn in the monitoring task: what a scope's rows hold, and how alarms are told."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from agents import turn
from agents.monitoring.rows import BehaviourRow, MonitorRow, WindowsRow
from agents.monitoring.signatures import BACK, Signature
from schemas.alignment import Alarm
from schemas.identity import derived_name


@dataclass
class Turn(turn.Turn):
    """One record's turn in its scope."""

    group: ClassVar[str] = "monitoring"

    @cached_property
    def row(self) -> MonitorRow:
        """What the monitor knows of the scope."""
        return self.state.get(MonitorRow, self.scope)

    @property
    def told(self) -> WindowsRow:
        """The windows that the trainer has told; a row of its own, as it is large and changes once a window."""
        return self.state.get(WindowsRow, self.scope)

    @property
    def behaviour(self) -> BehaviourRow:
        """The windows that the decider has told."""
        return self.state.get(BehaviourRow, self.scope)

    def alarm(self, raised: list[str], name: str, look: Callable[[float], Signature], window: int, time_ms: int) -> None:
        """Look for a signature; raise its alarm, or take it back, if that is a change."""
        signature = look(BACK if name in raised else 1.0)
        if signature.shows == (name in raised):
            return
        if signature.shows:
            raised.append(name)
        else:
            raised.remove(name)
        identity = derived_name(self.scope, f"alarm-{name}", window)
        event = Alarm(identity, self.scope, time_ms, name, signature.shows, signature.detail, self.positions)
        self.emit("alignment", identity, time_ms, event)
