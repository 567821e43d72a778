"""Deciding along a log: another profile lives through the past as it was logged, and says what it would have done each time.

What was surfaced, withheld and blocked is as in the log, and so are repeats and cooldown; so every answer and outcome finds its
decision, and teaches. Score, arms, trust, budget and policy are those of the settings given, by the same handlers as in the pipeline.
The propensity of a decision so made is the probability with which these settings would have surfaced it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from agents.deciding import clock, closing, decider, learner, refolding
from agents.deciding.turn import OUTCOME_PREFIX, Turn
from schemas.events import Cleared, Feedback, Heartbeat, Outcome, Reason, Scenario
from schemas.identity import derived_name

NO_ARM = 1.0  # a threshold that is no arm: an answer to what would have been withheld rewards none


def handlers(reasons: Mapping[str, Reason], without: str = "") -> dict[str, Callable[[Turn, Any], None]]:
    """Return what handles each topic of the deciding task along a log.

    Args:
        reasons: why each decision of the log was decided as it was, by the decision's id.
        without: operator, or source of outcomes, whose word is left out.
    """
    usual = decider.HANDLERS | learner.HANDLERS

    def as_logged(turn: Turn, scored: decider.Scored, cooling: bool) -> decider.Ruling:  # noqa: FBT001  # what a ruling is handed
        reason = reasons.get(derived_name(scored.scenario.id, "decision"))
        own = decider.rule(turn, scored, cooling=cooling if reason is None else reason == Reason.COOLDOWN)
        if reason is None:
            return own
        selection = own.selection if own.selection.passes else own.selection._replace(threshold=NO_ARM)
        return decider.Ruling(reason, selection)

    def follow(turn: Turn, event: Scenario | Cleared | Heartbeat) -> None:
        clock.advance(turn, event.time_ms, closing.close)
        if isinstance(event, Scenario):
            decider.handle_scenario(turn, event, as_logged)
        elif isinstance(event, Cleared):
            decider.handle_cleared(turn, event)

    def hear(turn: Turn, event: Feedback) -> None:
        if event.operator != without:
            usual["feedback"](turn, event)

    def review(turn: Turn, event: Outcome) -> None:
        if OUTCOME_PREFIX + event.source != without:
            usual["outcome"](turn, event)

    return usual | refolding.guarded({"scenario": follow}) | {"feedback": hear, "outcome": review}
