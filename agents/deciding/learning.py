"""What one answer or outcome moves: class score, trust in its source, budget, arms, threshold table.

What teaches is a `Step`. `take` applies it, to the class first and then to trust, with the class's R from before it; `learn` also
keeps it with its decision's judgement, so that `agents.deciding.refolding` can take it again.
"""

from collections.abc import Mapping
from typing import NamedTuple

from agents import scoring, teams, trust
from agents.deciding import budget, plain, quarantine
from agents.deciding.rows import ClassesRow, ClassRow, DecisionRow, KeptRow, SourceRow, Step, StepKind
from agents.deciding.turn import OTHERS, Turn, coins_of
from agents.scoring import OUTCOME_CHANNEL, Channel, Drift, Offsets
from agents.thresholds import ARMS
from schemas.events import Answer, JudgedAnswer, Verdict
from schemas.settings import Profile

KEPT_MAX = 128  # judgements of a class that re-expression and revocation fold again: the last ones that taught something
NEUTRAL_TARGET = 0.5
WANTED, UNWANTED = 0.0, 1.0
TARGETS: dict[str, float] = {Answer.LIKE: WANTED, Answer.OVERRIDE: UNWANTED, Verdict.INCIDENT: WANTED, Verdict.NONE: UNWANTED}
MOVING_CLASSES = frozenset({StepKind.ANSWER, StepKind.OUTCOME})
COUNTED_BY_COINS = {StepKind.ANSWER: 1.0, StepKind.LATE: 1.0, StepKind.VERIFIED: trust.OUTCOME_WEIGHT}


class Move(NamedTuple):
    """What an answer did to its class: by how much (logit, or R), as the class's how-manieth answer, and what share of it counted."""

    moved: float = 0.0
    sequence: int = 0
    counted: float = 0.0


UNMOVED = Move()


def new_class() -> ClassRow:
    """Return the row of a class that nothing has been said of: the prior."""
    return ClassRow(information=scoring.PRIOR_INFORMATION, draw_information=scoring.PRIOR_INFORMATION)


def class_row(turn: Turn, name: str) -> ClassRow:
    """Return a class's row, to be changed."""
    row = turn.state.find(ClassRow, turn.scope, name)
    if row is None:
        row = new_class()
        turn.state.put(row, turn.scope, name)
        turn.state.get(ClassesRow, turn.scope).names.append(name)
    return row


def output_of(turn: Turn, features: dict[str, float]) -> float:
    """Return what the model in force makes of features: offsets are expressed beside that model, whichever decided."""
    return scoring.model_output(features, turn.row.intercept, turn.row.weights)


def confidence_of(profile: Profile, row: ClassRow, model_output: float) -> float:
    """Return R of a scenario in its class, as the profile scores it."""
    if profile.score == "mean":
        return 1 - float(scoring.mean_misalignment(profile.prior_weight, profile.prior_mean, row.weight, row.weighted))
    return plain.confidence(model_output, row.offset)


def target_of(profile: Profile, kind: str) -> float | None:
    """Return the target y of an answer, or None where it leaves the score alone: neutral and skipped, unless they pull a mean."""
    if kind in TARGETS:
        return TARGETS[kind]
    if profile.silence == "ignore" or profile.score != "mean":
        return None
    return NEUTRAL_TARGET if kind == Answer.NEUTRAL else profile.silence_target


def is_verdict(target: float | None) -> bool:
    """Tell whether a target says wanted or unwanted: what counts as an answer."""
    return target in (WANTED, UNWANTED)


def counted_as(turn: Turn, row: ClassRow, source: str) -> str:
    """Return the name under which a class counts a source's answers; beyond SOURCES_MAX unknown ones all new ones share one."""
    return OTHERS if source not in row.by_source and turn.is_beyond(source, row.by_source) else source


def learn(turn: Turn, row: ClassRow, decision: DecisionRow, step: Step) -> Move:
    """Take a step about a decision, and keep it while the decision is among the last of its class that taught something."""
    move = take(turn, row, output_of(turn, decision.features), step)
    if step.kind != StepKind.OUTCOME:
        source = turn.source(step.source)
        budget.rebook(turn, step.source, source)
        quarantine.weigh(turn, step.source, source)
    turn.row.taught += 1
    step.number = turn.row.taught
    rewards = turn.settings.profile.selector == "thompson" and decision.threshold in ARMS and not decision.explored
    if rewards and step.kind == StepKind.ANSWER and is_verdict(step.target):
        reward_arm(turn, decision.threshold, step.target, 1.0)
    if decision.slot < 0:
        decision.slot = row.kept
        row.kept += 1
        empty = KeptRow(decision=decision.id, features=decision.features, arm=decision.threshold if rewards else None)
        turn.state.put(empty, *kept_key(turn, decision))
    if row.kept - decision.slot <= KEPT_MAX:
        kept = turn.state.find(KeptRow, *kept_key(turn, decision))
        assert kept is not None, "a slot of the ring holds a judgement from its first step on"
        kept.steps.append(step)
    return move


def kept_key(turn: Turn, decision: DecisionRow) -> tuple[str, str, str]:
    """Return the key of the slot in which a decision's judgement is kept."""
    return turn.scope, decision.scenario_class, str(decision.slot % KEPT_MAX)


def take(turn: Turn, row: ClassRow, output: float, step: Step) -> Move:
    """Apply a step to its class and then to trust in its source, and write into it how it was heard."""
    profile = turn.settings.profile
    source = None if step.kind == StepKind.OUTCOME else turn.source(step.source)
    heard = OUTCOME_CHANNEL if source is None else turn.channel(source)
    wanted = confidence_of(profile, row, output)
    move = UNMOVED
    if step.kind in MOVING_CLASSES:
        name, team = counted_as(turn, row, step.source), source.team if source is not None else None
        move = move_class(profile, row, output, name, step.target, heard, team)
        step.alpha, step.beta, step.counted = float(heard.alpha), float(heard.beta), move.counted
    if source is not None and profile.trust and is_verdict(step.target):
        coins, liked = coins_of(source), 1 - step.target
        if step.kind != StepKind.VERIFIED:
            step.belief = float(trust.posterior(coins, liked, wanted))
        set_coins(source, trust.count(coins, liked, step.belief, COUNTED_BY_COINS[step.kind]))
    return move


def move_class(profile: Profile, row: ClassRow, output: float, source: str, target: float, heard: Channel, team: str | None = None) -> Move:
    """Move the class by one answer of a source, by the name under which the class counts it, and say what came of it."""
    share = 1.0
    if is_verdict(target):
        row.answers += 1
        row.by_source[source] = row.by_source.get(source, 0) + 1
        share = count_team(row, team) if profile.teams == "equal" and team is not None else 1.0
    if profile.score == "mean":
        before = confidence_of(profile, row, output)
        weight = share * plain.weight(heard) if is_verdict(target) else 1.0
        move_mean(profile, row, target, weight)
        return Move(confidence_of(profile, row, output) - before, row.answers, weight)
    before, kappa = row.offset, share * plain.cap(sum(row.by_source.values()), row.by_source[source])
    plain.hear(row, 1 - target, heard, plain.confidence(output, row.offset), kappa)
    return Move(row.offset - before, row.answers, kappa)


def move_mean(profile: Profile, row: ClassRow, target: float, weight: float) -> None:
    """Move a class's mean by one target; plain sums under `harmonic`, so that a revocation can take an answer back exactly."""
    if profile.step == "harmonic":
        row.weight += weight
        row.weighted += weight * target
        return
    before = float(scoring.mean_misalignment(profile.prior_weight, profile.prior_mean, row.weight, row.weighted))
    moved = scoring.mean_update(before, target, scoring.SCHEDULES[profile.step](profile.prior_weight, row.weight, weight))
    row.weight += weight
    row.weighted = float(scoring.mean_weighted(profile.prior_weight, profile.prior_mean, row.weight, moved))


def count_team(row: ClassRow, team: str) -> float:
    """Count an answer of a team in its class, and return what kappa is multiplied by; beyond TEAMS_MAX all new teams are one."""
    name = team_counted_as(row.by_team, team)
    row.by_team[name] = row.by_team.get(name, 0) + 1
    heard = [count for count in row.by_team.values() if count > 0]
    return float(teams.share(sum(heard), len(heard), row.by_team[name]))


def team_counted_as(counts: Mapping[str, object], team: str) -> str:
    """Return the name under which a team is counted."""
    return team if team in counts or len(counts) < teams.TEAMS_MAX else OTHERS


def set_score(row: ClassRow, drift: Drift, offsets: Offsets) -> None:
    """Write a class's `logit` score into its row."""
    row.rising, row.falling = (float(value) for value in drift)
    row.offset, row.information, row.draw_information = (float(value) for value in offsets)


def set_coins(source: SourceRow, coins: trust.Coins) -> None:
    """Write a source's coins back into its row."""
    source.likes, source.wanted, source.overrides, source.unwanted = (float(value) for value in coins)


def count_known(turn: Turn, confidence: float, *, liked: bool) -> None:
    """Count one answer or outcome in the threshold table: an override above a threshold, a miss below it."""
    plain.count_known(turn.row.table, confidence, wanted=liked)


def reward_arm(turn: Turn, threshold: float, target: float, amount: float) -> None:
    """Give the arm that surfaced a decision its success or failure (the paper's selector); a negative amount takes it back."""
    (turn.row.arm_likes if target == WANTED else turn.row.arm_overrides)[ARMS.index(threshold)] += amount


def judge(turn: Turn, source: str, kind: str, time_ms: int, heard: Channel, team: str | None = None) -> JudgedAnswer:
    """Write down an answer or outcome as it is heard, before it has moved anything; one in quarantine weighs nothing."""
    return JudgedAnswer(
        source=source,
        kind=kind,
        time_ms=time_ms,
        alpha=float(heard.alpha),
        beta=float(heard.beta),
        weight=0.0 if turn.quarantined(source) else plain.weight(heard),
        target=target_of(turn.settings.profile, kind),
        moved=0.0,
        team=team,
    )
