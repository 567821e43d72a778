"""Carrying out a retraining command: once, and only for the better."""

import numpy as np

from agents.training import offpolicy
from agents.training.offpolicy import Logged, Scored
from agents.training.rows import Candidate, ExampleRow
from agents.training.turn import Turn
from schemas.alignment import OffPolicy, RetrainingCommand, RetrainingResult
from schemas.events import Model
from schemas.identity import derived_name

SAMPLE_SIZE_LEAST = 100.0
STANDARD_ERRORS = 1.64  # by which a challenger has to be better: 5 % of equals would pass
COMMANDS_MAX = 256  # that are known again


def carry_out(turn: Turn, command: RetrainingCommand) -> None:
    """Compare the latest challenger with the model in force, and publish it if it is better; a command known already does nothing."""
    if command.id in turn.row.commands:
        return
    turn.row.commands = [*turn.row.commands, command.id][-COMMANDS_MAX:]
    challenger = turn.model(turn.row.challenger)
    evaluation = evaluate(turn, command) if challenger is not None else None
    why_not = refusal(turn, challenger, evaluation)
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
        turn.emit("model", derived_name(command.id, "model"), command.time_ms, model)


def evaluate(turn: Turn, command: RetrainingCommand) -> OffPolicy | None:
    """Hold challenger and model in force against each other on the evidence: decisions judged after each challenger was fitted.

    None where the evidence holds no such decision.
    """
    first, last = command.evidence_from, command.evidence_to
    told = [example for example in turn.examples() if first <= example.window <= last and tells(example)]
    if not told:
        return None
    held = [turn.examples_of(window) for window in turn.row.held if first <= window <= last]
    logged = Logged(
        surfaced=np.array([float(example.surfaced) for example in told]),
        propensity=np.array([example.propensity for example in told]),
        target=np.array([example.target for example in told], dtype=float),
        weight=np.array([min(1.0, example.weight) for example in told]),
        in_force=np.array([example.confidence_in_force for example in told]),
        challenger=np.array([example.confidence_challenger for example in told], dtype=float),
    )
    scored = Scored(sum(window.surfaced for window in held), sum(window.withheld for window in held))
    profile = turn.settings.profile
    return offpolicy.compare(logged, scored, profile.threshold, profile.override_cost, profile.miss_cost)


def tells(example: ExampleRow) -> bool:
    """Tell whether an example can compare the two: a score decided it, trusted sources judged it, and both had seen it before."""
    return example.scored and example.weight > 0 and example.confidence_challenger is not None


def refusal(turn: Turn, challenger: Candidate | None, evaluation: OffPolicy | None) -> str | None:
    """Say why a challenger is not put in force, or None."""
    if turn.settings.profile.score != "logit":
        return f"the score `{turn.settings.profile.score}` uses no model"
    if not turn.settings.learns(turn.scope) or turn.frozen():
        return "learning is off or frozen in this scope"
    if challenger is None:
        return "no challenger has been fitted: too few judgements, or all of them say the same"
    if challenger.id == turn.row.in_force:
        return "the latest challenger is in force already"
    return shortfall(evaluation)


def shortfall(evaluation: OffPolicy | None) -> str | None:
    """Say what an evaluation lacks, or None."""
    if evaluation is None:
        return "the evidence holds no judgement of a decision that a challenger had seen"
    if evaluation.effective_sample_size < SAMPLE_SIZE_LEAST:
        return f"effective sample size {evaluation.effective_sample_size:.1f}, less than {SAMPLE_SIZE_LEAST:.0f}"
    if evaluation.difference <= STANDARD_ERRORS * evaluation.standard_error:
        return f"not better by {STANDARD_ERRORS} standard errors: {praise(evaluation)}"
    return None


def praise(evaluation: OffPolicy | None) -> str:
    """Say in numbers how much cheaper the challenger is."""
    return f"{evaluation.difference:.3f} ± {evaluation.standard_error:.3f} cheaper per scenario" if evaluation else ""
