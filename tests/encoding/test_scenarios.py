"""What a scenario says, when it fires, and what else the encoder tells its scope."""

from itertools import pairwise
from math import exp, isfinite, log
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.encoding.rows import EntityState, ScopeState
from agents.encoding.scenarios import INSPECT, label_of, propose
from agents.encoding.scopes import meet_peers
from schemas.codecs import decode
from schemas.events import Cleared, Heartbeat, Scenario
from schemas.headers import find
from schemas.identity import derived_name
from tests.encoding.telemetry import CATALOGUE, CONTEXT, HOUR_MS, START_MS, STEP_MS, Record, as_json, messy, run, sample, steady

MINUTE_MS = 60_000
HISTORY = 400


def log_of(*series: list[dict[str, Any]]) -> list[Record]:
    """Write several entities' samples as one log, in order of time."""
    return [as_json(one) for one in sorted((one for samples in series for one in samples), key=lambda one: one["time_ms"])]


def at(row: int) -> int:
    """Return the time of a row of `steady`."""
    return START_MS + row * STEP_MS


def test_a_fault_fires_at_once_and_clears_an_hour_later() -> None:
    """A spike gives one scenario at its sample, and one clearing at the first sample an hour after the last exceedance."""
    result = run(log_of(steady("machine", 700, [500])))
    [scenario] = [one for one in result.events(Scenario) if one.time_ms >= at(500)]
    [cleared] = [one for one in result.events(Cleared) if one.time_ms >= at(500)]
    assert (scenario.time_ms, scenario.symptom_start_ms) == (at(500), at(500))
    # The differences over two samples, averaged over three, see the spike until four samples later.
    assert HOUR_MS <= cleared.time_ms - scenario.time_ms <= HOUR_MS + 5 * MINUTE_MS


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_scenarios_and_clearings_alternate_as_the_rule_says(seed: int) -> None:
    """An entity clears only after it fired, at least an hour after; and of two firings within an hour the second is stronger."""
    events = [one for one in run(messy(seed)).events() if not isinstance(one, Heartbeat)]
    for entity in {one.entity for one in events}:
        own = [one for one in events if one.entity == entity]
        assert isinstance(own[0], Scenario)
        for earlier, later in pairwise(own):
            assert isinstance(earlier, Scenario) or isinstance(later, Scenario)
            apart = later.time_ms - earlier.time_ms
            if isinstance(later, Cleared):
                assert apart >= HOUR_MS
            elif isinstance(earlier, Scenario):
                assert later.score > 1.4 * earlier.score * 0.5 ** (apart / HOUR_MS)


def test_an_entity_that_falls_silent_is_not_cleared() -> None:
    """No samples are no sign of health."""
    quiet = log_of(steady("machine", HISTORY + 1, [HISTORY]), steady("other", HISTORY + 300))
    assert [one for one in run(quiet).events(Cleared) if one.entity == "machine" and one.time_ms > at(HISTORY)] == []


def test_heartbeats_follow_the_scopes_telemetry_time() -> None:
    """Each scope beats once a minute of its largest telemetry time, with counts that add up; late samples move nothing."""
    web = steady("a", 30, scope="web", step_ms=20_000)
    late = web[5] | {"entity": "b"}
    events: list[Heartbeat] = run([*log_of(web, steady("c", 7, scope="db")), as_json(late)]).events(Heartbeat)
    for scope, minutes, samples in (("web", 10, 28), ("db", 7, 7)):
        own = [one for one in events if one.scope == scope]
        assert [one.time_ms for one in own] == [START_MS + minute * MINUTE_MS for minute in range(minutes)]
        assert (own[-1].samples, own[-1].entities, own[-1].out_of_order) == (samples, 1, 0)


def test_an_entity_counts_where_its_latest_sample_says() -> None:
    """The sample's scope goes before the catalogue's, which goes before "default"; an entity that moves leaves its old scope."""
    catalogue = msgspec.structs.replace(CATALOGUE, entities={"a": "listed"})
    context = CONTEXT._replace(settings=msgspec.structs.replace(CONTEXT.settings, catalogue=catalogue))
    scopes = [("a", None), ("b", None), ("a", "own"), ("b", "own"), ("a", None), ("c", "default")]
    log = [as_json(sample(entity, START_MS + k * MINUTE_MS, {"cpu": 1.0}, scope)) for k, (entity, scope) in enumerate(scopes)]
    beats: list[Heartbeat] = run(log, context=context).events(Heartbeat)
    assert [(one.scope, one.entities) for one in beats] == [
        ("listed", 1), ("default", 1), ("own", 1), ("own", 2), ("listed", 1), ("default", 1),
    ]  # fmt: skip


def test_peers_are_counted() -> None:
    """Of entities that fire within 30 min, each says how many others of its scope fired before it with the same leading label."""
    faults = {"a": 400, "b": 410, "c": 420, "d": 455}
    metrics = ("cpu_r", "cpu_w")
    log = log_of(
        *(steady(name, 460, [row], seed=7, metrics=metrics, scope="web") for name, row in faults.items()),
        steady("elsewhere", 460, [421], seed=7, metrics=metrics, scope="db"),
        steady("healthy", 460, seed=7, metrics=metrics, scope="web"),
    )
    fired = {one.entity: one for one in run(log).events(Scenario) if one.score > 1}
    assert {one.symptoms[0].label.split(":")[1] for one in fired.values()} == {"up"}
    assert len({one.symptoms[0].label for one in fired.values()}) == 1
    assert {name: one.peers_alike for name, one in fired.items()} == {"a": 0, "b": 1, "c": 2, "d": 0, "elsewhere": 0}
    assert {name: one.peers_seen for name, one in fired.items()} == {"a": 4, "b": 4, "c": 4, "d": 4, "elsewhere": 0}


def test_an_entity_is_not_its_own_peer() -> None:
    """An entity that fires again with its label counts once for others, and never for itself."""
    state = ScopeState()
    events = [("a", "x"), ("a", "x"), ("b", "x"), ("b", "y"), ("c", "x"), ("a", "x")]
    met = [meet_peers(state, at(row), entity, label) for row, (entity, label) in enumerate(events)]
    assert met == [0, 0, 1, 0, 2, 2]


@pytest.mark.parametrize(
    ("last", "shape", "direction"),
    [
        ([40.0], "spike", "up"),
        ([-20.0], "spike", "down"),
        ([40.0, 10.0, 10.0, 40.0], "spike", "up"),
        ([30.0, 33.0, 31.0, 32.0], "level", "up"),
        ([-15.0, -13.0, -14.0], "level", "down"),
        ([20.0, 1.0, 21.0, 0.0, 19.0], "variance", "up"),
        ([25.0] * 8, "flat", "up"),
        ([-5.0] * 8, "flat", "down"),
    ],
)
def test_symptoms_have_shapes(last: list[float], shape: str, direction: str) -> None:
    """A jump is a spike, one that lasts a level, one to and fro variance, a value that stands still flat."""
    samples = steady("machine", HISTORY, [HISTORY - 1], metrics=("trigger", "disk_w"))
    for one, value in zip(samples[-len(last) :], last, strict=True):
        one["metrics"]["disk_w"] = value
    scenario: Scenario = run(log_of(samples)).events(Scenario)[-1]
    assert scenario.time_ms == at(HISTORY - 1)
    [symptom] = [one for one in scenario.symptoms if one.metric == "disk_w"]
    assert (symptom.shape, symptom.direction, symptom.label) == (shape, direction, f"disk_w:{direction}")


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_a_scenario_is_consistent(seed: int) -> None:
    """Features are finite and agree with the score; symptoms are sorted out of the excerpt; class, key, id and headers fit."""
    result = run(messy(seed))
    for output in result.outputs:
        if output.topic != "scenario":
            continue
        event = decode("scenario", output.value)
        assert output.key == event.scope.encode()
        assert find(output.headers, "ce_id") == event.id.encode()
        if not isinstance(event, Scenario):
            continue
        assert event.id == derived_name(event.parents[0], "scenario")
        assert event.score > 0.5
        assert all(isfinite(value) for value in event.features.values())
        assert event.features["log_score"] == log(event.score) == log(event.detector_scores["combined"])
        assert exp(event.features["log_raw"]) == pytest.approx(max(0.01, event.detector_scores["raw"]))
        assert 1 <= len(event.symptoms) <= 5
        assert len(event.symptoms) == 1 or all(one.z > 3 for one in event.symptoms)
        assert event.scenario_class == f"{event.scope}|{event.symptoms[0].label}|{event.action.name}"
        assert event.excerpt_times_ms == sorted(set(event.excerpt_times_ms))
        assert event.excerpt_times_ms[-1] == event.time_ms
        assert list(event.excerpt) == [one.metric for one in event.symptoms]
        for symptom in event.symptoms:
            values = event.excerpt[symptom.metric]
            assert len(values) == len(event.excerpt_times_ms) <= 12
            assert values[-1] == symptom.value
            assert (symptom.value >= symptom.usual) == (symptom.direction == "up") or symptom.shape == "variance"


def test_only_unusual_metrics_are_blamed() -> None:
    """A fault of one metric names that one, and its action, although the score looks at five."""
    samples = steady("machine", HISTORY)
    samples[-1]["metrics"]["mem_u"] = 70.0
    [scenario] = [one for one in run(log_of(samples)).events(Scenario) if one.time_ms == at(HISTORY - 1)]
    assert [one.label for one in scenario.symptoms] == ["mem_u:up"]
    assert scenario.scenario_class == "default|mem_u:up|restart_leaking_service"
    assert scenario.features["share_unusual"] == 1 / 6
    assert scenario.features["sign_balance"] == 1


def test_candidates_of_the_last_day_are_a_feature() -> None:
    """The decayed count of an entity's earlier candidates: none at the first, less than one an hour after one."""
    result = run(log_of(steady("machine", 800, [500, 700], metrics=("cpu_r", "mem_u"))))
    first, second = (one.features["log_candidates"] for one in result.events(Scenario) if one.score > 1)
    assert first == 0
    assert second == pytest.approx(log(1 + 0.5 ** (200 / 60 / 24)))


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        ("disk_write_latency", "disk_write_latency:up"),
        ("eth1_fi", "eth1_fi:up"),
        ("up", "up:up"),
        ("m0", "spike:up"),
        ("0", "spike:up"),
        ("v", "spike:up"),
        ("value", "spike:up"),
        ("metric_17", "spike:up"),
        ("Feature 3", "spike:up"),
        ("pod_7f9c8d6b5c_cpu", "pod_#_cpu:up"),
        ("jvm_31337_heap", "jvm_#_heap:up"),
        ("http_500_errors", "http_500_errors:up"),
        ("cpu_seconds_feedface", "cpu_seconds_feedface:up"),
    ],
)
def test_labels_pool_what_is_alike(metric: str, label: str) -> None:
    """A telling name is its own label, a name that tells nothing falls back to the shape, and ids inside names are pooled."""
    assert label_of(metric, "spike", "up") == label


@pytest.mark.parametrize(
    ("label", "action"),
    [
        ("cpu_r:up", "scale_out"),
        ("load_1:up", "scale_out"),
        ("queue_depth:up", "scale_out"),
        ("CPUUtilization:up", "scale_out"),
        ("mem_u:up", "restart_leaking_service"),
        ("memory_used:up", "restart_leaking_service"),
        ("disk_wb:up", "throttle_batch_jobs"),
        ("disk_write_latency_ms:up", "throttle_batch_jobs"),
        ("disk_used_percent:up", "clean_disk"),
        ("eth1_fi:up", "shed_load"),
        ("network_receive_bytes:up", "shed_load"),
        ("eth1_fi:down", "drain_node"),
        ("tcp_timeouts:up", "fail_over_network"),
        ("retransegs:up", "fail_over_network"),
        ("error_rate:up", "roll_back_release"),
        ("request_latency_ms:up", "restart_service"),
        ("level:up", "restart_service"),
        ("level:down", "drain_node"),
        ("flat:down", "page_person"),
        ("spike:up", "inspect"),
        ("anything_else:down", "inspect"),
    ],
)
def test_the_default_catalogue_answers_usual_names(label: str, action: str) -> None:
    """Names of SMD, of Prometheus and shapes each get a sensible action."""
    assert propose(CATALOGUE.actions, label).name == action


def test_a_catalogue_without_an_answer_has_one() -> None:
    """A label that no pattern matches is to be inspected, and harms nobody."""
    assert propose((), "cpu:up") == INSPECT
    assert (INSPECT.blast_radius, INSPECT.reversible) == (0, True)


def test_a_row_survives_a_round_trip() -> None:
    """A row read and written again is the same bytes."""
    for key, row in run(messy(1)).rows.items():
        if key.startswith(b"entity:"):
            assert EntityState.unpack(row).pack() == row
