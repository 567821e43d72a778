"""Closing a surfaced decision: what stands is applied in order, becomes the judgement, and is never taken back."""

from typing import Literal

from agents.deciding import clock, learning
from agents.deciding.learning import Heard
from agents.deciding.rows import ClassRow, DecisionRow, EntityRow, KeptRow
from agents.deciding.turn import Turn, next_identity
from agents.scoring import PERFECT
from agents.thresholds import ARMS
from schemas.events import Answer, JudgedAnswer, Judgement, Life, Recommendation, StandingAnswer, Status, Verdict
from schemas.identity import derived_name

ClosedBy = Literal["answer", "silence", "outcome"]
KEPT_MAX = 128  # judgements of a class that re-expression and revocation fold again
LIKED = {Answer.LIKE: True, Answer.OVERRIDE: False, Answer.NEUTRAL: None}


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
    """Close a surfaced decision at `time_ms`: apply what stands, count it, write the judgement."""
    learns = turn.learns()
    answers = standing(decision)
    class_row = learning.class_row(turn, decision.scenario_class)
    decision.closed = True
    if not decision.explored:
        turn.row.open -= 1
    entity = turn.state.get(EntityRow, turn.scope, decision.entity)
    if entity.open.get(decision.scenario_class) == decision.id:
        del entity.open[decision.scenario_class]
    verdicts = [judged.kind == Verdict.INCIDENT for judged in decision.judged]
    for answer in answers:
        decision.judged.append(apply_answer(turn, class_row, decision, answer, learns=learns))
    for incident in verdicts if learns else ():
        verify_answers(turn, answers, incident=incident)
    if not answers and learns:
        learning.move_class(turn, class_row, decision, Heard("silence", "skipped", None, time_ms, PERFECT))
    if not answers:
        recommend(turn, decision, Life.EXPIRED, time_ms)
    count_closed(turn, decision, answers)
    write_judgement(turn, decision, class_row, time_ms, "answer" if answers else "silence")
    clock.schedule(turn, decision, decision.decided_ms + clock.RETENTION_MS)


def apply_answer(turn: Turn, class_row: ClassRow, decision: DecisionRow, answer: StandingAnswer, *, learns: bool) -> JudgedAnswer:
    """Apply one standing answer: class first, then trust in its source with the class's R from before it."""
    profile = turn.settings.profile
    source = turn.source(answer.operator)
    liked = LIKED[answer.kind]
    heard = Heard(answer.operator, answer.kind, liked, answer.time_ms, turn.channel(source), source.team or answer.team)
    if liked is not None:
        class_row.likes += liked
        class_row.overrides += not liked
        learning.book_answer(turn, source, liked=liked, budgeted=not decision.explored)
    if not learns:
        return learning.judged(profile, heard, learning.UNMOVED)
    wanted = learning.confidence_of(profile, class_row, decision.model_output)
    move = learning.UNMOVED if source.quarantined else learning.move_class(turn, class_row, decision, heard)
    if liked is not None:
        learning.observe_source(turn, answer.operator, liked=liked, wanted=wanted)
        if profile.selector == "thompson" and decision.threshold in ARMS and not decision.explored:
            learning.reward_arm(turn, decision.threshold, liked=liked)
    return learning.judged(profile, heard, move)


def verify_answers(turn: Turn, answers: list[StandingAnswer], *, incident: bool) -> None:
    """Count the answers to a decision whose truth an outcome has told."""
    for answer in answers:
        liked = LIKED.get(answer.kind)
        if liked is not None:
            learning.verify_source(turn, answer.operator, liked=liked, incident=incident)


def count_closed(turn: Turn, decision: DecisionRow, answers: list[StandingAnswer]) -> None:
    """Count a closed decision in the window: answered or skipped, overridden or not."""
    decided = [judged for judged in decision.judged if judged.kind in {Answer.LIKE, Answer.OVERRIDE}]
    overriding = [judged for judged in decided if judged.kind == Answer.OVERRIDE]
    # An even split counts as an override: the red button weighs more than a like.
    overridden = bool(overriding) and 2 * sum(j.weight for j in overriding) >= sum(j.weight for j in decided)
    if decided and not decision.known:
        decision.known = True
        learning.count_known(turn, decision.confidence, liked=not overridden)
    for counts in (turn.row.current, turn.row.total):
        for answer in answers:
            setattr(counts, answer.kind.value, getattr(counts, answer.kind.value) + 1)
        counts.skipped += not answers
        counts.answered += bool(decided)
        counts.overridden += overridden


def write_judgement(turn: Turn, decision: DecisionRow, class_row: ClassRow, time_ms: int, closed_by: ClosedBy) -> None:
    """Write the judgement of a decision as it stands, and keep it among the last of its class."""
    decision.revision += 1
    known = [(judged.weight, judged.target) for judged in decision.judged if judged.target is not None]
    weight = sum(weight for weight, _ in known)
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
    )
    turn.emit("judgement", derived_name(decision.id, "judgement", decision.revision), time_ms, event, decision.trace)
    if decision.slot < 0:
        decision.slot = class_row.kept
        class_row.kept += 1
    if class_row.kept - decision.slot > KEPT_MAX:
        return
    kept = KeptRow(
        decision=decision.id,
        features=decision.features,
        surfaced=decision.status == Status.SURFACED,
        propensity=decision.propensity,
        answers=tuple(decision.judged),
    )
    turn.state.put(kept, turn.scope, decision.scenario_class, str(decision.slot % KEPT_MAX))
