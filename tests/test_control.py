"""Commands and answers to the deciding tasks of a real broker: in force before anything else is surfaced, taken, or said not to be."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SettingsError, StackError
from schemas.events import Command, Control, Decision, Life, Status
from schemas.identity import partition_of
from schemas.settings import Deployment
from schemas.topics import CONTROL, dead_letter, physical
from streams.cli import control, main
from streams.embedded import Kafka
from streams.logs.taking import since_now
from streams.serving import commanding
from streams.serving.commanding import send
from streams.serving.force import Force
from tests.deciding_worker import PARTITIONS, deciding, events, send_scenarios, unusual, variables

BATCH, ROUNDS, PATIENCE_S = 150, 4, 60.0
SCENARIOS = 2 * BATCH * ROUNDS


@pytest.fixture(scope="module")
def running(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment whose deciding worker runs."""
    with deciding(kafka, "test-control", tmp_path_factory.mktemp("control")) as deployment:
        yield deployment


@pytest.fixture
def commands(running: Deployment, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """The deployment, as NPO_* variables tell it to commands."""
    for name, value in variables(running).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "300")
    return running


async def command_under_load(deployment: Deployment, scope: str) -> None:
    """Kill and resume a scope while its scenarios wait in the task's queue."""
    numbers = iter(range(SCENARIOS))
    for _ in range(ROUNDS):
        await send_scenarios(deployment, [unusual(next(numbers), scope) for _ in range(BATCH)])
        killed = await send(deployment, Control(Command.KILL, 0, "ana", scope), PATIENCE_S)
        last = [unusual(next(numbers), scope) for _ in range(BATCH)]
        await send_scenarios(deployment, last)
        await decided(deployment, last[0].id)
        resumed = await send(deployment, Control(Command.RESUME, 0, "ana", scope), PATIENCE_S)
        assert (killed.in_force, resumed.in_force) == (True, True)
        await decided(deployment, last[-1].id)


async def decided(deployment: Deployment, scenario: str) -> None:
    """Wait until a scenario has been decided."""
    async with asyncio.timeout(PATIENCE_S):
        while all(event.scenario != scenario for event in await events(deployment, "decision")):  # noqa: ASYNC110 - another process decides
            await asyncio.sleep(0.05)


def test_nothing_is_opened_after_the_block_that_read_a_kill(running: Deployment) -> None:
    """In the order in which the task took its inputs, no scenario between a kill and its resume is opened, whatever is waiting."""
    asyncio.run(command_under_load(running, "shop"))
    partition = partition_of(b"shop", PARTITIONS)

    def read(topic: str) -> list[Any]:
        return asyncio.run(events(running, topic, partition))

    # By offset, without gaps: commands are sent without transactions.
    commanded = dict(enumerate(read("control")))
    opened = {each.id for each in read("recommendation") if each.life is Life.OPENED}
    decisions = {each.positions["scenario"]: each for each in read("decision")}
    force, blocked, surfaced = Force(), 0, 0
    for step in (step for merge in read("merge") for step in merge.steps):
        for position in range(step.start, step.next):
            if step.topic == "control" and position in commanded:
                force = force.after(commanded[position])
            if step.topic == "scenario" and (decision := decisions.get(position + 1)) is not None:
                assert (decision.id in opened) == (force.killed is None), decision.positions
                assert (decision.status is Status.BLOCKED) == (force.killed is not None)
                blocked += force.killed is not None
                surfaced += force.killed is None
    assert min(blocked, surfaced) >= ROUNDS
    assert blocked + surfaced == SCENARIOS


def test_a_command_tells_when_it_is_in_force(commands: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command waits for the tasks of its reach and tells the delay; what is decided next knows it; status says who commanded it."""
    assert main(["control", "kill", "--scope", "web", "--as", "ana", "--reason", "drill"]) == 0
    said = capsys.readouterr().out
    assert "in force after" in said
    assert "no record of late is of scope web: is it spelt right?" in said
    asyncio.run(send_scenarios(commands, [unusual(0, "web")]))
    asyncio.run(decided(commands, "web-0"))
    for command in ("freeze", "shadow"):
        assert main(["control", command, "--as", "ben", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["in_force"], told["records"]) == (True, PARTITIONS)
    for command in ("quarantine", "revoke"):
        assert main(["control", command, f"eve-{command}", "--scope", "web", "--as", "ana"]) == 0
    said = capsys.readouterr().out
    assert "web has never heard it" in said
    assert "spelt" not in said
    main(["status", "--json"])
    in_force = json.loads(capsys.readouterr().out)["in_force"]
    assert {name: told["by"] for name, told in in_force["*"].items()} == {"frozen": "ben", "shadow": "ben"}
    assert (in_force["web"]["killed"]["by"], in_force["web"]["killed"]["reason"]) == ("ana", "drill")
    assert (in_force["web"]["quarantined"].keys(), in_force["web"]["revoked"].keys()) == ({"eve-quarantine"}, {"eve-revoke"})
    assert main(["status"]) == 1, "only one of the groups has a worker"
    assert "web: quarantined eve-quarantine by ana" in capsys.readouterr().out
    assert main(["control", "resume"]) == 0
    said = capsys.readouterr().out
    assert "takes back: frozen by ben, shadow by ben;" in said
    assert "leaves in force: killed of scope web by ana;" in said
    assert main(["control", "resume", "--scope", "web"]) == 0
    said = capsys.readouterr().out
    assert "takes back: killed by ana;" in said
    assert "leaves in force" not in said
    assert main(["control", "resume", "--scope", "web"]) == 0
    assert "nothing of this reach to take back" in capsys.readouterr().out
    for command in ("quarantine", "revoke"):
        assert main(["control", "release", f"eve-{command}", "--scope", "web"]) == 0
    capsys.readouterr()
    main(["status", "--json"])
    assert json.loads(capsys.readouterr().out)["in_force"] == {}
    (decision,) = (each for each in asyncio.run(events(commands, "decision")) if each.scope == "web")
    assert isinstance(decision, Decision)
    assert decision.status is Status.BLOCKED


@pytest.mark.usefixtures("commands")
def test_a_command_that_nobody_takes_is_a_fault(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no worker takes a command, it says that it is sent and not in force, with code 1; `--no-wait` does not look."""
    monkeypatch.setattr(control, "WAIT_S", 0.3)
    monkeypatch.setenv("NPO_APPLICATION", "test-control-nobody")
    assert main(["control", "freeze", "--scope", "nobodys"]) == 1
    assert "NOT in force yet" in capsys.readouterr().out
    assert main(["control", "freeze", "--scope", "nobodys", "--no-wait"]) == 0
    with pytest.raises(SettingsError, match="of nobody"):
        commanding.letters_of(Control(Command.REVOKE, 0, "me"), 1)
    with pytest.raises(SettingsError, match="scope"):
        commanding.letters_of(Control(Command.KILL, 0, "me", "x" * 300), 1)
    for refused in (Control(Command.KILL, 0, "me", "a\x1fb"), Control(Command.REVOKE, 0, "me", "web", "e\x1fve")):
        with pytest.raises(SettingsError, match=r"U\+001F"):
            commanding.letters_of(refused, 1)


@pytest.mark.usefixtures("commands")
def test_a_command_that_the_tasks_refuse_is_a_fault(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that becomes a dead letter is told with its reason and code 1, and nowhere said to be in force."""
    monkeypatch.setattr(commanding, "places_of", lambda *_: [1 - partition_of(b"astray", PARTITIONS)])
    assert main(["control", "kill", "--scope", "astray", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["in_force"], told["refused"].split(":")[0]) == (False, "wrong_partition")
    assert main(["control", "kill", "--scope", "astray"]) == 1
    assert "REFUSED, wrong_partition" in capsys.readouterr().out
    main(["status", "--json"])
    assert "astray" not in json.loads(capsys.readouterr().out)["in_force"]


async def test_what_came_of_a_record_is_not_guessed(running: Deployment) -> None:
    """While a transaction is open where a dead letter would be, nothing is said of what was sent; afterwards it is."""
    place = (dead_letter(CONTROL.name), 0)
    since = await since_now(running, [place])
    options = {"bootstrap_servers": running.broker, "transactional_id": "test-control-open"}
    async with AIOKafkaProducer(**options) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(physical(place[0], running.topic_prefix), b"", partition=place[1])
        with pytest.raises(StackError, match="has not ended"):
            await since.refusal([], 0.1)
        await producer.abort_transaction()
    assert await since.refusal([], PATIENCE_S) is None


def test_a_revoke_tells_what_was_folded_again(commands: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    """A source's own scope tells at once how many classes it has folded; of all scopes it is said when they do."""
    asyncio.run(send_scenarios(commands, [unusual(number, "till") for number in range(2)]))
    asyncio.run(decided(commands, "till-1"))
    main(["answer", "--scope", "till", "--json"])
    name = json.loads(capsys.readouterr().out)[0]["id"]
    assert main(["answer", name, "like", "--as", "mia"]) == 0
    # The answer counts once its decision has closed.
    asyncio.run(send_scenarios(commands, [unusual(500, "till")]))
    asyncio.run(decided(commands, "till-500"))
    capsys.readouterr()
    assert main(["control", "revoke", "mia", "--scope", "till", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["revoked"].keys() == {"till"}
    assert told["revoked"]["till"]["classes"] > 0
    assert main(["control", "revoke", "max", "--scope", "till"]) == 0
    assert "till has never heard it" in capsys.readouterr().out
    assert main(["control", "revoke", "mia"]) == 0
    assert "a scope that is not named here folds without it when its next records come" in capsys.readouterr().out
    assert main(["control", "release", "mia"]) == 0
    for source in ("mia", "max"):
        assert main(["control", "release", source, "--scope", "till"]) == 0


def test_an_answer_tells_what_became_of_it(commands: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    """What waits is listed; an answer is taken, changes nothing, or is refused with its reason and code 1; status counts the refused."""

    def printed(*tokens: str, code: int = 0) -> Any:  # noqa: ANN401 - what a command prints as JSON
        capsys.readouterr()
        assert main([*tokens, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    def waiting() -> list[str]:
        return [each["entity"] for each in printed("answer", "--scope", "desk")]

    asyncio.run(send_scenarios(commands, [unusual(number, "desk") for number in range(3)]))
    asyncio.run(decided(commands, "desk-2"))
    assert waiting() == ["desk-2", "desk-1", "desk-0"]
    name = printed("answer", "--scope", "desk")[0]["id"]
    given = printed("answer", name, "override", "--as", "ana")
    assert (given["taken"], given["said"], given["revision"]) == (True, "taken", 1)
    assert waiting() == ["desk-1", "desk-0"]
    assert "nothing changed" in printed("answer", name, "override", "--as", "ana", "--revision", "1")["said"]
    refused = printed("answer", name, "like", "--as", "ana", "--revision", "1", code=1)
    assert (refused["taken"], "contradictory_revision" in refused["said"]) == (False, True)
    assert printed("answer", name, "retract", "--as", "ana")["taken"]
    assert waiting() == ["desk-2", "desk-1", "desk-0"]
    assert printed("answer", name, "like", "--as", "ben", "--no-wait")["taken"] is None
    assert main(["answer", name]) == 1
    assert "add override, like" in capsys.readouterr().err
    assert main(["answer", "--scope", "desk"]) == 0
    assert "desk-1" in capsys.readouterr().out
    letters = printed("status", code=1)["letters"]["feedback"]
    assert (letters["count"], letters["exact"], letters["reason"]) == (1, True, "contradictory_revision")


COMMANDS = st.lists(st.tuples(st.sampled_from(Command), st.sampled_from(("ann", "bob")), st.sampled_from(("eve", "mal"))), max_size=12)


@given(COMMANDS)
def test_force_names_who_commanded_what_is_in_force(told: list[tuple[Command, str, str]]) -> None:
    """A flag or source is in force by whom its last command came from, unless a later resume or release took it back."""
    force = Force()
    for time_ms, (command, by, source) in enumerate(told):
        force = force.after(Control(command, time_ms, by, subject=source))
    flags = {"killed": Command.KILL, "frozen": Command.FREEZE, "shadow": Command.SHADOW}
    for flag, command in flags.items():
        last = max((time_ms for time_ms, (each, *_) in enumerate(told) if each is command), default=None)
        ended = max((time_ms for time_ms, (each, *_) in enumerate(told) if each is Command.RESUME), default=-1)
        stands = last is not None and last > ended
        commanded = getattr(force, flag)
        assert (commanded is not None) == stands
        assert commanded is None or (commanded.by, commanded.time_ms) == (told[commanded.time_ms][1], last)
    for name, command in (("quarantined", Command.QUARANTINE), ("revoked", Command.REVOKE)):
        for source in ("eve", "mal"):
            last = max((time_ms for time_ms, (each, _, about) in enumerate(told) if (each, about) == (command, source)), default=-1)
            ended = max(
                (time_ms for time_ms, (each, _, about) in enumerate(told) if (each, about) == (Command.RELEASE, source)), default=-1
            )
            assert (source in getattr(force, name)) == (last > ended)
    assert len(force.parts()) == sum(map(bool, (force.killed, force.frozen, force.shadow))) + len(force.quarantined) + len(force.revoked)
