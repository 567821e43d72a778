"""Deciding along a log: another profile lives through the past as it was logged, and says what it would have done each time.

What was surfaced, withheld and blocked is as in the log, and so are repeats and cooldown; so every answer and outcome finds its
decision, and teaches. Score, arms, trust, budget and policy are those of the settings given, by the same handlers as in the pipeline.
The propensity of a decision so made is the probability with which these settings would have surfaced it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from agents.deciding import clock, closing, control, decider, learner, refolding, windows
from agents.deciding.rows import DecisionRow, EntityRow
from agents.deciding.turn import Turn
from schemas.events import Cleared, Feedback, Heartbeat, Outcome, Reason, Scenario
from schemas.identity import derived_name

NO_ARM = 1.0  # a threshold that is no arm: an answer to what would have been withheld rewards none


def handlers(reasons: Mapping[str, Reason], without: str = "") -> dict[str, Callable[[Turn, Any], None]]:
    """Return what handles each topic of the deciding task along a log.

    Args:
        reasons: why each decision of the log was decided as it was, by the decision's id.
        without: operator, or source of outcomes, whose word is left out.
    """

    def follow(turn: Turn, event: Scenario | Cleared | Heartbeat) -> None:
        clock.advance(turn, event.time_ms, closing.close)
        if isinstance(event, Scenario):
            follow_scenario(turn, event, reasons)
        elif isinstance(event, Cleared):
            decider.handle_cleared(turn, event)

    def hear(turn: Turn, event: Feedback) -> None:
        if event.operator != without:
            learner.handle_feedback(turn, event)

    def review(turn: Turn, event: Outcome) -> None:
        if learner.OUTCOME_PREFIX + event.source != without:
            learner.handle_outcome(turn, event)

    return refolding.guarded({
        "scenario": follow, "control": control.handle_control, "model": control.handle_model, "feedback": hear, "outcome": review,
    })  # fmt: skip


def follow_scenario(turn: Turn, scenario: Scenario, reasons: Mapping[str, Reason]) -> None:
    """Judge a scenario by the turn's settings, and let happen what happened; what the log did not decide was a repeat."""
    name = derived_name(scenario.id, "decision")
    reason = reasons.get(name)
    if reason is None or turn.state.find(DecisionRow, turn.scope, name) is not None:
        return
    scored = decider.score(turn, scenario)
    selection = decider.rule(turn, scored, cooling=reason == Reason.COOLDOWN).selection
    if not selection.passes:
        selection = selection._replace(threshold=NO_ARM)
    event = decider.explain(turn, scored, decider.Ruling(reason, selection))
    turn.emit("decision", event.id, scenario.time_ms, event)
    decider.remember(turn, turn.state.get(EntityRow, turn.scope, scenario.entity), scenario, event)
    windows.count_decision(turn, event)
