"""`npo doctor`: each mistake is made against a real broker, and found with its remedy; what is sound is not complained of."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pytest
from aiokafka import TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from msgspec.structs import replace

from schemas import codecs, topics
from schemas.events import Answer, Command, Control, Decision, Feedback, Life, Recommendation, Status
from schemas.headers import ARROW, CONTENT_TYPE, Headers
from schemas.identity import partition_of
from schemas.settings import Catalogue, Deployment, Settings, load_settings, read_yaml
from streams import admin
from streams.cli import main
from streams.doctor import CHECKS, Examined, examine
from streams.doctor.case import HOUR_MS, Case
from streams.doctor.checks import BROKER
from streams.doctor.loop import FEW
from streams.embedded import Kafka, Valkey, start_kafka
from streams.embedded.children import HOST, free_ports
from streams.home import find
from streams.logs.reading import open_reader, partition_counts
from streams.logs.sending import open_sender
from streams.stack import running_stack, wanted_topics
from streams.topology import TOPOLOGY

PARTITIONS = 2
TRIES = 100
# Why a check could not be made, or what it found, with remedies.
Answered = str | list[tuple[str, str]]
EXAMPLES = Path(__file__).resolve().parent.parent / "schemas" / "examples"


class Broker(NamedTuple):
    """The broker of this module, and a second listener of it that advertises an address where nobody listens."""

    kafka: Kafka
    misadvertised: str


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for all tests of this module."""
    port, closed = free_ports(2)
    settings = f"""
listeners=PLAINTEXT://{{host}}:{{port}},CONTROLLER://{{host}}:{{controller_port}},OUTSIDE://{{host}}:{port}
advertised.listeners=PLAINTEXT://{{host}}:{{port}},OUTSIDE://{{host}}:{closed}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,OUTSIDE:PLAINTEXT
"""
    with start_kafka(tmp_path_factory.mktemp("kafka"), settings=settings) as kafka:
        yield Broker(kafka, f"{HOST}:{port}")


@pytest.fixture
def deployment(broker: Broker, unique_name: str, tmp_path: Path) -> Deployment:
    """A deployment of the test's own; it has no topics yet."""
    name = unique_name[-60:]
    return Deployment(broker=broker.kafka.bootstrap, home=tmp_path, partitions=PARTITIONS, topic_prefix=f"{name}.", application=name)


class Written(NamedTuple):
    """One record of a test."""

    topic: str
    key: str
    value: bytes
    partition: int | None = None
    headers: Headers = ()


async def write(deployment: Deployment, records: Iterable[Written]) -> None:
    """Create the topics that the records and their dead letters need, as they should be, and write the records."""
    records = list(records)
    names = {name for record in records for name in (record.topic, topics.dead_letter(record.topic.removesuffix(".dlq")))}
    names = {topics.physical(name, deployment.topic_prefix) for name in names}
    await admin.ensure(deployment, [plan for plan in wanted_topics(deployment) if plan.name in names])
    async with open_sender(deployment) as sender:
        for topic, key, value, partition, headers in records:
            place = partition_of(key.encode(), PARTITIONS) if partition is None else partition
            await sender.send(topic, place, key.encode(), value, headers)


def now_ms() -> int:
    """This machine's clock."""
    return time.time_ns() // 1_000_000


async def look(
    deployment: Deployment, name: str, settings: Settings | None = None, time_ms: int | None = None
) -> str | list[tuple[str, str]]:
    """Make one check; return why it could not be made, or its findings with their remedies."""
    check = next(check for check in CHECKS if check.name == name)
    settings = settings or load_settings(deployment)
    async with admin.open_admin(deployment) as client, open_reader(deployment) as reader:
        case = Case(deployment, settings, time_ms or now_ms(), client, reader, await partition_counts(deployment))
        answer = await check.look(case)
    return answer if isinstance(answer, str) else [(finding.found, finding.remedy) for finding in answer]


async def found(deployment: Deployment, name: str, settings: Settings | None = None, time_ms: int | None = None) -> tuple[str, str]:
    """Make one check that must find one mistake; return it and its remedy."""
    answer = await look(deployment, name, settings, time_ms)
    assert not isinstance(answer, str)
    (finding,) = answer
    return finding


def example(topic: str, name: str, kind: Any) -> Any:  # noqa: ANN401 - an event
    """One event of the examples."""
    return msgspec.json.decode((EXAMPLES / topic / f"{name}.json").read_bytes(), type=kind)


def sample(entity: str, time_ms: float) -> Written:
    """One sample."""
    return Written("telemetry", entity, json.dumps({"entity": entity, "time_ms": time_ms, "metrics": {"cpu": 1.0}}).encode())


def letter(topic: str, reason: str, detail: str = "what was wrong") -> Written:
    """One dead letter."""
    return Written(f"{topic}.dlq", "shop", b"x", None, (("npo_reason", reason.encode()), ("npo_detail", detail.encode())))


def decision(number: int, settings: Settings, **fields: Any) -> Written:  # noqa: ANN401 - an event's fields
    """One decision, under these settings unless the fields say otherwise."""
    base: Decision = example("decision", "passed", Decision)
    versions = {**base.versions, "settings": settings.digest}
    event = replace(base, **{"id": f"d{number}", "scope": "shop", "versions": versions, "status": Status.SURFACED, **fields})
    return Written("decision", "shop", codecs.encode(event))


# Broker and protocol.


@pytest.mark.parametrize(
    ("fields", "mistake", "remedy"),
    [
        ({"broker": "closed"}, "nothing listens at 127.0.0.1:", "npo up"),
        ({"security_protocol": "SSL"}, "answers no SSL request", "NPO_SECURITY_PROTOCOL"),
        ({"broker": "misadvertised"}, "that cannot be reached from here", "advertised.listeners"),
        ({"security_protocol": "SASL_PLAINTEXT"}, "needs NPO_SASL_MECHANISM", "correct the variables"),
    ],
)
async def test_a_broker_that_cannot_be_used(
    broker: Broker, deployment: Deployment, fields: dict[str, str], mistake: str, remedy: str
) -> None:
    """Nobody there, another protocol, an address of no use, half a login: each is told apart, and no other check is made."""
    (closed,) = free_ports(1)
    addresses = {"closed": f"{HOST}:{closed}", "misadvertised": broker.misadvertised}
    fields = {name: addresses.get(value, value) for name, value in fields.items()}
    examined = await examine(deployment.model_copy(update=fields), load_settings(deployment), now_ms())
    (finding,) = examined[0].findings
    assert (examined[0].name, mistake in finding.found, remedy in finding.remedy) == (BROKER, True, True)
    assert [(one.state, one.why) for one in examined[1:]] == [("not made", "the broker does not answer")] * len(CHECKS)


# Topics and workers.


async def test_topics_that_are_not_as_they_should_be(deployment: Deployment) -> None:
    """A topic that is absent, one of other partitions, one whose records carry their own time: each with what corrects it."""
    plans = {topics.short(plan.name, deployment.topic_prefix): plan for plan in wanted_topics(deployment)}
    torn = plans["feedback"]._replace(partitions=PARTITIONS + 1)
    await admin.ensure(deployment, [torn, *(plan for name, plan in plans.items() if name not in {"feedback", "outcome"})])
    config = plans["telemetry"].config | {"message.timestamp.type": "CreateTime", "retention.ms": "60000"}
    async with admin.open_admin(deployment) as client:
        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, plans["telemetry"].name, configs=config)])
        # A broker shows what it has accepted a moment later.
        for _ in range(TRIES):
            if len(await admin.plan(client, plans.values())) == 4:
                break
            await asyncio.sleep(0.1)
    findings = await look(deployment, "topics")
    assert not isinstance(findings, str)
    told = dict(findings)
    assert told.pop(f"1 topics are absent: {plans['outcome'].name}") == "`npo topics apply` creates them"
    assert "set NPO_PARTITIONS" in told.pop(f"{torn.name} has partitions 3, wanted 2")
    assert len(told) == 2
    assert all("deletes records within seconds" in remedy for remedy in told.values())


async def test_a_group_without_workers_and_records_that_wait(deployment: Deployment) -> None:
    """A group that nobody serves, and how old the oldest record is that waits for it, are told with the command that starts a worker."""
    await write(deployment, [sample("web-1", now_ms()), sample("web-2", now_ms())])
    findings = await look(deployment, "workers", time_ms=now_ms() + 6 * 60_000)
    assert not isinstance(findings, str)
    (absent, remedy), (late, _) = findings
    assert (absent, "npo worker encoding" in remedy) == (f"group {deployment.application}-encoding has no worker", True)
    assert late.startswith(f"group {deployment.application}-encoding is 2 records behind, the oldest of 20")
    assert len(await look(deployment, "workers")) == 1, "what has just come is not late"


async def test_a_worker_that_does_not_answer(deployment: Deployment, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack at work is fine, each worker's health is in its state file, and one that hangs is named with its log."""
    fields = {name: getattr(deployment, name) for name in ("broker", "partitions", "topic_prefix", "application")}
    with running_stack(deployment.home, redis=valkey.url, **fields) as running:
        state = find(deployment.home)
        assert state is not None
        addresses = {process.name: process.health for process in state.processes}
        assert len(set(addresses.values()) - {""}) == len(TOPOLOGY) + 2, "each worker has its own, and so have publisher and console"
        while isinstance(answer := await look(running, "workers"), list) and answer:
            assert all("is not ready" in mistake for mistake, _ in answer), "tasks were assigned; recovery may go on"
        worker = next(process for process in state.processes if process.name == "encoding-1")
        monkeypatch.setattr("streams.doctor.servers.ANSWER_S_MAX", 1.0)
        os.kill(worker.pid, signal.SIGSTOP)
        try:
            mistake, remedy = await found(running, "workers")
        finally:
            os.kill(worker.pid, signal.SIGCONT)
        assert mistake.startswith(f"encoding-1 is not ready: {worker.health} does not answer")
        assert worker.log in remedy


# What producers send.


async def test_a_producer_with_another_partitioner(deployment: Deployment) -> None:
    """Records under keys of other partitions are counted, by topic, with the setting that puts them right; dead letters tell of it too."""
    right = [sample(f"web-{number}", now_ms()) for number in range(6)]
    wrong = [record._replace(partition=1 - partition_of(record.key.encode(), PARTITIONS)) for record in right[:2]]
    await write(deployment, right)
    assert await look(deployment, "partitioner") == []
    await write(deployment, wrong)
    mistake, remedy = await found(deployment, "partitioner")
    assert mistake.startswith(
        f"2 of the newest 8 records of {deployment.topic_prefix}telemetry.v1 are not in their key's partition (web-0, web-1"
    )
    assert "partitioner=murmur2_random" in remedy


async def test_dead_letters_of_another_partitioner(deployment: Deployment) -> None:
    """Where the records themselves are gone, the dead letters with that reason tell."""
    await write(deployment, [letter("feedback", "wrong_partition"), letter("outcome", "undecodable")])
    mistake, remedy = await found(deployment, "partitioner")
    assert mistake.startswith("1 dead letters with reason wrong_partition")
    assert "murmur2" in remedy


def arrow(entity: str, times_ms: list[int]) -> Written:
    """An Arrow record of samples."""
    batch = pa.record_batch({"time_ms": times_ms, "cpu": [1.0] * len(times_ms)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return Written("telemetry", entity, sink.getvalue().to_pybytes(), None, ((CONTENT_TYPE, ARROW),))


@pytest.mark.parametrize("as_arrow", [False, True], ids=["JSON", "Arrow"])
async def test_times_in_seconds_and_clocks_ahead(deployment: Deployment, *, as_arrow: bool) -> None:
    """Seconds for milliseconds, and senders whose clock is ahead, are seen in what was sent."""

    def written(entity: str, time_ms: int) -> Written:
        return arrow(entity, [time_ms]) if as_arrow else sample(entity, time_ms)

    await write(deployment, [written("web-1", now_ms()), written("web-2", now_ms() // 1000)])
    mistake, remedy = await found(deployment, "telemetry")
    assert mistake.startswith("1 of the newest 2 samples are from before 2000, the latest of 1970-01-")
    assert "milliseconds" in remedy
    await write(deployment, [written("web-3", now_ms() + 20 * 60_000)])
    findings = await look(deployment, "telemetry")
    assert not isinstance(findings, str)
    ahead, remedy = findings[1]
    assert ahead == "1 of the newest 3 samples are up to 20 min ahead of their arrival"
    assert "clocks" in remedy


async def test_telemetry_that_has_ceased_and_clocks_that_differ(deployment: Deployment) -> None:
    """No sample for long, by this machine's clock, and a broker whose clock is ahead of it, are told; historic times are no fault."""
    await write(deployment, [sample("web-1", now_ms()), sample("web-2", 1_577_836_800_000)])
    assert await look(deployment, "telemetry") == []
    silent, remedy = await found(deployment, "telemetry", time_ms=now_ms() + HOUR_MS)
    assert (", 60 min ago" in silent, "what sends telemetry" in remedy) == (True, True)
    skewed, remedy = await found(deployment, "telemetry", time_ms=now_ms() - HOUR_MS)
    assert skewed.startswith("the broker's clock is 3")
    assert "time server" in remedy


async def test_dead_letters_of_the_last_hour(deployment: Deployment) -> None:
    """They are counted by topic and reason, with the latest detail and what the reason asks for; older ones are not told."""
    await write(deployment, [letter("telemetry", "undecodable", "first"), letter("telemetry", "undecodable", "time_ms: a float")])
    await write(deployment, [letter("feedback", "future_time"), letter("feedback", "unknown_decision"), letter("feedback", "new_reason")])
    findings = await look(deployment, "dead letters")
    assert not isinstance(findings, str)
    told = {mistake.partition(" in the last hour")[0]: (mistake, remedy) for mistake, remedy in findings}
    mistake, remedy = told.pop(f"2 dead letters of {deployment.topic_prefix}telemetry.v1 with reason undecodable")
    assert mistake.endswith(": time_ms: a float")
    assert "docs/events.md" in remedy
    _, remedy = told.pop(f"1 dead letters of {deployment.topic_prefix}feedback.v1 with reason future_time")
    assert "clock" in remedy
    assert [remedy for _, remedy in told.values()] == ["docs/semantics.md tells what the reason means"], "answers are another check's"
    assert await look(deployment, "dead letters", time_ms=now_ms() + 2 * HOUR_MS) == []


# The loop.


def answer(operator: str) -> Written:
    """One answer."""
    return Written("feedback", "shop", codecs.encode(Feedback("d1", operator, Answer.LIKE, now_ms())))


async def test_answers_to_nothing_and_of_strangers(deployment: Deployment) -> None:
    """Answers that reached no decision, and operators whom the catalogue does not name, are told with where to name them."""
    roster = replace(read_yaml(deployment.catalogue, Catalogue), operators={"ana": "sre"})
    settings = replace(load_settings(deployment), catalogue=roster)
    await write(deployment, [answer("ana")])
    assert await look(deployment, "answers", settings) == []
    await write(deployment, [answer("bob"), answer("bob"), letter("feedback", "unknown_decision"), letter("feedback", "future_time")])
    findings = await look(deployment, "answers", settings)
    assert not isinstance(findings, str)
    (unknown, first), (strangers, second) = findings
    assert unknown == "1 of the newest 2 refused answers are to decisions that cannot be answered (unknown_decision)"
    assert "`id` of a recommendation" in first
    assert strangers == "2 of the newest 3 answers are of operators whom the catalogue does not know: bob"
    assert "`operators`" in second


async def test_a_budget_that_is_too_small(deployment: Deployment) -> None:
    """What is open at once (ten an hour, five hours each) and a burst are held against the budget: 49 + 20 units of 60."""
    base: Recommendation = example("recommendation", "opened", Recommendation)
    told = []
    for number in range(2 * FEW):
        opened_ms = base.opened_ms + number * HOUR_MS // 10
        life = replace(base, id=f"r{number}", scope="shop", opened_ms=opened_ms, time_ms=opened_ms, life=Life.OPENED)
        told += [life, replace(life, life=Life.ANSWERED, time_ms=opened_ms + 5 * HOUR_MS)]
    await write(deployment, [Written("recommendation", "shop", codecs.encode(event)) for event in told])
    settings = load_settings(deployment)
    small = replace(settings, profile=replace(settings.profile, budget_start=60.0))
    mistake, remedy = await found(deployment, "budget", small)
    assert "shop surfaces 10.0 an hour, each open for 5.0 h" in mistake
    assert "hold 70 units of budget, and the profile starts with 60" in mistake
    assert "set `budget_start` to 70 or more" in remedy
    assert await look(deployment, "budget", settings) == []
    off = replace(settings, profile=replace(settings.profile, budget="off"))
    assert await look(deployment, "budget", off) == "the profile has no override budget"


async def test_commands_that_were_forgotten(deployment: Deployment) -> None:
    """Kill, freeze and shadow that nobody has taken back for hours are told with who gave them and how to take them back."""
    hours_ago_ms = now_ms() - 5 * HOUR_MS

    def command(what: Command, scope: str | None, time_ms: int = hours_ago_ms) -> list[Written]:
        event = codecs.encode(Control(what, time_ms, "ana", scope, reason="drill"))
        places = range(PARTITIONS) if scope is None else [partition_of(scope.encode(), PARTITIONS)]
        return [Written("control", f"{scope or '*'}|{what.value}|", event, place) for place in places]

    await write(deployment, [*command(Command.KILL, "shop"), *command(Command.RESUME, "shop"), *command(Command.FREEZE, "bank", now_ms())])
    assert await look(deployment, "control") == [], "taken back, or fresh"
    await write(deployment, [*command(Command.SHADOW, "shop"), *command(Command.KILL, None)])
    assert await look(deployment, "control") == [
        ("all scopes: killed by ana (drill) for 5.0 h", "`npo control resume`, if that was forgotten"),
        ("shop: shadow by ana (drill) for 5.0 h", "`npo control resume --scope shop`, if that was forgotten"),
    ]


async def test_decisions_under_other_settings(deployment: Deployment) -> None:
    """A scope whose latest decision was made under other settings than this process reads is named, with both digests."""
    settings = load_settings(deployment)
    await write(deployment, [decision(1, settings, versions={"settings": "f00"}), decision(2, settings)])
    assert await look(deployment, "decisions", settings) == [], "it is the latest that counts"
    await write(deployment, [decision(3, settings, versions={"settings": "f00"})])
    mistake, remedy = await found(deployment, "decisions", settings)
    assert mistake.startswith("1 of 1 scopes were decided under other settings")
    assert f"({settings.digest}): shop under f00" in mistake
    assert "NPO_PROFILE" in remedy


async def test_a_policy_that_denies_everything(deployment: Deployment) -> None:
    """Rules that deny almost all, and rules that cannot be judged, are named."""
    settings = load_settings(deployment)
    base: Decision = example("decision", "passed", Decision)
    denied = replace(base.verdict, allowed=False, rules=("scope_rate",))
    broken = replace(denied, error="no such key: disk")
    verdicts = [*[denied] * FEW, broken]
    records = [decision(number, settings, status=Status.BLOCKED, verdict=verdict) for number, verdict in enumerate(verdicts)]
    await write(deployment, records)
    findings = await look(deployment, "decisions", settings)
    assert not isinstance(findings, str)
    (unjudged, first), (all_denied, second) = findings
    assert unjudged == "1 of the newest 21 verdicts could not be judged, and were denied: no such key: disk"
    assert all_denied == "21 of the newest 21 decisions were blocked: scope_rate 21 times"
    assert all(settings.policy.version in remedy for remedy in (first, second))


async def test_symptoms_that_no_action_is_for(deployment: Deployment) -> None:
    """Where most decisions propose the catch-all, the labels are named that the catalogue has no action for."""
    settings = load_settings(deployment)
    base: Decision = example("decision", "passed", Decision)
    inspect = replace(base.action, name="inspect")
    symptoms = (replace(base.symptoms[0], label="widgets:up"),)
    await write(deployment, [decision(number, settings, action=inspect, symptoms=symptoms) for number in range(FEW)])
    mistake, remedy = await found(deployment, "decisions", settings)
    assert mistake == "20 of the newest 20 decisions propose the catch-all inspect: widgets:up 20 times"
    assert str(deployment.catalogue) in remedy


# All of it.


async def test_what_is_sound_is_not_complained_of(deployment: Deployment) -> None:
    """A deployment with its topics and sound records has no fault but the workers that this test lacks; nothing is written."""
    await admin.ensure(deployment, wanted_topics(deployment))
    empty = await examine(deployment, load_settings(deployment), now_ms())
    assert {one.name for one in empty if one.state == "fault"} == {"workers"}
    assert all(bool(one.why) == (one.state == "not made") for one in empty)
    await write(deployment, [sample(f"web-{number}", now_ms()) for number in range(4)] + [decision(1, load_settings(deployment))])
    before = await ends(deployment)
    examined = await examine(deployment, load_settings(deployment), now_ms())
    assert {one.name: one.state for one in examined} == {
        BROKER: "fine",
        "topics": "fine",
        "workers": "fault",
        "partitioner": "fine",
        "telemetry": "fine",
        "dead letters": "fine",
        "answers": "not made",
        "budget": "not made",
        "control": "fine",
        "decisions": "fine",
    }
    assert await ends(deployment) == before


async def ends(deployment: Deployment) -> dict[Any, int]:
    """The end of every partition of the deployment."""
    counts = await partition_counts(deployment)
    places = [(topics.physical(name, deployment.topic_prefix), partition) for name, count in counts.items() for partition in range(count)]
    async with open_reader(deployment) as reader:
        return dict(await reader.end_offsets([TopicPartition(*place) for place in places]))


def test_the_command_tells_all_and_its_code_says_whether_there_is_a_fault(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`npo doctor` names every check with finding, remedy or why not, as text and as JSON; its exit code is 1 for a fault, else 0."""
    for name, value in (("BROKER", deployment.broker), ("TOPIC_PREFIX", deployment.topic_prefix), ("APPLICATION", deployment.application)):
        monkeypatch.setenv(f"NPO_{name}", value or "")
    monkeypatch.setenv("NPO_PARTITIONS", str(PARTITIONS))
    monkeypatch.setenv("COLUMNS", "400")
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert main(["doctor", "--json"]) == 1
    examined = msgspec.json.decode(capsys.readouterr().out, type=list[Examined])
    assert [one.name for one in examined] == [BROKER, *(check.name for check in CHECKS)]
    assert len(examined) == 10
    for one in examined:
        assert f"{one.name}: {one.looks_at}" in text
        for line in (one.why, *(part for finding in one.findings for part in (finding.found, finding.remedy))):
            assert line in text
    monkeypatch.setattr("streams.cli.doctor.examine", lambda *_: asyncio.sleep(0, [one for one in examined if one.state != "fault"]))
    assert main(["doctor"]) == 0
