"""The trainer: its clock is the judgement topic, and it deploys only when commanded.

When a judgement tells of a later window than the last one did, the window before has ended: what the model in force and each
candidate of the last 50 windows cost on judgements that none of them had seen is published, and the next challenger is fitted
on the last 8 windows. A command makes it compare a line of challengers with the model in force, off-policy, and publish the newest fit
only if the line is better.
Whatever comes on the model topic, its own models included, is the model in force from there on.
"""

from typing import Any

import numpy as np

from agents.scoring import Array
from agents.step import Block, Context, Result, Rows
from agents.training import commands, windows
from agents.training.offsets import confidences, heard, move, outputs_of
from agents.training.rows import Candidate, ExampleRow, ExamplesRow, FreezeRow
from agents.training.turn import HISTORY_WINDOWS, Turn
from agents.turn import fold
from schemas.alignment import RetrainingCommand
from schemas.events import Command, Control, Judgement, Model, Reason, Status

SCORED = frozenset({Reason.PASSED, Reason.BELOW_THRESHOLD, Reason.EXPLORATION, Reason.BUDGET, Reason.SHADOW})

RELEASED_MAX = 256  # sources that are remembered


def train(rows: Rows, block: Block, context: Context) -> Result:
    """Handle a block of judgements, retraining commands, models or control records."""
    return fold(rows, block, context, Turn, HANDLERS[block.topic])


def handle_judgement(turn: Turn, judgement: Judgement) -> None:
    """Let a judgement say what the candidates made of its decision, then let them learn from what is new in it.

    A later revision lists every answer again, and one more: only that one is learned from; one of a decision that is not held any
    more says nothing new. A decision is compared on once, when its target first becomes known. Answers that moved nothing where
    they were given, frozen or in quarantine, are nobody's. In a scope whose learning is off by setting, nothing is kept.
    """
    if not turn.settings.learns(turn.scope):
        return
    windows.begin(turn, judgement)
    example = turn.state.find(ExampleRow, turn.scope, judgement.decision)
    if example is None:
        if judgement.revision > 1:
            return
        example = remember(turn, judgement)
    fresh = heard(judgement.answers[len(example.answers) :])
    told = example.target is None and judgement.target is not None
    counts = any(answer.counted > 0 for answer in judgement.answers)
    example.target, example.weight, example.answers = judgement.target, judgement.weight if counts else 0.0, judgement.answers
    if told:
        example.window = turn.row.window
    if turn.settings.profile.score != "logit":
        if told:
            charge(turn, example, np.array([judgement.confidence]), [])
    elif told or fresh:
        outputs, own = outputs_of(turn.models, example.features), turn.own(example.scenario_class)
        if told:
            compare(turn, example, confidences(outputs, own))
        if fresh:
            turn.offsets(example.scenario_class).own = move(outputs, own, fresh).tolist()


def remember(turn: Turn, judgement: Judgement) -> ExampleRow:
    """Keep a decision of which nothing was known."""
    example = ExampleRow(
        scenario_class=judgement.scenario_class,
        features=judgement.features,
        surfaced=judgement.status == Status.SURFACED,
        scored=judgement.reason in SCORED,
        propensity=judgement.propensity,
    )
    turn.state.put(example, turn.scope, judgement.decision)
    if turn.row.window not in turn.row.held:
        turn.row.held.append(turn.row.window)
    turn.state.get(ExamplesRow, turn.scope, str(turn.row.window)).decisions.append(judgement.decision)
    return example


def compare(turn: Turn, example: ExampleRow, wanted: Array) -> None:
    """Note what the candidates make of a decision whose target has just become known, and charge them for it.

    Args:
        turn: that of the judgement.
        example: the decision.
        wanted: R of the decision under each candidate, from before it learned the target.
    """
    window, models = turn.row.window, turn.models
    names = [model.id for model in models]
    in_force = names.index(turn.row.in_force)
    places = [place for place, model in enumerate(models) if model.window >= window - HISTORY_WINDOWS or place == in_force]
    example.confidences = {names[place]: float(wanted[place]) for place in places}
    # One that came within the window would be charged for a part of it; those stand last.
    whole = sum(model.window < window for model in models)
    charge(turn, example, np.concatenate((wanted[in_force : in_force + 1], wanted[:whole])), names[:whole])


def charge(turn: Turn, example: ExampleRow, wanted: Array, names: list[str]) -> None:
    """Charge what was in force, and every candidate after it, what each would have cost on a decision: k y, or m (1 - y).

    Args:
        turn: that of the judgement.
        example: the decision.
        wanted: R under what was in force, then under the candidates.
        names: of the candidates.
    """
    row, profile = turn.row, turn.settings.profile
    weight, target = min(1.0, example.weight), example.target
    if not example.scored or weight <= 0 or target is None:
        return
    cost = weight * np.where(wanted >= profile.threshold, profile.override_cost * target, profile.miss_cost * (1 - target))
    if not row.costs_surfaced:
        row.costs_surfaced, row.costs_withheld = [0.0] * len(cost), [0.0] * len(cost)
    saved = float(cost[0] - cost[1 + names.index(row.challenger)]) if row.challenger in names else 0.0
    if example.surfaced:
        row.judged_surfaced += 1
        row.squares_surfaced += saved**2
        row.costs_surfaced = (row.costs_surfaced + cost).tolist()
    else:
        row.judged_withheld += 1
        row.squares_withheld += saved**2
        row.costs_withheld = (row.costs_withheld + cost).tolist()


def handle_model(turn: Turn, model: Model) -> None:
    """Note which model is in force; one that is unknown becomes a candidate, with offsets of its own."""
    before = turn.model(turn.row.in_force)
    if before is not None:
        before.last = turn.row.window
    turn.add(Candidate(model.id, turn.row.window, model.intercept, dict(model.weights)))
    turn.row.in_force = model.id
    if model.id == turn.row.adopted:
        turn.row.adopted = None


def handle_control(turn: Turn, control: Control) -> None:
    """Note a freeze and its end, and who is let out of quarantine when; the other commands are the decider's."""
    row = turn.row if turn.scope else turn.state.get(FreezeRow)
    if control.command in {Command.FREEZE, Command.RESUME}:
        row.frozen = control.command == Command.FREEZE
    if control.command in {Command.RELEASE, Command.QUARANTINE, Command.REVOKE} and control.subject:
        row.released.pop(control.subject, None)
        if control.command == Command.RELEASE:
            row.released = dict([*row.released.items(), (control.subject, control.time_ms)][-RELEASED_MAX:])


def handle_command(turn: Turn, command: RetrainingCommand) -> None:
    """Carry out a retraining command."""
    commands.carry_out(turn, command)


HANDLERS: dict[str, Any] = {
    "judgement": handle_judgement,
    "model": handle_model,
    "control": handle_control,
    "retraining-command": handle_command,
}
