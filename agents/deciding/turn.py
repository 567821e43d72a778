"""A record's turn in the deciding task: what decider and learner share of their scope's state."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Self

from agents import turn
from agents.deciding import plain
from agents.deciding.rows import DecisionRow, GlobalRow, ScopeRow, ScopesRow, SourceRow, SourcesRow
from agents.scoring import PERFECT, Channel
from agents.trust import QUARANTINE_BOUND, Coins, prior
from schemas.alignment import Alarm
from schemas.events import INITIAL
from schemas.identity import derived_name

SOURCES_MAX = 2_000  # names that are not on the roster, of operators and of sources of outcomes each
OTHERS = "(others)"
OUTCOME_PREFIX = "outcome:"  # what a source of outcomes is called among the sources of answers


@dataclass
class Turn(turn.Turn):
    """One record's turn in its scope.

    `unclosable` tells, by decision, what went wrong when it was to be closed in this turn; the first `settled` outputs stay.
    """

    group: ClassVar[str] = "deciding"

    unclosable: dict[str, str] = field(default_factory=dict)
    settled: int = 0

    @cached_property
    def row(self) -> ScopeRow:
        """The scope's row; a new scope starts under the profile's initial model."""
        row = self.state.find(ScopeRow, self.scope)
        if row is None:
            profile = self.settings.profile
            row = ScopeRow(model=INITIAL, intercept=profile.initial_intercept, weights=dict(profile.initial_weights))
            self.state.put(row, self.scope)
            self.state.get(ScopesRow).names.append(self.scope)
        return row

    def within(self, scope: str) -> Self:
        """Return this turn in another scope of the partition; what it writes comes with the rest."""
        return replace(self, scope=scope)

    def settle(self) -> None:
        """Make what the turn has changed and written so far stay, whatever comes; rows are to be found again after it."""
        self.state.commit()
        self.settled = len(self.outputs)
        self.__dict__.pop("row", None)

    def restart(self) -> None:
        """Forget what the turn has changed and written since its start, or since it was settled."""
        self.state.rollback()
        del self.outputs[self.settled :]
        self.__dict__.pop("row", None)

    def source(self, name: str, team: str | None = None) -> SourceRow:
        """Return a source's row; a new one starts with the roster's prior, or an unknown account's.

        Its team is the roster's; `team`, what the source says of itself, is believed where there is no roster.
        Beyond SOURCES_MAX unknown names all new ones share one row, so that made-up accounts cannot outgrow a record; a name on the
        roster always has its own.
        """
        row = self.state.find(SourceRow, self.scope, name)
        if row is None and name != OTHERS and self.is_beyond(name, self.state.get(SourcesRow, self.scope).names):
            return self.source(OTHERS)
        if row is None:
            roster = self.settings.catalogue.operators
            likes, wanted, overrides, unwanted = (float(count) for count in prior(on_roster=name in roster))
            own = roster.get(name) if roster else team
            row = SourceRow(likes=likes, wanted=wanted, overrides=overrides, unwanted=unwanted, team=own)
            self.state.put(row, self.scope, name)
            self.state.get(SourcesRow, self.scope).names.append(name)
        return row

    def is_beyond(self, name: str, counted: Collection[str]) -> bool:
        """Tell whether a new name is one unknown more than are counted apart; flooding accounts take no source of outcomes' place."""
        roster = self.settings.catalogue.operators
        if name in roster or len(counted) < SOURCES_MAX:
            return False
        tells = name.startswith(OUTCOME_PREFIX)
        return sum(each not in roster and each.startswith(OUTCOME_PREFIX) == tells for each in counted) >= SOURCES_MAX

    def channel(self, source: SourceRow) -> Channel:
        """Return the channel through which a source's answers are heard: its coins', as far as its disagreement leaves it credit.

        Perfect where the profile has no trust. Of a source whose sum has passed the bound that of its coins: what it says counts for
        nothing, and is written down for whoever releases it.
        """
        if not self.settings.profile.trust:
            return PERFECT
        own = plain.channel(source)
        return own if source.disagreement > QUARANTINE_BOUND else plain.suspected(own, source.disagreement)

    def killed(self) -> bool:
        """Tell whether the kill switch is on, for the scope or for all."""
        return self.row.killed or self.state.get(GlobalRow).killed

    def frozen(self) -> bool:
        """Tell whether learning is frozen, for the scope or for all."""
        return self.row.frozen or self.state.get(GlobalRow).frozen

    def shadowed(self) -> bool:
        """Tell whether nothing is to be shown: by the scope's setting, or by command to the scope or to all."""
        return self.settings.shadows(self.scope) or self.row.shadowed or self.state.get(GlobalRow).shadowed

    def quarantined(self, source: str) -> bool:
        """Tell whether a source's answers count for nothing, in the scope or in all."""
        return source in self.row.quarantined or source in self.state.get(GlobalRow).quarantined

    def learns(self) -> bool:
        """Tell whether answers move anything in the scope: its setting, and no freeze."""
        return self.settings.learns(self.scope) and not self.frozen()

    def alarm(self, name: str, *, raised: bool, detail: str) -> None:
        """Raise an alarm on the alignment topic, or take it back."""
        time_ms = self.row.clock_ms
        identity = derived_name(self.identity, f"alarm-{name}", len(self.outputs))
        self.emit("alignment", identity, time_ms, Alarm(identity, self.scope, time_ms, name, raised, detail, self.positions))


def coins_of(source: SourceRow) -> Coins:
    """Return a source's coins as numbers."""
    return Coins(source.likes, source.wanted, source.overrides, source.unwanted)


def next_identity(decision: DecisionRow, kind: str) -> str:
    """Name the next event of a decision's life."""
    decision.events += 1
    return derived_name(decision.id, kind, decision.events)
