"""What one answer or outcome moves: class score, trust in its source, budget, arms, threshold table."""

from typing import NamedTuple

import numpy as np

from agents import alignment, scoring, trust
from agents.deciding.rows import ClassRow, DecisionRow, SourceRow
from agents.deciding.turn import OTHERS, SOURCES_MAX, Turn, coins_of
from agents.scoring import OUTCOME_CHANNEL, Channel, Drift, Offsets
from agents.thresholds import ARMS
from schemas.events import Answer, JudgedAnswer
from schemas.settings import Profile

NEUTRAL_TARGET = 0.5


class Heard(NamedTuple):
    """One answer to apply: who, what (`kind`), liked or not (None for neutral and skipped), when, through which channel."""

    source: str
    kind: str
    liked: bool | None
    time_ms: int
    channel: Channel
    team: str | None = None


def new_class() -> ClassRow:
    """Return the row of a class that nothing has been said of: the prior."""
    return ClassRow(information=scoring.PRIOR_INFORMATION, draw_information=scoring.PRIOR_INFORMATION)


def class_row(turn: Turn, name: str) -> ClassRow:
    """Return a class's row, to be changed."""
    row = turn.state.find(ClassRow, turn.scope, name)
    if row is None:
        row = new_class()
        turn.state.put(row, turn.scope, name)
    return row


def confidence_of(profile: Profile, row: ClassRow, model_output: float) -> float:
    """Return R of a scenario in its class, as the profile scores it."""
    if profile.score == "mean":
        return 1 - float(scoring.mean_misalignment(profile.prior_weight, profile.prior_mean, row.weight, row.weighted))
    return float(scoring.confidence(model_output, row.offset))


def target_of(profile: Profile, heard: Heard) -> float | None:
    """Return the target y of an answer, or None where it leaves the score alone (neutral and skipped under `ignore`)."""
    if heard.liked is not None:
        return 0.0 if heard.liked else 1.0
    if profile.silence == "ignore":
        return None
    return NEUTRAL_TARGET if heard.kind == Answer.NEUTRAL else profile.silence_target


class Move(NamedTuple):
    """What an answer did to its class: by how much (logit, or R), as the class's how-manieth answer, and what share of it counted."""

    moved: float = 0.0
    sequence: int = 0
    counted: float = 0.0


UNMOVED = Move()


def move_class(turn: Turn, row: ClassRow, decision: DecisionRow, heard: Heard) -> Move:
    """Move the class by one answer, and say what came of it."""
    profile = turn.settings.profile
    target = target_of(profile, heard)
    if target is None:
        return UNMOVED
    if heard.liked is not None:
        row.answers += 1
        name = heard.source if heard.source in row.by_source or len(row.by_source) < SOURCES_MAX else OTHERS
        row.by_source[name] = row.by_source.get(name, 0) + 1
    if profile.score == "mean":
        before = confidence_of(profile, row, decision.model_output)
        weight = float(trust.weight(heard.channel)) if heard.liked is not None else 1.0
        row.weight += weight
        row.weighted += weight * target
        moved = confidence_of(profile, row, decision.model_output) - before
        return Move(moved, row.answers, weight)
    wanted = float(scoring.confidence(decision.model_output, row.offset))
    kappa = scoring.cap(row.answers, row.by_source.get(heard.source) or row.by_source[OTHERS])
    prior = Offsets(row.offset, row.information, row.draw_information)
    after = scoring.update(prior, float(bool(heard.liked)), heard.channel, wanted, kappa)
    drift, after = scoring.forget(Drift(row.rising, row.falling), after, float(bool(heard.liked)), heard.channel, wanted)
    row.rising, row.falling = (float(value) for value in drift)
    moved = float(after.offset) - row.offset
    row.offset, row.information, row.draw_information = (float(value) for value in after)
    return Move(moved, row.answers, float(kappa))


def book_answer(turn: Turn, source: SourceRow, *, liked: bool, budgeted: bool) -> None:
    """Count one answer in the override budget, frozen or not: what was surfaced while learning stood still was surfaced."""
    if budgeted and turn.settings.learns(turn.scope):
        source.answered += 1
        source.overridden += not liked
        turn.row.earned_raw += turn.settings.profile.override_rate - (not liked)
        rebook(turn, source)


def observe_source(turn: Turn, name: str, *, liked: bool, wanted: float) -> None:
    """Count one answer of a source in its coins, by EM, and in what it adds to the budget."""
    source = turn.source(name)
    if turn.settings.profile.trust:
        set_coins(source, trust.observe(coins_of(source), float(liked), wanted))
    rebook(turn, source)


def verify_source(turn: Turn, name: str, *, liked: bool, incident: bool) -> None:
    """Count one answer whose truth an outcome has told."""
    source = turn.source(name)
    if turn.settings.profile.trust:
        set_coins(source, trust.verify(coins_of(source), float(liked), float(incident)))
    rebook(turn, source)


def set_coins(source: SourceRow, coins: trust.Coins) -> None:
    """Write a source's coins back into its row."""
    source.likes, source.wanted, source.overrides, source.unwanted = (float(value) for value in coins)


def rebook(turn: Turn, source: SourceRow) -> None:
    """Replace what a source adds to the trusted budget by what it adds as of now."""
    earned = float(trust.wealth(turn.channel(source), source.answered, source.overridden, turn.settings.profile.override_rate))
    turn.row.earned_trusted += earned - source.earned
    source.earned = earned


def count_known(turn: Turn, confidence: float, *, liked: bool) -> None:
    """Count one answer or outcome in the threshold table: an override above a threshold, a miss below it."""
    turn.row.table = alignment.count_known(np.array(turn.row.table), np.array([confidence]), np.array([liked])).tolist()


def reward_arm(turn: Turn, threshold: float, *, liked: bool) -> None:
    """Give the arm that surfaced a decision its success or failure (the paper's selector)."""
    (turn.row.arm_likes if liked else turn.row.arm_overrides)[ARMS.index(threshold)] += 1


def judged(profile: Profile, heard: Heard, move: Move) -> JudgedAnswer:
    """Write down one answer as it was applied."""
    return JudgedAnswer(
        source=heard.source,
        kind=heard.kind,
        time_ms=heard.time_ms,
        alpha=float(heard.channel.alpha),
        beta=float(heard.channel.beta),
        weight=float(trust.weight(heard.channel)),
        target=target_of(profile, heard),
        moved=move.moved,
        sequence=move.sequence,
        counted=move.counted,
        team=heard.team,
    )


def hear_outcome(source: str, *, incident: bool, time_ms: int) -> Heard:
    """Return an outcome as one more answer, through the outcomes' own channel."""
    return Heard(f"outcome:{source}", "incident" if incident else "none", incident, time_ms, OUTCOME_CHANNEL)
