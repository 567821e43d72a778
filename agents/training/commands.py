"""Carrying out a retraining command: once, and only for the better."""

import numpy as np

from agents.training import offpolicy
from agents.training.offpolicy import Logged, Scored
from agents.training.rows import Candidate, CommandsRow, ExampleRow
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
    """Hold a line of challengers against the model in force, and publish its newest if it is better; a known command does nothing."""
    known = turn.state.get(CommandsRow, turn.scope)
    if command.id in known.names:
        return
    known.names = [*known.names, command.id][-COMMANDS_MAX:]
    why_not = barred(turn)
    challenger, evaluation = (None, None) if why_not else offer(turn, command)
    why_not = why_not or refusal(challenger, evaluation)
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
    """Return what would go in force of a command's line of challengers, and what the evidence says of the line.

    The line is, for each decision, the newest challenger that had been fitted before its target came: each has learned from all that
    the one before it had, and was compared on what it had not. So evidence adds up over windows although a challenger is fitted at the
    end of each. What is compared is the way of fitting: offered is the newest fit that the command can have known, which has learned
    from the last window of the evidence too, as in hindsight's schedule. Where the last that was compared was not cheaper itself, it
    is the newest that was; without evidence it is the newest fit, and None where there is none.

    Source: prequential evaluation, Dawid, J. R. Stat. Soc. A 147 (1984).
    """
    in_force = turn.row.in_force
    fitted = [model for model in turn.models if model.id == derived_name(turn.scope, "model", model.window)]
    line = [model for model in fitted if model.window <= command.evidence_to and model.id != in_force]
    told = [(example, challenger) for example in judged(turn, command) if (challenger := newest_of(line, example, in_force)) is not None]
    if not told:
        return (line[-1] if line else None), None
    compared = sorted({challenger.id: challenger for _, challenger in told}.values(), key=lambda model: model.window, reverse=True)
    own = ((challenger, evaluate(turn, [each for each in told if each[1] is challenger])) for challenger in compared)
    cheaper = next((challenger for challenger, found in own if found.difference > 0), None)
    return line[-1] if cheaper is compared[0] else cheaper, evaluate(turn, told)


def judged(turn: Turn, command: RetrainingCommand) -> list[ExampleRow]:
    """Return the decisions by score of the evidence whose target somebody trusted has told."""
    windows = range(command.evidence_from, command.evidence_to + 1)
    return [example for example in turn.examples() if example.scored and example.weight > 0 and example.window in windows]


def newest_of(line: list[Candidate], example: ExampleRow, in_force: str) -> Candidate | None:
    """Return the newest challenger that a decision was compared under, beside the model in force, before its target was learned."""
    if in_force not in example.confidences:
        return None
    earlier = (model for model in reversed(line) if model.window < example.window and model.id in example.confidences)
    return next(earlier, None)


def evaluate(turn: Turn, told: list[tuple[ExampleRow, Candidate]]) -> OffPolicy:
    """Hold challengers and the model in force against each other on judged decisions, each under the challenger named beside it."""
    examples = [example for example, _ in told]
    held = [turn.examples_of(window) for window in {example.window for example in examples}]
    logged = Logged(
        surfaced=np.array([float(example.surfaced) for example in examples]),
        propensity=np.array([example.propensity for example in examples]),
        target=np.array([example.target for example in examples], dtype=float),
        weight=np.array([min(1.0, example.weight) for example in examples]),
        in_force=np.array([example.confidences[turn.row.in_force] for example in examples]),
        challenger=np.array([example.confidences[challenger.id] for example, challenger in told]),
    )
    scored = Scored(sum(window.surfaced for window in held), sum(window.withheld for window in held))
    profile = turn.settings.profile
    return offpolicy.compare(logged, scored, profile.threshold, profile.override_cost, profile.miss_cost)


def barred(turn: Turn) -> str | None:
    """Say why no challenger can be put in force, whatever it is, or None."""
    if turn.row.adopted is not None:
        return f"{turn.row.adopted} has been adopted already and is on its way"
    if turn.settings.profile.score != "logit":
        return f"the score `{turn.settings.profile.score}` uses no model"
    if not turn.settings.learns(turn.scope) or turn.frozen():
        return "learning is off or frozen in this scope"
    return None


def refusal(challenger: Candidate | None, evaluation: OffPolicy | None) -> str | None:
    """Say why a challenger is not put in force, or None."""
    if challenger is None and evaluation is not None:
        return shortfall(evaluation) or "none of the challengers was cheaper in its own window"
    if challenger is None:
        return "no challenger has been fitted beside the model in force: too few judgements, or all of them say the same"
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
