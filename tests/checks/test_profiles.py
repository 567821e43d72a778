"""The whole loop under every value that a profile can name: what the list of checks says, where rules meet.

The values are those of the literals of `Profile`, so that a new one is here without being named.
"""

from functools import cache
from math import inf, nan
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agents.checked import checked
from agents.deciding.rows import ClassRow, ScopeRow, SourceRow
from agents.loop import Loop
from agents.monitoring.rows import MonitorRow
from agents.turn import Emitted
from schemas.errors import DecodeError, DomainError, SettingsError
from schemas.events import Answer, Command, Control, Outcome, Scenario, Verdict
from schemas.settings import Profile, Settings
from tests.checks.subjects import OPTIONS
from tests.deciding.logs import MINUTE_MS, START_MS, feedback, scenario, settings_with

DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(Profile)}
VALUES = [(name, value) for name, values in OPTIONS.items() for value in values if value != DEFAULTS[name] or name == "score"]
LIAR = "eve"
SCENARIOS = 24
ARMS_AND_TRUST = ("arm_likes", "arm_overrides", "table", "trusted", "erring", "earned_trusted", "answered")  # of a scope
Sent = tuple[str, msgspec.Struct, str]


def settings_of(name: str, value: str) -> Settings:
    """Settings in which a profile names one value, and windows are short; silence pulls a mean only."""
    fields: dict[str, Any] = {"window_scenarios": 6, "budget_start": 1000.0, "retraining_price": 1.0, name: value}
    if (name, value) == ("silence", "pull") or name == "step":
        fields["score"] = "mean"
    return settings_with(**fields)


@cache
def log(scope: str, seed: int = 1) -> tuple[Sent, ...]:
    """A scope's log: scenarios of four classes, an honest answer to each and one of a liar after it, some outcomes."""
    random = np.random.default_rng(seed)
    sent: list[Sent] = [("control", Control(Command.QUARANTINE, START_MS, "ana", scope, LIAR), scope)]
    for number in range(SCENARIOS):
        name, minute, label = f"{scope}-{number}", 10 * number, str(random.choice(["cpu:up", "disk:up", "net:up", "spike:up"]))
        entity = f"{scope}-{number}"
        sent.append(("scenario", scenario(name, minute, entity=entity, label=label, score=2.0, scope=scope), scope))
        wanted = (label < "e") != (random.random() < 0.1)
        sent.append(("feedback", feedback(name, Answer.LIKE if wanted else Answer.OVERRIDE, minute + 1), scope))
        sent.append(("feedback", feedback(name, Answer.OVERRIDE if wanted else Answer.LIKE, minute + 1, operator=LIAR), scope))
        if random.random() < 0.2:
            start_ms = START_MS + minute * MINUTE_MS
            verdict = Verdict.INCIDENT if wanted else Verdict.NONE
            sent.append(("outcome", Outcome(entity, start_ms, start_ms + MINUTE_MS, verdict, start_ms), scope))
    return tuple(sent)


def run(settings: Settings, sent: list[Sent], stored: int | None = None) -> tuple[Loop, list[Emitted]]:
    """Send a log, but for answers to what was not surfaced; before the record `stored` all rows go through their bytes."""
    loop, written, shown = Loop(settings), list[Emitted](), set[str]()
    for number, (topic, event, scope) in enumerate(sent):
        for task in loop.tasks if number == stored else ():
            rows = task.state._live
            task.state._live = {key: msgspec.msgpack.decode(msgspec.msgpack.encode(row), type=type(row)) for key, row in rows.items()}
        if topic != "feedback" or getattr(event, "decision", None) in shown:
            emitted = loop.send(topic, event, scope=scope, identity=f"{scope}-{number}")
            shown |= {each.event.id for each in emitted if each.topic == "recommendation"}
            written += emitted
    return loop, written


@cache
def ran(name: str, value: str) -> tuple[Loop, list[Emitted]]:
    """What the log of `shop` comes to."""
    return run(settings_of(name, value), list(log("shop")))


def learned(loop: Loop, scope: str) -> dict[str, bytes]:
    """What a scope has learned, as bytes: scores, arms, trust in the honest, what the monitor makes of it."""
    kinds = {ClassRow, ScopeRow, SourceRow, MonitorRow}
    found = {}
    for task in loop.tasks:
        for (kind, *parts), row in task.state._live.items():
            if kind in kinds and parts[0] == scope and LIAR not in parts:
                own = [getattr(row, name) for name in ARMS_AND_TRUST] if isinstance(row, ScopeRow) else row
                if isinstance(row, ClassRow):
                    own = replace(row, likes=0, overrides=0)  # what was said, whoever said it
                found["|".join(map(str, (row.kind, *parts)))] = msgspec.msgpack.encode(own)
    return found


@pytest.mark.parametrize(("name", "value"), VALUES)
def test_a_source_of_zero_trust_moves_nothing(name: str, value: str) -> None:
    """What one in quarantine says moves no score, arm, trust or monitor, in any profile: they end as those of a log without it."""
    settings, sent = settings_of(name, value), list(log("shop"))
    without, _ = run(settings, [each for each in sent if getattr(each[1], "operator", None) != LIAR])
    assert learned(ran(name, value)[0], "shop") == learned(without, "shop")


@pytest.mark.parametrize(("name", "value"), VALUES)
def test_scopes_do_not_know_each_other(name: str, value: str) -> None:
    """A scope's log comes to what it comes to alone, however another's is interleaved with it; and again to the same bytes."""
    logs = {"shop": list(log("shop")), "bank": list(log("bank", 3))}
    order = np.random.default_rng(4).permutation([scope for scope, sent in logs.items() for _ in sent]).tolist()
    rest = {scope: iter(sent) for scope, sent in logs.items()}
    both, _ = run(settings_of(name, value), [next(rest[scope]) for scope in order])
    assert learned(both, "shop") == learned(ran(name, value)[0], "shop")


@pytest.mark.parametrize(("name", "value"), VALUES)
def test_rows_go_through_their_bytes(name: str, value: str) -> None:
    """Rows that are written and read again in the middle of a log change nothing that is written after."""
    sent = list(log("shop"))
    assert run(settings_of(name, value), sent, stored=len(sent) // 2)[1] == ran(name, value)[1]


@given(st.sampled_from([nan, inf, -inf, 2e100]), st.sampled_from(["features", "score", "detector_scores"]))
def test_the_loop_refuses_what_is_no_number(value: float, name: str) -> None:
    """NaN, an infinite number or one out of range in an event is the error of a dead letter, and the loop goes on as if it had not come."""
    loop, good = Loop(settings_with()), scenario("a", 1)
    bad: Scenario = replace(good, **{name: value if name == "score" else {"log_score": value}})
    if name == "features" or abs(value) > 2e100 or value != value:  # noqa: PLR0124  # NaN
        with pytest.raises(DecodeError):
            loop.send("scenario", bad)
    assert [each.topic for each in loop.send("scenario", good)] == [each.topic for each in Loop(settings_with()).send("scenario", good)]


def test_the_loop_refuses_numbers_of_numpy_and_says_what_to_give() -> None:
    """NumPy's scalars, which no record could carry, are refused with what to do."""
    with pytest.raises(DecodeError, match="tolist"):
        Loop(settings_with()).send("scenario", replace(scenario("a", 1), features={"log_score": np.float64(1.0)}))


NUMBERS = [name for name, field in Profile.__annotations__.items() if name not in {*OPTIONS, "name", "trust"}]


@pytest.mark.parametrize("value", [nan, inf, -1e101])
@pytest.mark.parametrize("name", NUMBERS)
def test_the_loop_refuses_profiles_out_of_range(name: str, value: float) -> None:
    """Any number of a profile that is NaN, infinite or out of range is an error of settings before anything is decided."""
    with pytest.raises(SettingsError, match=name):
        Loop(settings_with(**{name: {"log_score": value} if name == "initial_weights" else value}))


@pytest.mark.parametrize("name", OPTIONS)
def test_the_loop_refuses_names_that_are_none(name: str) -> None:
    """A name that no table holds is an error of settings."""
    with pytest.raises(SettingsError, match=name):
        Loop(settings_with(**{name: "another"}))


def test_checked_rules_say_which_number_was_wrong() -> None:
    """The message names rule, number, value and range; mappings, tuples with names and lists are looked into."""
    with pytest.raises(DomainError, match=r"rule: alpha is 1.5; give a number from 0 to 1"):
        checked(rule)({"alpha": [0.5, 1.5]}, 0)
    with pytest.raises(DomainError, match=r"rule: prior_weight is 0; give a number above 0"):
        checked(rule)({}, prior_weight=0)
    assert checked(rule)({"alpha": 1.0}, 4) == 4


def rule(inner: dict[str, Any], prior_weight: float) -> float:
    """A rule that gives one of its numbers back."""
    return prior_weight + 0 * len(inner)
