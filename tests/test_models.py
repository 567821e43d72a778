"""Models by hand against a real decider: listed as they came into force, brought back, given to another scope, refused with a reason."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas import codecs
from schemas.alignment import ModelTaken, OffPolicy, RetrainingResult
from schemas.errors import SettingsError
from schemas.events import MEASUREMENT_MAX, Decision, Model
from schemas.headers import cloud_event
from schemas.identity import partition_of
from schemas.settings import Deployment
from streams.cli import main
from streams.embedded import Kafka
from streams.logs import deploying
from streams.logs.deploying import check, imported, read_model
from streams.logs.sending import open_sender
from streams.logs.taking import DECIDING
from streams.serving.history import Arrival, History
from streams.topology import TOPOLOGY
from tests.deciding_worker import PARTITIONS, deciding, events, send_scenarios, unusual, variables

FIRST = Model("aa11", "shop", 1_577_836_800_000, 0.4, {"log_score": 3.0, "share_high": -1.5}, "initial", {"difference": 0.1}, "trained")
SECOND = replace(FIRST, id="ab22", parent="aa11", intercept=0.1)
OFFERED = replace(FIRST, id="cc33", parent="ab22", intercept=9.0)
LOST = replace(FIRST, id="dd44", parent="ab22", intercept=8.0)


@pytest.fixture(scope="module")
def running(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment whose deciding worker runs, and in whose scope `shop` retraining has put two models in force and offered more."""
    with deciding(kafka, "test-models", tmp_path_factory.mktemp("models")) as deployment:
        evaluation = OffPolicy(200, 150.0, 0.0, 0.4, 0.5, -0.1, 0.02)
        refused = RetrainingResult("r", "c", "shop", 1_577_836_900_000, 3, "refused", "no better", "ab22", evaluation, OFFERED, {})
        asyncio.run(send_scenarios(deployment, [unusual(0)]))
        lost = RetrainingResult("l", "c", "shop", 1_577_836_900_000, 3, "adopted", "better", "ab22", evaluation, LOST, {})
        told = (("model", FIRST), ("model", SECOND), ("retraining-result", refused), ("retraining-result", lost))
        asyncio.run(write(deployment, *told))
        asyncio.run(taken(deployment, SECOND.id))
        yield deployment


async def taken(deployment: Deployment, model: str) -> None:
    """Wait until the decider has taken a model up."""
    async with asyncio.timeout(60):
        while True:
            told = await events(deployment, "alignment")
            if any(isinstance(each, ModelTaken) and each.model == model for each in told):
                return
            await asyncio.sleep(0.05)


@pytest.fixture
def commands(running: Deployment, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """The deployment, as NPO_* variables tell it to commands."""
    for name, value in variables(running).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "300")
    return running


async def write(deployment: Deployment, *told: tuple[str, Any]) -> None:
    """Write events as the trainer does."""
    async with open_sender(deployment) as sender:
        for topic, event in told:
            key = event.scope.encode()
            headers = cloud_event(event.id, topic, "npo/training/0", event.time_ms, "0" * 31 + "1")
            await sender.send(topic, partition_of(key, PARTITIONS), key, codecs.encode(event), headers)


def decided_under(deployment: Deployment, number: int, scope: str) -> str:
    """Let the decider decide one more scenario of a scope, and return the model that it took for it."""

    async def decision() -> Decision:
        await send_scenarios(deployment, [unusual(number, scope)])
        async with asyncio.timeout(60):
            while True:
                found: list[Decision] = await events(deployment, "decision")
                for each in found:
                    if each.scenario == f"{scope}-{number}":
                        return each
                await asyncio.sleep(0.05)

    return asyncio.run(decision()).versions["model"]


def printed(capsys: pytest.CaptureFixture[str], *tokens: str) -> Any:  # noqa: ANN401 - what a command prints as JSON
    """What a command that succeeds prints as JSON."""
    capsys.readouterr()
    assert main([*tokens, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_models_are_listed_shown_and_brought_back(commands: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    """The list has the order of force; each rollback goes one model further back, and the decider decides under it."""
    listed = printed(capsys, "model", "list")["shop"]
    assert ([each["id"] for each in listed["models"]], listed["in_force"]) == (["initial", "aa11", "ab22"], "ab22")
    assert [(each["model"]["id"], each["reason"]) for each in listed["refused"]] == [("cc33", "no better")]
    assert main(["model", "list"]) == 0
    assert "no better" in capsys.readouterr().out
    assert main(["model", "show", "cc"]) == 0
    shown = capsys.readouterr().out
    assert "refused: no better" in shown
    assert shown.index("(intercept)") < shown.index("log_score") < shown.index("share_high"), "the largest weight first"
    assert decided_under(commands, 1, "shop") == "ab22"

    came = printed(capsys, "model", "rollback", "--scope", "shop", "--as", "ana", "--reason", "too eager")
    assert (came["in_force"], came["model"]["id"], came["model"]["origin"], came["model"]["by"]) == (True, "aa11", "rollback", "ana")
    assert came["model"]["weights"] == FIRST.weights
    assert (came["taken"]["model"], came["taken"]["replaced"]) == ("aa11", "ab22")
    assert decided_under(commands, 2, "shop") == "aa11"
    assert printed(capsys, "model", "list", "--scope", "shop")["shop"]["models"][-1]["note"] == "too eager"

    assert printed(capsys, "model", "rollback", "--scope", "shop")["model"]["id"] == "initial"
    assert decided_under(commands, 3, "shop") == "initial"
    assert printed(capsys, "model", "rollback", "ab", "--scope", "shop")["model"]["id"] == "ab22"
    assert decided_under(commands, 4, "shop") == "ab22"


@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        (["rollback", "--scope", "empty"], "no model is known"),
        (["rollback", "cc33", "--scope", "shop"], "no better"),
        (["rollback", "dd44", "--scope", "shop"], "the model topic does not have it"),
        (["rollback", "zz", "--scope", "shop"], "no model begins with zz in scope shop"),
        (["show", "a"], "2 models begin with a"),
        (["import", "no-such-file.json", "--scope", "new"], "no-such-file.json"),
        (["import", "aa", "--from-scope", "empty", "--scope", "new"], "no model begins with aa"),
    ],
)
@pytest.mark.usefixtures("commands")
def test_what_cannot_be_done_says_why(tokens: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that is not there, ambiguous or was refused is a fault that says so, and nothing is sent."""
    before = printed(capsys, "model", "list")
    assert main(["model", *tokens]) == 1
    assert told in capsys.readouterr().err.replace("\n", "")
    assert printed(capsys, "model", "list") == before


def test_the_initial_model_is_the_workers_own(
    commands: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under other settings than the workers', the initial model is not sent: it may be another."""
    assert decided_under(commands, 0, "settled")
    asyncio.run(write(commands, ("model", replace(FIRST, id="ss44", scope="settled"))))
    monkeypatch.setenv("NPO_SEED", "77")
    assert main(["model", "rollback", "--scope", "settled"]) == 1
    assert "NPO_SEED" in capsys.readouterr().err
    monkeypatch.delenv("NPO_SEED")
    assert printed(capsys, "model", "rollback", "--scope", "settled")["model"]["id"] == "initial"


def test_a_scope_is_given_anothers_model(commands: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a scope or from a file, a model comes under the same new id, with its parent, and the decider decides under it."""
    came = printed(capsys, "model", "import", "aa11", "--from-scope", "shop", "--scope", "new", "--as", "ben")["model"]
    assert (came["parent"], came["origin"], came["by"], came["scope"], came["weights"]) == ("aa11", "imported", "ben", "new", FIRST.weights)
    assert came["id"] not in {"aa11", "ab22"}
    assert decided_under(commands, 0, "new") == came["id"]
    file = tmp_path / "model.json"
    file.write_text(json.dumps(printed(capsys, "model", "show", "aa11")))
    again = printed(capsys, "model", "import", str(file), "--scope", "new")
    assert (again["model"]["id"], again["in_force"], again["taken"]) == (came["id"], True, None), "in force already"
    assert printed(capsys, "model", "import", str(file), "--scope", "other")["model"]["id"] != came["id"]


def test_a_model_that_the_decider_refuses_is_a_fault(commands: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the decider sends a model to the dead letters, whoever sent it is told the reason."""
    ahead = replace(FIRST, scope="ahead")
    monkeypatch.setattr(deploying, "event_time", in_the_future)
    with pytest.raises(SettingsError, match="future_time"):
        asyncio.run(deploying.send_model(commands, ahead, ""))


async def in_the_future(*_: object) -> int:
    """An event time long after any clock."""
    return 7_000_000_000_000


names = st.sampled_from(("", "x" * 300, "ok"))


@given(st.floats(), st.dictionaries(names, st.floats(), max_size=3), names)
def test_only_models_that_can_decide_are_sent(intercept: float, weights: dict[str, float], scope: str) -> None:
    """A model passes the check if and only if its numbers are at most 1e100 and its names are 1 to 249 characters."""
    model = Model("m", scope, 0, intercept, weights)
    good = all(abs(number) <= MEASUREMENT_MAX for number in (intercept, *weights.values())) and {scope, *weights} <= {"ok"}
    if good:
        check(model)
    else:
        with pytest.raises(SettingsError):
            check(model)


def test_a_file_that_is_no_model_is_a_fault(tmp_path: Path) -> None:
    """A file that is not a model's JSON says which file and what is wrong."""
    file = tmp_path / "model.json"
    for content in (b"{}", b"\xff", b"[", b'{"id": "m", "scope": "s", "time_ms": 0, "intercept": 1e999, "weights": {}}'):
        file.write_bytes(content)
        with pytest.raises(SettingsError, match=r"model\.json"):
            read_model(file)
    file.write_bytes(msgspec.json.encode(FIRST))
    assert read_model(file) == FIRST


@given(st.dictionaries(st.text(max_size=3), st.floats(-5, 5), max_size=4), st.text(min_size=1, max_size=5), st.text(min_size=1, max_size=5))
def test_an_imported_id_follows_from_model_and_scope(weights: dict[str, float], scope: str, other: str) -> None:
    """The same model in the same scope has one id, however its weights are ordered; another scope or weight gives another."""
    model = replace(FIRST, weights=weights)
    turned = replace(model, weights=dict(reversed(weights.items())))
    assert imported(model, scope, "me").id == imported(turned, scope, "you").id
    assert (imported(model, scope, "me").id == imported(model, other, "me").id) == (scope == other)
    assert imported(replace(model, intercept=8.5), scope, "me").id != imported(model, scope, "me").id


@given(st.lists(st.one_of(st.none(), st.integers(0, 99)), max_size=15))
def test_going_back_goes_down_to_the_initial_model(steps: list[int | None]) -> None:
    """Whatever came and was taken back, going back again and again never meets a model twice and ends at the initial one."""
    history = History()
    for number, step in enumerate(steps):
        if step is not None:
            history.arrivals.append(Arrival(replace(FIRST, id=f"m{number}")))
        elif (name := history.before()) is not None:
            history.arrivals.append(Arrival(replace(FIRST, id=name, origin="rollback")))
    met = [history.in_force]
    while (name := history.before()) is not None:
        history.arrivals.append(Arrival(replace(FIRST, id=name, origin="rollback")))
        met.append(name)
    assert len(met) == len(set(met))
    assert met[-1] == "initial"


def test_the_group_that_commands_wait_for_is_the_topologys() -> None:
    """The deciding group exists under the name by which commands know it, and reads what they send."""
    (group,) = (each for each in TOPOLOGY if each.name == DECIDING.name)
    assert {"control", "model", "feedback"} <= {topic.name for topic in group.inputs}
