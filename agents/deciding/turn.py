"""A record's turn in the deciding task: what decider and learner share of their scope's state."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from agents import turn
from agents.deciding.rows import DecisionRow, GlobalRow, ScopeRow, SourceRow, SourcesRow
from agents.scoring import PERFECT, Channel
from agents.trust import Coins, channel, prior
from schemas.alignment import Alarm
from schemas.identity import derived_name

SOURCES_MAX = 2_000
OTHERS = "(others)"


@dataclass
class Turn(turn.Turn):
    """One record's turn in its scope."""

    group: ClassVar[str] = "deciding"

    @cached_property
    def row(self) -> ScopeRow:
        """The scope's row; a new scope starts under the profile's initial model."""
        row = self.state.find(ScopeRow, self.scope)
        if row is None:
            profile = self.settings.profile
            row = ScopeRow(model="initial", intercept=profile.initial_intercept, weights=dict(profile.initial_weights))
            self.state.put(row, self.scope)
        return row

    def source(self, name: str) -> SourceRow:
        """Return a source's row; a new one starts with the roster's prior, or an unknown account's.

        Beyond SOURCES_MAX names all new ones share one row, so that made-up accounts cannot outgrow a record.
        """
        row = self.state.find(SourceRow, self.scope, name)
        if row is None and name != OTHERS and len(self.state.get(SourcesRow, self.scope).names) >= SOURCES_MAX:
            return self.source(OTHERS)
        if row is None:
            team = self.settings.catalogue.operators.get(name)
            likes, wanted, overrides, unwanted = (float(count) for count in prior(on_roster=team is not None))
            row = SourceRow(likes=likes, wanted=wanted, overrides=overrides, unwanted=unwanted, team=team)
            self.state.put(row, self.scope, name)
            self.state.get(SourcesRow, self.scope).names.append(name)
        return row

    def channel(self, source: SourceRow) -> Channel:
        """Return the channel through which a source's answers are heard: perfect where the profile has no trust."""
        return channel(coins_of(source)) if self.settings.profile.trust else PERFECT

    def killed(self) -> bool:
        """Tell whether the kill switch is on, for the scope or for all."""
        return self.row.killed or self.state.get(GlobalRow).killed

    def frozen(self) -> bool:
        """Tell whether learning is frozen, for the scope or for all."""
        return self.row.frozen or self.state.get(GlobalRow).frozen

    def learns(self) -> bool:
        """Tell whether answers move anything in the scope: its setting, and no freeze."""
        return self.settings.learns(self.scope) and not self.frozen()

    def alarm(self, name: str, *, raised: bool, detail: str) -> None:
        """Raise an alarm on the alignment topic, or take it back."""
        time_ms = self.row.clock_ms
        identity = derived_name(self.identity, f"alarm-{name}")
        self.emit("alignment", identity, time_ms, Alarm(identity, self.scope, time_ms, name, raised, detail, self.positions))


def coins_of(source: SourceRow) -> Coins:
    """Return a source's coins as numbers."""
    return Coins(source.likes, source.wanted, source.overrides, source.unwanted)


def next_identity(decision: DecisionRow, kind: str) -> str:
    """Name the next event of a decision's life."""
    decision.events += 1
    return derived_name(decision.id, kind, decision.events)
