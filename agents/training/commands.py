"""Carrying out a retraining command: once, and only for the better."""

import numpy as np

from agents.training import offpolicy
from agents.training.offpolicy import Logged, Scored
from agents.training.rows import Candidate, CommandsRow
from agents.training.turn import Turn
from schemas.alignment import OffPolicy, RetrainingCommand, RetrainingResult
from schemas.events import Model
from schemas.identity import derived_name

SAMPLE_SIZE_LEAST = 100.0
DIFFERING_LEAST = 20  # judged decisions on which the two act differently: fewer have no standard error to speak of
UNSUPPORTED_MAX = 0.5
STANDARD_ERRORS = 1.64  # by which a challenger has to be better: the one-sided 5 % of a normal error
COMMANDS_MAX = 256  # that are known again


def carry_out(turn: Turn, command: RetrainingCommand) -> None:
    """Hold a challenger against the model in force, and publish it if it is better; a command known already does nothing."""
    known = turn.state.get(CommandsRow, turn.scope)
    if command.id in known.names:
        return
    known.names = [*known.names, command.id][-COMMANDS_MAX:]
    why_not = barred(turn)
    challenger, evaluation = (None, None) if why_not else offer(turn, command)
    why_not = why_not or refusal(turn, challenger, evaluation)
    model = None
    if challenger is not None:
        numbers = {name: float(getattr(evaluation, name)) for name in OffPolicy.__struct_fields__} if evaluation else {}
        model = Model(
            id=challenger.id,
            scope=turn.scope,
            time_ms=command.time_ms,
            intercept=challenger.intercept,
            weights=challenger.weights,
            parent=turn.row.in_force,
            evaluation=numbers,
            origin="trained",
            by=f"npo/{turn.group}/{turn.partition}",
        )
    identity = derived_name(command.id, "result")
    result = RetrainingResult(
        id=identity,
        command=command.id,
        scope=turn.scope,
        time_ms=command.time_ms,
        window=turn.row.window,
        status="refused" if why_not else "adopted",
        reason=why_not or praise(evaluation),
        in_force=turn.row.in_force,
        evaluation=evaluation,
        model=model,
        positions=turn.positions,
    )
    turn.emit("retraining-result", identity, command.time_ms, result)
    if model is not None and not why_not:
        turn.row.adopted = model.id
        turn.emit("model", derived_name(command.id, "model"), command.time_ms, model)


def offer(turn: Turn, command: RetrainingCommand) -> tuple[Candidate | None, OffPolicy | None]:
    """Return the newest challenger that the evidence can judge, and what it says; where it can judge none, the one it tells most of.

    What is put in force is what was compared: a challenger on decisions whose target came after it was fitted.
    """
    fitted = [model for model in reversed(turn.models) if model.id == derived_name(turn.scope, "model", model.window)]
    fitted = [model for model in fitted if model.id != turn.row.in_force]
    judged: list[tuple[Candidate, OffPolicy]] = []
    for model in fitted:
        evaluation = evaluate(turn, command, model)
        if evaluation is not None:
            judged.append((model, evaluation))
            if evaluation.effective_sample_size >= SAMPLE_SIZE_LEAST:
                return model, evaluation
    if judged:
        return max(judged, key=lambda each: each[1].effective_sample_size)
    return (fitted[0] if fitted else None), None


def evaluate(turn: Turn, command: RetrainingCommand, challenger: Candidate) -> OffPolicy | None:
    """Hold a challenger and the model in force against each other on the decisions of the evidence that neither had learned from.

    None where there is none.
    """
    first, last, in_force = max(command.evidence_from, challenger.window + 1), command.evidence_to, turn.row.in_force
    both = {in_force, challenger.id}
    judged = (example for example in turn.examples() if example.scored and example.weight > 0 and first <= example.window <= last)
    told = [example for example in judged if both <= example.confidences.keys()]
    if not told:
        return None
    held = [turn.examples_of(window) for window in turn.row.held if first <= window <= last]
    logged = Logged(
        surfaced=np.array([float(example.surfaced) for example in told]),
        propensity=np.array([example.propensity for example in told]),
        target=np.array([example.target for example in told], dtype=float),
        weight=np.array([min(1.0, example.weight) for example in told]),
        in_force=np.array([example.confidences[in_force] for example in told]),
        challenger=np.array([example.confidences[challenger.id] for example in told]),
    )
    scored = Scored(sum(window.surfaced for window in held), sum(window.withheld for window in held))
    profile = turn.settings.profile
    return offpolicy.compare(logged, scored, profile.threshold, profile.override_cost, profile.miss_cost)


def barred(turn: Turn) -> str | None:
    """Say why no challenger can be put in force, whatever it is, or None."""
    if turn.settings.profile.score != "logit":
        return f"the score `{turn.settings.profile.score}` uses no model"
    if not turn.settings.learns(turn.scope) or turn.frozen():
        return "learning is off or frozen in this scope"
    return None


def refusal(turn: Turn, challenger: Candidate | None, evaluation: OffPolicy | None) -> str | None:
    """Say why a challenger is not put in force, or None."""
    if challenger is None:
        return "no challenger has been fitted beside the model in force: too few judgements, or all of them say the same"
    if challenger.id == turn.row.adopted:
        return f"{challenger.id} has been adopted already and is on its way"
    return shortfall(evaluation)


def shortfall(evaluation: OffPolicy | None) -> str | None:
    """Say what an evaluation lacks, or None."""
    if evaluation is None:
        return "the evidence holds no judgement of a decision that a challenger had seen"
    if evaluation.effective_sample_size < SAMPLE_SIZE_LEAST:
        return f"effective sample size {evaluation.effective_sample_size:.1f}, less than {SAMPLE_SIZE_LEAST:.0f}"
    if evaluation.unsupported > UNSUPPORTED_MAX:
        return f"{evaluation.unsupported:.0%} of the decisions are like none that was judged: the log cannot tell"
    if evaluation.differing < DIFFERING_LEAST:
        return f"the two act differently on {evaluation.differing} judged decisions, less than {DIFFERING_LEAST}"
    # Written so that what is not a number is refused.
    if not evaluation.difference > STANDARD_ERRORS * evaluation.standard_error:
        return f"not better by {STANDARD_ERRORS} standard errors: {praise(evaluation)}"
    return None


def praise(evaluation: OffPolicy | None) -> str:
    """Say in numbers how much cheaper the challenger is."""
    return f"{evaluation.difference:.3f} ± {evaluation.standard_error:.3f} cheaper per scenario" if evaluation else ""
