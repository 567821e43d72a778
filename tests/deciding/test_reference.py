"""A small log against the formulas of DESIGN, written down a second time as plain numbers: nothing of the pipeline's arithmetic is used."""

from dataclasses import dataclass, field
from math import exp, log

import pytest

from agents.deciding.rows import ClassRow, ScopeRow, SourceRow
from schemas.events import Answer, Outcome, Status, Verdict
from tests.deciding.logs import MINUTE_MS, START_MS, Folded, entry, feedback, heartbeat, run, scenario, settings_with

LIKE, OVERRIDE = Answer.LIKE, Answer.OVERRIDE
RATE, START_BUDGET = 0.1, 150.0
# Class, detector score, answers by operator: ten answers, one decision that is withheld (5) and one that nobody answers (9).
DECISIONS: list[tuple[str, float, dict[str, Answer]]] = [
    ("cpu", 2.0, {"ana": LIKE}),
    ("disk", 1.6, {"eve": OVERRIDE}),
    ("cpu", 2.0, {"ana": LIKE, "ben": OVERRIDE}),
    ("disk", 1.6, {"ana": OVERRIDE}),
    ("cpu", 1.8, {"ana": LIKE, "eve": LIKE}),
    ("disk", 0.6, {}),
    ("cpu", 1.8, {"ana": OVERRIDE}),
    ("disk", 3.0, {"ben": OVERRIDE}),
    ("cpu", 2.0, {"ana": LIKE}),
    ("disk", 3.0, {}),
]
OUTCOMES_ON = (5, 8)


def sigmoid(x: float) -> float:
    """1 / (1 + e^-x)."""
    return 1 / (1 + exp(-x))


@dataclass
class Class:
    """b, H, D, the two sums, and answers by source."""

    b: float = 0.0
    h: float = 0.25
    d: float = 0.25
    rising: float = 0.0
    falling: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    kappas: list[float] = field(default_factory=list)

    def hear(self, source: str, f: float, z: int, alpha: float, beta: float) -> float:
        """One answer by the formulas of section 7; returns q before it."""
        q = sigmoid(f + self.b)
        self.counts[source] = self.counts.get(source, 0) + 1
        kappa = min(1.0, max(2.0, sum(self.counts.values()) / 5) / self.counts[source])
        self.kappas.append(kappa)
        j = alpha + beta - 1
        if j <= 0.02:
            return q
        pi = alpha * q + (1 - beta) * (1 - q)
        gained = (j * q * (1 - q)) ** 2 / (pi * (1 - pi))
        self.h += kappa * gained
        self.b += kappa * (z - pi) * j * q * (1 - q) / (pi * (1 - pi) * self.h)
        self.d += kappa * max(gained, 0.1 * j**2)
        sums = []
        for before, shift in ((self.rising, 2), (self.falling, -2)):
            shifted = sigmoid(log(q / (1 - q)) + shift)
            likes = alpha * shifted + (1 - beta) * (1 - shifted)
            sums.append(max(0.0, before + log(likes / pi if z else (1 - likes) / (1 - pi))))
        assert max(sums) < 5, "no jump in this log"
        self.rising, self.falling = sums
        return q


@dataclass
class Source:
    """Two coins with their pseudo-counts, n and o."""

    share: float
    n: int = 0
    o: int = 0

    def __post_init__(self) -> None:
        """Five pseudo-counts a coin."""
        self.likes = self.overrides = 5 * self.share
        self.wanted = self.unwanted = 5.0

    def channel(self) -> tuple[float, float]:
        """Alpha and beta."""
        return self.likes / self.wanted, self.overrides / self.unwanted

    def weight(self) -> float:
        """W = clip(J / .6, 0, 1)."""
        alpha, beta = self.channel()
        return min(1.0, max(0.0, (alpha + beta - 1) / 0.6))

    def count(self, z: int, wanted: float, amount: float) -> None:
        """Add an answer to the coins."""
        self.likes += amount * wanted * z
        self.wanted += amount * wanted
        self.overrides += amount * (1 - wanted) * (1 - z)
        self.unwanted += amount * (1 - wanted)

    def observe(self, z: int, g: float) -> None:
        """EM with the answer included."""
        alpha, beta = self.channel()
        if_wanted, if_not = (alpha, 1 - beta) if z else (1 - alpha, beta)
        self.count(z, g * if_wanted / (g * if_wanted + (1 - g) * if_not), 1)

    def wealth(self) -> float:
        """W [n (1 - alpha + J r) - o]."""
        alpha, beta = self.channel()
        return self.weight() * (self.n * (1 - alpha + (alpha + beta - 1) * RATE) - self.o)


@dataclass
class Reference:
    """Everything that the log comes to."""

    classes: dict[str, Class] = field(default_factory=lambda: {"cpu": Class(), "disk": Class()})
    sources: dict[str, Source] = field(default_factory=lambda: {"ana": Source(0.8), "ben": Source(0.8), "eve": Source(0.53)})
    raw: float = START_BUDGET
    overridden: list[bool] = field(default_factory=list)

    def close(self, number: int) -> None:
        """Apply the answers to a decision, in order."""
        name, score, answers = DECISIONS[number]
        weights = {LIKE: 0.0, OVERRIDE: 0.0}
        for operator, kind in answers.items():
            source, z = self.sources[operator], int(kind == LIKE)
            weights[kind] += source.weight()
            source.n += 1
            source.o += 1 - z
            source.observe(z, self.classes[name].hear(operator, 4 * log(score / 0.8), z, *source.channel()))
        said = list(answers.values())
        self.raw += RATE - (2 * said.count(OVERRIDE) >= len(said)) if said else 0
        self.overridden.append(OVERRIDE in answers.values() and weights[OVERRIDE] >= weights[LIKE])

    def tell(self, number: int) -> None:
        """An outcome, an incident: one more answer to the class, and five counts for each who answered."""
        name, score, answers = DECISIONS[number]
        self.classes[name].hear("outcome", 4 * log(score / 0.8), 1, 0.95, 0.95)
        for operator, kind in answers.items():
            self.sources[operator].count(int(kind == LIKE), 1.0, 5)


def reference() -> Reference:
    """The log by hand."""
    ours = Reference()
    for number in range(9):
        if DECISIONS[number][2]:
            ours.close(number)
        if number in OUTCOMES_ON:
            ours.tell(number)
    return ours


def folded_log() -> Folded:
    """The log through decider and learner: each decision is answered, closed and told before the next comes."""
    log_ = []
    for number, (name, score, answers) in enumerate(DECISIONS):
        minute = 30 * number
        log_.append(entry("scenario", scenario(f"s{number}", minute, entity=f"web-{number}", label=f"{name}:up", score=score)))
        log_ += [entry("feedback", feedback(f"s{number}", kind, minute, operator=operator)) for operator, kind in answers.items()]
        log_.append(entry("scenario", heartbeat(minute + 10)))
        if number in OUTCOMES_ON:
            at_ms = START_MS + minute * MINUTE_MS
            log_.append(entry("outcome", Outcome(f"web-{number}", at_ms, at_ms + 1, Verdict.INCIDENT, at_ms)))
    log_.append(entry("scenario", heartbeat(30 * len(DECISIONS) + 240)))
    return run(log_, settings_with(selector="fixed", fixed_threshold=0.5, window_scenarios=5))


FOLDED = folded_log()


def test_scores_are_those_of_the_formulas() -> None:
    """Offset, H, D, both sums and the answers by source of each class are those computed by hand, and some answers were damped."""
    for name, ours in reference().classes.items():
        row = FOLDED.row(ClassRow, "shop", f"shop|{name}:up|restart")
        assert (row.offset, row.information, row.draw_information) == pytest.approx((ours.b, ours.h, ours.d), rel=1e-12)
        assert (row.rising, row.falling) == pytest.approx((ours.rising, ours.falling), rel=1e-12)
        assert list(row.by_source.values()) == list(ours.counts.values())
        latest = {judgement.decision: judgement for judgement in FOLDED.events("judgement") if f"|{name}:" in judgement.scenario_class}
        applied = sorted((answer.sequence, answer.counted) for judgement in latest.values() for answer in judgement.answers)
        assert [counted for _, counted in applied] == pytest.approx(ours.kappas)
    assert min(reference().classes["cpu"].kappas) == pytest.approx(2 / 5)


def test_trust_and_budget_are_those_of_the_formulas() -> None:
    """Coins, and trusted and raw wealth, are those computed by hand; nothing is open at the end."""
    ours = reference()
    for name, source in ours.sources.items():
        row = FOLDED.row(SourceRow, "shop", name)
        assert (row.likes, row.wanted, row.overrides, row.unwanted) == pytest.approx(
            (source.likes, source.wanted, source.overrides, source.unwanted), rel=1e-12
        )
        assert (row.answered, row.overridden) == (source.n, source.o)
    scope = FOLDED.row(ScopeRow, "shop")
    assert START_BUDGET + RATE * scope.answered - scope.overridden == pytest.approx(ours.raw, rel=1e-12)
    assert START_BUDGET + scope.earned_trusted == pytest.approx(START_BUDGET + sum(s.wealth() for s in ours.sources.values()), rel=1e-12)
    assert scope.open == 0


def test_windows_are_those_counted_by_hand() -> None:
    """Two windows of five decisions: who answered what, which decisions were overridden and missed, and over which denominators."""
    statuses = [decision.status for decision in FOLDED.events("decision")]
    assert [number for number, status in enumerate(statuses) if status == Status.WITHHELD] == [5]
    ours = reference()
    # Four decisions had closed when the fifth filled the first window, four more when the tenth filled the second.
    first, second = (sum(ours.overridden[:4]), sum(ours.overridden[4:]))
    windows = [event for event in FOLDED.events("alignment") if type(event).__name__ == "LossWindow" and event.window >= 0]
    expected = [(5, 0, {"like": 2, "override": 3}, first, 4, 0, 0), (4, 1, {"like": 3, "override": 2}, second, 4, 1, 1)]
    for window, (surfaced, withheld, said, overridden, answered, missed, reviewed) in zip(windows, expected, strict=True):
        assert (window.scenarios, window.surfaced, window.withheld, window.blocked) == (5, surfaced, withheld, 0)
        assert window.answers == {"like": 0, "override": 0, "neutral": 0, "skipped": 0} | said
        assert (window.override_given_answered.events, window.override_given_answered.trials) == (overridden, answered)
        assert (window.miss_given_outcome.events, window.miss_given_outcome.trials) == (missed, reviewed)
        assert window.overrides_per_surfaced == pytest.approx(overridden / surfaced)
        assert window.overrides_per_answered == pytest.approx(overridden / answered)
        assert window.overrides_per_scenario == pytest.approx(overridden / 5)
        misses = missed / reviewed if reviewed else 0.0
        assert window.loss == pytest.approx(4 * surfaced / 5 * overridden / answered + 1 * withheld / 5 * misses)
        assert window.paper_loss == pytest.approx(said["override"] / 5)
    assert (first, second) == (3, 2)
    scope = FOLDED.row(ScopeRow, "shop")
    assert (scope.total.skipped, scope.total.answered, scope.total.overridden) == (1, 8, 5)
