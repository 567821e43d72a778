"""The events of the second loop: what alignment comes to, what the meta-monitor makes of it, what came of retraining."""

from enum import StrEnum
from typing import Literal

from msgspec import Struct

from schemas.events import BudgetState, Model, Name, Positions, TimeMs


class MonitorAction(StrEnum):
    """What the meta-monitor does at the end of a window."""

    RETRAIN = "retrain"
    WAIT = "wait"


class Rate(Struct, frozen=True):
    """A Bernoulli rate with an interval that holds at every moment (97.5 %)."""

    events: int
    trials: int
    low: float
    high: float


class LossWindow(Struct, frozen=True, tag_field="kind", tag="window"):
    """Alignment loss of one window of a scope (`closed`) or of its whole past (`window` = -1)."""

    id: str
    scope: Name
    time_ms: TimeMs
    window: int
    scenarios: int
    surfaced: int
    withheld: int
    blocked: int
    answers: dict[str, int]
    override_given_answered: Rate
    miss_given_outcome: Rate
    loss: float | None
    loss_low: float
    loss_high: float
    paper_loss: float | None
    paper_loss_floor: float | None
    overrides_per_surfaced: float | None
    overrides_per_answered: float | None
    overrides_per_scenario: float | None
    reward_minutes: float
    positions: Positions


class ThresholdRow(Struct, frozen=True):
    """What one threshold would have had, of the answers and outcomes so far."""

    threshold: float
    surfaced: int
    known: int
    overrides: int
    misses: int
    alpha: float
    beta: float


class ThresholdTable(Struct, frozen=True, tag_field="kind", tag="thresholds"):
    """The five arms of a scope and their posteriors; `known` of `surfaced` tells the coverage."""

    id: str
    scope: Name
    time_ms: TimeMs
    window: int
    scenarios: int
    rows: tuple[ThresholdRow, ...]
    positions: Positions


class SourceTrust(Struct, frozen=True):
    """Trust in one source: its two coins, weight, counts, and the sum of its disagreement with others.

    The nearer that sum comes to 8, the less the source is heard, until `weight` is less than its coins tell; above 8 it is silenced.
    """

    source: Name
    alpha: float
    beta: float
    weight: float
    answers: int
    overrides: int
    quarantined: bool = False
    disagreement: float = 0.0


class TrustSummary(Struct, frozen=True, tag_field="kind", tag="trust"):
    """Trust by source, and the override budget that follows from it."""

    id: str
    scope: Name
    time_ms: TimeMs
    window: int
    sources: tuple[SourceTrust, ...]
    budget: BudgetState
    positions: Positions


class Alarm(Struct, frozen=True, tag_field="kind", tag="alarm"):
    """Something that a person should look at; `raised` false takes it back."""

    id: str
    scope: Name
    time_ms: TimeMs
    name: str
    raised: bool
    detail: str
    positions: Positions


class TeamRate(Struct, frozen=True):
    """How often one team overrides, over the decisions that it has answered; a team says what the larger part of its trust says."""

    team: Name
    override_given_answered: Rate


class TeamSummary(Struct, frozen=True, tag_field="kind", tag="teams"):
    """What the teams of one window of a scope, or of its whole past (`window` = -1), say: published where a team is known.

    `worst` is the team that overrides most often. `conflict` is over the decisions that two teams or more have answered: in how many
    they differ.
    """

    id: str
    scope: Name
    time_ms: TimeMs
    window: int
    teams: tuple[TeamRate, ...]
    worst: str | None
    conflict: Rate
    positions: Positions


class BudgetReopened(Struct, frozen=True, tag_field="kind", tag="budget_reopened"):
    """A person has started the override budget anew: who, why, and what it was before; `closed` tells whether it was closed."""

    id: str
    scope: Name
    time_ms: TimeMs
    by: Name
    reason: str
    closed: bool
    before: BudgetState
    after: BudgetState
    positions: Positions


class ModelTaken(Struct, frozen=True, tag_field="kind", tag="model_taken"):
    """A model was taken up: the offsets of `classes` classes were re-expressed by folding `answers` kept answers again."""

    id: str
    scope: Name
    time_ms: TimeMs
    model: str
    replaced: str
    classes: int
    answers: int
    positions: Positions


class SourceRevoked(Struct, frozen=True, tag_field="kind", tag="source_revoked"):
    """A source was revoked: scores of `classes` classes, and trust, were folded again without it, from `answers` kept answers."""

    id: str
    scope: Name
    time_ms: TimeMs
    source: Name
    classes: int
    answers: int
    positions: Positions


class ChallengerWindow(Struct, frozen=True, tag_field="kind", tag="challenger"):
    """What the model in force and its challengers cost over one window, on judgements that none of them had seen.

    Costs are of the whole window, in the declared costs (k an unwanted recommendation, m a miss), surfaced and withheld decisions
    weighted to their shares. `judged` decisions told them, `surfaced` and `withheld` of each kind. `costs` has every candidate of
    the last windows by model id, the one in force included: what hindsight needs. `next` is the challenger fitted at this
    window's end, on `examples` judgements. `deviation` is the standard deviation of cost in force less cost of challenger, from
    how few decisions told them.
    """

    id: str
    scope: Name
    time_ms: TimeMs
    window: int
    judged: int
    surfaced: int
    withheld: int
    in_force: str
    challenger: str | None
    cost_in_force: float
    cost_challenger: float | None
    costs: dict[str, float]
    next: str | None
    examples: int
    positions: Positions
    deviation: float | None = None


class MonitorDecision(Struct, frozen=True, tag_field="kind", tag="monitor"):
    """What the meta-monitor did at the end of a window, and by which numbers; `price` is 0 for a scope's first model."""

    id: str
    scope: Name
    time_ms: TimeMs
    window: int
    monitor: str
    action: MonitorAction
    statistic: float
    price: float
    advantage: float | None
    in_force: str
    challenger: str | None
    reason: str
    command: str | None
    positions: Positions


class Fidelity(Struct, frozen=True, tag_field="kind", tag="fidelity"):
    """The meta-monitor measured against hindsight as it stands now, over the last `windows` windows from `first_window` on.

    `ideal` are the windows at whose end the cheapest schedule in hindsight deploys, `deployed` those at whose end the monitor's
    commands did. F is the share of windows in which the monitor acted as hindsight does, one window more or less.
    `cost` is loss and prices as they were, `cost_best` those of the cheapest schedule. `delay_windows` is how many windows after
    each ideal deployment the monitor deployed, on average, the wait for one that has not come yet included; None without an ideal one.
    """

    id: str
    scope: Name
    time_ms: TimeMs
    window: int
    first_window: int
    windows: int
    commanded: tuple[int, ...]
    deployed: tuple[int, ...]
    ideal: tuple[int, ...]
    fidelity: float
    cost: float
    cost_best: float
    positions: Positions
    delay_windows: float | None = None


AlignmentEvent = (
    LossWindow
    | ThresholdTable
    | TrustSummary
    | TeamSummary
    | BudgetReopened
    | Alarm
    | ModelTaken
    | SourceRevoked
    | ChallengerWindow
    | MonitorDecision
    | Fidelity
)


class RetrainingCommand(Struct, frozen=True):
    """Retrain a scope's model: why, on which evidence, at what price. `id` is the idempotency key: a command is carried out once.

    The evidence are the windows `evidence_from` to `evidence_to`, both included. The monitor commands nothing else in the
    `cooldown_windows` windows after it, unless the trainer refuses it for too little evidence and there is enough sooner.
    """

    id: Name
    scope: Name
    time_ms: TimeMs
    reason: Literal["challenger", "learned", "loss", "periodic", "random", "always", "asked"]
    window: int
    evidence_from: int
    evidence_to: int
    statistic: float
    price: float
    cooldown_windows: int
    challenger: str | None
    by: str
    positions: Positions


class OffPolicy(Struct, frozen=True):
    """Cost per scenario of two models from the same logged decisions, doubly robust with their propensities.

    `difference` is that of the model in force less that of the challenger, with its standard error. The effective sample size is
    that of the weights by which judged decisions stand for all, `unsupported` the share of decisions that none of them stands for,
    `differing` the judged decisions on which the two act differently.
    """

    judged: int
    effective_sample_size: float
    unsupported: float
    cost_in_force: float
    cost_challenger: float
    difference: float
    standard_error: float
    differing: int = 0


class RetrainingResult(Struct, frozen=True):
    """What came of a command: adopted or refused and why, the evaluation, and the whole model, so that a rollback needs nothing else."""

    id: str
    command: str
    scope: Name
    time_ms: TimeMs
    window: int
    status: Literal["adopted", "refused"]
    reason: str
    in_force: str
    evaluation: OffPolicy | None
    model: Model | None
    positions: Positions
