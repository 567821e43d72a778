"""What the HTTP API answers with and takes, as structs; JSON on the wire, times in milliseconds since 1970 UTC.

Events are given as they are on their topics (`schemas.events`, `schemas.alignment`); what is made for the page is here. Fields that
are called `says`, or end in `_says`, are sentences. docs/console.md tells what each number means.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from schemas.alignment import (
    Fidelity,
    LossWindow,
    MonitorDecision,
    OffPolicy,
    SourceTrust,
    TeamSummary,
    ThresholdRow,
)
from schemas.events import (
    NAME_LENGTH_MAX,
    Answer,
    BudgetState,
    Command,
    Decision,
    Name,
    Note,
    Outcome,
    Recommendation,
    Sample,
)
from streams.serving.brought import Brought
from streams.serving.commanding import Effect

SAMPLES_MAX = 10_000
REVISION_MAX = 1_000_000
# A source of outcomes is called `outcome:NAME`.
SUBJECT_LENGTH_MAX = NAME_LENGTH_MAX + len("outcome:")


class Problem(Struct, frozen=True):
    """What was wrong with a request (RFC 9457): `type` is `about:blank` or `urn:npo:<kind>`, `detail` says what to do."""

    type: str
    title: str
    status: int
    detail: str


class Me(Struct, frozen=True):
    """Who asks: `operator` is None where nobody has a token and everybody names himself, `tokens` tells whether they have."""

    name: str
    role: Literal["viewer", "operator", "admin"]
    operator: str | None
    team: str | None
    tokens: bool


class Member(Struct, frozen=True):
    """One open recommendation of a card, its symptoms as a sentence, and for how long they have lasted (None: not known)."""

    recommendation: Recommendation
    says: str
    for_ms: int | None


class Card(Struct, frozen=True):
    """Open recommendations that are about one fault, as far as can be told: repeats of it, and neighbours that show the same.

    Attributes:
        id: Of the leading decision: the first surfaced of the members that have not cleared.
        scope: The scope.
        scenario_class: Of the leading decision.
        title: The entities, e.g. `web-1, web-2 and 3 more`.
        says: The leading member's symptoms as a sentence.
        action: What is proposed.
        action_says: The action with its blast radius, as a sentence.
        confidence: Of the leading decision.
        threshold: Of the leading decision.
        urgency: What cards are ordered by: hosts times the highest confidence of a member.
        opened_ms: When the first member was surfaced.
        deadline_ms: When the first answer is due.
        hosts: How many entities show it: those of the members, or one and its peers alike, whichever are more.
        peers_alike: Other entities of the scope that looked alike, as the member saw them that saw the most.
        peers_seen: Of so many others; 0 where that is not known.
        repeats: How often members showed it again since they were surfaced.
        like_says: What operators had answered to the like before.
        cleared: Whether every member shows nothing unusual any more: it can still be answered.
        members: The leading one first, cleared ones last, else as they were surfaced.
    """

    id: str
    scope: str
    scenario_class: str
    title: str
    says: str
    action: str
    action_says: str
    confidence: float
    threshold: float
    urgency: float
    opened_ms: int
    deadline_ms: int
    hosts: int
    peers_alike: int
    peers_seen: int
    repeats: int
    like_says: str
    cleared: bool
    members: tuple[Member, ...]


class InForce(Struct, frozen=True):
    """What people have commanded and is in force: `reach` is the scope, or `*` for all scopes; `time_ms` is of their own clock."""

    what: str
    by: str
    time_ms: int
    reason: str
    reach: str


class Queue(Struct, frozen=True):
    """What waits for an answer: cards, the most urgent first; `clocks_ms` is each scope's event time.

    `open` counts recommendations; those that have cleared are in cards too, and not counted.
    An answer can be taken back before it teaches for `undo_window_ms` of its scope's event time. `in_force` is what people have
    commanded there: under kill and shadow an empty queue is no peace.
    """

    cursor: str
    clocks_ms: dict[str, int]
    open: int
    cards: tuple[Card, ...]
    undo_window_ms: int
    in_force: tuple[InForce, ...]


class RecommendationList(Struct, frozen=True):
    """Recommendations, the newest first; `next` is the `before` of the next page, None on the last."""

    cursor: str
    recommendations: tuple[Recommendation, ...]
    next: str | None


class DecisionList(Struct, frozen=True):
    """Decisions, the newest first; `next` is the `before` of the next page, None on the last."""

    cursor: str
    decisions: tuple[Decision, ...]
    next: str | None


class MomentView(Struct, frozen=True):
    """The blamed metrics around the moment of a decision, each as long as `times_ms`, and what is usual of each."""

    times_ms: tuple[int, ...]
    metrics: dict[str, tuple[float | None, ...]]
    symptom_start_ms: int | None
    usual: dict[str, float]


class ScopeSummary(Struct, frozen=True):
    """The numbers of one scope: the loss over its whole past, else of its latest window; `alarms` by name."""

    scope: str
    clock_ms: int
    counts: dict[str, int]
    open: int
    loss: float | None
    loss_low: float | None
    loss_high: float | None
    alarms: dict[str, str]
    in_force: tuple[InForce, ...]


class ScopeList(Struct, frozen=True):
    """All scopes, by name."""

    cursor: str
    scopes: tuple[ScopeSummary, ...]


class OverrideRate(Struct, frozen=True):
    """Overridden recommendations (`events`) of so many (`trials`); None of none."""

    events: int
    trials: int
    rate: float | None


class OverrideRates(Struct, frozen=True):
    """One numerator, three denominators: per recommendation surfaced, per one answered (liked or overridden), per scenario decided."""

    surfaced: OverrideRate
    answered: OverrideRate
    scenario: OverrideRate
    says: str


class LossView(Struct, frozen=True):
    """Alignment loss, a cost per scenario in the declared costs.

    Attributes:
        past: Over the whole past, as last published.
        window: Of the latest closed window.
        series: Closed windows, the oldest first, at most 200.
        target: What the declared costs and rate of overrides come to at the share that was surfaced; None where nothing was decided.
        target_says: How it is made.
        says: Where the loss stands to it.
    """

    past: LossWindow | None
    window: LossWindow | None
    series: tuple[LossWindow, ...]
    target: float | None
    target_says: str
    says: str


class BudgetView(BudgetState, frozen=True):
    """Override budget, in overrides, as last published; `closed`: one more open recommendation would exceed the one in `kind`."""

    kind: Literal["trusted", "raw", "off"]
    closed: bool

    says: str


class ThresholdView(ThresholdRow, frozen=True, kw_only=True):
    """What one threshold would have had, against the one in use."""

    says: str


class ThresholdsView(Struct, frozen=True):
    """The five thresholds of the table; `in_use` is what the profile goes by, None where it draws it anew each time."""

    rows: tuple[ThresholdView, ...]
    in_use: float | None
    says: str


class SourceView(SourceTrust, frozen=True, kw_only=True):
    """Trust in one source of answers."""

    says: str


class TeamsView(Struct, frozen=True):
    """What the teams say over the whole past and in the latest window; None where no team is known."""

    past: TeamSummary | None
    window: TeamSummary | None
    says: str


class MonitorView(Struct, frozen=True):
    """The meta-monitor: its decisions, the oldest first (at most 200), and how it stands against hindsight.

    `priced` tells whether its statistic is held against the price; other monitors hold theirs against something else.
    """

    decisions: tuple[MonitorDecision, ...]
    fidelity: Fidelity | None
    priced: bool
    says: str
    fidelity_says: str


class RetrainingView(Struct, frozen=True):
    """What came of one retraining command, without the weights: what it has saved, or would have saved where it was refused."""

    id: str
    command: str
    time_ms: int
    window: int
    status: Literal["adopted", "refused"]
    reason: str
    in_force: str
    model: str | None
    evaluation: OffPolicy | None
    brought: Brought | None
    says: str


class ModelView(Struct, frozen=True):
    """The model in force, without its weights; `time_ms` is None for the profile's own."""

    id: str
    time_ms: int | None
    says: str


class RaisedAlarm(Struct, frozen=True):
    """An alarm that is raised, and since when."""

    name: str
    detail: str
    time_ms: int


class ScopeView(Struct, frozen=True):
    """Everything that the Loop view shows of one scope; None where the pipeline has not published it yet."""

    scope: str
    cursor: str
    clock_ms: int
    counts: dict[str, int]
    override_rates: OverrideRates
    loss: LossView
    budget: BudgetView | None
    thresholds: ThresholdsView | None
    sources: tuple[SourceView, ...]
    teams: TeamsView | None
    monitor: MonitorView
    retrainings: tuple[RetrainingView, ...]
    model: ModelView
    alarms: tuple[RaisedAlarm, ...]
    in_force: tuple[InForce, ...]


class AnswerRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """One answer: `operator` where nobody has a token, `revision` one more than the operator's last where it is not given."""

    kind: Answer
    operator: Name | None = None
    revision: Annotated[int, Meta(ge=1, le=REVISION_MAX)] | None = None
    reason: Name | None = None
    note: Note | None = None
    counter_proposal: Name | None = None
    team: Name | None = None


class Accepted(Struct, frozen=True):
    """An answer that the log has, and where; `closed` tells that the recommendation is closed, so that it counts for trust only."""

    decision: str
    operator: str
    kind: Answer
    revision: int
    time_ms: int
    topic: str
    partition: int
    offset: int
    closed: bool


class OutcomeRequest(Outcome, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An outcome, and the scope of its entity."""

    scope: Name


class Written(Struct, frozen=True):
    """Where one record was written."""

    topic: str
    partition: int
    offset: int


class TelemetryRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Samples to send."""

    samples: Annotated[list[Sample], Meta(min_length=1, max_length=SAMPLES_MAX)]


class TelemetryAccepted(Struct, frozen=True):
    """How many samples the log has, and the next offset of each partition (`telemetry:3`) that got some."""

    samples: int
    positions: dict[str, int] = field(default_factory=dict)


class ControlRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A command to one scope, or to all where none is given; `subject` is the source it is about, `operator` as with answers."""

    command: Command
    scope: Name | None = None
    subject: Annotated[str, Meta(max_length=SUBJECT_LENGTH_MAX)] = ""
    reason: Note = ""
    operator: Name | None = None


class Commanded(Effect, kw_only=True):
    """What came of a command."""

    says: str
