"""The meta-monitor: at the end of each window of a scope, is retraining worth its price, and how well was that judged so far?

Two tasks write what it reads, and only the order of each one's own records means something. The trainer's windows and results
are taken in their order, each as soon as the decider's loss window that it needs is there. What the monitor writes to the
alignment topic itself comes back to it, and moves nothing.
"""

from functools import partial
from typing import Any

from agents.monitoring import hindsight, learned, rules, signatures
from agents.monitoring.rows import HISTORY_WINDOWS, WAITING_MAX, Answered, Behaviour, Commanded, Evidence, Sight, Window
from agents.monitoring.rules import COOLDOWN_WINDOWS, Weighed
from agents.monitoring.turn import Turn
from agents.step import Block, Context, Result, Rows
from agents.training.turn import HISTORY_WINDOWS as EXAMPLE_WINDOWS
from agents.turn import fold
from schemas.alignment import (
    AlignmentEvent,
    ChallengerWindow,
    Fidelity,
    LossWindow,
    MonitorAction,
    MonitorDecision,
    RetrainingCommand,
    RetrainingResult,
    ThresholdTable,
    TrustSummary,
)
from schemas.events import INITIAL
from schemas.identity import derived_name, generator


def monitor(rows: Rows, block: Block, context: Context) -> Result:
    """Handle a block of alignment events or retraining results."""
    return fold(rows, block, context, Turn, HANDLERS[block.topic])


def handle_alignment(turn: Turn, event: AlignmentEvent) -> None:
    """Take in what decider and trainer say of a window; all other kinds, the monitor's own among them, are for other readers."""
    handle = ALIGNMENT_HANDLERS.get(type(event))
    if handle is not None:
        handle(turn, event)


def handle_challenger(turn: Turn, event: ChallengerWindow) -> None:
    """Let a window wait for its turn; one that has been told changes nothing."""
    row = turn.row
    if event.window <= row.last:
        return
    row.last = event.window
    row.first = row.first and event.in_force == INITIAL
    window = Window(
        window=event.window,
        time_ms=event.time_ms,
        in_force=event.in_force,
        first=row.first,
        challenger=event.challenger,
        next=event.next,
        judged=event.judged,
        cost_in_force=event.cost_in_force,
        cost_challenger=event.cost_challenger,
        costs=event.costs,
        deviation=event.deviation or 0.0,
    )
    row.waiting.append(window)
    take_turns(turn)


def handle_result(turn: Turn, result: RetrainingResult) -> None:
    """Let a result wait for its turn."""
    turn.row.waiting.append(Answered(result.command, result.status == "adopted", result.evaluation))
    take_turns(turn)


def handle_loss(turn: Turn, event: LossWindow) -> None:
    """Remember a closed window of the decider; one that has been told changes nothing."""
    past = turn.behaviour.windows
    if event.window <= (past[-1].window if past else -1):
        return
    window = Behaviour(
        window=event.window,
        surfaced=event.surfaced,
        withheld=event.withheld,
        overrides_per_answered=event.overrides_per_answered,
        loss=event.loss,
        paper_loss=event.paper_loss,
        reward=event.reward_minutes / event.scenarios if event.scenarios else 0.0,
        width=event.loss_high - event.loss_low,
    )
    turn.behaviour.windows = [*past, window][-HISTORY_WINDOWS:]
    take_turns(turn)


def handle_thresholds(turn: Turn, event: ThresholdTable) -> None:
    """Look at the decider's windows once all of one is told: its threshold table follows its loss."""
    row = turn.behaviour
    if not row.windows or event.window != row.windows[-1].window:
        return
    if turn.settings.profile.selector == "thompson":
        row.windows[-1].best_arm = signatures.best_arm(event.rows)
    adapts = turn.settings.learns(turn.scope) and not turn.settings.shadows(turn.scope)
    for name, signature in signatures.SIGNATURES.items():
        if adapts or name not in signatures.OF_LEARNING:
            turn.alarm(row.raised, name, partial(signature, row.windows), event.window, event.time_ms)


def handle_trust(turn: Turn, event: TrustSummary) -> None:
    """Note the mean trust in the answers so far; it comes last of what the decider says of a window."""
    past = turn.behaviour.windows
    if not past or event.window != past[-1].window or past[-1].trust is not None:
        return
    answers = sum(source.answers for source in event.sources)
    trusted = sum(source.answers * source.weight for source in event.sources if not source.quarantined)
    past[-1].trust = trusted / answers if answers else 0.0
    take_turns(turn)


def take_turns(turn: Turn) -> None:
    """Take the trainer's records in their order, as far as the decider's windows that they need have come."""
    row = turn.row
    while row.waiting and ready(turn, row.waiting[0]):
        record = row.waiting.pop(0)
        if isinstance(record, Answered):
            note_result(turn, record)
        else:
            end_window(turn, record)


def ready(turn: Turn, record: Window | Answered) -> bool:
    """Tell whether a record's turn has come: some monitors need the decider's window, which will not come out of order."""
    name, past = turn.settings.profile.monitor, turn.behaviour.windows
    if isinstance(record, Answered) or name not in rules.SEES_LOSS or len(turn.row.waiting) > WAITING_MAX:
        return True
    whole = bool(past) and (name not in rules.SEES_TRUST or past[-1].trust is not None)
    return bool(past) and (past[-1].window > record.window or (past[-1].window == record.window and whole))


def note_result(turn: Turn, answered: Answered) -> None:
    """Note what came of a command; evidence that it has answered starts anew with the windows after the command.

    One that has been told, and that of a command which a person gave, changes nothing.
    """
    command = next((command for command in turn.row.commands if command.id == answered.command), None)
    if command is None or command.adopted is not None:
        return
    command.adopted = answered.adopted
    command.judgements = 0 if answered.adopted else rules.judgements_needed(answered.evaluation)
    if rules.settled(answered.evaluation, adopted=answered.adopted):
        evidence, before = Evidence(), None
        for window in turn.told.windows:
            if window.window > command.window:
                evidence = weigh(turn, evidence, before, window).evidence
            before = window
        turn.row.evidence = evidence


def weigh(turn: Turn, evidence: Evidence, before: Window | None, window: Window) -> Weighed:
    """Weigh one more window, with what the decider has told of the same window."""
    return rules.weigh(evidence, before, window, sight_of(turn, window), turn.settings.profile, turn.row.learned)


def sight_of(turn: Turn, window: Window) -> Sight:
    """Return what is known of a window beside what the trainer says; of the decider's windows only where the monitor waits for them."""
    last = max((command.window for command in turn.row.commands if command.window < window.window), default=turn.row.started)
    event, name = derived_name(turn.scope, "monitor", window.window), turn.settings.profile.monitor
    draw = float(generator(turn.settings.seed, event, "retraining").random()) if name == "random" else 1.0
    told = {past.window: past for past in turn.behaviour.windows} if name in rules.SEES_LOSS else {}
    before_it = [past for past in turn.told.windows if past.window < window.window]
    now, before = told.get(window.window), told.get(window.window - 1)
    if now is None:
        return Sight(past=before_it, since=window.window - last, draw=draw)
    trust = 0.0 if now.trust is None else now.trust
    return Sight(now.loss, before.loss if before else None, now.width, now.paper_loss, trust, before_it, window.window - last, draw)


def end_window(turn: Turn, window: Window) -> None:
    """Decide at the end of a window, and measure the monitor by hindsight."""
    row, past = turn.row, turn.told.windows
    row.started = window.window if row.started < 0 else row.started
    if turn.settings.profile.monitor == "learned":
        row.learned = learned.teach(row.learned, [*past, window], turn.settings.profile)
    weighed = weigh(turn, row.evidence, past[-1] if past else None, window)
    row.evidence, row.learned = weighed.evidence, weighed.learned
    turn.told.windows = [*past, window][-HISTORY_WINDOWS:]
    held = hold(turn, window) if weighed.passes else None
    retrains = weighed.passes and held is None
    command = derived_name(turn.scope, "retraining-command", window.window) if retrains else None
    identity = derived_name(turn.scope, "monitor", window.window)
    decision = MonitorDecision(
        id=identity,
        scope=turn.scope,
        time_ms=window.time_ms,
        window=window.window,
        monitor=turn.settings.profile.monitor,
        action=MonitorAction.RETRAIN if retrains else MonitorAction.WAIT,
        statistic=weighed.evidence.statistic,
        price=hindsight.price_of(window, turn.settings.profile.retraining_price),
        advantage=window.advantage,
        in_force=window.in_force,
        challenger=window.challenger,
        reason=weighed.said if held is None else f"{weighed.said}, but {held}",
        command=command,
        positions=turn.positions,
    )
    turn.emit("alignment", identity, window.time_ms, decision)
    if command is not None:
        retrain(turn, window, command)
    first = turn.told.windows[0].window
    row.commands = [command for command in row.commands if command.window >= first or command.adopted is None]
    publish_fidelity(turn, window)
    look = partial(signatures.excessive_retraining, window.window, row.commands)
    turn.alarm(row.raised, "excessive_retraining", look, window.window, window.time_ms)


def hold(turn: Turn, window: Window) -> str | None:
    """Say why nothing is commanded whatever the evidence, or None."""
    if not turn.settings.learns(turn.scope):
        return "learning is off in this scope"
    # The trainer would refuse each command, and each would be counted as one too many.
    if turn.settings.profile.score != "logit":
        return f"the score `{turn.settings.profile.score}` uses no model"
    if not turn.row.commands:
        return None
    last = turn.row.commands[-1]
    # Once nothing is left of what the trainer has refused, what it would need now is not known.
    if last.judgements and window.window < last.window + EXAMPLE_WINDOWS:
        since = max(turn.row.evidence.since or 0, window.window + 2 - EXAMPLE_WINDOWS)
        held = sum(told.judged for told in turn.told.windows if told.window >= since)
        return f"the evidence holds {held} of {last.judgements} judgements" if held < last.judgements else None
    if window.window <= last.window + COOLDOWN_WINDOWS:
        return f"nothing is commanded in the {COOLDOWN_WINDOWS} windows after window {last.window}"
    awaited = last.adopted is None and window.window < last.window + EXAMPLE_WINDOWS
    return f"the result of the command of window {last.window} has not come" if awaited else None


def retrain(turn: Turn, window: Window, identity: str) -> None:
    """Command a retraining on the evidence."""
    profile, evidence = turn.settings.profile, turn.row.evidence
    turn.row.commands.append(Commanded(identity, window.window, window.first))
    command = RetrainingCommand(
        id=identity,
        scope=turn.scope,
        time_ms=window.time_ms,
        reason=rules.REASONS[profile.monitor],
        window=window.window,
        evidence_from=window.window if evidence.since is None else evidence.since,
        evidence_to=window.window,
        statistic=evidence.statistic,
        price=hindsight.price_of(window, profile.retraining_price),
        cooldown_windows=COOLDOWN_WINDOWS,
        challenger=window.next or window.challenger,
        by=f"npo/{turn.group}/{turn.partition}",
        positions=turn.positions,
    )
    turn.emit("retraining-command", identity, window.time_ms, command)


def publish_fidelity(turn: Turn, window: Window) -> None:
    """Measure the monitor against hindsight as it stands now, from a scope's second window on."""
    past, price = turn.told.windows, turn.settings.profile.retraining_price
    if len(past) == 1:
        return
    numbers = [told.window for told in past]
    commands = [command for command in turn.row.commands if command.window >= numbers[0]]
    commanded = tuple(command.window for command in commands)
    deployed = tuple(command.window for command in commands if command.adopted)
    best = hindsight.cheapest(past, price)
    identity = derived_name(turn.scope, "fidelity", window.window)
    event = Fidelity(
        id=identity,
        scope=turn.scope,
        time_ms=window.time_ms,
        window=window.window,
        first_window=numbers[0],
        windows=len(past),
        commanded=commanded,
        deployed=deployed,
        ideal=best.deployed,
        fidelity=hindsight.fidelity(numbers, commanded, best.deployed),
        cost=hindsight.as_it_was(past, price, deployed),
        cost_best=best.cost,
        delay_windows=hindsight.delay(best.deployed, deployed, window.window),
        positions=turn.positions,
    )
    turn.emit("alignment", identity, window.time_ms, event)


ALIGNMENT_HANDLERS: dict[type, Any] = {
    ChallengerWindow: handle_challenger,
    LossWindow: handle_loss,
    TrustSummary: handle_trust,
    ThresholdTable: handle_thresholds,
}
HANDLERS: dict[str, Any] = {"alignment": handle_alignment, "retraining-result": handle_result}
