"""Closing a surfaced decision: what stands is applied in order, becomes the judgement, and is never taken back.

What counts is whether a source is in quarantine when the decision closes: then its answer is listed with weight 0 and decides
nothing. A decision that only such sources have answered, or only sources of weight 0, is neither answered nor skipped.
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from agents.deciding import budget, clock, learning, quarantine, windows
from agents.deciding.rows import ClassRow, DecisionRow, EntityRow, Step, StepKind
from agents.deciding.turn import Turn, next_identity
from agents.scoring import PERFECT
from schemas.errors import StateError
from schemas.events import Answer, JudgedAnswer, Judgement, Life, Recommendation, StandingAnswer, Verdict
from schemas.identity import derived_name

ClosedBy = Literal["answer", "silence", "outcome"]
OUTCOMES = frozenset(Verdict)
VERDICTS = frozenset({Answer.LIKE, Answer.OVERRIDE})


class ClosingError(Exception):
    """A decision could not be closed; caught by `isolated`, never leaves a step."""

    def __init__(self, decision: str, cause: Exception) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.decision = decision


def isolated(handle: Callable[[Turn, Any], None]) -> Callable[[Turn, Any], None]:
    """Return a handler that takes a record again from its start where a closing breaks, with that decision closed without effect.

    Else one decision that cannot be closed would make a dead letter of every record that moves its scope's clock.
    """

    def handle_isolated(turn: Turn, event: Any) -> None:  # noqa: ANN401  # whatever the handler takes
        while True:
            try:
                return handle(turn, event)
            except ClosingError as error:
                turn.restart()
                turn.unclosable[error.decision] = str(error)

    return handle_isolated


def standing(decision: DecisionRow) -> list[StandingAnswer]:
    """Return the answers that stand, in the order of the log; a retracted one does not."""
    return [answer for answer in decision.answers if answer.kind != Answer.RETRACT]


def recommend(turn: Turn, decision: DecisionRow, life: Life, time_ms: int, *, late: bool = False) -> None:
    """Write one moment of a surfaced decision's life."""
    event = Recommendation(
        id=decision.id,
        life=life,
        scope=turn.scope,
        entity=decision.entity,
        scenario_class=decision.scenario_class,
        time_ms=time_ms,
        scenario_ms=decision.time_ms,
        opened_ms=decision.decided_ms,
        deadline_ms=decision.deadline_ms,
        summary=summary(decision),
        action=decision.action,
        symptoms=decision.symptoms,
        confidence=decision.confidence,
        threshold=decision.threshold,
        repeats=decision.repeats,
        peers_alike=decision.peers_alike,
        answers=(*standing(decision), *decision.late),
        positions=turn.positions,
        late=late,
    )
    turn.emit("recommendation", next_identity(decision, life), max(time_ms, turn.row.clock_ms), event, decision.trace)


def summary(decision: DecisionRow) -> str:
    """Say in one sentence what is happening at the entity."""
    parts = [f"{s.metric} {s.value:.4g} ({s.shape} {s.direction}, usually {s.usual:.4g})" for s in decision.symptoms[:3]]
    return f"{decision.entity}: {', '.join(parts) or 'unusual telemetry'}"


def close(turn: Turn, decision: DecisionRow, time_ms: int) -> None:
    """Close a surfaced decision at `time_ms`.

    Raises:
        ClosingError: it cannot be closed; the turn is to be taken again, and then says so and closes it without effect.
    """
    if decision.id in turn.unclosable:
        close_without_effect(turn, decision, time_ms)
        return
    try:
        close_with_effect(turn, decision, time_ms)
    except (StateError, MemoryError):
        raise
    except Exception as error:
        raise ClosingError(decision.id, error) from error


def close_without_effect(turn: Turn, decision: DecisionRow, time_ms: int) -> None:
    """End a decision whose closing breaks: it expires, nothing is learned or counted of it, and an alarm says why."""
    end(turn, decision)
    recommend(turn, decision, Life.EXPIRED, time_ms)
    detail = f"decision {decision.id} was closed without effect, its answers moved nothing: {turn.unclosable[decision.id]}"
    turn.alarm("closing_failed", raised=True, detail=detail)


def end(turn: Turn, decision: DecisionRow) -> None:
    """Take a decision from what is open, give its unit of the budget back, and let it be forgotten when its time comes."""
    decision.closed = True
    if not decision.explored:
        turn.row.open -= 1
    entity = turn.state.get(EntityRow, turn.scope, decision.entity)
    if entity.open.get(decision.scenario_class) == decision.id:
        del entity.open[decision.scenario_class]
    clock.schedule(turn, decision, decision.decided_ms + clock.RETENTION_MS)


def close_with_effect(turn: Turn, decision: DecisionRow, time_ms: int) -> None:
    """Apply what stands, count it, write the judgement."""
    learns = turn.learns()
    profile = turn.settings.profile
    answers = standing(decision)
    class_row = learning.class_row(turn, decision.scenario_class)
    end(turn, decision)
    verdicts = list(decision.judged)
    for answer in answers:
        decision.judged.append(apply_answer(turn, class_row, decision, answer, learns=learns))
    for verdict in verdicts if learns else ():
        verify_answers(turn, class_row, decision, answers, verdict)
    silent = learning.target_of(profile, "skipped")
    if not answers and learns and silent is not None:
        learning.move_class(profile, class_row, learning.output_of(turn, decision.features), "silence", silent, PERFECT)
    if not answers:
        recommend(turn, decision, Life.EXPIRED, time_ms)
    budget.book_decision(turn, decision)
    count_closed(turn, decision, answers)
    write_judgement(turn, decision, time_ms, "answer" if answers else "silence")


def apply_answer(turn: Turn, class_row: ClassRow, decision: DecisionRow, answer: StandingAnswer, *, learns: bool) -> JudgedAnswer:
    """Apply one standing answer, and write down how it was heard and what it moved."""
    source = turn.source(answer.operator, answer.team)
    if learns and answer.kind in VERDICTS:
        wanted = learning.confidence_of(turn.settings.profile, class_row, learning.output_of(turn, decision.features))
        quarantine.watch(turn, class_row, decision, answer.operator, wanted, liked=answer.kind == Answer.LIKE)
    judged = learning.judge(turn, answer.operator, answer.kind, answer.time_ms, turn.channel(source), source.team or answer.team)
    if learning.is_verdict(judged.target):
        liked = answer.kind == Answer.LIKE
        class_row.likes += liked
        class_row.overrides += not liked
        if budget.is_booked(turn, decision):
            budget.book_answer(turn, answer.operator, liked=liked)
    if judged.target is None or not learns or turn.quarantined(answer.operator):
        return judged
    move = learning.learn(turn, class_row, decision, Step(StepKind.ANSWER, answer.operator, judged.target))
    return msgspec.structs.replace(judged, **move._asdict())


def verify_answers(turn: Turn, class_row: ClassRow, decision: DecisionRow, answers: list[StandingAnswer], verdict: JudgedAnswer) -> None:
    """Count the answers to a decision whose truth an outcome has told, unless it or who answered is in quarantine."""
    if turn.quarantined(verdict.source):
        return
    wanted = float(verdict.kind == Verdict.INCIDENT)
    for answer in answers:
        target = learning.TARGETS.get(answer.kind)
        if target is not None and not turn.quarantined(answer.operator):
            step = Step(StepKind.VERIFIED, answer.operator, target, belief=wanted, by=verdict.source)
            learning.learn(turn, class_row, decision, step)


def count_closed(turn: Turn, decision: DecisionRow, answers: list[StandingAnswer]) -> None:
    """Count a closed decision in the window: answered or skipped, overridden or not, by sources that are not in quarantine."""
    heard = [answer for answer in answers if not turn.quarantined(answer.operator)]
    kinds = {Answer.LIKE, Answer.OVERRIDE}
    decided = [judged for judged in decision.judged if judged.kind in kinds and not turn.quarantined(judged.source)]
    overridden = windows.overrides(decided)
    if overridden is not None and not decision.known:
        decision.known = True
        learning.count_known(turn, decision.confidence, liked=not overridden)
    for counts in (turn.row.current, turn.row.total):
        for answer in heard:
            setattr(counts, answer.kind.value, getattr(counts, answer.kind.value) + 1)
        counts.skipped += not answers
        counts.answered += overridden is not None
        counts.overridden += bool(overridden)
    windows.count_teams(turn, decided)


def write_judgement(turn: Turn, decision: DecisionRow, time_ms: int, closed_by: ClosedBy) -> None:
    """Write the judgement of a decision as it stands."""
    decision.revision += 1
    known = [(judged.weight, judged.target) for judged in decision.judged if judged.target is not None]
    weight = sum((weight for weight, _ in known), start=0.0)
    event = Judgement(
        decision=decision.id,
        revision=decision.revision,
        scope=turn.scope,
        entity=decision.entity,
        scenario_class=decision.scenario_class,
        time_ms=time_ms,
        decided_ms=decision.decided_ms,
        status=decision.status,
        closed_by=closed_by,
        features=decision.features,
        model=decision.model,
        model_output=decision.model_output,
        confidence=decision.confidence,
        propensity=decision.propensity,
        target=sum(weight * target for weight, target in known) / weight if weight > 0 else None,
        weight=weight,
        answers=tuple(decision.judged),
        positions=turn.positions,
        reason=decision.reason,
        window=turn.row.window,
        scored_surfaced=turn.row.total.surfaced,
        scored_withheld=turn.row.total.withheld - turn.row.total.cooled,
    )
    turn.emit("judgement", derived_name(decision.id, "judgement", decision.revision), time_ms, event, decision.trace)
