"""The numbers that are shown: counted once, whoever counts them and in whatever order the topics come."""

from pathlib import Path
from typing import Any, Literal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.alignment import (
    BudgetReopened,
    ModelTaken,
    MonitorDecision,
    OffPolicy,
    RetrainingResult,
    SourceTrust,
    TeamSummary,
    TrustSummary,
)
from schemas.events import BudgetState, Heartbeat
from streams.cli.watch import SHOWN, shown
from streams.serving.tally import ScopeTally, Tally

EXAMPLES = Path(__file__).resolve().parent.parent / "schemas" / "examples" / "alignment"


def example(name: str, kind: type[Any]) -> Any:  # noqa: ANN401 - an event of that kind
    """An event of the examples."""
    return msgspec.json.decode((EXAMPLES / f"{name}.json").read_bytes(), type=kind)


def heartbeat(scope: str, time_ms: int, samples: int) -> Heartbeat:
    """A heartbeat of which only scope, time and samples matter."""
    return Heartbeat(f"{scope}-{time_ms}", scope, time_ms, samples, 0, 0, 1)


@given(
    st.lists(
        st.tuples(st.sampled_from(("npo/encoding/0", "npo/encoding/1")), st.sampled_from(("web", "db")), st.integers(0, 50)), max_size=20
    )
)
def test_samples_are_the_sum_of_what_each_encoder_last_said(beats: list[tuple[str, str, int]]) -> None:
    """Heartbeats carry each encoder's count so far: samples of a scope are the sum of the encoders' largest counts."""
    tally = Tally()
    largest: dict[tuple[str, str], int] = {}
    for time_ms, (source, scope, samples) in enumerate(beats):
        tally.add("scenario", heartbeat(scope, time_ms, samples), source)
        largest[source, scope] = max(largest.get((source, scope), 0), samples)
    assert {scope: numbers.samples for scope, numbers in tally.scopes.items()} == {
        scope: sum(count for (_, name), count in largest.items() if name == scope) for scope in tally.scopes
    }
    assert tally.total().samples == sum(largest.values())


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=8))
def test_each_retraining_is_told_with_what_it_brought(results: list[tuple[bool, bool]]) -> None:
    """Adopted and refused retrainings come in their order, with the difference that the evaluation found, None where there was none."""
    tally = Tally()
    for number, (adopted, evaluated) in enumerate(results):
        evaluation = OffPolicy(200, 150.0, 0.0, 0.4, 0.4 - number, float(number), 0.02) if evaluated else None
        status: Literal["adopted", "refused"] = "adopted" if adopted else "refused"
        result = RetrainingResult(f"r{number}", "c", "web", 1_000, number, status, "why", "initial", evaluation, None, {})
        tally.add("retraining-result", result)
    web = tally.scopes.get("web", ScopeTally())
    told = [float(number) if evaluated else None for number, (_, evaluated) in enumerate(results)]
    assert [each.difference for each in web.retrainings] == told
    assert [each.window for each in web.adopted] == [number for number, (adopted, _) in enumerate(results) if adopted]
    assert len(web.adopted) + len(web.refused) == len(results) == len(web.as_json()["retrainings"])


def test_the_model_in_force_is_the_one_taken_up() -> None:
    """A scope is under the initial model until the decider tells of another; who is in quarantine is as last told."""
    tally = Tally()
    tally.add("alignment", ModelTaken("t", "web", 1_000, "m2", "initial", 3, 40, {}))
    sources = tuple(SourceTrust(name, 0.8, 0.8, 1.0, 5, 2, quarantined=name == "eve") for name in ("ann", "eve"))
    tally.add("alignment", TrustSummary("s", "web", 1_000, 0, sources, BudgetState(1.0, 1.0, 0), {}))
    tally.add("scenario", heartbeat("db", 1, 1))
    assert {name: scope.model for name, scope in tally.scopes.items()} == {"web": "m2", "db": "initial"}
    assert tally.scopes["web"].quarantined == ("eve",)


def test_latest_budget_monitor_and_teams_are_shown() -> None:
    """Budget as last published or reopened, the monitor's last decision, teams over the whole past; the table has a row for each."""
    tally = Tally()
    for path, kind in (("trust", TrustSummary), ("budget-reopened", BudgetReopened), ("monitor", MonitorDecision), ("teams", TeamSummary)):
        tally.add("alignment", example(path, kind))
    (scope,) = tally.scopes.values()
    assert scope.budget == example("budget-reopened", BudgetReopened).after
    assert scope.monitor == example("monitor", MonitorDecision)
    assert scope.teams is None
    past = replace(example("teams", TeamSummary), window=-1)
    tally.add("alignment", past)
    assert scope.teams == past
    assert {"budget", "monitor", "teams"} <= {name for name, told in scope.as_json().items() if told is not None}
    assert len(shown(scope)) == len(SHOWN)
    assert "storage overrides most: 5 of 11; teams differ in 2 of 9" in shown(scope)


def test_topics_that_show_nothing_are_left_out() -> None:
    """Records of other topics make no scope and change no number."""
    tally = Tally()
    tally.add("telemetry", heartbeat("web", 1, 1))
    assert tally.scopes == {}
    assert tally.total().override_rates == {"surfaced": None, "answered": None, "scenario": None}
