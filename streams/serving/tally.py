"""The numbers that are shown of a running pipeline, folded from the records of its topics in memory."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct, to_builtins

from schemas.alignment import (
    Alarm,
    BudgetReopened,
    Fidelity,
    LossWindow,
    ModelTaken,
    MonitorDecision,
    RetrainingResult,
    TeamSummary,
    TrustSummary,
)
from schemas.events import INITIAL, Answer, BudgetState, Decision, Heartbeat, Life, Recommendation, Scenario, StandingAnswer, Status
from schemas.settings import Profile

# What `Tally` reads; the records of other topics change nothing.
TALLIED = ("scenario", "decision", "recommendation", "alignment", "retraining-result")
WHOLE_PAST = -1
SKIPPED = "skipped"
ANSWERED = "answered"
OVERRIDDEN = "overridden"
ADOPTED, REFUSED = "adopted", "refused"
ANSWER_COUNTS = (Answer.OVERRIDE.value, Answer.LIKE.value, Answer.NEUTRAL.value, SKIPPED, ANSWERED, OVERRIDDEN)


def loss_target(window: LossWindow, profile: Profile) -> float | None:
    """Return k r P(surfaced): what overrides at the declared rate cost per scenario, at the share surfaced; None without scenarios."""
    if not window.scenarios:
        return None
    return profile.override_cost * profile.override_rate * (window.surfaced / window.scenarios)


def answer_kinds(answers: Iterable[StandingAnswer]) -> Counter[str]:
    """Count the answers that stand, by kind; a retracted one does not stand."""
    return Counter(answer.kind.value for answer in answers if answer.kind is not Answer.RETRACT)


def is_open(recommendation: Recommendation) -> bool:
    """Tell whether a recommendation waits for an answer: not closed, not cleared, and no answer stands."""
    return is_answerable(recommendation) and recommendation.life is not Life.CLEARED


def is_answerable(recommendation: Recommendation) -> bool:
    """Tell whether a recommendation has no answer and can still get one in time: cleared ones too."""
    return not recommendation.late and recommendation.life is not Life.EXPIRED and not answer_kinds(recommendation.answers)


def standing_counts(recommendation: Recommendation | None) -> Counter[str]:
    """Return what a recommendation adds to its scope's counts at one moment of its life.

    Answers by kind, `skipped` where it expired without one, `answered` where it was liked or overridden, and `overridden`
    where at least half of these are overrides: the red button weighs more than a like. The change between two moments is
    the difference of their counts.
    """
    if recommendation is None:
        return Counter()
    counts = answer_kinds(recommendation.answers)
    liked, overrides = counts[Answer.LIKE.value], counts[Answer.OVERRIDE.value]
    counts[SKIPPED] = int(recommendation.life is Life.EXPIRED and not counts)
    counts[ANSWERED] = int(liked + overrides > 0)
    counts[OVERRIDDEN] = int(overrides > 0 and overrides >= liked)
    return counts


class Retraining(Struct, frozen=True):
    """What came of one retraining command: costs per scenario saved (`difference`) with its standard error, None where not evaluated."""

    time_ms: int
    window: int
    status: str
    reason: str
    model: str | None
    difference: float | None
    standard_error: float | None


def retraining_of(result: RetrainingResult) -> Retraining:
    """Return what a result of retraining brought, without its model."""
    model, evaluation = result.model, result.evaluation
    return Retraining(
        time_ms=result.time_ms,
        window=result.window,
        status=result.status,
        reason=result.reason,
        model=model.id if model else None,
        difference=evaluation.difference if evaluation else None,
        standard_error=evaluation.standard_error if evaluation else None,
    )


@dataclass
class ScopeTally:
    """The numbers of one scope, or of several together.

    Attributes:
        clock_ms: Largest event time seen.
        samples: Samples that the encoders have taken.
        scenarios: Scenarios that the encoders have found.
        decisions: Decisions by status: surfaced, withheld, blocked.
        answers: The sums of `standing_counts` over all recommendations; a late answer is not counted.
        open: Recommendations that wait for an answer, by id.
        past: Alignment loss over the whole past, as last published.
        latest: Alignment loss of the latest window, as last published.
        alarms: Alarms that are raised, by name.
        model: The model that the decider has taken up last.
        retrainings: What came of each retraining command, in their order.
        fidelity: The meta-monitor against hindsight, as last published.
        monitor: What the meta-monitor did last.
        quarantined: Sources that are in quarantine, as last published.
        budget: The override budget, as last published.
        teams: What teams say over the whole past, as last published; None where no team is known.
    """

    clock_ms: int = 0
    samples: int = 0
    scenarios: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    open: dict[str, Recommendation] = field(default_factory=dict)
    past: LossWindow | None = None
    latest: LossWindow | None = None
    alarms: dict[str, str] = field(default_factory=dict)
    model: str = INITIAL
    retrainings: list[Retraining] = field(default_factory=list)
    fidelity: Fidelity | None = None
    monitor: MonitorDecision | None = None
    quarantined: tuple[str, ...] = ()
    budget: BudgetState | None = None
    teams: TeamSummary | None = None

    @property
    def surfaced(self) -> int:
        """Decisions that were surfaced."""
        return self.decisions[Status.SURFACED.value]

    @property
    def withheld(self) -> int:
        """Decisions that were withheld."""
        return self.decisions[Status.WITHHELD.value]

    @property
    def blocked(self) -> int:
        """Decisions that the safety policy blocked."""
        return self.decisions[Status.BLOCKED.value]

    @property
    def adopted(self) -> list[Retraining]:
        """Retrainings whose model came into force."""
        return [retraining for retraining in self.retrainings if retraining.status == ADOPTED]

    @property
    def refused(self) -> list[Retraining]:
        """Retrainings whose model did not come into force."""
        return [retraining for retraining in self.retrainings if retraining.status == REFUSED]

    @property
    def override_rates(self) -> dict[str, float | None]:
        """Overridden recommendations per surfaced one, per answered one and per decided scenario; None over nothing."""
        denominators = {"surfaced": self.surfaced, "answered": self.answers[ANSWERED], "scenario": self.decisions.total()}
        return {name: self.answers[OVERRIDDEN] / count if count else None for name, count in denominators.items()}

    @property
    def loss(self) -> LossWindow | None:
        """The loss to show: over the whole past where it is published, else of the latest window."""
        return self.past or self.latest

    def as_json(self) -> dict[str, Any]:
        """Return the numbers for `--json`."""
        loss = self.loss
        return {
            "clock_ms": self.clock_ms,
            "samples": self.samples,
            "scenarios": self.scenarios,
            "surfaced": self.surfaced,
            "withheld": self.withheld,
            "blocked": self.blocked,
            "answers": {kind: self.answers[kind] for kind in ANSWER_COUNTS},
            "overrides_per": self.override_rates,
            "open": sorted(self.open),
            "loss": None if loss is None else {"window": loss.window, "loss": loss.loss, "low": loss.loss_low, "high": loss.loss_high},
            "alarms": self.alarms,
            "model": self.model,
            "retrainings": to_builtins(self.retrainings),
            "fidelity": None if self.fidelity is None else self.fidelity.fidelity,
            "monitor": None if self.monitor is None else to_builtins(self.monitor),
            "quarantined": list(self.quarantined),
            "budget": None if self.budget is None else to_builtins(self.budget),
            "teams": None if self.teams is None else to_builtins(self.teams),
        }


@dataclass
class Tally:
    """The numbers of every scope. Records of one topic and scope must come in their order; topics may come in any."""

    scopes: dict[str, ScopeTally] = field(default_factory=dict)
    _recommendations: dict[str, Recommendation] = field(default_factory=dict)
    _samples: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, topic: str, event: Any, source: str = "") -> None:  # noqa: ANN401 - an event of any topic
        """Fold one event in.

        Args:
            topic: Short name of its topic.
            event: The decoded event.
            source: Who wrote it (`ce_source`): a scope's samples are counted by several encoders, each for itself.
        """
        if topic not in TALLIED:
            return
        scope = self.scopes.setdefault(event.scope, ScopeTally())
        scope.clock_ms = max(scope.clock_ms, event.time_ms)
        match event:
            case Heartbeat():
                # A count that an encoder repeats or that a replay starts anew never takes samples away.
                before = self._samples.get((event.scope, source), 0)
                self._samples[event.scope, source] = max(before, event.samples)
                scope.samples += max(0, event.samples - before)
            case Scenario():
                scope.scenarios += 1
            case Decision():
                scope.decisions[event.status.value] += 1
            case Recommendation():
                self._add_recommendation(scope, event)
            case RetrainingResult():
                scope.retrainings.append(retraining_of(event))
            case _:
                self._add_alignment(scope, event)

    def total(self) -> ScopeTally:
        """Return the sums over all scopes; loss, alarms and models belong to a scope and are left out."""
        total = ScopeTally()
        for scope in self.scopes.values():
            total.clock_ms = max(total.clock_ms, scope.clock_ms)
            total.samples += scope.samples
            total.scenarios += scope.scenarios
            total.decisions.update(scope.decisions)
            total.answers.update(scope.answers)
            total.open |= scope.open
        return total

    def _add_recommendation(self, scope: ScopeTally, after: Recommendation) -> None:
        if is_open(after):
            scope.open[after.id] = after
        else:
            scope.open.pop(after.id, None)
        # A late answer counts for trust only: what was counted stays.
        if not after.late:
            scope.answers.update(standing_counts(after))
            scope.answers.subtract(standing_counts(self._recommendations.get(after.id)))
            self._recommendations[after.id] = after
        # What has expired may only be answered late, so it need not be remembered.
        if after.life is Life.EXPIRED:
            self._recommendations.pop(after.id, None)

    def _add_alignment(self, scope: ScopeTally, event: Any) -> None:  # noqa: ANN401 - any event of the alignment topic
        match event:
            case LossWindow(window=window) if window == WHOLE_PAST:
                scope.past = event
            case LossWindow():
                scope.latest = event
            case Alarm():
                scope.alarms.pop(event.name, None)
                if event.raised:
                    scope.alarms[event.name] = event.detail
            case ModelTaken():
                scope.model = event.model
            case TrustSummary():
                scope.quarantined, scope.budget = tuple(source.source for source in event.sources if source.quarantined), event.budget
            case BudgetReopened():
                scope.budget = event.after
            case TeamSummary(window=window) if window == WHOLE_PAST:
                scope.teams = event
            case MonitorDecision() | Fidelity():
                setattr(scope, "monitor" if isinstance(event, MonitorDecision) else "fidelity", event)
