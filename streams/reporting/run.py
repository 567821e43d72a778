"""An exported run as numbers: what the records of its topics come to, scope by scope."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from scipy.special import expit, logit

from schemas import codecs, topics
from schemas.alignment import (
    Alarm,
    BudgetReopened,
    ChallengerWindow,
    Fidelity,
    LossWindow,
    ModelTaken,
    MonitorDecision,
    RetrainingCommand,
    RetrainingResult,
    SourceRevoked,
    TeamSummary,
    ThresholdTable,
    TrustSummary,
)
from schemas.errors import DecodeError
from schemas.events import Answer, Control, Decision, Judgement, Model, Status
from schemas.headers import find
from schemas.settings import Settings
from streams.logs.files import read_manifest
from streams.reporting.records import records
from streams.serving.force import ALL_SCOPES, Force
from streams.serving.tally import ADOPTED, TALLIED, WHOLE_PAST, ScopeTally, Tally

# What a scope's records tell beyond the tally; a command is read before its result, a decision before its judgement.
TOLD = (topics.JUDGEMENT, topics.RETRAINING_COMMAND, topics.RETRAINING_RESULT, topics.MODEL)
# Events of which a scope keeps all, and the list that they go to.
LISTED: dict[type, str] = {
    TrustSummary: "trust",
    TeamSummary: "teams",
    BudgetReopened: "reopened",
    ChallengerWindow: "challengers",
    MonitorDecision: "monitor",
    Fidelity: "fidelity",
    Alarm: "alarms",
    ModelTaken: "taken",
    SourceRevoked: "revoked",
    Model: "models",
}
EDGE = 1e-9


@dataclass
class ClassRun:
    """What was said of one class.

    Attributes:
        overrides: Overrides among the answers of closed decisions.
        answers: Likes and overrides of closed decisions.
        confidence: At its last decision.
        heard: Answers that had moved the class when that was made.
        moves: How far later answers have moved it, by their number among the class's answers.
    """

    overrides: int = 0
    answers: int = 0
    confidence: float | None = None
    heard: int = 0
    moves: dict[int, float] = field(default_factory=dict)

    def now(self, score: str) -> float | None:
        """Return the confidence as of the last decision, moved by the answers since."""
        if self.confidence is None:
            return None
        moved = sum(move for sequence, move in sorted(self.moves.items()) if sequence > self.heard)
        if score == "mean":
            return min(1.0, max(0.0, self.confidence + moved))
        return float(expit(logit(min(1 - EDGE, max(EDGE, self.confidence))) + moved))


@dataclass
class ScopeRun:
    """What happened in one scope; lists are in the order of the log.

    Attributes:
        reasons: Decisions by status and reason.
        rules: Blocked decisions by rule; one that several rules refused counts under each.
        first_ms: When the first decision was made, None without any.
        windows: Alignment loss by window.
        past: Alignment loss over the whole past, as last published.
        teams_past: What teams say over the whole past, as last published.
        thresholds: The threshold table as last published.
        classes: By name.
    """

    tally: ScopeTally = field(default_factory=ScopeTally)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    first_ms: int | None = None
    windows: dict[int, LossWindow] = field(default_factory=dict)
    past: LossWindow | None = None
    teams_past: TeamSummary | None = None
    thresholds: ThresholdTable | None = None
    trust: list[TrustSummary] = field(default_factory=list)
    teams: list[TeamSummary] = field(default_factory=list)
    reopened: list[BudgetReopened] = field(default_factory=list)
    challengers: list[ChallengerWindow] = field(default_factory=list)
    monitor: list[MonitorDecision] = field(default_factory=list)
    fidelity: list[Fidelity] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    taken: list[ModelTaken] = field(default_factory=list)
    revoked: list[SourceRevoked] = field(default_factory=list)
    commands: dict[str, RetrainingCommand] = field(default_factory=dict)
    results: dict[str, RetrainingResult] = field(default_factory=dict)
    models: list[Model] = field(default_factory=list)
    classes: dict[str, ClassRun] = field(default_factory=dict)
    _closed: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, event: Any) -> None:  # noqa: ANN401 - an event of any topic
        """Fold one event in."""
        match event:
            case Decision():
                self._add_decision(event)
            case Judgement():
                self._add_judgement(event)
            case LossWindow(window=window) if window == WHOLE_PAST:
                self.past = event
            case LossWindow():
                self.windows[event.window] = event
            case TeamSummary(window=window) if window == WHOLE_PAST:
                self.teams_past = event
            case ThresholdTable():
                self.thresholds = event
            case RetrainingCommand():
                self.commands[event.id] = event
            case RetrainingResult():
                self.results[event.command] = event
            case _ if type(event) in LISTED:
                getattr(self, LISTED[type(event)]).append(event)

    @property
    def adopted(self) -> list[RetrainingResult]:
        """Retrainings that brought a model into force."""
        return [result for result in self.results.values() if result.status == ADOPTED]

    @property
    def ends_ms(self) -> dict[int, int]:
        """When each window ended."""
        told: list[TrustSummary | LossWindow] = [*self.trust, *self.windows.values()]
        return {each.window: each.time_ms for each in told}

    @property
    def raised(self) -> list[Alarm]:
        """Alarms that are raised at the end."""
        last = {alarm.name: alarm for alarm in self.alarms}
        return [alarm for alarm in last.values() if alarm.raised]

    def _add_decision(self, decision: Decision) -> None:
        self.reasons[decision.status.value, decision.reason.value] += 1
        if decision.status is Status.BLOCKED:
            self.rules.update(decision.verdict.rules)
        self.first_ms = decision.decided_ms if self.first_ms is None else min(self.first_ms, decision.decided_ms)
        of_class = self.classes.setdefault(decision.scenario_class, ClassRun())
        of_class.confidence, of_class.heard = decision.confidence, decision.history.answers

    def _add_judgement(self, judgement: Judgement) -> None:
        of_class = self.classes.setdefault(judgement.scenario_class, ClassRun())
        kinds = Counter(answer.kind for answer in judgement.answers)
        overrides, answers = kinds[Answer.OVERRIDE.value], kinds[Answer.OVERRIDE.value] + kinds[Answer.LIKE.value]
        # A later revision holds the answers of the one before.
        before = self._closed.get(judgement.decision, (0, 0))
        of_class.overrides += overrides - before[0]
        of_class.answers += answers - before[1]
        self._closed[judgement.decision] = overrides, answers
        of_class.moves.update((answer.sequence, answer.moved) for answer in judgement.answers if answer.sequence > of_class.heard)


class DeadLetters(NamedTuple):
    """Records of one topic that could not be processed, for one reason; the detail of the last of them."""

    topic: str
    reason: str
    records: int
    detail: str


@dataclass
class Run:
    """A run: its scopes by name, and what belongs to none of them.

    Attributes:
        settings: What it ran under.
        digest: That of the settings.
        scopes: By name, sorted.
        controls: Commands; one to all scopes is there once.
        in_force: What is in force at the end, by scope, `*` for all.
        dead_letters: By topic and reason.
        unread: Records that cannot be decoded, by topic: those of input topics are dead letters too.
    """

    settings: Settings
    digest: str
    scopes: dict[str, ScopeRun]
    controls: list[Control]
    in_force: dict[str, Force]
    dead_letters: list[DeadLetters]
    unread: Counter[str]

    @property
    def total(self) -> ScopeTally:
        """The sums over all scopes."""
        return Tally({name: scope.tally for name, scope in self.scopes.items()}).total()


def read_run(directory: Path) -> Run:
    """Read an exported run.

    Raises:
        LogFileError: not a complete log.
    """
    manifest = read_manifest(directory)
    held = {name for name, parts in manifest.topics.items() if any(part.records for part in parts)}
    tally, scopes, unread = Tally(), dict[str, ScopeRun](), Counter[str]()
    for name in dict.fromkeys((*TALLIED, *(topic.name for topic in TOLD))):
        for event, source in _events(directory, name, unread) if name in held else ():
            tally.add(name, event, source)
            scopes.setdefault(event.scope, ScopeRun()).add(event)
    for name, scope in scopes.items():
        scope.tally = tally.scopes.get(name, scope.tally)
    controls = dict.fromkeys(event for event, _ in _events(directory, topics.CONTROL.name, unread)) if topics.CONTROL.name in held else {}
    return Run(
        manifest.settings,
        manifest.digest,
        dict(sorted(scopes.items())),
        sorted(controls, key=lambda control: control.time_ms),
        in_force(controls),
        sorted(_dead_letters(directory, held)),
        unread,
    )


def in_force(controls: Iterable[Control]) -> dict[str, Force]:
    """Return what is in force after commands, by scope."""
    told: dict[str, Force] = {}
    for control in controls:
        scope = control.scope or ALL_SCOPES
        told[scope] = told.get(scope, Force()).after(control)
    return {scope: force for scope, force in sorted(told.items()) if force}


def _events(directory: Path, topic: str, unread: Counter[str]) -> Iterator[tuple[Any, str]]:
    """Give the events of a topic and who wrote them (`ce_source`, which tells encoders apart)."""
    needs_source = topic == topics.SCENARIO.name
    for record in records(directory, topic, headers=needs_source):
        try:
            event = codecs.decode(topic, record.value)
        except DecodeError:
            unread[topic] += 1
        else:
            yield event, (find(record.headers, "ce_source") or b"").decode(errors="replace") if needs_source else ""


def _dead_letters(directory: Path, held: set[str]) -> Iterator[DeadLetters]:
    for topic in topics.TOPICS:
        name = topics.dead_letter(topic.name)
        counts, details = Counter[str](), dict[str, str]()
        for record in records(directory, name, headers=True) if name in held else ():
            reason, detail = ((find(record.headers, header) or b"").decode(errors="replace") for header in ("npo_reason", "npo_detail"))
            counts[reason] += 1
            details[reason] = detail
        yield from (DeadLetters(topic.name, reason, count, details[reason]) for reason, count in counts.items())
