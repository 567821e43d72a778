"""A scope's event time: it moves with telemetry time alone, and what falls due by it is closed or forgotten in order.

Answers carry the time of another clock: a person's, beside telemetry that may be a recording. Their time places them inside
what the scope has already seen, and never moves it.
"""

from bisect import bisect_left
from collections.abc import Callable

from agents.deciding.rows import DecisionRow, Due, DueRow, EntityRow
from agents.deciding.turn import Turn
from schemas.codecs import HOUR_MS

RETENTION_MS = 7 * 24 * HOUR_MS  # how long outcomes and late answers still find a decision

Close = Callable[[Turn, DecisionRow, int], None]


def schedule(turn: Turn, decision: DecisionRow, time_ms: int) -> None:
    """Let a decision fall due; an earlier appointment of the same decision lapses."""
    decision.due_ms = time_ms
    hour = time_ms // HOUR_MS
    turn.state.get(DueRow, turn.scope, str(hour)).entries.append(Due(time_ms, decision.id))
    hours = turn.row.due_hours
    place = bisect_left(hours, hour)
    if hours[place : place + 1] != [hour]:
        hours.insert(place, hour)


def advance(turn: Turn, time_ms: int, close: Close) -> None:
    """Move the scope's clock to `time_ms` if that is later, and settle what is due by then."""
    turn.row.clock_ms = max(turn.row.clock_ms, time_ms)
    settle(turn, close)


def settle(turn: Turn, close: Close) -> None:
    """Close or forget every decision that is due by the scope's clock, earliest first."""
    while turn.row.due_hours and turn.row.due_hours[0] <= turn.row.clock_ms // HOUR_MS:
        hour = turn.row.due_hours[0]
        due = turn.state.get(DueRow, turn.scope, str(hour))
        now_ms = turn.row.clock_ms
        entries = [entry for entry in due.entries if entry.time_ms <= now_ms]
        if due.entries and not entries:
            break
        due.entries = [entry for entry in due.entries if entry.time_ms > now_ms]
        for entry in sorted(entries, key=lambda entry: (entry.time_ms, entry.decision)):
            decision = turn.state.find(DecisionRow, turn.scope, entry.decision)
            if decision is None or decision.due_ms != entry.time_ms:
                continue
            if decision.closed:
                forget(turn, decision)
            else:
                close(turn, decision, entry.time_ms)
        if not due.entries:
            turn.state.delete(DueRow, turn.scope, str(hour))
            turn.row.due_hours.remove(hour)


def forget(turn: Turn, decision: DecisionRow) -> None:
    """Delete a decision that nothing can reach any more, and what its entity remembers of it."""
    turn.state.delete(DecisionRow, turn.scope, decision.id)
    entity = turn.state.find(EntityRow, turn.scope, decision.entity)
    if entity is None:
        return
    entity.recent = [(at, name) for at, name in entity.recent if name != decision.id]
    if entity.last_ms.get(decision.scenario_class, -1) <= decision.decided_ms:
        entity.last_ms.pop(decision.scenario_class, None)
        entity.last_confidence.pop(decision.scenario_class, None)
    if not entity.recent and not entity.open:
        turn.state.delete(EntityRow, turn.scope, decision.entity)
