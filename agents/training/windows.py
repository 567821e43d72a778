"""The end of a window: what the candidates cost, the next challenger, and what is forgotten."""

from agents.training.fitting import fit
from agents.training.rows import Candidate, CandidatesRow, ExampleRow, ExamplesRow, KnownClassesRow, OffsetsRow, Sums
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
    row.as_it_was, row.sums = Sums(), {}
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
    totals = {name: total(turn, sums, surfaced, withheld) for name, sums in row.sums.items()}
    fitted = fit(turn.examples()) if turn.settings.profile.score == "logit" else None
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
        cost_in_force=total(turn, row.as_it_was, surfaced, withheld),
        cost_challenger=totals.get(scored) if scored is not None else None,
        costs=totals,
        next=row.challenger if fitted is not None else None,
        examples=fitted.examples if fitted is not None else 0,
        positions=turn.positions,
    )
    turn.emit("alignment", identity, time_ms, event)


def total(turn: Turn, sums: Sums, surfaced: int, withheld: int) -> float:
    """Return a cost over the window: the judged decisions of each kind stand for all of that kind.

    A kind of which nothing was judged adds nothing, to no candidate; what nobody trusted is judged to cost nothing either way.
    """
    row = turn.row
    parts = ((sums.surfaced, row.judged_surfaced, surfaced), (sums.withheld, row.judged_withheld, withheld))
    return sum(cost * count / judged for cost, judged, count in parts if judged > 0)


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
    if len(kept) == len(models):
        return
    turn.state.get(CandidatesRow, turn.scope).models = kept
    names, classes = {model.id for model in kept}, turn.state.get(KnownClassesRow, turn.scope)
    for scenario_class in list(classes.names):
        offsets = turn.offsets(scenario_class)
        offsets.by_model = {name: own for name, own in offsets.by_model.items() if name in names}
        if not offsets.by_model:
            turn.state.delete(OffsetsRow, turn.scope, scenario_class)
            classes.names.remove(scenario_class)
