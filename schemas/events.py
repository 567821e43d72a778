"""The events of every topic, version 1, as msgspec structs; JSON on the wire, times in milliseconds since 1970 UTC.

`v1` changes only by adding fields with defaults: `schemas/examples/` keeps events of every version, and a test decodes them.
"""

from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

NAME_LENGTH_MAX = 249
Name = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH_MAX)]
Note = Annotated[str, Meta(max_length=4000)]
# 1970-01-01 to 2199: a time outside is a unit error (seconds, nanoseconds), not a time.
TIME_MS_MAX = 7_258_118_400_000
TimeMs = Annotated[int, Meta(ge=0, le=TIME_MS_MAX)]
Unit = Annotated[float, Meta(ge=0.0, le=1.0)]
# Squares and sums of squares of these stay finite.
MEASUREMENT_MAX = 1e100
METRICS_MAX = 2000
Measurement = Annotated[float, Meta(ge=-MEASUREMENT_MAX, le=MEASUREMENT_MAX)]
Positions = dict[str, int]
INITIAL = "initial"  # the profile's model, in force in a scope before any other


class Status(StrEnum):
    """What became of a scenario."""

    SURFACED = "surfaced"
    WITHHELD = "withheld"
    BLOCKED = "blocked"


class Reason(StrEnum):
    """Why a decision has its status."""

    PASSED = "passed"
    BELOW_THRESHOLD = "below_threshold"
    COOLDOWN = "cooldown"
    BUDGET = "budget"
    EXPLORATION = "exploration"
    POLICY = "policy"
    SHADOW = "shadow"


class Life(StrEnum):
    """The life of a surfaced decision."""

    OPENED = "opened"
    UPDATED = "updated"
    ANSWERED = "answered"
    CLEARED = "cleared"
    EXPIRED = "expired"


class Answer(StrEnum):
    """What an operator says to a recommendation; `retract` takes the operator's standing answer back."""

    OVERRIDE = "override"
    LIKE = "like"
    NEUTRAL = "neutral"
    RETRACT = "retract"


class Verdict(StrEnum):
    """What an outcome says of an entity's interval."""

    INCIDENT = "incident"
    NONE = "none"


class Command(StrEnum):
    """Control commands: `resume` undoes kill, freeze and shadow; revoke, quarantine and release are about one source of answers.

    `reopen` starts the override budget anew, and needs a reason.
    """

    KILL = "kill"
    RESUME = "resume"
    FREEZE = "freeze"
    SHADOW = "shadow"
    REVOKE = "revoke"
    QUARANTINE = "quarantine"
    RELEASE = "release"
    REOPEN = "reopen"


ABOUT_SOURCES = frozenset({Command.REVOKE, Command.QUARANTINE, Command.RELEASE})  # these need a subject


class Sample(Struct, frozen=True):
    """One measurement of one entity; a metric of null is missing."""

    entity: Name
    time_ms: TimeMs
    metrics: Annotated[dict[Name, Measurement | None], Meta(max_length=METRICS_MAX)]
    scope: Name | None = None


class Symptom(Struct, frozen=True):
    """One metric that is unusual: `label` is what classes pool by, `usual` its running mean, `z` its deviation in spreads."""

    metric: str
    label: str
    shape: Literal["level", "spike", "variance", "flat"]
    direction: Literal["up", "down"]
    z: float
    value: float
    usual: float


class Action(Struct, frozen=True):
    """One action of the catalogue: how many entities it touches, and whether it can be undone."""

    name: Name
    blast_radius: Annotated[int, Meta(ge=0)]
    reversible: bool
    description: str = ""


class Scenario(Struct, frozen=True, tag_field="kind", tag="scenario"):
    """Something is happening at an entity, and an action might help."""

    id: str
    scope: Name
    entity: Name
    time_ms: TimeMs
    scenario_class: str
    score: float
    symptoms: tuple[Symptom, ...]
    action: Action
    features: dict[str, Measurement]
    detector_scores: dict[str, float]
    symptom_start_ms: TimeMs
    excerpt: dict[str, list[float | None]]
    excerpt_times_ms: list[int]
    peers_alike: int
    peers_seen: int
    parents: tuple[str, ...]


class Cleared(Struct, frozen=True, tag_field="kind", tag="cleared"):
    """An entity has shown nothing unusual for the clearing time (60 min)."""

    id: str
    scope: Name
    entity: Name
    time_ms: TimeMs
    parents: tuple[str, ...]


class Heartbeat(Struct, frozen=True, tag_field="kind", tag="heartbeat"):
    """Telemetry time of a scope as one encoder task sees it, and what its samples of the scope came to so far."""

    id: str
    scope: Name
    time_ms: TimeMs
    samples: int
    repeated: int
    out_of_order: int
    entities: int


ScenarioEvent = Scenario | Cleared | Heartbeat


class ClassHistory(Struct, frozen=True):
    """What a class had been answered before the decision."""

    answers: int = 0
    likes: int = 0
    overrides: int = 0
    outcomes: int = 0


class PolicyVerdict(Struct, frozen=True):
    """What the safety policy said, by which rules, over which facts."""

    allowed: bool
    rules: tuple[str, ...]
    facts: dict[str, bool | int | float | str]
    error: str | None = None


class BudgetState(Struct, frozen=True):
    """Override budget before the decision, in overrides; `open` recommendations hold one unit each."""

    trusted: float
    raw: float
    open: int


class ChannelState(Struct, frozen=True):
    """The channel through which a source is heard as of now: P(like | wanted), P(override | unwanted)."""

    alpha: float
    beta: float


class Decision(Struct, frozen=True):
    """One scenario decided: everything that led to it, so that it can be explained and replayed."""

    id: str
    scenario: str
    scope: Name
    entity: Name
    scenario_class: str
    time_ms: TimeMs
    decided_ms: TimeMs
    status: Status
    reason: Reason
    confidence: float
    model_output: float
    offset: float
    information: float
    draw_information: float
    selector: str
    draw: float | None
    threshold: float
    propensity: float
    contributions: dict[str, float]
    features: dict[str, float]
    history: ClassHistory
    verdict: PolicyVerdict
    budget: BudgetState
    channels: dict[str, ChannelState]
    action: Action
    symptoms: tuple[Symptom, ...]
    versions: dict[str, str]
    positions: Positions
    window: int


class StandingAnswer(Struct, frozen=True):
    """The answer of one operator that stands at the moment."""

    operator: Name
    kind: Answer
    revision: int
    time_ms: TimeMs
    team: str | None = None
    reason: str | None = None
    note: str | None = None
    counter_proposal: str | None = None


class Recommendation(Struct, frozen=True):
    """A surfaced decision at one moment of its life; `id` is the decision's.

    `scenario_ms` is when the entity showed it, `opened_ms` the scope's time when it was surfaced: telemetry of one scope may arrive
    from some entities sooner than from others. `time_ms` is the scope's time at this moment.
    """

    id: str
    life: Life
    scope: Name
    entity: Name
    scenario_class: str
    time_ms: TimeMs
    scenario_ms: TimeMs
    opened_ms: TimeMs
    deadline_ms: TimeMs
    summary: str
    action: Action
    symptoms: tuple[Symptom, ...]
    confidence: float
    threshold: float
    repeats: int
    peers_alike: int
    answers: tuple[StandingAnswer, ...]
    positions: Positions
    late: bool = False


class Feedback(Struct, frozen=True):
    """One operator's answer to one recommendation; the record's key is the recommendation's own key (its scope)."""

    decision: Name
    operator: Name
    kind: Answer
    time_ms: TimeMs
    revision: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    team: Name | None = None
    reason: Name | None = None
    note: Note | None = None
    counter_proposal: Name | None = None


class Outcome(Struct, frozen=True):
    """A verdict on an entity from `start_ms` to `end_ms` (end excluded), from a ticketing system or a review; the key is the scope."""

    entity: Name
    start_ms: TimeMs
    end_ms: TimeMs
    verdict: Verdict
    time_ms: TimeMs
    source: Name = "outcome"
    reward_minutes: Annotated[float, Meta(ge=-1e9, le=1e9)] | None = None


class JudgedAnswer(Struct, frozen=True):
    """One answer as it was applied: channel and trust of its source then, target y, and how far it moved the class.

    `moved` is in logit with the `logit` score, in R with `mean`. `sequence` is its number among the answers that the class has
    heard, in the order in which they were applied, 0 where nothing was learned; `counted` the share of it that counted (kappa,
    or the weight with `mean`): what folds the class again.
    """

    source: Name
    kind: str
    time_ms: TimeMs
    alpha: float
    beta: float
    weight: float
    target: float | None
    moved: float
    sequence: int = 0
    counted: float = 0.0
    team: str | None = None


class Judgement(Struct, frozen=True):
    """A closed decision: what the answers to it came to; a later outcome writes the next revision.

    `reason` is that of the decision. `window` is the scope's window when this was written; `scored_surfaced` and
    `scored_withheld` count the scope's decisions by score until then, so that judgements can be weighted to their shares.
    """

    decision: str
    revision: int
    scope: Name
    entity: Name
    scenario_class: str
    time_ms: TimeMs
    decided_ms: TimeMs
    status: Status
    closed_by: Literal["answer", "silence", "outcome"]
    features: dict[str, float]
    model: str
    model_output: float
    confidence: float
    propensity: float
    target: float | None
    weight: float
    answers: tuple[JudgedAnswer, ...]
    positions: Positions
    reason: Reason | None = None
    window: int = 0
    scored_surfaced: int = 0
    scored_withheld: int = 0


class Control(Struct, frozen=True):
    """A command to one scope, or to all (`scope` absent, one record in every partition); `subject` is the source it is about."""

    command: Command
    time_ms: TimeMs
    by: Name
    scope: Name | None = None
    subject: str = ""
    reason: str = ""


class Model(Struct, frozen=True):
    """A linear model over named features: f(x) = intercept + sum of weights[name] * x[name], in logit.

    `parent` is the model in force when it was fitted, `origin` how it came to be in force, `by` who brought it.
    """

    id: Name
    scope: Name
    time_ms: TimeMs
    intercept: Measurement
    weights: Annotated[dict[Name, Measurement], Meta(max_length=METRICS_MAX)]
    parent: str | None = None
    evaluation: dict[str, float] = field(default_factory=dict)
    origin: Literal["given", "trained", "rollback", "imported"] = "given"
    by: str = ""


class MergeStep(Struct, frozen=True, array_like=True):
    """One block: its topic, first offset and next position; the blocks of a task in the order in which it took them."""

    topic: str
    start: int
    next: int


class Merge(Struct, frozen=True):
    """The blocks of one transaction of one task, in order: what makes a replay exact where topics meet."""

    group: str
    partition: int
    steps: tuple[MergeStep, ...]


class Audit(Struct, frozen=True):
    """One request to write that came to the console, taken or refused, and who made it: the only event with a person's name.

    Everywhere else operators are known by their pseudonym alone.
    """

    time_ms: TimeMs
    name: Name
    role: Literal["viewer", "operator", "admin"]
    operator: Name | None
    method: str
    path: str
    status: int
    position: str = ""
