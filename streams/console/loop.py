"""What the Loop view shows of one scope, from the read model's records of it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from schemas.alignment import (
    Alarm,
    BudgetReopened,
    ChallengerWindow,
    LossWindow,
    ModelTaken,
    MonitorDecision,
    RetrainingResult,
    TeamSummary,
    ThresholdTable,
    TrustSummary,
)
from schemas.events import INITIAL, Model, Status
from schemas.settings import Profile
from streams.console import figures
from streams.console.views import (
    BudgetView,
    InForce,
    LossView,
    ModelView,
    MonitorView,
    OverrideRate,
    OverrideRates,
    RaisedAlarm,
    RetrainingView,
    ScopeSummary,
    ScopeView,
    SourceView,
    TeamsView,
    ThresholdsView,
    ThresholdView,
)
from streams.explaining.words import modelled
from streams.reporting.sentences import PRICED
from streams.serving.brought import brought
from streams.serving.force import Force
from streams.serving.readmodel import LATEST
from streams.serving.tally import ANSWERED, OVERRIDDEN, loss_target

# The fields of a scope's hash that are JSON; the others are counts.
KINDS: dict[str, Any] = {
    "past": LossWindow,
    "window": LossWindow,
    "teams": TeamSummary,
    "teams_past": TeamSummary,
    **{name: kind for kind, name in LATEST.items()},
}


class ScopeRecords(NamedTuple):
    """What the read model holds of one scope.

    Attributes:
        scope: Its name.
        clock_ms: Its event time.
        open: How many recommendations wait for an answer.
        fields: Its hash: counts, and the latest of each kind as JSON.
        windows: Closed loss windows, the oldest first.
        monitors: The meta-monitor's decisions, the oldest first.
        challengers: What models cost in each window, the oldest first: tells what retrainings have brought.
        results: What came of retraining commands, the oldest first.
        alarms: Those that are raised.
        forces: What people have commanded, by reach: the scope's name, or `*` for all scopes.
    """

    scope: str
    clock_ms: int
    open: int
    fields: Mapping[bytes, bytes]
    windows: Sequence[LossWindow] = ()
    monitors: Sequence[MonitorDecision] = ()
    challengers: Sequence[ChallengerWindow] = ()
    results: Sequence[RetrainingResult] = ()
    alarms: Sequence[Alarm] = ()
    forces: Mapping[str, Force] = {}


def scope_summary(records: ScopeRecords) -> ScopeSummary:
    """Return the numbers of one scope, as the list of scopes shows them; needs no series."""
    counts, latest = parted(records.fields)
    loss: LossWindow | None = latest.get("past") or latest.get("window")
    return ScopeSummary(
        scope=records.scope,
        clock_ms=records.clock_ms,
        counts=counts,
        open=records.open,
        loss=loss.loss if loss else None,
        loss_low=loss.loss_low if loss else None,
        loss_high=loss.loss_high if loss else None,
        alarms={alarm.name: alarm.detail for alarm in sorted(records.alarms, key=lambda each: each.name)},
        in_force=in_force(records.forces),
    )


def scope_view(records: ScopeRecords, profile: Profile, cursor: str) -> ScopeView:
    """Return everything that the Loop view shows of one scope.

    Args:
        records: What the read model holds of it.
        profile: Of the deployment: costs, declared rate, budget and threshold that the numbers are held against.
        cursor: Where the read model stood before the records were read.
    """
    counts, latest = parted(records.fields)
    monitors = records.monitors or ([latest["monitor"]] if "monitor" in latest else [])
    trust: TrustSummary | None = latest.get("trust")
    return ScopeView(
        scope=records.scope,
        cursor=cursor,
        clock_ms=records.clock_ms,
        counts=counts,
        override_rates=override_rates(counts),
        loss=loss_view(latest.get("past"), latest.get("window"), records.windows, profile),
        budget=budget_view(trust, latest.get("reopened"), profile),
        thresholds=thresholds_view(latest.get("thresholds"), profile),
        sources=sources(trust),
        teams=teams_view(latest.get("teams_past"), latest.get("teams")),
        monitor=MonitorView(
            decisions=tuple(monitors),
            fidelity=latest.get("fidelity"),
            priced=(monitors[-1].monitor if monitors else profile.monitor) in PRICED,
            says=figures.monitor_in_words(monitors[-1] if monitors else None),
            fidelity_says=figures.fidelity_in_words(latest.get("fidelity")),
        ),
        retrainings=retrainings(records.results, records.challengers),
        model=model_view(latest.get("taken"), latest.get("model")),
        alarms=raised(records.alarms),
        in_force=in_force(records.forces),
    )


def parted(fields: Mapping[bytes, bytes]) -> tuple[dict[str, int], dict[str, Any]]:
    """Part a scope's hash into its counts and the latest event of each kind."""
    named = {name.decode(): value for name, value in sorted(fields.items())}
    latest = {name: msgspec.json.decode(value, type=KINDS[name]) for name, value in named.items() if name in KINDS}
    return {name: int(value) for name, value in named.items() if name not in KINDS}, latest


def override_rates(counts: Mapping[str, int]) -> OverrideRates:
    """Return overridden recommendations over each of the three denominators, over all that the read model has counted."""
    overridden, scenarios = counts.get(OVERRIDDEN, 0), sum(counts.get(status.value, 0) for status in Status)
    denominators = {"surfaced": counts.get(Status.SURFACED.value, 0), "answered": counts.get(ANSWERED, 0), "scenario": scenarios}
    rates = {name: OverrideRate(overridden, count, overridden / count if count else None) for name, count in denominators.items()}
    return OverrideRates(**rates, says=figures.overrides_in_words(rates))


def loss_view(past: LossWindow | None, window: LossWindow | None, series: Sequence[LossWindow], profile: Profile) -> LossView:
    """Return the loss and its target k r P(surfaced): what overrides at the declared rate cost per scenario, at the share surfaced."""
    shown = past or window
    surfaced = shown.surfaced / shown.scenarios if shown is not None and shown.scenarios else None
    target = None if shown is None else loss_target(shown, profile)
    return LossView(
        past=past,
        window=window,
        series=tuple(series),
        target=target,
        target_says=figures.target_in_words(target, surfaced, profile),
        says=figures.loss_in_words(shown, target, profile),
    )


def budget_view(trust: TrustSummary | None, reopened: BudgetReopened | None, profile: Profile) -> BudgetView | None:
    """Return the override budget as last published: at the last window's end, or by a reopening that came after it."""
    budget = trust.budget if trust is not None else None
    if reopened is not None and (trust is None or reopened.positions.get("control", 0) > trust.positions.get("control", 0)):
        budget = reopened.after
    if budget is None:
        return None
    closed = figures.is_closed(budget, profile)
    return BudgetView(budget.trusted, budget.raw, budget.open, profile.budget, closed, figures.budget_in_words(budget, profile))


def thresholds_view(table: ThresholdTable | None, profile: Profile) -> ThresholdsView | None:
    """Return the threshold table, each row against the one in use; with the selector `thompson` none is in use all the time."""
    if table is None:
        return None
    in_use = None if profile.selector == "thompson" else profile.threshold
    used = next((row for row in table.rows if row.threshold == in_use), None)
    rows = tuple(ThresholdView(*msgspec.structs.astuple(row), says=figures.threshold_in_words(row, used)) for row in table.rows)
    return ThresholdsView(rows, in_use, figures.coverage_in_words(table.scenarios, used, in_use))


def sources(trust: TrustSummary | None) -> tuple[SourceView, ...]:
    """Return the sources of answers, those that have answered most first."""
    known = sorted(trust.sources if trust else (), key=lambda each: (-each.answers, each.source))
    return tuple(SourceView(*msgspec.structs.astuple(each), says=figures.source_in_words(each)) for each in known)


def teams_view(past: TeamSummary | None, window: TeamSummary | None) -> TeamsView | None:
    """Return what the teams say."""
    shown = past or window
    return None if shown is None else TeamsView(past, window, figures.teams_in_words(shown))


def retrainings(results: Sequence[RetrainingResult], challengers: Sequence[ChallengerWindow]) -> tuple[RetrainingView, ...]:
    """Return what came of each retraining command, the newest first."""
    views = [
        RetrainingView(
            id=result.id,
            command=result.command,
            time_ms=result.time_ms,
            window=result.window,
            status=result.status,
            reason=result.reason,
            in_force=result.in_force,
            model=result.model.id if result.model else None,
            evaluation=result.evaluation,
            brought=since,
            says=figures.retraining_in_words(result, since),
        )
        for result, since in zip(results, brought(results, challengers), strict=True)
    ]
    return tuple(reversed(views))


def model_view(taken: ModelTaken | None, newest: Model | None) -> ModelView:
    """Return the model that decisions are scored by: the one taken up last, the profile's own before any."""
    identity = taken.model if taken is not None else INITIAL
    since_ms = taken.time_ms if taken is not None else None
    if newest is None or newest.id == identity:
        return ModelView(identity, since_ms, modelled(identity, newest))
    return ModelView(identity, since_ms, f"still in force: {newest.id} is written and not taken up yet")


def raised(alarms: Sequence[Alarm]) -> tuple[RaisedAlarm, ...]:
    """Return the alarms that are raised, the newest first."""
    ordered = sorted(alarms, key=lambda each: (-each.time_ms, each.name))
    return tuple(RaisedAlarm(alarm.name, alarm.detail, alarm.time_ms) for alarm in ordered)


def in_force(forces: Mapping[str, Force]) -> tuple[InForce, ...]:
    """Return what people have commanded, by reach."""
    parts = ((what, told, reach) for reach, force in sorted(forces.items()) for what, told in force.parts())
    return tuple(InForce(what, told.by, told.time_ms, told.reason, reach) for what, told, reach in parts)
