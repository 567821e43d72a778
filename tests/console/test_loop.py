"""The Loop view: what its numbers are made of, and that each sentence says what the numbers mean."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.alignment import alignment_loss, rate
from agents.monitoring import rules
from schemas.alignment import (
    Alarm,
    AlignmentEvent,
    Fidelity,
    LossWindow,
    MonitorDecision,
    RetrainingResult,
    SourceTrust,
    TeamSummary,
    ThresholdRow,
    ThresholdTable,
    TrustSummary,
)
from schemas.codecs import decode, encode
from schemas.events import BudgetState, Control
from schemas.reference import EXAMPLES
from schemas.settings import Profile
from streams.console import figures
from streams.console.loop import KINDS, ScopeRecords, budget_view, loss_view, model_view, override_rates, scope_summary, scope_view
from streams.reporting.sentences import MONITORS, PRICED
from streams.serving.brought import Brought, brought
from streams.serving.force import Force
from streams.serving.readmodel import LATEST
from tests.console.valid import again, valid

PROFILES = st.sampled_from([Profile("default"), Profile("paper", selector="thompson", budget="off"), Profile("raw", budget="raw")])
COUNTS = st.dictionaries(st.sampled_from(["surfaced", "withheld", "blocked", "answered", "overridden", "like"]), st.integers(0, 10**9))


def example(topic: str, name: str) -> Any:  # noqa: ANN401 - an event of any topic
    """Return an event of the examples."""
    return decode(topic, (EXAMPLES / topic / f"{name}.json").read_bytes())


def hash_of(counts: dict[str, int], latest: dict[str, Any]) -> dict[bytes, bytes]:
    """Return a scope's hash as the read model has it."""
    fields = {name: str(count) for name, count in counts.items()} | {name: encode(event).decode() for name, event in latest.items()}
    return {name.encode(): value.encode() for name, value in fields.items()}


EVENTS = {
    "past": example("alignment", "window"),
    "window": example("alignment", "window-nothing-known"),
    "thresholds": example("alignment", "thresholds"),
    "trust": example("alignment", "trust"),
    "teams": example("alignment", "teams"),
    "teams_past": example("alignment", "teams-none-answered"),
    "reopened": example("alignment", "budget-reopened"),
    "challenger": example("alignment", "challenger"),
    "monitor": example("alignment", "monitor"),
    "fidelity": example("alignment", "fidelity"),
    "taken": example("alignment", "model-taken"),
    "revoked": example("alignment", "source-revoked"),
}
ALARM: Alarm = example("alignment", "alarm")


def test_every_field_of_a_scopes_hash_is_known() -> None:
    """What the read model keeps as JSON is read as the struct it is of."""
    assert set(LATEST.values()) < set(KINDS)
    assert set(EVENTS) < set(KINDS)


@given(COUNTS, st.sets(st.sampled_from(sorted(EVENTS))), PROFILES)
def test_a_scope_can_be_shown_whatever_is_known_of_it(counts: dict[str, int], names: set[str], profile: Profile) -> None:
    """Any part of the records gives a view that is JSON, whose sentences all say something, and a summary with the same numbers."""
    latest = {name: EVENTS[name] for name in names}
    records = ScopeRecords("shop", 1_000, 3, hash_of(counts, latest), alarms=[ALARM], forces={"*": Force()})
    view, summary = scope_view(records, profile, "alignment:0=7"), scope_summary(records)
    assert again(view) == view
    assert again(summary) == summary
    assert (view.counts, view.clock_ms, view.cursor) == (counts, 1_000, "alignment:0=7")
    assert (summary.counts, summary.open, list(summary.alarms)) == (counts, 3, [each.name for each in view.alarms])
    parts = (view.override_rates, view.loss, view.budget, view.thresholds, view.teams, view.monitor, view.model)
    assert all(part.says for part in parts if part is not None)


@given(COUNTS)
def test_one_numerator_has_three_denominators(counts: dict[str, int]) -> None:
    """Overridden recommendations stand over those surfaced, those answered, and all scenarios decided; over none there is no rate."""
    rates = override_rates(counts)
    found = (rates.surfaced, rates.answered, rates.scenario)
    assert {each.events for each in found} == {counts.get("overridden", 0)}
    assert rates.scenario.trials == sum(counts.get(name, 0) for name in ("surfaced", "withheld", "blocked"))
    assert all(each.rate is None if not each.trials else each.rate == each.events / each.trials for each in found)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 500), st.integers(0, 500))
def test_the_target_is_the_loss_at_the_declared_rate(surfaced: int, withheld: int, answered: int, reviewed: int) -> None:
    """Where operators override exactly at the declared rate and nothing is missed, the loss is the target."""
    profile = Profile("default")
    scenarios = surfaced + withheld
    if not scenarios:
        return
    override, miss = rate(answered, 10 * answered), rate(0, reviewed)
    loss = alignment_loss(override, miss, surfaced / scenarios, withheld / scenarios, profile.override_cost, profile.miss_cost)
    window = msgspec.structs.replace(
        EVENTS["past"],
        scenarios=scenarios,
        surfaced=surfaced,
        withheld=withheld,
        override_given_answered=override,
        miss_given_outcome=miss,
        loss=loss.point,
        loss_low=loss.low,
        loss_high=loss.high,
    )
    shown = loss_view(window, None, [], profile)
    assert shown.target is not None
    assert loss.point is None or shown.target == pytest.approx(loss.point)


@pytest.mark.parametrize(
    ("low", "high", "stands"), [(0.0, 0.1, "below the target"), (0.3, 0.9, "above the target"), (0.1, 0.9, "across the target")]
)
def test_the_interval_is_held_against_the_target(low: float, high: float, stands: str) -> None:
    """The loss is called above or below the target only where its whole interval is."""
    window = msgspec.structs.replace(
        EVENTS["past"],
        scenarios=100, surfaced=50, withheld=50, blocked=0, loss=0.2, loss_low=low, loss_high=high,
        override_given_answered=rate(1, 20), miss_given_outcome=rate(1, 5),
    )  # fmt: skip
    shown = loss_view(window, None, [], Profile("default"))
    assert shown.target == pytest.approx(4 * 0.1 * 0.5)
    assert stands in shown.says
    assert "overrides 0.100, misses 0.100" in shown.says


@pytest.mark.parametrize(("reopened", "trusted"), [(5, 7.0), (4, 90.0), (3, 90.0)])
def test_the_budget_is_the_latest_published(reopened: int, trusted: float) -> None:
    """A reopening counts until a window's end has seen it."""
    trust = msgspec.structs.replace(EVENTS["trust"], budget=BudgetState(90.0, 80.0, 2), positions={"control": 4})
    after = msgspec.structs.replace(EVENTS["reopened"], after=BudgetState(7.0, 6.0, 2), positions={"control": reopened})
    shown = budget_view(trust, after, Profile("default"))
    assert shown is not None
    assert shown.trusted == trusted


@pytest.mark.parametrize(
    ("budget", "kind", "says"),
    [
        (BudgetState(90.0, 80.0, 2), "trusted", "goes by the first, and 2 open recommendations hold one each: 88 more can be surfaced."),
        (BudgetState(90.0, 2.5, 2), "raw", "closed. 1 % is surfaced"),
        (BudgetState(-1.0, -2.0, 0), "off", "this stops nothing"),
    ],
)  # fmt: skip
def test_the_budget_says_what_it_allows(budget: BudgetState, kind: Any, says: str) -> None:  # noqa: ANN401 - a Literal
    """What is open is taken off the budget that the profile goes by; without a whole unit it is closed."""
    profile = Profile("p", budget=kind)
    said = figures.budget_in_words(budget, profile)
    assert says in said
    assert ("closed" in said) == figures.is_closed(budget, profile)


def row(threshold: float, overrides: int, misses: int) -> ThresholdRow:
    """Return a row of the threshold table."""
    return ThresholdRow(threshold, 200, 100, overrides, misses, 1.0, 1.0)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (row(0.9, 8, 41), "at 0.9: 12 overrides fewer, 31 misses more"),
        (row(0.7, 21, 9), "at 0.7: 1 override more, 1 miss fewer"),
        (row(0.6, 20, 10), "at 0.6: as many overrides, as many misses"),
        (row(0.8, 20, 10), "at 0.8, in use: 20 overrides, 10 misses"),
    ],
)
def test_a_threshold_is_told_against_the_one_in_use(other: ThresholdRow, says: str) -> None:
    """Each row says how many overrides and misses more or fewer; the one in use says how many."""
    assert figures.threshold_in_words(other, row(0.8, 20, 10)) == says


def test_without_a_threshold_in_use_each_row_stands_alone() -> None:
    """Where each scenario draws its threshold there is nothing to hold a row against."""
    records = ScopeRecords("shop", 0, 0, hash_of({}, {"thresholds": EVENTS["thresholds"]}))
    shown = scope_view(records, Profile("paper", selector="thompson"), "").thresholds
    assert shown is not None
    assert shown.in_use is None
    assert not any("in use" in each.says or "more" in each.says for each in shown.rows)


RESULT: RetrainingResult = example("retraining-result", "adopted")


@pytest.mark.parametrize(
    ("status", "saved", "says"),
    [
        ("adopted", 34.2, "it has cost 34.2 less than"),
        ("adopted", -3.0, "it has cost 3.0 more than"),
        ("refused", 3.0, "it would have cost 3.0 less"),
    ],
)
def test_a_retraining_says_what_it_saved(status: Any, saved: float, says: str) -> None:  # noqa: ANN401 - a Literal
    """An adopted model has saved or cost, a refused one would have; without a window nothing is claimed."""
    result = msgspec.structs.replace(RESULT, status=status)
    assert says in figures.retraining_in_words(result, Brought(12, saved))
    assert "Not known yet" in figures.retraining_in_words(result, None)


def test_retrainings_come_with_what_they_brought() -> None:
    """What each one brought is as `brought` has it, the newest first."""
    results = [msgspec.structs.replace(RESULT, id=str(place), window=place) for place in (3, 9)]
    assert RESULT.model is not None
    costs = {RESULT.in_force: 10.0, RESULT.model.id: 4.0}
    windows = [msgspec.structs.replace(EVENTS["challenger"], window=place, costs=costs) for place in range(12)]
    shown = scope_view(ScopeRecords("shop", 0, 0, {}, challengers=windows, results=results), Profile("default"), "").retrainings
    assert [each.id for each in shown] == ["9", "3"]
    assert [each.brought for each in reversed(shown)] == brought(results, windows)


def test_a_model_is_in_force_when_it_is_taken_up() -> None:
    """Before the decider has taken a model up, the one before is in force, and the new one is named."""
    taken, model = EVENTS["taken"], example("model", "trained")
    assert model_view(None, None).id == "initial"
    assert model_view(msgspec.structs.replace(taken, model=model.id), model).says.startswith("trained on")
    waiting = model_view(msgspec.structs.replace(taken, model="older"), model)
    assert (waiting.id, model.id in waiting.says) == ("older", True)


@given(st.lists(valid(Control), max_size=6))
def test_what_is_in_force_names_who_and_where(controls: list[Control]) -> None:
    """Everything in force is listed with its reach, as it was commanded."""
    force = Force()
    for control in controls:
        force = force.after(control)
    shown = scope_view(ScopeRecords("shop", 0, 0, {}, forces={"shop": force, "*": force}), Profile("default"), "").in_force
    assert [(each.what, each.by, each.reach) for each in shown] == [
        (what, told.by, reach) for reach in ("*", "shop") for what, told in force.parts()
    ]


@pytest.mark.parametrize("name", rules.MONITORS)
def test_every_monitor_says_what_its_statistic_is(name: str) -> None:
    """The price is named only where the statistic is held against it, and what the statistic is always."""
    says = figures.monitor_in_words(msgspec.structs.replace(EVENTS["monitor"], monitor=name, price=20.0))
    assert ("price 20" in says) == (name in PRICED)
    assert says.endswith(MONITORS[name])


LATEST_KINDS = (LossWindow, ThresholdTable, TrustSummary, TeamSummary, MonitorDecision)


@given(st.one_of(*map(valid, LATEST_KINDS)), PROFILES)
def test_wording_never_fails(event: AlignmentEvent, profile: Profile) -> None:
    """Whatever its schema allows in an event is put into words."""
    names = {LossWindow: "past", TeamSummary: "teams", **LATEST}
    records = ScopeRecords("shop", 0, 0, hash_of({}, {names[type(event)]: event}))
    assert again(scope_view(records, profile, "")).scope == "shop"
    assert scope_summary(records).scope == "shop"


@given(valid(Fidelity), valid(SourceTrust), valid(RetrainingResult), valid(Brought))
def test_words_for_single_events_never_fail(measured: Fidelity, source: SourceTrust, result: RetrainingResult, since: Brought) -> None:
    """Whatever its schema allows in an event is put into words."""
    assert all((figures.fidelity_in_words(measured), figures.source_in_words(source), figures.retraining_in_words(result, since)))
