"""What the API would answer, made of the structs themselves: an explanation, its moment, a scope with a history of windows."""

import math
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace
from scipy.special import expit

from agents import alignment
from schemas.alignment import (
    Alarm,
    Fidelity,
    LossWindow,
    ModelTaken,
    MonitorAction,
    MonitorDecision,
    RetrainingResult,
    TeamSummary,
    ThresholdTable,
    TrustSummary,
)
from schemas.events import BudgetState, Decision, Judgement, Life, Reason, Recommendation, Scenario, Symptom
from schemas.settings import Deployment, load_settings
from streams.console.loop import ScopeRecords, scope_summary, scope_view
from streams.console.views import MomentView, ScopeList, ScopeView
from streams.explaining import Explanation, explain
from streams.serving.force import Commanded, Force
from tests.console.browser.fake import Fake

EXAMPLES = Path(__file__).resolve().parents[3] / "schemas" / "examples"
START_MS = 1_577_836_800_000
MINUTE_MS = 60_000
WINDOW_MS = 30 * MINUTE_MS
WINDOWS = 48
CURSOR = "fake/recommendation:0=0"
COUNTS = {"surfaced": 642, "withheld": 1391, "blocked": 17, "answered": 411, "overridden": 57, "like": 340, "override": 61, "neutral": 38}
SCENARIOS = COUNTS["surfaced"] + COUNTS["withheld"] + COUNTS["blocked"]
CLOSED = "trusted wealth 2.4, 2 recommendations open; 1 % is surfaced as audited exploration while closed"
CONTRIBUTIONS = {
    "intercept": 0.31,
    "log_score": -0.42,
    "class:log_score": 0.17,
    "symptoms": 0.58,
    "peers_alike": -0.21,
    "disk_write_latency_ms:z": 0.84,
    "hour_of_day": -0.06,
}
FEATURES = {"log_score": -0.0726, "class:log_score": -0.11, "symptoms": 2.0, "peers_alike": 3.0, "disk_write_latency_ms:z": 6.2}
FEATURES |= {"hour_of_day": 14.0, "recent_deploy": 0.0, "class:symptoms": 1.8}
SYMPTOMS = (
    Symptom("disk_write_latency_ms", "disk_write_latency_ms:up", "level", "up", 6.2, 42.7, 6.1),
    Symptom("queue_depth", "queue_depth:up", "spike", "up", 4.9, 311.0, 40.0),
    Symptom("error_rate", "error_rate:up", "spike", "up", 3.4, 0.031, 0.004),
)
Kind = TypeVar("Kind")


def example(path: str, kind: type[Kind]) -> Kind:
    """An event of the examples."""
    return msgspec.json.decode((EXAMPLES / f"{path}.json").read_bytes(), type=kind)


def decision(reason: Reason = Reason.PASSED) -> Decision:
    """A decision of that reason, with features of every kind."""
    offset = 1.35
    output = sum(CONTRIBUTIONS.values())
    return replace(
        example(f"decision/{reason.value.replace('_', '-')}", Decision),
        confidence=float(expit(output + offset)),
        model_output=output,
        offset=offset,
        contributions=CONTRIBUTIONS,
        features=FEATURES,
        symptoms=SYMPTOMS,
        draw=None if reason in {Reason.POLICY, Reason.COOLDOWN} else 0.87 if reason is Reason.PASSED else 0.731,
    )


def moment() -> MomentView:
    """Two hours of three metrics, with a gap, around a step in the first."""
    times = tuple(START_MS + minute * MINUTE_MS for minute in range(120))
    shapes = {
        symptom.metric: tuple(
            None
            if 30 <= at < 34
            else symptom.usual * (1 + 0.12 * math.sin(at * (1.7 + place)) + (at > 95) * (symptom.value / symptom.usual - 1))
            for at in range(120)
        )
        for place, symptom in enumerate(SYMPTOMS)
    }
    return MomentView(times, shapes, times[96], {symptom.metric: symptom.usual for symptom in SYMPTOMS})


def explanation(reason: Reason = Reason.PASSED) -> Explanation:
    """The explanation of a decision; one that was surfaced has been answered and judged."""
    event = decision(reason)
    view = moment()
    scenario = replace(
        example("scenario/scenario", Scenario),
        symptoms=SYMPTOMS,
        peers_alike=3,
        peers_seen=12,
        excerpt={name: list(values) for name, values in view.metrics.items()},
        excerpt_times_ms=list(view.times_ms),
    )
    if reason is not Reason.PASSED:
        return explain(event, scenario)
    lives = [replace(example(f"recommendation/{life.value}", Recommendation), id=event.id) for life in (Life.OPENED, Life.ANSWERED)]
    judgement = replace(example("judgement/answer", Judgement), decision=event.id)
    return explain(event, scenario, lives, [judgement])


def windows() -> tuple[LossWindow, ...]:
    """Closed windows whose loss falls, and rises again near the end; one has no answer."""
    last = example("alignment/window", LossWindow)
    series = []
    for at in range(WINDOWS):
        loss = 0.12 + 0.5 * math.exp(-at / 9) + 0.03 * math.sin(at * 1.3) + (0.2 if at > WINDOWS - 7 else 0.0)
        spread = 0.05 + 0.3 * math.exp(-at / 15)
        series.append(
            replace(
                last,
                id=f"{at:016x}",
                time_ms=START_MS + at * WINDOW_MS,
                window=at,
                loss=None if at == 5 else loss,
                loss_low=max(0.0, loss - spread),
                loss_high=loss + spread,
            )
        )
    return tuple(series)


def monitored() -> tuple[MonitorDecision, ...]:
    """The monitor's decisions: its statistic climbs to the price twice."""
    last = example("alignment/monitor", MonitorDecision)
    decisions, statistic = [], 0.0
    for at in range(WINDOWS):
        statistic += 0.35 * (1 + math.sin(at)) + (1.6 if at > WINDOWS - 12 else 0.2)
        retrain = statistic >= last.price
        waits = f"the model in force has cost {statistic:.1f} more than its challengers, within the price of 20"
        decisions.append(
            replace(
                last,
                id=f"{at:016x}",
                time_ms=START_MS + at * WINDOW_MS,
                window=at,
                action=MonitorAction.RETRAIN if retrain else MonitorAction.WAIT,
                statistic=statistic,
                reason=last.reason if retrain else waits,
            )
        )
        statistic = 0.0 if retrain else statistic
    return tuple(decisions)


def results() -> tuple[RetrainingResult, ...]:
    """What came of two commands, the first refused."""
    adopted = example("retraining-result/adopted", RetrainingResult)
    refused = example("retraining-result/refused", RetrainingResult)
    return (
        replace(refused, time_ms=START_MS + 12 * WINDOW_MS, window=12),
        replace(adopted, time_ms=START_MS + 30 * WINDOW_MS, window=30),
    )


def records(scope: str = "shop", **changes: Any) -> ScopeRecords:  # noqa: ANN401 - fields of the records
    """Everything that the read model holds of one scope."""
    series, profile = windows(), load_settings(Deployment()).profile
    override, miss = alignment.rate(COUNTS["overridden"], COUNTS["answered"]), alignment.rate(3, 51)
    surfaced, withheld = COUNTS["surfaced"] / SCENARIOS, COUNTS["withheld"] / SCENARIOS
    loss = alignment.alignment_loss(override, miss, surfaced, withheld, profile.override_cost, profile.miss_cost)
    past = replace(
        series[-1],
        window=-1,
        scenarios=SCENARIOS,
        **{status: COUNTS[status] for status in ("surfaced", "withheld", "blocked")},
        override_given_answered=override,
        miss_given_outcome=miss,
        loss=loss.point,
        loss_low=loss.low,
        loss_high=loss.high,
    )
    adopted = results()[-1].model
    assert adopted is not None
    taken = replace(example("alignment/model-taken", ModelTaken), model=adopted.id, time_ms=START_MS + 30 * WINDOW_MS)
    latest = {
        "past": past,
        "window": series[-1],
        "thresholds": example("alignment/thresholds", ThresholdTable),
        "trust": replace(example("alignment/trust", TrustSummary), budget=BudgetState(2.4, 31.0, 2)),
        "teams": example("alignment/teams", TeamSummary),
        "fidelity": example("alignment/fidelity", Fidelity),
        "taken": taken,
        "model": adopted,
    }
    fields = {name.encode(): str(count).encode() for name, count in COUNTS.items()}
    alarm = replace(example("alignment/alarm", Alarm), time_ms=START_MS + 45 * WINDOW_MS, detail=CLOSED)
    made = ScopeRecords(
        scope,
        clock_ms=START_MS + WINDOWS * WINDOW_MS,
        open=3,
        fields=fields | {name.encode(): msgspec.json.encode(event) for name, event in latest.items()},
        windows=series,
        monitors=monitored(),
        results=results(),
        alarms=(alarm,),
    )
    return made._replace(**changes)


def bare(scope: str = "new") -> ScopeRecords:
    """A scope of which nothing is published yet."""
    return ScopeRecords(scope, START_MS, 0, {b"withheld": b"3"})


def killed(scope: str = "shop") -> dict[str, Force]:
    """The kill switch of a scope, in force."""
    return {scope: Force(killed=Commanded("emma", START_MS + 40 * WINDOW_MS, "disk firmware roll-out"))}


def view(held: ScopeRecords) -> ScopeView:
    """What the API answers for a scope."""
    return scope_view(held, load_settings(Deployment()).profile, CURSOR)


def scopes(*held: ScopeRecords) -> ScopeList:
    """What the API answers for all scopes."""
    return ScopeList(CURSOR, tuple(map(scope_summary, held)))


def put(fake: Fake, *held: ScopeRecords) -> None:
    """Have the console know these scopes."""
    fake.canned["/scopes"] = (200, msgspec.to_builtins(scopes(*held)))
    for each in held:
        fake.canned[f"/scopes/{each.scope}"] = (200, msgspec.to_builtins(view(each)))


def put_decision(fake: Fake, told: Explanation) -> None:
    """Have the console know a decision."""
    fake.canned[f"/decisions/{told.decision}/why"] = (200, msgspec.to_builtins(told))
    fake.canned[f"/decisions/{told.decision}/moment"] = (200, msgspec.to_builtins(moment()))
