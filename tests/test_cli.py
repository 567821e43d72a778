"""The command line: exit codes, messages, topics planned and applied, control records, what status and watch tell."""

import asyncio
import getpass
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas import codecs
from schemas.alignment import Alarm
from schemas.events import Command, Control, Sample
from schemas.identity import partition_of
from schemas.settings import Deployment
from streams import admin
from streams.cli import COMMANDS, main
from streams.cli.stack import inspect
from streams.embedded import Kafka
from streams.groups import TopicPlan
from streams.home import account
from streams.logs.reading import bounds, open_reader, read_blocks
from streams.logs.sending import open_sender
from streams.readiness import inputs
from streams.stack import wanted_topics
from streams.topology import TOPOLOGY

PARTITIONS = 3


@pytest.fixture
def deployment(kafka: Kafka, unique_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A deployment of the test's own on the shared broker, as NPO_* variables tell it to commands."""
    fields = {
        "broker": kafka.bootstrap,
        "home": str(tmp_path),
        "partitions": str(PARTITIONS),
        "topic_prefix": f"{unique_name}.",
        "application": unique_name,
    }
    for name, value in fields.items():
        monkeypatch.setenv(f"NPO_{name.upper()}", value)
    monkeypatch.setenv("COLUMNS", "200")
    return Deployment()


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in which no stack runs, and no broker."""
    monkeypatch.setenv("NPO_HOME", str(tmp_path))
    monkeypatch.delenv("NPO_BROKER", raising=False)
    return tmp_path


def test_every_command_exists_and_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """`npo COMMAND --help` works for every command that `npo --help` lists, and says what it does."""
    for name, _, does, _ in COMMANDS:
        assert main([name, "--help"]) == 0
        assert does in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "tokens",
    [
        ["control", "kill"],
        ["control", "resume"],
        ["answer"],
        ["answer", "d", "like"],
        ["model", "list"],
        ["why", "d"],
        ["watch", "--once"],
        ["status"],
    ],
)
def test_a_broker_that_is_away_is_said(tokens: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no broker answers, every command says so with its address, and ends with 1."""
    monkeypatch.setenv("NPO_BROKER", "127.0.0.1:1")
    assert main(tokens) == 1
    assert "no broker answers at 127.0.0.1:1" in capsys.readouterr().err


def test_an_account_without_a_name_has_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who runs a command is told by the login name, and by number where the system has none."""
    assert account() == getpass.getuser()

    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert account() == f"uid-{os.getuid()}"


async def test_status_asks_for_nothing_that_does_not_exist(deployment: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    """Of a deployment that lacks topics, status tells the groups as not at work; no client looks for what is not there."""
    some = [plan for plan in wanted_topics(deployment) if "alignment" not in plan.name and "control" not in plan.name]
    await admin.ensure(deployment, some)
    report = await inspect(deployment)
    assert not report.sound
    assert report.topics < len(wanted_topics(deployment))
    assert report.in_force == {}
    assert "not found" not in caplog.text


def test_help_imports_no_command() -> None:
    """`npo --help` imports neither broker clients nor arrays: it must be quick."""
    code = "import sys; from streams.cli import main; main(['--help']); print({'aiokafka', 'numpy', 'redis', 'faust'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize(
    "tokens", [["no-such-command"], ["status", "--no-such-option"], ["control", "kill", "--scope"], ["worker", "no-such-group"]]
)
@pytest.mark.usefixtures("nowhere")
def test_wrong_use_ends_with_2(tokens: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be understood ends with code 2 and a message on standard error."""
    assert main(tokens) == 2
    captured = capsys.readouterr()
    assert captured.err.strip()
    assert "Traceback" not in captured.err
    assert not captured.out


@pytest.mark.parametrize(
    "tokens",
    [
        ["status"],
        ["topics", "plan"],
        ["topics", "apply"],
        ["watch", "--once"],
        ["control", "kill"],
        ["worker", "deciding"],
        ["model", "list"],
        ["answer"],
    ],
)
def test_a_fault_ends_with_1_and_its_remedy(tokens: list[str], nowhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a stack or broker a command ends with code 1 and one message that says what to do."""
    assert main(tokens) == 1
    captured = capsys.readouterr()
    assert "npo up" in captured.err
    assert str(nowhere) in captured.err.replace("\n", "")
    assert "Traceback" not in captured.err


@pytest.mark.usefixtures("nowhere")
def test_unreachable_broker_is_a_fault(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A broker that nobody runs gives code 1 and its address, not a traceback."""
    monkeypatch.setenv("NPO_BROKER", "127.0.0.1:1")
    assert main(["topics", "plan"]) == 1
    assert "127.0.0.1:1" in capsys.readouterr().err


@pytest.mark.usefixtures("nowhere")
def test_wrong_setting_is_a_fault(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A variable that cannot be used gives code 1 and its name."""
    monkeypatch.setenv("NPO_PARTITIONS", "none")
    assert main(["status"]) == 1
    assert "NPO_PARTITIONS" in capsys.readouterr().err


def differences(capsys: pytest.CaptureFixture[str]) -> set[tuple[str, str, str, str]]:
    """What a `topics` command printed as JSON: topic, what, name, found."""
    return {(each["topic"], each["what"], each["name"], each["found"]) for each in json.loads(capsys.readouterr().out)}


def test_topics_are_planned_and_applied(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    """`plan` names every difference, `apply` creates and corrects, keeps an operator's own settings, and never touches partitions."""
    telemetry, scenario = f"{deployment.topic_prefix}telemetry.v1", f"{deployment.topic_prefix}scenario.v1"
    made_before = [TopicPlan(telemetry, 5, {"retention.ms": "1000", "segment.ms": "777777"}), TopicPlan("unrelated", 1, {})]
    asyncio.run(admin.ensure(deployment, made_before))

    assert main(["topics", "plan", "--json"]) == 1
    planned = differences(capsys)
    assert (telemetry, "partitions", "", "5") in planned
    assert (telemetry, "setting", "retention.ms", "1000") in planned
    assert (scenario, "absent", "", "no topic") in planned

    assert main(["topics", "apply", "--json"]) == 1
    assert differences(capsys) == {(telemetry, "partitions", "", "5")}
    assert main(["topics", "plan", "--json"]) == 1
    assert differences(capsys) == {(telemetry, "partitions", "", "5")}
    assert asyncio.run(setting(deployment, telemetry, "segment.ms")) == "777777"


async def setting(deployment: Deployment, topic: str, name: str) -> str:
    """One setting of a topic, as the broker tells it."""
    async with admin.open_admin(deployment) as client:
        (response,) = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={name: ""})])
    ((_, _, _, _, ((_, value, *_),)),) = response.resources
    return str(value)


async def control_records(deployment: Deployment) -> list[tuple[int, bytes | None, Control]]:
    """All control records: partition, key, event."""
    (deciding,) = (group for group in TOPOLOGY if group.name == "deciding")
    partitions = [each for each in inputs(deployment, deciding) if each.topic.endswith("control.v1")]
    found = []
    async with open_reader(deployment) as reader:
        for partition, (first, end) in (await bounds(reader, partitions)).items():
            async for block in read_blocks(reader, "control", partition, first, end):
                found += [(partition.partition, *each) for each in zip(block.keys, block.values, strict=True)]
    return [(partition, key, codecs.decode("control", value)) for partition, key, value in found]


def test_control_reaches_every_partition_or_the_scopes_own(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    """A command to all is one record in every partition, one to a scope goes to the scope's partition; status shows both."""
    assert main(["topics", "apply"]) == 0
    assert main(["control", "kill", "--reason", "drill", "--as", "ann", "--no-wait"]) == 0
    assert main(["control", "freeze", "--scope", "web", "--no-wait"]) == 0
    records = asyncio.run(control_records(deployment))
    everywhere = [(partition, key, event.by) for partition, key, event in records if event.command is Command.KILL]
    assert sorted(everywhere) == [(partition, b"*|kill|", "ann") for partition in range(PARTITIONS)]
    web = [(partition, key, event.scope) for partition, key, event in records if event.command is Command.FREEZE]
    assert web == [(partition_of(b"web", PARTITIONS), b"web|freeze|", "web")]

    capsys.readouterr()
    assert main(["status", "--json"]) == 1, "no worker runs"
    in_force = json.loads(capsys.readouterr().out)["in_force"]
    assert {scope: set(force) for scope, force in in_force.items()} == {"*": {"killed"}, "web": {"frozen"}}
    assert (in_force["*"]["killed"]["by"], in_force["*"]["killed"]["reason"]) == ("ann", "drill")
    assert main(["control", "resume", "--no-wait"]) == 0
    assert main(["control", "resume", "--scope", "web", "--no-wait"]) == 0
    capsys.readouterr()
    main(["status", "--json"])
    assert json.loads(capsys.readouterr().out)["in_force"] == {}


def test_status_counts_the_records_that_groups_are_behind(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    """Records that no worker has taken are counted, and groups without workers are a fault."""
    assert main(["topics", "apply"]) == 0
    asyncio.run(send_samples(deployment, 100))
    capsys.readouterr()
    assert main(["status", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert {group["group"]: (group["behind"], group["exact"], group["assigned"]) for group in report["groups"]} == {
        f"{deployment.application}-{group.name}": (100 if group.name == "encoding" else 0, True, 0) for group in TOPOLOGY
    }
    assert report["stack"] is None
    assert main(["status"]) == 1
    assert "100" in capsys.readouterr().out


def test_status_tells_the_alarms_that_are_raised(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    """An alarm stands in the status with its detail until it is taken back."""
    assert main(["topics", "apply"]) == 0
    told = [
        ("web", "budget", True),
        ("web", "source_quarantined", True),
        ("web", "budget", False),
        ("db", "gone", True),
        ("db", "gone", False),
    ]
    asyncio.run(send_alarms(deployment, told))
    capsys.readouterr()
    main(["status", "--json"])
    assert json.loads(capsys.readouterr().out)["alarms"] == {"web": {"source_quarantined": "why"}}
    main(["status"])
    assert "web: alarm source_quarantined: why" in capsys.readouterr().out


async def send_alarms(deployment: Deployment, told: Sequence[tuple[str, str, bool]]) -> None:
    """Raise alarms or take them back: scope, name, raised."""
    async with open_sender(deployment) as sender:
        for scope, name, raised in told:
            value = codecs.encode(Alarm(name, scope, 0, name, raised, "why", {}))
            await sender.send("alignment", partition_of(scope.encode(), PARTITIONS), scope.encode(), value, ())


async def send_samples(deployment: Deployment, count: int) -> None:
    """Send samples of as many entities."""
    async with open_sender(deployment) as sender:
        for number in range(count):
            key = f"entity-{number}".encode()
            value = codecs.encode(Sample(key.decode(), number, {"load": 1.0}))
            await sender.send("telemetry", partition_of(key, PARTITIONS), key, value, ())


@pytest.mark.usefixtures("deployment")
def test_watch_shows_nothing_of_an_empty_pipeline(capsys: pytest.CaptureFixture[str]) -> None:
    """`watch --once` and `watch --json` end by themselves where there is nothing to show yet."""
    assert main(["topics", "apply"]) == 0
    capsys.readouterr()
    assert main(["watch", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {}
    assert main(["watch", "--once"]) == 0


def test_topology_is_printed_three_ways(capsys: pytest.CaptureFixture[str]) -> None:
    """Text, JSON and Mermaid all name every agent."""
    agents = {agent.name for group in TOPOLOGY for agent in group.agents}
    for options in ([], ["--json"], ["--mermaid"]):
        assert main(["topology", *options]) == 0
        printed = capsys.readouterr().out
        assert all(agent in printed for agent in agents)
    assert main(["topology", "--json"]) == 0
    assert json.loads(capsys.readouterr().out).keys() == {group.name for group in TOPOLOGY}
