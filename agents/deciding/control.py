"""Commands and models: inputs of the task like any other, with recorded positions; each takes effect where it stands in the log.

A command reaches its scope, or all scopes of the partition. `resume` undoes kill, freeze and shadow, and `release` a quarantine,
of the same reach: a scope's own stays when that of all scopes is taken back, with the sum and alarm that it came with, and the other
way round. A quarantine holds by name, so a source can be silenced before its first answer. `revoke` is a quarantine at once, in every
scope that it reaches, and a fold without the source that each scope makes in a turn of its own (`agents.deciding.refolding`). `reopen`
happens once and leaves nothing in force: what the override budget has spent is forgotten (`agents.deciding.budget`).
"""

from agents.deciding import budget, quarantine, refolding
from agents.deciding.rows import GlobalRow, ScopeRow, ScopesRow, SourceRow
from agents.deciding.turn import Turn
from schemas.alignment import ModelTaken
from schemas.errors import DecodeError
from schemas.events import ABOUT_SOURCES, Command, Control, Model
from schemas.identity import derived_name


def handle_control(turn: Turn, control: Control) -> None:
    """Apply a command to its scope, or to all."""
    row = turn.row if turn.scope else turn.state.get(GlobalRow)
    if control.command in ABOUT_SOURCES:
        handle_source_command(turn, row, control)
    elif control.command == Command.REOPEN:
        handle_reopen(turn, control)
    elif control.command == Command.RESUME:
        row.killed = row.frozen = row.shadowed = False
    elif control.command == Command.KILL:
        row.killed = True
    elif control.command == Command.FREEZE:
        row.frozen = True
    else:
        row.shadowed = True


def handle_source_command(turn: Turn, row: ScopeRow | GlobalRow, control: Control) -> None:
    """Put a source in quarantine or let it out, and let the budget follow; note where a revoked one is to be taken out.

    Raises:
        DecodeError: no subject.
    """
    source = control.subject
    if not source:
        raise DecodeError(f"control: {control.command} without a subject; name in `subject` the source of answers that it is about")
    if control.command == Command.RELEASE:
        row.quarantined = [name for name in row.quarantined if name != source]
    elif source not in row.quarantined:
        row.quarantined = [*row.quarantined, source]
    for reached in reached_by(turn):
        if control.command == Command.REVOKE and source not in reached.row.revoked:
            reached.row.revoked.append(source)
        known = reached.state.find(SourceRow, reached.scope, source)
        if known is not None:
            released = control.command == Command.RELEASE and source not in reached.row.quarantined
            if released or control.command == Command.REVOKE:
                quarantine.acquit(reached, source, known)
            budget.rebook(reached, source, known)
            quarantine.weigh(reached, source, known)


def handle_reopen(turn: Turn, control: Control) -> None:
    """Start the override budget anew in every scope that the command reaches.

    Raises:
        DecodeError: no reason.
    """
    if not control.reason:
        raise DecodeError("control: reopen without a reason; say in `reason` why more may be overridden than was declared")
    for reached in reached_by(turn):
        budget.reopen(reached, control.by, control.reason)


def reached_by(turn: Turn) -> list[Turn]:
    """Return the turn in each scope that its command reaches."""
    return [turn.within(name) for name in ([turn.scope] if turn.scope else turn.state.get(ScopesRow).names)]


def handle_model(turn: Turn, model: Model) -> None:
    """Take a model up: from this position on it is the one in force, and the classes' offsets are expressed beside it.

    The model that is in force already changes nothing. Whether learning is frozen or off makes no difference: the trainer writes no
    model there, and one that a person gives is taken up.
    """
    row = turn.row
    if (model.id, model.intercept, model.weights) == (row.model, row.intercept, row.weights):
        return
    replaced, row.model, row.intercept, row.weights = row.model, model.id, model.intercept, dict(model.weights)
    folded = refolding.re_express(turn) if turn.settings.profile.score == "logit" else refolding.NOTHING
    identity = derived_name(turn.identity, "model_taken")
    taken = ModelTaken(identity, turn.scope, row.clock_ms, model.id, replaced, folded.classes, folded.answers, turn.positions)
    turn.emit("alignment", identity, row.clock_ms, taken)
