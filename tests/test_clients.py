"""The clients of docs/clients against the running pipeline: whoever copies one sends and reads what the pipeline takes and writes."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from schemas import codecs, topics
from schemas.events import Answer, Feedback, Heartbeat, Life, Recommendation
from schemas.identity import partition_of
from schemas.settings import Deployment
from streams.embedded import Kafka, start_child
from streams.embedded.jars import kafka_jars
from streams.logs.reading import bounds, committed_positions, open_reader, read_blocks
from streams.logs.sending import open_sender
from streams.stack import environment
from tests.deciding.logs import MINUTE_MS, START_MS
from tests.deciding_worker import PARTITIONS, deciding, events, send_scenarios, unusual, variables

CLIENTS = Path(__file__).resolve().parent.parent / "docs" / "clients"
SOURCES = sorted(path for path in CLIENTS.iterdir() if path.suffix in {".py", ".mjs", ".java"})
LINES_MAX, PATIENCE_S, MINUTES = 60, 100.0, 5
# Each call of a Java client compiles it first.
pytestmark = pytest.mark.timeout(300)

QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
Command = Callable[..., list[str]]


class Stored(NamedTuple):
    """A record as it is on a topic."""

    partition: int
    key: str
    value: dict[str, Any]


@pytest.fixture(scope="module")
def pipeline(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Workers that encode and decide, with topics of their own."""
    home = tmp_path_factory.mktemp("clients")
    with deciding(kafka, "test-clients", home) as deployment:
        (home / "encoding").mkdir()
        apart = deployment.model_copy(update={"home": home / "encoding"})
        command = [sys.executable, "-m", "streams.engine.worker", "encoding"]
        with start_child("worker", command, home / "encoding.log", environment=environment(apart)):
            yield deployment


def python(_: pytest.TempPathFactory) -> Command:
    """The Python clients run as they are."""
    return lambda name, *rest: [sys.executable, str(CLIENTS / f"{name}.py"), *rest]


def java(_: pytest.TempPathFactory) -> Command:
    """The Java clients run from their source with the jars of the embedded broker."""
    program = shutil.which("java")
    if program is None:
        pytest.skip("no java on the path")
    modules = subprocess.run([program, "--list-modules"], check=False, capture_output=True, text=True).stdout
    compiler = re.search(r"^jdk\.compiler@(\d+)", modules, re.MULTILINE)
    if compiler is None or int(compiler[1]) < 17:
        pytest.skip(f"{program} has no compiler of Java 17 or newer")
    path = os.pathsep.join(map(str, kafka_jars()))
    return lambda name, *rest: [program, *QUICK_START, "-cp", path, str(CLIENTS / f"{name.title().replace('_', '')}.java"), *rest]


def node(directories: pytest.TempPathFactory) -> Command:
    """The Node clients run beside their packages, which are installed apart where that is asked for."""
    program, npm, directory = shutil.which("node"), shutil.which("npm"), CLIENTS
    if program is None:
        pytest.skip("no node on the path")
    if not (CLIENTS / "node_modules").is_dir():
        if os.environ.get("NPO_NPM") != "1" or npm is None:
            pytest.skip(f"no node_modules in {CLIENTS}: run `npm ci` there, or set NPO_NPM=1 to install them into a temporary folder")
        directory = directories.mktemp("node") / "clients"
        shutil.copytree(CLIENTS, directory)
        subprocess.run([npm, "ci", "--no-audit", "--no-fund"], check=True, cwd=directory)
    return lambda name, *rest: [program, str(directory / f"{name}.mjs"), *rest]


@pytest.fixture(scope="module", params=[python, java, node], ids=lambda language: language.__name__)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """What gives the command line of one language's clients; skips where the language or a package is missing."""
    command: Command = request.param(tmp_path_factory)
    return command


@pytest.fixture
def scope(request: pytest.FixtureRequest) -> str:
    """A scope of the test's own whose bytes are not all ASCII: murmur2 must be taken over UTF-8."""
    return f"größe-{request.node.name}"


def run(deployment: Deployment, command: list[str], lines: list[dict[str, Any]]) -> list[str]:
    """Run a client over lines of JSON, and return what it printed."""
    given = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
    done = subprocess.run(
        command, check=False, input=given.encode(), capture_output=True, timeout=PATIENCE_S, env={**os.environ, **variables(deployment)}
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().splitlines()


def until(condition: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the condition gives
    """Wait until a condition gives something, and return that."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.1)
    return found


def of_scope(deployment: Deployment, topic: str, scope: str) -> list[Any]:
    """Return the events of a scope on a topic, in order."""
    return [event for event in asyncio.run(events(deployment, topic, partition_of(scope.encode(), PARTITIONS))) if event.scope == scope]


async def records(deployment: Deployment, topic: str) -> list[Stored]:
    """Return all records of a topic."""
    found = []
    async with open_reader(deployment) as reader:
        for partition in range(PARTITIONS):
            place = TopicPartition(topics.physical(topic, deployment.topic_prefix), partition)
            held = (await bounds(reader, [place]))[place]
            async for block in read_blocks(reader, topic, place, held.first, held.end):
                pairs = zip(block.keys, block.values, strict=True)
                found += [Stored(partition, (key or b"").decode(), json.loads(value or b"{}")) for key, value in pairs]
    return found


def opened(deployment: Deployment, scope: str) -> Recommendation:
    """Let something unusual happen in a scope, and return the recommendation that opens."""
    asyncio.run(send_scenarios(deployment, [unusual(0, scope)]))
    (event,) = until(lambda: of_scope(deployment, "recommendation", scope))
    assert isinstance(event, Recommendation)
    return event


def last_beats(deployment: Deployment, scope: str) -> list[Heartbeat]:
    """Return the heartbeats of a scope at the last minute that is sent."""
    found = [event for event in of_scope(deployment, "scenario", scope) if isinstance(event, Heartbeat)]
    return [beat for beat in found if beat.time_ms == START_MS + (MINUTES - 1) * MINUTE_MS]


def test_samples_are_taken(pipeline: Deployment, client: Command, scope: str) -> None:
    """Each sample is stored as it was given under its entity's key, where murmur2 puts it, and the encoder counts it."""
    entities = {f"{scope}-{number}": f"{scope}-of-{number}" for number in range(4)}
    samples = [
        {"entity": entity, "time_ms": START_MS + minute * MINUTE_MS, "metrics": {"cpu": 0.5 + minute, "errors": None}, "scope": own}
        for minute in range(MINUTES)
        for entity, own in entities.items()
    ]
    assert run(pipeline, client("send_telemetry"), samples) == [f"{len(samples)} samples are on test-clients.telemetry.v1"]
    stored = [record for record in asyncio.run(records(pipeline, "telemetry")) if record.key in entities]
    assert all(record.partition == partition_of(record.key.encode(), PARTITIONS) for record in stored)
    for entity, own in entities.items():
        given = [sample for sample in samples if sample["entity"] == entity]
        assert [record.value for record in stored if record.key == entity] == given
        beats = until(partial(last_beats, pipeline, own))
        assert [(beat.samples, beat.repeated) for beat in beats] == [(MINUTES, 0)]


async def abort(deployment: Deployment, event: Recommendation) -> None:
    """Write a recommendation in a transaction that is aborted."""
    producer = AIOKafkaProducer(bootstrap_servers=deployment.broker, transactional_id=f"aborted-{event.id}")
    async with producer:
        await producer.begin_transaction()
        key = event.scope.encode()
        place = topics.physical("recommendation", deployment.topic_prefix)
        await producer.send_and_wait(place, codecs.encode(event), key, partition=partition_of(key, PARTITIONS))
        await producer.abort_transaction()


async def answer(deployment: Deployment, feedback: Feedback, scope: str) -> None:
    """Answer as any client does."""
    async with open_sender(deployment) as sender:
        await sender.send("feedback", partition_of(scope.encode(), PARTITIONS), scope.encode(), codecs.encode(feedback), ())


def test_recommendations_are_consumed(pipeline: Deployment, client: Command, scope: str, tmp_path: Path) -> None:
    """Every committed moment of a life is handed over once and in order, nothing aborted, and positions are committed after it."""
    event = opened(pipeline, scope)
    example = codecs.decode("recommendation", (CLIENTS.parents[1] / "schemas" / "examples" / "recommendation" / "opened.json").read_bytes())
    assert isinstance(example, Recommendation)
    asyncio.run(abort(pipeline, codecs.decode("recommendation", codecs.encode(example).replace(b'"shop"', json.dumps(scope).encode()))))
    output = tmp_path / "output"

    def told(life: Life) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
        own = [line for line in lines if line["scope"] == scope]
        return own if life in {line["life"] for line in own} else []

    group = f"group-{scope}"
    with start_child("client", client("consume_recommendations", group), output, environment={**os.environ, **variables(pipeline)}):
        until(lambda: told(Life.OPENED))
        asyncio.run(answer(pipeline, Feedback(event.id, "ana", Answer.OVERRIDE, event.time_ms), scope))
        lines = until(lambda: told(Life.ANSWERED))
        place = TopicPartition("test-clients.recommendation.v1", partition_of(scope.encode(), PARTITIONS))
        until(lambda: asyncio.run(committed_positions(pipeline, [group])).get(place, 0) > 1)
    assert [(line["id"], line["life"]) for line in lines] == [(event.id, "opened"), (event.id, "answered")]
    assert [line["answers"] for line in lines] == [{}, {"ana": "override"}]
    assert lines[0]["summary"] == event.summary


def test_answers_are_taken(pipeline: Deployment, client: Command, scope: str) -> None:
    """An answer stands under the operator's name, sent twice it changes nothing, and a revision replaces it; each is seen by its offset."""
    event = opened(pipeline, scope)
    first = {"scope": scope, "decision": event.id, "operator": "émile", "kind": "override", "reason": "not_ours"}
    second = {"scope": scope, "decision": event.id, "operator": "émile", "kind": "like", "revision": 2}
    stored = [json.loads(line) for line in run(pipeline, client("send_answers"), [first, first, second])]
    assert [place["decision"] for place in stored] == [event.id] * 3
    assert {place["partition"] for place in stored} == {partition_of(scope.encode(), PARTITIONS)}
    until(lambda: of_scope(pipeline, "recommendation", scope)[-1].positions["feedback"] == stored[2]["offset"] + 1)
    moments = of_scope(pipeline, "recommendation", scope)[1:]
    assert [moment.life for moment in moments] == [Life.ANSWERED, Life.ANSWERED]
    assert [moment.positions["feedback"] for moment in moments] == [stored[0]["offset"] + 1, stored[2]["offset"] + 1]
    standing = [[(each.operator, each.kind, each.revision, each.reason) for each in moment.answers] for moment in moments]
    assert standing == [[("émile", Answer.OVERRIDE, 1, "not_ours")], [("émile", Answer.LIKE, 2, None)]]
    assert not asyncio.run(records(pipeline, "feedback.dlq"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_a_client_can_be_copied(source: Path) -> None:
    """A client is one file of at most 60 lines, and the page of clients says what it is for."""
    assert len(source.read_text(encoding="utf-8").splitlines()) <= LINES_MAX
    assert f"[{source.name}]({source.name})" in (CLIENTS / "README.md").read_text(encoding="utf-8")


def test_there_is_a_client_for_each_purpose_and_language() -> None:
    """Three purposes in three languages."""
    names = {source.name for source in SOURCES}
    for purpose in ("send_telemetry", "consume_recommendations", "send_answers"):
        assert {f"{purpose}.py", f"{purpose}.mjs", f"{purpose.title().replace('_', '')}.java"} <= names


def test_the_lock_names_no_registry() -> None:
    """Node's lock holds versions and digests; where packages come from is the installer's to say."""
    lock = json.loads((CLIENTS / "package-lock.json").read_text(encoding="utf-8"))
    held = {name: package for name, package in lock["packages"].items() if name}
    assert held
    assert all("integrity" in package and "resolved" not in package for package in held.values())
