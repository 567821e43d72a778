"""What is counted of a scope, and published every window of scenarios: loss, threshold table, trust, budget."""

from collections.abc import Sequence
from math import ceil

import numpy as np

from agents import alignment, teams
from agents.deciding import budget, learning, plain
from agents.deciding.rows import Counts, SourceRow, SourcesRow, TeamCount
from agents.deciding.turn import Turn
from agents.thresholds import ARMS
from schemas.alignment import LossWindow, SourceTrust, TeamRate, TeamSummary, ThresholdRow, ThresholdTable, TrustSummary
from schemas.events import Answer, Decision, JudgedAnswer, Reason, Status
from schemas.identity import derived_name

WHOLE_PAST = -1
EARLY_WINDOWS, EARLY_SHARE = 8, 0.25  # a scope's first windows, each as this share of a window
EARLY_SCENARIOS_LEAST = 50  # fewer say nothing


def count_review(turn: Turn, *, missed: bool) -> None:
    """Count an outcome on a withheld decision."""
    for counts in (turn.row.current, turn.row.total):
        counts.reviewed += 1
        counts.missed += missed


def overrides(decided: Sequence[JudgedAnswer]) -> bool | None:
    """Tell whether likes and overrides come to an override, by the trust in who gave them; None where nobody is trusted at all."""
    trusted = sum(judged.weight for judged in decided)
    if trusted <= 0:
        return None
    return bool(teams.overrides(sum(judged.weight for judged in decided if judged.kind == Answer.OVERRIDE), trusted))


def count_teams(turn: Turn, decided: Sequence[JudgedAnswer]) -> None:
    """Count the likes and overrides of a decision by the teams of their sources: what each team says, and whether they differ."""
    said: dict[str, list[JudgedAnswer]] = {}
    for judged in decided:
        team = turn.source(judged.source).team
        if team is not None:
            said.setdefault(team, []).append(judged)
    heard = {team: overrides(answers) for team, answers in said.items()}
    verdicts = {team: overridden for team, overridden in heard.items() if overridden is not None}
    for counts in (turn.row.current, turn.row.total):
        for team, overridden in verdicts.items():
            count = counts.teams.setdefault(learning.team_counted_as(counts.teams, team), TeamCount())
            count.answered += 1
            count.overridden += overridden
        counts.shared += len(verdicts) > 1
        counts.conflicts += len(set(verdicts.values())) > 1


def length_of(window_scenarios: int, window: int) -> int:
    """Return how many scenarios a scope's how-manieth window has: the first ones are shorter, so that a first model comes sooner."""
    if window >= EARLY_WINDOWS:
        return window_scenarios
    return min(window_scenarios, max(EARLY_SCENARIOS_LEAST, ceil(EARLY_SHARE * window_scenarios)))


def count_decision(turn: Turn, decision: Decision) -> None:
    """Count a decision; the one that fills the window publishes it."""
    for counts in (turn.row.current, turn.row.total):
        counts.scenarios += 1
        counts.surfaced += decision.status == Status.SURFACED
        counts.withheld += decision.status == Status.WITHHELD
        counts.cooled += decision.reason == Reason.COOLDOWN
        counts.blocked += decision.status == Status.BLOCKED
        counts.explored += decision.reason == Reason.EXPLORATION
    if turn.row.current.scenarios < length_of(turn.settings.profile.window_scenarios, turn.row.window):
        return
    publish(turn)
    turn.row.window += 1
    turn.row.current = Counts()


def publish(turn: Turn) -> None:
    """Write the window that is full, the whole past, the threshold table, and trust with the budget."""
    for window, counts in ((turn.row.window, turn.row.current), (WHOLE_PAST, turn.row.total)):
        identity = derived_name(turn.scope, "window" if window == turn.row.window else "total", turn.row.window)
        turn.emit("alignment", identity, turn.row.clock_ms, loss_window(turn, identity, window, counts))
        if turn.row.total.teams:
            identity = derived_name(identity, "teams")
            turn.emit("alignment", identity, turn.row.clock_ms, team_summary(turn, identity, window, counts))
    identity = derived_name(turn.scope, "thresholds", turn.row.window)
    rows = tuple(
        ThresholdRow(threshold, surfaced, known, overrides, misses, alpha, beta)
        for threshold, (surfaced, known, overrides, misses), alpha, beta in zip(
            ARMS, turn.row.table, turn.row.arm_likes, turn.row.arm_overrides, strict=True
        )
    )
    table = ThresholdTable(identity, turn.scope, turn.row.clock_ms, turn.row.window, turn.row.total.scenarios, rows, turn.positions)
    turn.emit("alignment", identity, turn.row.clock_ms, table)
    identity = derived_name(turn.scope, "trust", turn.row.window)
    sources = tuple(source_trust(turn, name) for name in turn.state.get(SourcesRow, turn.scope).names)
    summary = TrustSummary(identity, turn.scope, turn.row.clock_ms, turn.row.window, sources, budget.state(turn), turn.positions)
    turn.emit("alignment", identity, turn.row.clock_ms, summary)


def loss_window(turn: Turn, identity: str, window: int, counts: Counts) -> LossWindow:
    """Return alignment loss, the paper's own loss with its floor, and the override rate with its three denominators."""
    profile = turn.settings.profile
    answers = {"override": counts.override, "like": counts.like, "neutral": counts.neutral, "skipped": counts.skipped}
    override, miss = alignment.rate(counts.overridden, counts.answered), alignment.rate(counts.missed, counts.reviewed)
    surfaced, withheld = counts.surfaced / counts.scenarios, counts.withheld / counts.scenarios
    loss = alignment.alignment_loss(override, miss, surfaced, withheld, profile.override_cost, profile.miss_cost)
    paper, floor = alignment.paper_loss(answers, profile.silence_target)
    rates = alignment.override_rates(counts.overridden, counts.surfaced, counts.answered, counts.scenarios)
    return LossWindow(
        id=identity,
        scope=turn.scope,
        time_ms=turn.row.clock_ms,
        window=window,
        scenarios=counts.scenarios,
        surfaced=counts.surfaced,
        withheld=counts.withheld,
        blocked=counts.blocked,
        answers=answers,
        override_given_answered=override,
        miss_given_outcome=miss,
        loss=loss.point,
        loss_low=loss.low,
        loss_high=loss.high,
        paper_loss=paper,
        paper_loss_floor=floor,
        overrides_per_surfaced=rates.per_surfaced,
        overrides_per_answered=rates.per_answered,
        overrides_per_scenario=rates.per_scenario,
        reward_minutes=counts.reward_minutes,
        positions=turn.positions,
    )


def team_summary(turn: Turn, identity: str, window: int, counts: Counts) -> TeamSummary:
    """Return each team's own override rate, the worst team, and how often teams differ."""
    rates = tuple(TeamRate(team, alignment.rate(count.overridden, count.answered)) for team, count in counts.teams.items())
    worst = teams.worst(
        np.array([count.overridden for count in counts.teams.values()]), np.array([count.answered for count in counts.teams.values()])
    )
    return TeamSummary(
        id=identity,
        scope=turn.scope,
        time_ms=turn.row.clock_ms,
        window=window,
        teams=rates,
        worst=rates[worst].team if worst is not None else None,
        conflict=alignment.rate(counts.conflicts, counts.shared),
        positions=turn.positions,
    )


def source_trust(turn: Turn, name: str) -> SourceTrust:
    """Return what is published of one source."""
    source = turn.state.get(SourceRow, turn.scope, name)
    own = plain.channel(source)
    quarantined = turn.quarantined(name)
    return SourceTrust(
        source=name,
        alpha=float(own.alpha),
        beta=float(own.beta),
        weight=0.0 if quarantined else plain.weight(plain.suspected(own, source.disagreement)),
        answers=source.answered,
        overrides=source.overridden,
        quarantined=quarantined,
        disagreement=source.disagreement,
    )
