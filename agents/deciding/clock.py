"""A scope's event time: it moves with telemetry time alone, and what falls due by it is closed or forgotten in order.

Answers carry the time of another clock: a person's, beside telemetry that may be a recording. Their time places them inside
what the scope has already seen, and never moves it.
"""

from collections.abc import Callable

from agents.deciding.fold import Turn
from agents.deciding.rows import DecisionRow, Due, DueRow, EntityRow, ScopeRow
from schemas.codecs import HOUR_MS

RETENTION_MS = 7 * 24 * HOUR_MS  # how long outcomes and late answers still find a decision

Close = Callable[[Turn, str, ScopeRow, DecisionRow, int], None]


def schedule(turn: Turn, scope: str, row: ScopeRow, decision: DecisionRow, time_ms: int) -> None:
    """Let a decision fall due; an earlier appointment of the same decision lapses."""
    decision.due_ms = time_ms
    hour = time_ms // HOUR_MS
    turn.state.get(DueRow, scope, str(hour)).entries.append(Due(time_ms, decision.id))
    if hour not in row.due_hours:
        row.due_hours = sorted([*row.due_hours, hour])


def advance(turn: Turn, scope: str, row: ScopeRow, time_ms: int, close: Close) -> None:
    """Move the scope's clock to `time_ms` if that is later, and settle what is due by then."""
    row.clock_ms = max(row.clock_ms, time_ms)
    settle(turn, scope, row, close)


def settle(turn: Turn, scope: str, row: ScopeRow, close: Close) -> None:
    """Close or forget every decision that is due by the scope's clock, earliest first."""
    while row.due_hours and row.due_hours[0] <= row.clock_ms // HOUR_MS:
        hour = row.due_hours[0]
        due = turn.state.get(DueRow, scope, str(hour))
        entries = sorted((entry for entry in due.entries if entry.time_ms <= row.clock_ms), key=lambda entry: (entry.time_ms, entry.decision))
        due.entries = [entry for entry in due.entries if entry.time_ms > row.clock_ms]
        for entry in entries:
            decision = turn.state.find(DecisionRow, scope, entry.decision)
            if decision is None or decision.due_ms != entry.time_ms:
                continue
            if decision.closed:
                forget(turn, scope, decision)
            else:
                close(turn, scope, row, decision, entry.time_ms)
        if due.entries:
            if not any(entry.time_ms <= row.clock_ms for entry in due.entries):
                break
        else:
            turn.state.delete(DueRow, scope, str(hour))
            row.due_hours = [other for other in row.due_hours if other != hour]


def forget(turn: Turn, scope: str, decision: DecisionRow) -> None:
    """Delete a decision that nothing can reach any more, and what its entity remembers of it."""
    turn.state.delete(DecisionRow, scope, decision.id)
    entity = turn.state.find(EntityRow, scope, decision.entity)
    if entity is None:
        return
    entity.recent = [(at, name) for at, name in entity.recent if name != decision.id]
    if entity.last_ms.get(decision.scenario_class, -1) <= decision.decided_ms:
        entity.last_ms.pop(decision.scenario_class, None)
    if not entity.recent and not entity.open:
        turn.state.delete(EntityRow, scope, decision.entity)
