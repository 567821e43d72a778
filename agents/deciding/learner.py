"""The learner: operators' answers and outcomes, in the order of the log.

What becomes of an answer:

| answer | result |
|---|---|
| to an open decision | stands; `answered` on the recommendation topic; applied when it has stood for the undo window |
| the same again (operator, revision, content) | nothing: delivery at least once is safe |
| a higher revision of the same operator | replaces the former, the undo window starts anew |
| a lower revision than the one that stands | nothing: it was overtaken |
| the same revision with other content | dead letter, `contradictory_revision` |
| `retract` | the operator's answer no longer stands |
| of two operators, opposed | both stand, each applied through its own channel |
| after the decision has closed | `answered` with `late`; counts for trust in its source only |
| beyond a hundred answers to one decision | dead letter, `too_many_answers` |
| to a decision that nobody was shown | dead letter, `not_surfaced` |
| to a decision that the scope does not hold | dead letter, `unknown_decision` |
| of an operator called like a source of outcomes, `outcome:...`, or `(others)` | dead letter, `undecodable` |
| of a source in quarantine | as any other on the recommendation topic; listed in the judgement with weight 0, moves nothing |

An outcome applies to each decision of its entity inside [start, end), surfaced or withheld, whenever it comes; the first
verdict of a source on a decision stands. A decision takes those of sixteen sources: another applies where there is room, and is a
dead letter, `too_many_answers`, where no decision that it reaches has any. Blocked decisions are touched by nothing.
"""

import msgspec

from agents.deciding import clock, closing, learning, refolding, windows
from agents.deciding.rows import DecisionRow, EntityRow, RewardsRow, SourceRow, Step, StepKind
from agents.deciding.turn import OTHERS, OUTCOME_PREFIX, Turn
from agents.scoring import OUTCOME_CHANNEL
from agents.state import row_key
from agents.step import Block, Context, Result, Rows
from agents.turn import fold
from schemas.errors import ContradictionError, DecodeError, NotSurfacedError, TooManyAnswersError, UnknownDecisionError
from schemas.events import Feedback, Life, Outcome, StandingAnswer, Status, Verdict
from schemas.identity import derived_name

ANSWERS_MAX = 100  # of one decision: more operators than any team has
OUTCOMES_MAX = 16  # of one decision: more systems than tell of one incident, and a judgement lists them all
REWARDS_MAX = 256  # outcomes with a reward that are known again


def learn(rows: Rows, block: Block, context: Context) -> Result:
    """Handle a block of feedback or outcome records."""
    return fold(rows, block, context, Turn, HANDLERS[block.topic])


def handle_feedback(turn: Turn, feedback: Feedback) -> None:
    """Take one answer, or say what is wrong with it.

    Raises:
        DecodeError: an operator with a name that belongs to something else.
        RecordError: of the kind that the table above says.
    """
    row_key(SourceRow, turn.scope, feedback.operator)  # a name that cannot be one is refused here, not when the decision closes
    if feedback.operator.startswith(OUTCOME_PREFIX):
        raise DecodeError(f"feedback: operator {feedback.operator!r} is called like a source of outcomes; leave out {OUTCOME_PREFIX!r}")
    if feedback.operator == OTHERS:
        raise DecodeError(f"feedback: operator {OTHERS!r} is called like those who are counted together; answer under another name")
    decision = turn.state.find(DecisionRow, turn.scope, feedback.decision)
    if decision is None:
        raise UnknownDecisionError(
            f"scope {turn.scope!r} holds no decision {feedback.decision!r}; answer within 7 days with the id and key of the recommendation"
        )
    if decision.status != Status.SURFACED:
        raise NotSurfacedError(f"decision {feedback.decision!r} was {decision.status}: nobody was shown it; answer recommendations")
    time_ms = min(max(feedback.time_ms, decision.decided_ms), turn.row.clock_ms)
    answer = StandingAnswer(
        operator=feedback.operator,
        kind=feedback.kind,
        revision=feedback.revision,
        time_ms=time_ms,
        team=feedback.team,
        reason=feedback.reason,
        note=feedback.note,
        counter_proposal=feedback.counter_proposal,
    )
    taken = [*decision.answers, *decision.late]
    if not supersedes(answer, taken):
        return
    if len(taken) >= ANSWERS_MAX:
        raise TooManyAnswersError(f"decision {feedback.decision!r} has {ANSWERS_MAX} answers already; no more are taken")
    if decision.closed:
        take_late(turn, decision, answer)
        return
    decision.answers = [*(other for other in decision.answers if other.operator != answer.operator), answer]
    stands = closing.standing(decision)
    undo_ms = turn.settings.profile.undo_window_ms
    due_ms = min([decision.deadline_ms, *(other.time_ms + undo_ms for other in stands)])
    clock.schedule(turn, decision, due_ms)
    closing.recommend(turn, decision, Life.ANSWERED, time_ms)
    clock.settle(turn, closing.close)


def supersedes(answer: StandingAnswer, taken: list[StandingAnswer]) -> bool:
    """Tell whether an answer is news beside what its operator has said.

    Raises:
        ContradictionError: the same revision with other content.
    """
    own = [other for other in taken if other.operator == answer.operator]
    latest = max((other.revision for other in own), default=0)
    if answer.revision > latest:
        return True
    for other in own:
        if other.revision == answer.revision and msgspec.structs.replace(other, time_ms=answer.time_ms) != answer:
            raise ContradictionError(
                f"operator {answer.operator!r} has sent revision {answer.revision} as {other.kind}, now as {answer.kind} or with another "
                "reason or note; a change of mind needs the next revision"
            )
    return False


def take_late(turn: Turn, decision: DecisionRow, answer: StandingAnswer) -> None:
    """Log an answer to a closed decision; it counts for trust in its source only."""
    is_first = all(other.operator != answer.operator for other in [*decision.answers, *decision.late])
    decision.late = [*(other for other in decision.late if other.operator != answer.operator), answer]
    target = learning.TARGETS.get(answer.kind)
    # An operator's word on a decision counts once, however often it is revised.
    if target is not None and is_first and turn.learns() and not turn.quarantined(answer.operator):
        class_row = learning.class_row(turn, decision.scenario_class)
        turn.source(answer.operator, answer.team)
        learning.learn(turn, class_row, decision, Step(StepKind.LATE, answer.operator, target))
        for verdict in decision.judged:
            if verdict.kind in closing.OUTCOMES:
                closing.verify_answers(turn, class_row, decision, [answer], verdict)
    closing.recommend(turn, decision, Life.ANSWERED, answer.time_ms, late=True)


def handle_outcome(turn: Turn, outcome: Outcome) -> None:
    """Apply one verdict to each decision of its entity inside its interval.

    Raises:
        DecodeError: an interval that ends before it starts.
        TooManyAnswersError: no decision that it reaches takes one more outcome.
    """
    if outcome.end_ms <= outcome.start_ms:
        interval = f"[{outcome.start_ms}, {outcome.end_ms})"
        raise DecodeError(f"outcome of {outcome.entity!r}: the interval {interval} is empty; end_ms must be after start_ms")
    reached = reached_by(turn, outcome)
    told = [told_by(decision) for decision in reached]
    source = OUTCOME_PREFIX + outcome.source
    if reached and all(source not in sources and len(sources) >= OUTCOMES_MAX for sources in told):
        raise TooManyAnswersError(
            f"outcome of {outcome.entity!r} by {outcome.source!r}: {OUTCOMES_MAX} sources have told of each decision that it reaches; "
            "no more are taken"
        )
    count_reward(turn, outcome)
    for decision, sources in zip(reached, told, strict=True):
        if source not in sources and len(sources) < OUTCOMES_MAX:
            apply_outcome(turn, decision, outcome)


def reached_by(turn: Turn, outcome: Outcome) -> list[DecisionRow]:
    """Return the decisions of an outcome's entity inside its interval, but for blocked ones."""
    entity = turn.state.find(EntityRow, turn.scope, outcome.entity)
    names = [name for time_ms, name in entity.recent if outcome.start_ms <= time_ms < outcome.end_ms] if entity is not None else []
    decisions = [turn.state.find(DecisionRow, turn.scope, name) for name in names]
    return [decision for decision in decisions if decision is not None and decision.status != Status.BLOCKED]


def told_by(decision: DecisionRow) -> set[str]:
    """Return the sources whose outcomes a decision has taken."""
    return {judged.source for judged in decision.judged if judged.kind in closing.OUTCOMES}


def count_reward(turn: Turn, outcome: Outcome) -> None:
    """Count an outcome's reward, once however often it is delivered."""
    if outcome.reward_minutes is None:
        return
    rewards = turn.state.get(RewardsRow, turn.scope)
    name = derived_name(outcome.entity, outcome.source, outcome.start_ms)
    if name in rewards.names:
        return
    rewards.names = [*rewards.names, name][-REWARDS_MAX:]
    for counts in (turn.row.current, turn.row.total):
        counts.reward_minutes += outcome.reward_minutes


def apply_outcome(turn: Turn, decision: DecisionRow, outcome: Outcome) -> None:
    """Apply a verdict to one decision: as one more answer to its class, and, once it is closed, as the truth for its answers."""
    source = OUTCOME_PREFIX + outcome.source
    incident = outcome.verdict == Verdict.INCIDENT
    quarantined = turn.quarantined(source)
    class_row = learning.class_row(turn, decision.scenario_class)
    class_row.outcomes += 1
    # A decision is known once, by what tells first; a repeat within the cooldown was no miss: its fault had been looked at.
    if decision.scored and not decision.known and not quarantined:
        decision.known = True
        learning.count_known(turn, decision.confidence, liked=incident)
        if decision.status == Status.WITHHELD:
            windows.count_review(turn, missed=incident)
    judged = learning.judge(turn, source, outcome.verdict, outcome.time_ms, OUTCOME_CHANNEL)
    if turn.learns() and not quarantined:
        move = learning.learn(turn, class_row, decision, Step(StepKind.OUTCOME, source, learning.TARGETS[outcome.verdict]))
        judged = msgspec.structs.replace(judged, **move._asdict())
        if decision.closed:
            operators = {answer.operator for answer in decision.answers}
            late = [answer for answer in decision.late if answer.operator not in operators]
            closing.verify_answers(turn, class_row, decision, [*closing.standing(decision), *late], judged)
    decision.judged.append(judged)
    if decision.closed:
        closing.write_judgement(turn, decision, max(turn.row.clock_ms, decision.time_ms), "outcome")


HANDLERS = refolding.guarded({"feedback": handle_feedback, "outcome": handle_outcome})
