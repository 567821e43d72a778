"""The override budget of a scope: what it is worth, when it is closed, what is booked, and how a person starts it anew.

Two are kept and published, whichever is in force. The raw one counts decisions: one that is answered grants r, one that is overridden
costs 1, once, however many operators answer it, since an open recommendation holds one unit. So while `raw` is in force, at every
record, overridden <= r answered + B0 - open, since the start or the last reopening. A decision is overridden where at least half of
those who like or override it override it.

The trusted one counts every source's answers, as the source is trusted as of now.
"""

from agents import teams
from agents.deciding import plain
from agents.deciding.rows import DecisionRow, SourceRow
from agents.deciding.turn import Turn
from agents.scoring import PERFECT
from schemas.alignment import BudgetReopened
from schemas.events import Answer, BudgetState
from schemas.identity import derived_name

ALARM = "override_budget"


def state(turn: Turn) -> BudgetState:
    """Return the override budget as it stands, in overrides."""
    row, profile = turn.row, turn.settings.profile
    raw = profile.budget_start + profile.override_rate * row.answered - row.overridden
    return BudgetState(trusted=profile.budget_start + row.earned_trusted, raw=raw, open=row.open)


def is_closed(turn: Turn) -> bool:
    """Tell whether one more open recommendation would exceed the budget; raises the alarm when that changes."""
    kind = turn.settings.profile.budget
    if kind == "off" or not turn.settings.learns(turn.scope):
        return False
    budget = state(turn)
    wealth = budget.trusted if kind == "trusted" else budget.raw
    closed = wealth - budget.open < 1
    if closed != turn.row.budget_closed:
        turn.row.budget_closed = closed
        detail = f"{kind} wealth {wealth:.1f}, {budget.open} recommendations open; 1 % is surfaced as audited exploration while closed"
        turn.alarm(ALARM, raised=closed, detail=detail)
    return closed


def is_booked(turn: Turn, decision: DecisionRow) -> bool:
    """Tell whether a decision counts in the budget, in a freeze too: what was surfaced while learning stood still was surfaced.

    Exploration is booked apart.
    """
    return not decision.explored and turn.settings.learns(turn.scope)


def book_decision(turn: Turn, decision: DecisionRow) -> None:
    """Count a decision that closes in the raw budget, once: by all who have answered it, in quarantine or not."""
    kinds = [judged.kind for judged in decision.judged]
    liked, overridden = kinds.count(Answer.LIKE), kinds.count(Answer.OVERRIDE)
    if liked + overridden > 0 and is_booked(turn, decision):
        turn.row.answered += 1
        turn.row.overridden += bool(teams.overrides(overridden, liked + overridden))


def book_answer(turn: Turn, name: str, *, liked: bool) -> None:
    """Count one answer in the trusted budget, unless its source is in quarantine."""
    if turn.quarantined(name):
        return
    source = begun(turn, turn.source(name))
    source.answered += 1
    source.overridden += not liked
    source.booked_answered += 1
    source.booked_overridden += not liked
    rebook(turn, name, source)


def rebook(turn: Turn, name: str, source: SourceRow) -> None:
    """Replace what a source adds to the trusted budget by what it adds as of now: nothing in quarantine."""
    begun(turn, source)
    rate = turn.settings.profile.override_rate
    heard = not turn.quarantined(name)
    credit, own = (plain.credit(source.disagreement), plain.channel(source)) if turn.settings.profile.trust else (1.0, PERFECT)
    earned = credit * plain.wealth(own, source.booked_answered, source.booked_overridden, rate) if heard else 0.0
    turn.row.earned_trusted += earned - source.earned
    source.earned = earned


def begun(turn: Turn, source: SourceRow) -> SourceRow:
    """Return a source of which only counts what it has said since the trusted budget was last started."""
    if source.reopened != turn.row.reopened:
        source.reopened = turn.row.reopened
        source.booked_answered = source.booked_overridden = 0
        source.earned = 0.0
    return source


def reopen(turn: Turn, by: str, reason: str) -> None:
    """Start each of the two budgets anew at B0 where it has less, and say on the alignment topic who did and what it was.

    One that has more keeps it: a reopening takes nothing away, and what is open stays covered. Nothing is gone through: a source
    begins anew when it is next heard of.
    """
    row, before, closed = turn.row, state(turn), turn.row.budget_closed
    start = turn.settings.profile.budget_start
    if before.trusted < start:
        row.reopened += 1
        row.earned_trusted = 0.0
    if before.raw < start:
        row.answered = row.overridden = 0
    if closed:
        is_closed(turn)
    identity = derived_name(turn.identity, f"budget_reopened-{turn.scope}")
    event = BudgetReopened(identity, turn.scope, row.clock_ms, by, reason, closed, before, state(turn), turn.positions)
    turn.emit("alignment", identity, row.clock_ms, event)
