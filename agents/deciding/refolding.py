"""What the kept judgements give when they are folded again: under another model, or without a source.

The last `learning.KEPT_MAX` judgements of a class that taught something are kept, each step with the number under which the
scope took it. Both fold a class's score from the prior, so that it forgets what is older.

What holds when, of a revocation: from its record on the source is in quarantine, in every scope that it reaches. Its past answers
are in scores and trust until the scope folds without it, in one turn: at the end of the scope's next record that is no dead
letter (that of a command to the scope itself is one), as soon as the folds before it are paid for. A fold owes one record per
`PAID_PER_RECORD` kept judgements, of any scope of the partition, so that no block of records takes much longer than one fold.
What a source says between a release and the fold is taken out with the rest.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np

from agents import scoring, trust
from agents.deciding import budget, closing, learning, quarantine
from agents.deciding.rows import ClassesRow, ClassRow, DecisionRow, KeptRow, OwedRow, ScopeRow, SourceRow, SourcesRow, Step, StepKind
from agents.deciding.turn import OTHERS, Turn, coins_of
from agents.scoring import PRIOR_OFFSETS, Drift, Offsets
from schemas.alignment import SourceRevoked
from schemas.errors import StateError
from schemas.identity import derived_name

PAID_PER_RECORD = 50  # kept judgements, folded in a millisecond or two


class Folded(NamedTuple):
    """How many classes and answers were folded again."""

    classes: int
    answers: int


NOTHING = Folded(0, 0)


def kept_of(turn: Turn, name: str, row: ClassRow) -> list[KeptRow]:
    """Return the kept judgements of a class, to be changed."""
    slots = range(min(row.kept, learning.KEPT_MAX))
    kept = (turn.state.find(KeptRow, turn.scope, name, str(slot)) for slot in slots)
    return [each for each in kept if each is not None]


def re_express(turn: Turn) -> Folded:
    """Express every class's offset beside the model in force: its kept answers folded from the prior, as they were heard then.

    Each with its recorded channel and the share that counted. H, D and the CUSUM sums are those of the fold. `logit` only.
    """
    rows = [(name, learning.class_row(turn, name)) for name in turn.state.get(ClassesRow, turn.scope).names]
    answers = []
    for name, row in rows:
        heard = [
            (step.number, learning.output_of(turn, kept.features), 1 - step.target, step.alpha, step.beta, step.counted)
            for kept in kept_of(turn, name, row)
            for step in kept.steps
            if step.kind in learning.MOVING_CLASSES
        ]
        answers.append(np.array(sorted(heard), dtype=np.float64).reshape(-1, 6)[:, 1:])
    drift, offsets = scoring.fold(answers)
    for (_, row), score in zip(rows, np.array([*drift, *offsets]).T, strict=True):
        learning.set_score(row, Drift(*score[:2]), Offsets(*score[2:]))
    return Folded(len(rows), sum(len(each) for each in answers))


def guarded(handlers: Mapping[str, Callable[[Turn, Any], None]]) -> dict[str, Callable[[Turn, Any], None]]:
    """Return the handlers of the task's topics as they run: a closing that breaks is isolated, what is due to be folded follows."""
    return {topic: afterwards(closing.isolated(handle)) for topic, handle in handlers.items()}


def afterwards(handle: Callable[[Turn, Any], None]) -> Callable[[Turn, Any], None]:
    """Return a handler that lets the scope fold without a revoked source where a record has been handled and that is due.

    After the record, so that one that is refused neither undoes the fold nor makes it again.
    """

    def handle_and_fold(turn: Turn, event: Any) -> None:  # noqa: ANN401  # whatever the handler takes
        handle(turn, event)
        row = turn.state.find(ScopeRow, turn.scope) if turn.scope else None
        if pay(turn) and row is not None and row.revoked:
            fold_next(turn, row)

    return handle_and_fold


def pay(turn: Turn) -> bool:
    """Pay one record's share of what the last folds owe, and tell whether nothing is left."""
    owed = turn.state.find(OwedRow)
    if owed is None:
        return True
    owed.judgements -= PAID_PER_RECORD
    if owed.judgements > 0:
        return False
    turn.state.delete(OwedRow)
    return True


def fold_next(turn: Turn, row: ScopeRow) -> None:
    """Fold without the source that was revoked first; where that breaks, the quarantine holds, the fold lapses, and an alarm says so."""
    source = row.revoked.pop(0)
    turn.settle()
    try:
        revoke(turn, source)
    except (StateError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  # whatever it breaks, the record has been handled and the scope goes on
        turn.restart()
        what = f"source {source!r} is in quarantine, but what it had answered could not be taken out of scores and trust"
        turn.alarm("revocation_failed", raised=True, detail=f"{what}: {type(error).__name__}: {error}")


def revoke(turn: Turn, source: str) -> None:
    """Take a source out of a scope, and say so; where it has never been heard there is nothing to fold."""
    rows = {name: learning.class_row(turn, name) for name in turn.state.get(ClassesRow, turn.scope).names}
    known = turn.state.find(SourceRow, turn.scope, source) is not None
    heard = known or any(source in row.by_source or OTHERS in row.by_source for row in rows.values())
    folded = fold_without(turn, rows, source) if heard else NOTHING
    identity = derived_name(turn.identity, f"source_revoked-{turn.scope}")
    time_ms = turn.row.clock_ms
    event = SourceRevoked(identity, turn.scope, time_ms, source, folded.classes, folded.answers, turn.positions)
    turn.emit("alignment", identity, time_ms, event)


def fold_without(turn: Turn, rows: dict[str, ClassRow], source: str) -> Folded:
    """Take a source out of scores, trust and arms: fold what is kept again without it, in the order in which the scope took it.

    Each class's score starts at the prior. Each kept answer is heard anew beside the model in force, through the channel that its
    source has by then in this fold, and damped by the counts without the revoked source. Where everything is still kept (and
    meanwhile no model was taken up and nobody was put in quarantine) scores, coins and counts end as those of a log without it.

    What is older than the kept judgements: scores forget it. Coins, counts by source, arms and the sums of a mean are not begun
    anew: what the kept steps had given them is taken back first, which is exact, so what older ones gave stays. Of the revoked
    source coins and counts go whole; what it gave to an older mean or arm stays.

    Sums of disagreement and voices begin anew with what is kept; who is in quarantine stays there, with its sum, and so does what it had
    taught before. Decisions, windows, threshold table and raw budget stay as they happened. In later revisions of kept judgements the
    source has weight 0. A source that shares its row with others (beyond `SOURCES_MAX`) leaves the row's part of the trusted budget as
    it is.
    """
    classes = [(row, kept) for name, row in rows.items() for kept in kept_of(turn, name, row)]
    if len(classes) > PAID_PER_RECORD:
        turn.state.put(OwedRow(judgements=len(classes)))
    for row, kept in classes:
        for step in kept.steps:
            take_back(turn, row, kept, step, revoked=source)
    for row in rows.values():
        forget_counts(turn, row, source)
        row.recent.clear()
        learning.set_score(row, Drift(0.0, 0.0), PRIOR_OFFSETS)
    known = turn.state.find(SourceRow, turn.scope, source)
    if known is not None:
        learning.set_coins(known, trust.prior(on_roster=source in turn.settings.catalogue.operators))
        known.answered = known.overridden = known.booked_answered = known.booked_overridden = 0
    others = sources_of(turn)
    silenced = {name: other.disagreement for name, other in others.items() if name != source and turn.quarantined(name)}
    for name, other in others.items():
        other.disagreement = 0.0
        quarantine.weigh(turn, name, other)
    heard = [row.answers for row in rows.values()]
    answers = 0
    for _, row, output, step in remaining(turn, classes, source):
        hear_again(turn, row, output, step)
        answers += step.kind in learning.MOVING_CLASSES
    # What a class has ever heard stays, and with it the sequence of its answers.
    for row, count in zip(rows.values(), heard, strict=True):
        row.answers = count
    for name, other in sources_of(turn).items():
        other.disagreement = silenced.get(name, other.disagreement)
        budget.rebook(turn, name, other)
        quarantine.weigh(turn, name, other)
    return Folded(len(rows), answers)


def sources_of(turn: Turn) -> dict[str, SourceRow]:
    """Return the rows of a scope's sources, by name."""
    return {name: turn.source(name) for name in turn.state.get(SourcesRow, turn.scope).names}


def hear_again(turn: Turn, row: ClassRow, output: float, step: Step) -> None:
    """Take a kept step as the scope took it: held against the voices, then by class and coins, then what its source weighs."""
    if step.kind == StepKind.ANSWER and learning.is_verdict(step.target):
        wanted = learning.confidence_of(turn.settings.profile, row, output)
        quarantine.hear_again(turn, row, step.source, turn.source(step.source), wanted, liked=step.target == learning.WANTED)
    learning.take(turn, row, output, step)
    if step.kind != StepKind.OUTCOME:
        quarantine.weigh(turn, step.source, turn.source(step.source))


def take_back(turn: Turn, row: ClassRow, kept: KeptRow, step: Step, *, revoked: str) -> None:
    """Take back what a step has added to sums: coins, counts by source, the class's mean, and the revoked source's to its arm."""
    says = learning.is_verdict(step.target)
    if step.kind in learning.MOVING_CLASSES and says:
        row.by_source[step.source if step.source in row.by_source else OTHERS] -= 1
        count_team(turn, row, step.source, -1)
    if step.kind in learning.MOVING_CLASSES and turn.settings.profile.score == "mean":
        row.weight -= step.counted
        row.weighted -= step.counted * step.target
    if step.kind in learning.COUNTED_BY_COINS and says and turn.settings.profile.trust:
        coins = turn.source(step.source)
        amount = -learning.COUNTED_BY_COINS[step.kind]
        learning.set_coins(coins, trust.count(coins_of(coins), 1 - step.target, step.belief, amount))
    if step.kind == StepKind.ANSWER and says and kept.arm is not None and step.source == revoked:
        learning.reward_arm(turn, kept.arm, step.target, -1.0)


def forget_counts(turn: Turn, row: ClassRow, source: str) -> None:
    """Take all that a source has answered out of a class's counts; and a mean whose step is not `harmonic` starts at the prior."""
    count_team(turn, row, source, -row.by_source.get(source, 0))
    if source in row.by_source:
        row.by_source[source] = 0
    if turn.settings.profile.step != "harmonic":
        row.weight = row.weighted = 0.0


def count_team(turn: Turn, row: ClassRow, source: str, answers: int) -> None:
    """Change the count of a source's team in a class, where it counts by team."""
    known = turn.state.find(SourceRow, turn.scope, source)
    if answers and known is not None and known.team is not None and row.by_team:
        name = learning.team_counted_as(row.by_team, known.team)
        row.by_team[name] = max(0, row.by_team.get(name, 0) + answers)


def remaining(turn: Turn, classes: list[tuple[ClassRow, KeptRow]], revoked: str) -> list[tuple[int, ClassRow, float, Step]]:
    """Drop a source's steps from the kept judgements and mark its answers in them; return the others in order."""
    steps = []
    for row, kept in classes:
        kept.steps = [step for step in kept.steps if revoked not in (step.source, step.by)]
        output = learning.output_of(turn, kept.features)
        steps += [(step.number, row, output, step) for step in kept.steps]
        decision = turn.state.find(DecisionRow, turn.scope, kept.decision)
        if decision is not None:
            decision.judged = [
                msgspec.structs.replace(judged, weight=0.0, moved=0.0, sequence=0, counted=0.0) if judged.source == revoked else judged
                for judged in decision.judged
            ]
    return sorted(steps, key=lambda each: each[0])
