"""The rows of the deciding task: one msgpack struct a row, a key says its kind."""

from enum import StrEnum
from typing import ClassVar

import msgspec
from msgspec import Struct

from agents.alignment import empty_counts
from agents.state import Row
from agents.thresholds import ARMS
from schemas.events import Action, JudgedAnswer, Reason, StandingAnswer, Status, Symptom

RECENT_MAX = 512  # decisions of one entity that an outcome can still reach
STATUS_OF = {
    Reason.PASSED: Status.SURFACED,
    Reason.EXPLORATION: Status.SURFACED,
    Reason.BELOW_THRESHOLD: Status.WITHHELD,
    Reason.BUDGET: Status.WITHHELD,
    Reason.SHADOW: Status.WITHHELD,
    Reason.COOLDOWN: Status.WITHHELD,
    Reason.POLICY: Status.BLOCKED,
}
NOT_SCORED = frozenset({Reason.COOLDOWN, Reason.POLICY})


class GlobalRow(Row):
    """What control records to all scopes have set; every partition holds one."""

    kind: ClassVar[str] = "global"
    killed: bool = False
    frozen: bool = False
    shadowed: bool = False
    quarantined: list[str] = msgspec.field(default_factory=list)


class ScopesRow(Row):
    """The names of all scopes of the partition, in the order of their first record: what a command to all scopes reaches."""

    kind: ClassVar[str] = "scopes"
    names: list[str] = msgspec.field(default_factory=list)


class OwedRow(Row):
    """How many kept judgements the partition has folded without a source that its records have not paid for yet."""

    kind: ClassVar[str] = "owed"
    judgements: int = 0


class TeamCount(Struct, array_like=True):
    """Decisions that one team has answered, and how many of them it overrode."""

    answered: int = 0
    overridden: int = 0


class Counts(Struct):
    """What is counted of a window, and of the whole past; `shared` decisions were answered by several teams, `conflicts` differently."""

    scenarios: int = 0
    surfaced: int = 0
    withheld: int = 0
    cooled: int = 0
    blocked: int = 0
    explored: int = 0
    like: int = 0
    override: int = 0
    neutral: int = 0
    skipped: int = 0
    answered: int = 0
    overridden: int = 0
    reviewed: int = 0
    missed: int = 0
    reward_minutes: float = 0.0
    teams: dict[str, TeamCount] = msgspec.field(default_factory=dict)
    shared: int = 0
    conflicts: int = 0


class Surfaced(Struct, array_like=True):
    """One recommendation of the last hour, for the policy's rates."""

    time_ms: int
    entity: str
    action: str


class ScopeRow(Row):
    """One scope: clock, control state, model, budget, hours in which something falls due, counts, threshold table and arms.

    `taught` counts the steps that have moved a class or a coin: their common order. `revoked` names the revoked sources whose
    answers are still to be taken out of what was learned. `answered` and `overridden` decisions are those of the raw budget since it
    was last started, `reopened` how often a person has started both anew.
    """

    kind: ClassVar[str] = "scope"
    clock_ms: int = 0
    killed: bool = False
    frozen: bool = False
    shadowed: bool = False
    quarantined: list[str] = msgspec.field(default_factory=list)
    revoked: list[str] = msgspec.field(default_factory=list)
    model: str = ""
    intercept: float = 0.0
    weights: dict[str, float] = msgspec.field(default_factory=dict)
    open: int = 0
    earned_trusted: float = 0.0
    answered: int = 0
    overridden: int = 0
    reopened: int = 0
    budget_closed: bool = False
    trusted: float = 0.0
    erring: float = 0.0
    surfaced: list[Surfaced] = msgspec.field(default_factory=list)
    due_hours: list[int] = msgspec.field(default_factory=list)
    taught: int = 0
    window: int = 0
    current: Counts = msgspec.field(default_factory=Counts)
    total: Counts = msgspec.field(default_factory=Counts)
    table: list[list[int]] = msgspec.field(default_factory=lambda: empty_counts().tolist())
    arm_likes: list[float] = msgspec.field(default_factory=lambda: [1.0] * len(ARMS))
    arm_overrides: list[float] = msgspec.field(default_factory=lambda: [1.0] * len(ARMS))


class SourcesRow(Row):
    """The names of all sources that have answered in a scope, in the order of their first answer."""

    kind: ClassVar[str] = "sources"
    names: list[str] = msgspec.field(default_factory=list)


class ClassesRow(Row):
    """The names of all classes of a scope, in the order in which they were first told of: what is folded again."""

    kind: ClassVar[str] = "classes"
    names: list[str] = msgspec.field(default_factory=list)


class RewardsRow(Row):
    """The last outcomes whose reward was counted, so that one delivered twice counts once."""

    kind: ClassVar[str] = "rewards"
    names: list[str] = msgspec.field(default_factory=list)


class Recent(Struct, array_like=True):
    """A source's latest answer in a class, how likely it was to say like, and its weight: what the next ones are held against."""

    source: str
    liked: bool
    predicted: float
    weight: float


class ClassRow(Row):
    """One class: score, information, forgetting sums, counts by source, and the ring of kept judgements.

    `answers` is what it has ever heard, `by_source` what of it still counts: a revoked source's answers do not.
    """

    kind: ClassVar[str] = "class"
    offset: float = 0.0
    information: float = 0.0
    draw_information: float = 0.0
    rising: float = 0.0
    falling: float = 0.0
    weight: float = 0.0
    weighted: float = 0.0
    answers: int = 0
    by_source: dict[str, int] = msgspec.field(default_factory=dict)
    by_team: dict[str, int] = msgspec.field(default_factory=dict)
    likes: int = 0
    overrides: int = 0
    outcomes: int = 0
    recent: list[Recent] = msgspec.field(default_factory=list)
    kept: int = 0


class MeansRow(Row):
    """One class: the means of its scenarios' features, and how many scenarios they are of."""

    kind: ClassVar[str] = "means"
    scenarios: int = 0
    means: dict[str, float] = msgspec.field(default_factory=dict)


class SourceRow(Row):
    """One source of answers in one scope: two coins, what it has answered, what it adds to budget and trusted mean error."""

    kind: ClassVar[str] = "source"
    likes: float = 0.0
    wanted: float = 0.0
    overrides: float = 0.0
    unwanted: float = 0.0
    answered: int = 0
    overridden: int = 0
    earned: float = 0.0
    reopened: int = 0
    booked_answered: int = 0
    booked_overridden: int = 0
    disagreement: float = 0.0
    trusted: float = 0.0
    erring: float = 0.0
    team: str | None = None


class EntityRow(Row):
    """One entity: open surfaced decisions by class, when and how confidently each class was last judged, the latest decisions."""

    kind: ClassVar[str] = "entity"
    open: dict[str, str] = msgspec.field(default_factory=dict)
    last_ms: dict[str, int] = msgspec.field(default_factory=dict)
    last_confidence: dict[str, float] = msgspec.field(default_factory=dict)
    recent: list[tuple[int, str]] = msgspec.field(default_factory=list)


class DecisionRow(Row):
    """One decision while answers or outcomes can still reach it."""

    kind: ClassVar[str] = "decision"
    id: str
    entity: str
    scenario_class: str
    time_ms: int
    decided_ms: int
    deadline_ms: int
    reason: Reason
    closed: bool
    features: dict[str, float]
    model: str
    model_output: float
    confidence: float
    threshold: float
    propensity: float
    action: Action
    symptoms: tuple[Symptom, ...]
    peers_alike: int
    trace: str
    due_ms: int = 0
    cleared: bool = False
    known: bool = False
    repeats: int = 0
    answers: list[StandingAnswer] = msgspec.field(default_factory=list)
    late: list[StandingAnswer] = msgspec.field(default_factory=list)
    judged: list[JudgedAnswer] = msgspec.field(default_factory=list)
    revision: int = 0
    slot: int = -1
    events: int = 0

    @property
    def status(self) -> Status:
        """Surfaced, withheld or blocked."""
        return STATUS_OF[self.reason]

    @property
    def explored(self) -> bool:
        """Whether it was surfaced while the budget was closed: booked apart."""
        return self.reason == Reason.EXPLORATION

    @property
    def scored(self) -> bool:
        """Whether its score decided; a repeat within the cooldown and what the policy refuses were not looked at."""
        return self.reason not in NOT_SCORED


class StepKind(StrEnum):
    """How a step teaches: `late` and `verified` (by an outcome) move trust alone, an outcome its class alone, an answer both."""

    ANSWER = "answer"
    LATE = "late"
    VERIFIED = "verified"
    OUTCOME = "outcome"


class Step(Struct, array_like=True):
    """One thing that taught: what folds classes and trust again.

    `number` is its place among all steps of the scope; `target` is y; `alpha`, `beta` and `counted` are the channel and the share
    through which the class heard it; `belief` is the probability that the scenario was wanted, as the source's coins counted it;
    `by` names the outcome that verified.
    """

    kind: StepKind
    source: str
    target: float
    number: int = 0
    alpha: float = 0.0
    beta: float = 0.0
    counted: float = 0.0
    belief: float = 0.0
    by: str = ""


class KeptRow(Row):
    """What one of the last judgements of a class taught, step by step; `arm` is the threshold that its answers rewarded."""

    kind: ClassVar[str] = "kept"
    decision: str
    features: dict[str, float]
    arm: float | None = None
    steps: list[Step] = msgspec.field(default_factory=list)


class Due(Struct, array_like=True):
    """One decision that falls due: to be closed, or to be forgotten."""

    time_ms: int
    decision: str


class DueRow(Row):
    """What falls due in one hour of a scope's time."""

    kind: ClassVar[str] = "due"
    entries: list[Due] = msgspec.field(default_factory=list)
