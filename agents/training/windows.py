"""The end of a window: what the candidates cost, the next challenger, and what is forgotten."""

from math import sqrt

from agents.training.fitting import fit
from agents.training.rows import Candidate, ExampleRow, ExamplesRow
from agents.training.selection import select
from agents.training.turn import CANDIDATE_WINDOWS, HISTORY_WINDOWS, Turn
from schemas.alignment import ChallengerWindow
from schemas.events import Judgement
from schemas.identity import derived_name


def begin(turn: Turn, judgement: Judgement) -> None:
    """Move to the judgement's window; those before it end."""
    row = turn.row
    if judgement.window <= row.window:
        return
    # Windows in which nothing was judged are like the one before them.
    windows = judgement.window - row.window
    surfaced = round((judgement.scored_surfaced - row.scored_surfaced) / windows)
    withheld = round((judgement.scored_withheld - row.scored_withheld) / windows)
    ended = turn.state.find(ExamplesRow, turn.scope, str(row.window))
    if ended is not None:
        ended.surfaced, ended.withheld = surfaced, withheld
        end(turn, judgement.time_ms, surfaced, withheld)
    row.window = judgement.window
    row.scored_surfaced, row.scored_withheld = judgement.scored_surfaced, judgement.scored_withheld
    row.judged_surfaced = row.judged_withheld = 0
    row.costs_surfaced, row.costs_withheld = [], []
    row.squares_surfaced = row.squares_withheld = 0.0
    prune(turn)


def end(turn: Turn, time_ms: int, surfaced: int, withheld: int) -> None:
    """Publish what the window's judgements say of the candidates, and fit the next challenger.

    Args:
        turn: that of the record that tells of the end.
        time_ms: its time.
        surfaced: decisions of the window that were surfaced, judged or not.
        withheld: those that a score or the budget withheld.
    """
    row = turn.row
    scored, judged = row.challenger, row.judged_surfaced + row.judged_withheld
    as_it_was, *others = totals_of(turn, surfaced, withheld)
    totals = dict(zip((model.id for model in turn.models), others, strict=False))
    deviation = deviation_of(turn, surfaced, withheld)
    fitted = fit(select(turn.examples(), turn.settings.profile, turn.released())) if turn.settings.profile.score == "logit" else None
    if fitted is not None:
        row.challenger = derived_name(turn.scope, "model", row.window)
        turn.add(Candidate(row.challenger, row.window, fitted.intercept, fitted.weights))
    identity = derived_name(turn.scope, "challenger", row.window)
    event = ChallengerWindow(
        id=identity,
        scope=turn.scope,
        time_ms=time_ms,
        window=row.window,
        judged=judged,
        surfaced=row.judged_surfaced,
        withheld=row.judged_withheld,
        in_force=row.in_force,
        challenger=scored,
        cost_in_force=as_it_was,
        cost_challenger=totals.get(scored) if scored is not None else None,
        costs=totals,
        next=row.challenger if fitted is not None else None,
        examples=fitted.examples if fitted is not None else 0,
        positions=turn.positions,
        deviation=deviation if scored in totals else None,
    )
    turn.emit("alignment", identity, time_ms, event)


def totals_of(turn: Turn, surfaced: int, withheld: int) -> list[float]:
    """Return what the model in force cost over the window, and each candidate: the judged of each kind stand for all of that kind.

    A kind of which nothing was judged adds nothing, to no candidate; what nobody trusted is judged to cost nothing either way.
    """
    row = turn.row
    shown, hidden = surfaced / max(1, row.judged_surfaced), withheld / max(1, row.judged_withheld)
    charged = zip(row.costs_surfaced, row.costs_withheld, strict=True)
    return [of_shown * shown + of_hidden * hidden for of_shown, of_hidden in charged] or [0.0]


def deviation_of(turn: Turn, surfaced: int, withheld: int) -> float:
    """Return the standard deviation of what the challenger saved over the window, as far as its few judged decisions err."""
    row = turn.row
    shown, hidden = surfaced / max(1, row.judged_surfaced), withheld / max(1, row.judged_withheld)
    return sqrt(shown**2 * row.squares_surfaced + hidden**2 * row.squares_withheld)


def prune(turn: Turn) -> None:
    """Forget examples that no challenger will be fitted on, and candidates beyond the horizon."""
    row = turn.row
    while row.held and row.held[0] <= row.window - HISTORY_WINDOWS:
        window = row.held.pop(0)
        for name in turn.examples_of(window).decisions:
            turn.state.delete(ExampleRow, turn.scope, name)
        turn.state.delete(ExamplesRow, turn.scope, str(window))
    models, dated = turn.models, row.window - CANDIDATE_WINDOWS
    kept = [model for model in models if max(model.window, model.last) >= dated or model.id in {row.in_force, row.challenger}]
    if len(kept) < len(models):
        turn.keep(kept)
