"""The numbers that are shown of a running pipeline, folded from the records of its topics in memory."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from schemas.alignment import Alarm, LossWindow
from schemas.events import Answer, Decision, Heartbeat, Life, Recommendation, Scenario, StandingAnswer, Status

# What `Tally` reads; the records of other topics change nothing.
TALLIED = ("scenario", "decision", "recommendation", "alignment")
WHOLE_PAST = -1
SKIPPED = "skipped"
ANSWERED = "answered"
OVERRIDDEN = "overridden"
ANSWER_COUNTS = (Answer.OVERRIDE.value, Answer.LIKE.value, Answer.NEUTRAL.value, SKIPPED, ANSWERED, OVERRIDDEN)


def answer_kinds(answers: Iterable[StandingAnswer]) -> Counter[str]:
    """Count the answers that stand, by kind; a retracted one does not stand."""
    return Counter(answer.kind.value for answer in answers if answer.kind is not Answer.RETRACT)


def is_open(recommendation: Recommendation) -> bool:
    """Tell whether a recommendation waits for an answer: not closed, not cleared, and no answer stands."""
    ended = recommendation.late or recommendation.life in {Life.CLEARED, Life.EXPIRED}
    return not ended and not answer_kinds(recommendation.answers)


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
            case LossWindow(window=window) if window == WHOLE_PAST:
                scope.past = event
            case LossWindow():
                scope.latest = event
            case Alarm():
                scope.alarms.pop(event.name, None)
                if event.raised:
                    scope.alarms[event.name] = event.detail

    def total(self) -> ScopeTally:
        """Return the sums over all scopes; loss and alarms belong to a scope and are left out."""
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
