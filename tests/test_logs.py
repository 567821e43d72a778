"""Exported logs: parquet round trip, export from and import into a real broker, answers."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from hypothesis import given
from hypothesis import strategies as st

from agents.step import Block
from schemas import topics
from schemas.codecs import encode
from schemas.errors import LogFileError, NotSurfacedError, SettingsError, TopologyError, UnknownDecisionError
from schemas.events import Answer, Command, Control, Feedback, Outcome, Verdict
from schemas.headers import Headers
from schemas.identity import partition_of
from schemas.settings import Deployment
from streams.cli.answers import give
from streams.embedded import Kafka
from streams.logs.exporting import export_log
from streams.logs.files import open_log, read_manifest, read_partition, topic_file, topic_writer
from streams.logs.importing import Original, by_append_time, import_log, targets
from streams.logs.reading import bounds, open_reader, partition_counts, read_blocks
from streams.logs.replay import joined
from streams.serving.answering import Said
from streams.topology import TOPOLOGY
from tests.replay.simulation import SETTINGS, append, empty, memory_log, save

headers = st.lists(st.tuples(st.text(st.characters(codec="utf-8"), max_size=5), st.binary(max_size=5)), max_size=3).map(tuple)
records = st.tuples(st.integers(0, 2**40), st.none() | st.binary(max_size=9), st.none() | st.binary(max_size=9), headers)


@dataclass
class Place:
    """A deployment of a test's own on the shared broker, with its topics."""

    deployment: Deployment

    async def create(self, partitions: int, *names: str) -> None:
        """Make topics."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.deployment.broker)
        await admin.start()
        config = {"message.timestamp.type": "LogAppendTime"}
        physical = [topics.physical(name, self.deployment.topic_prefix) for name in names]
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=config) for name in physical])
        await admin.close()
        # The broker shows what it has created a moment later.
        async with asyncio.timeout(60):
            while not set(names) <= (await partition_counts(self.deployment)).keys():  # noqa: ASYNC110 - the broker changes it
                await asyncio.sleep(0.05)

    async def send(self, topic: str, partition: int, *values: bytes, key: bytes = b"s", transaction: str | None = None) -> None:
        """Send records, in a transaction that is aborted if its name says so."""
        producer = AIOKafkaProducer(bootstrap_servers=self.deployment.broker, transactional_id=transaction)
        await producer.start()
        if transaction:
            await producer.begin_transaction()
        name, last = topics.physical(topic, self.deployment.topic_prefix), -1
        for value in values:
            last = (await producer.send_and_wait(name, value, key, partition)).offset
        if transaction:
            await (producer.abort_transaction() if transaction.endswith("aborted") else producer.commit_transaction())
        await producer.stop()
        if transaction:
            await self.ended(TopicPartition(name, partition), last)

    async def ended(self, place: TopicPartition, last: int) -> None:
        """Wait for a transaction's marker behind its last record: the broker writes it a moment after it has answered."""
        async with open_reader(self.deployment) as consumer:
            for _ in range(500):
                if (await bounds(consumer, [place]))[place].end > last + 1:
                    return
                await asyncio.sleep(0.02)

    async def read(self, topic: str) -> list[Block]:
        """Read a topic's partitions, one block each."""
        async with open_reader(self.deployment) as consumer:
            count = (await partition_counts(self.deployment))[topic]
            found = []
            for partition in range(count):
                place = TopicPartition(topics.physical(topic, self.deployment.topic_prefix), partition)
                held = (await bounds(consumer, [place]))[place]
                whole = empty(topic, partition)
                async for block in read_blocks(consumer, topic, place, held.first, held.end):
                    whole = joined(whole, block)
                found.append(whole)
            return found


@pytest.fixture
def place(kafka: Kafka, unique_name: str) -> Callable[[str], Place]:
    """Make deployments that share the broker and nothing else."""

    def make(name: str) -> Place:
        return Place(Deployment(broker=kafka.bootstrap, topic_prefix=f"{unique_name[-150:]}.{name}.", application=unique_name))

    return make


@given(st.lists(st.lists(records, max_size=20), min_size=1, max_size=4))
def test_records_survive_parquet(
    tmp_path_factory: pytest.TempPathFactory, partitions: list[list[tuple[int, bytes, bytes, Headers]]]
) -> None:
    """What was written is read back: every column of every record, partition by partition, in order, absent values too."""
    directory = tmp_path_factory.mktemp("log")
    held = {"feedback": [empty("feedback", partition) for partition in range(len(partitions))]}
    for partition, of_partition in enumerate(partitions):
        for gap, record in enumerate(of_partition):
            append(held, "feedback", partition, record, gap)
    save(memory_log(held, SETTINGS), directory)
    read = open_log(directory).read
    for block in held["feedback"]:
        assert list(read("feedback", block.partition)) == ([block] if block.offsets else [])


def test_an_incomplete_log_is_an_error(tmp_path: Path) -> None:
    """A log without manifest, topic file or records, or with other settings than it says, is an error that names the file."""
    held = {"feedback": [empty("feedback", 0)], "control": [empty("control", 0)]}
    append(held, "feedback", 0, (1, b"k", b"v", ()))
    save(memory_log(held, SETTINGS), tmp_path)
    read_manifest(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["topics"]["feedback"][0]["records"] = 2
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(LogFileError, match="holds 1 records"):
        read_manifest(tmp_path)
    manifest["settings"]["seed"] = 1
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(LogFileError, match="settings have digest"):
        read_manifest(tmp_path)
    topic_file(tmp_path, "feedback").write_bytes(b"x")
    with pytest.raises(LogFileError, match=r"feedback\.parquet"):
        list(read_partition(tmp_path, "feedback", 0))
    with pytest.raises(LogFileError, match="npo export"):
        read_manifest(tmp_path / "none")


def test_a_broken_off_export_leaves_nothing(tmp_path: Path) -> None:
    """When reading fails midway, neither the topic's file nor a part of it stays."""

    def write_and_fail() -> None:
        with topic_writer(tmp_path, "feedback") as write:
            write(Block("feedback", 0, [0], [0], [b""], [b""], [()]))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    assert list(tmp_path.iterdir()) == []


async def test_an_export_holds_what_is_committed(place: Callable[[str], Place], tmp_path: Path) -> None:
    """An export has every committed record at its own offset and no aborted one; a second one into it is refused."""
    source = place("a")
    await source.create(2, "feedback", "feedback.dlq")
    await source.send("feedback", 1, b"1", b"2")
    await source.send("feedback", 1, b"3", transaction=f"{source.deployment.application}-aborted")
    await source.send("feedback", 1, b"4", transaction=f"{source.deployment.application}-committed")
    manifest = await export_log(source.deployment, SETTINGS, (), tmp_path, lambda *_: None)
    log = open_log(tmp_path)
    (block,) = log.read("feedback", 1)
    assert (block.values, block.offsets) == ([b"1", b"2", b"4"], [0, 1, 4])
    assert [block] == [one for one in await source.read("feedback") if one.offsets]
    assert log.manifest == manifest
    assert manifest.quiet
    assert manifest.settings == SETTINGS
    part = manifest.topics["feedback"][1]
    assert (part.first, part.next, part.records, part.first_offset, part.last_offset) == (0, 6, 3, 0, 4)
    assert set(manifest.topics) == {"feedback", "feedback.dlq"}
    with pytest.raises(LogFileError, match="holds a log already"):
        await export_log(source.deployment, SETTINGS, (), tmp_path, lambda *_: None)


@given(st.lists(st.tuples(st.sampled_from(["telemetry", "feedback", "control"]), st.integers(0, 2), st.integers(0, 50)), max_size=40))
def test_the_merge_by_time_keeps_the_order_of_partitions(places: list[tuple[str, int, int]]) -> None:
    """All records come out; inside a partition in the order of offsets; and by time wherever the partitions' own times grow."""
    held = {topic: [empty(topic, partition) for partition in range(3)] for topic in ("telemetry", "feedback", "control")}
    for topic, partition, time_ms in places:
        append(held, topic, partition, (time_ms, b"", b"", ()))
    merged = list(by_append_time(memory_log(held, SETTINGS), held))
    for topic, blocks in held.items():
        for block in blocks:
            assert [one.offset for one in merged if (one.topic, one.partition) == (topic, block.partition)] == block.offsets
    if all(block.timestamps_ms == sorted(block.timestamps_ms) for blocks in held.values() for block in blocks):
        assert [one.timestamp_ms for one in merged] == sorted(one.timestamp_ms for one in merged)


@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([None, "x", "y"]))
def test_control_reaches_its_partitions(source: int, target: int, scope: str | None) -> None:
    """A global command comes to every partition of the target once, one of a scope to the scope's own partition alone."""
    value = encode(Control(Command.KILL, 0, "me", scope))
    sent_in = range(source) if scope is None else [partition_of(scope.encode(), source)]
    reached = [place for one in sent_in for place in targets(Original(0, "control", one, 0, b"k", value, ()), source, target)]
    assert sorted(reached) == (list(range(target)) if scope is None else [partition_of(scope.encode(), target)])


async def test_an_import_keeps_records_names_and_order(place: Callable[[str], Place], tmp_path: Path) -> None:
    """Into a broker with other partitions: key, value, headers and order stay, each record is named by its old place or its own id."""
    target = place("a")
    held = {name: [empty(name, 0), empty(name, 1)] for name in ("telemetry", "control", "outcome")}
    for index in range(400):
        own: Headers = (("ce_id", f"own-{index}".encode()),) if index % 3 == 0 else ()
        append(
            held, "telemetry", index % 2, (index, f"key-{index % 2}".encode(), str(index).encode(), (("x", b"y"), *own)), gap=index % 5 == 0
        )
    for partition in range(2):
        append(held, "control", partition, (7, b"|kill|", encode(Control(Command.KILL, 0, "me")), ()))
    append(held, "outcome", 0, (9, b"s", b"not even json", ()))
    save(memory_log(held, SETTINGS), tmp_path)
    await target.create(3, *held, "decision")
    imported = await import_log(target.deployment, TOPOLOGY, open_log(tmp_path), held, lambda _: None)
    assert imported.records == {"telemetry": 400, "control": 3, "outcome": 1}
    for block in held["telemetry"]:
        partition = partition_of(block.keys[0] or b"", 3)
        arrived = (await target.read("telemetry"))[partition]
        mine = [index for index, key in enumerate(arrived.keys) if key == block.keys[0]]
        assert [arrived.values[index] for index in mine] == block.values
        for index, offset, headers in zip(mine, block.offsets, block.headers, strict=True):
            named = headers if dict(headers).get("ce_id") else (("ce_id", f"telemetry-{block.partition}-{offset}".encode()), *headers)
            assert arrived.headers[index] == named
    assert [block.values for block in await target.read("control")] == [held["control"][0].values] * 3
    with pytest.raises(LogFileError, match="inputs that this log holds"):
        await import_log(target.deployment, TOPOLOGY, open_log(tmp_path), ["decision"], lambda _: None)
    with pytest.raises(TopologyError, match=r"feedback"):
        await import_log(
            place("b").deployment, TOPOLOGY, memory_log({"feedback": [empty("feedback", 0)]}, SETTINGS), ["feedback"], lambda _: None
        )


def feedback(decision: str, operator: str = "ann") -> bytes:
    """An answer."""
    return encode(Feedback(decision, operator, Answer.LIKE, 1))


async def test_answers_wait_for_their_decision(place: Callable[[str], Place]) -> None:
    """An answer is sent after its decision is there; one whose decision never comes is counted, and one wait is enough for all such."""
    target = place("a")
    held = {"feedback": [empty("feedback", 0)], "outcome": [empty("outcome", 0)]}
    for time_ms, decision in enumerate(["d1", "d2", "gone-1", "gone-2"]):
        append(held, "outcome", 0, (time_ms * 10, b"s", b"", ()))
        append(held, "feedback", 0, (time_ms * 10 + 1, b"s", feedback(decision), ()))
    await target.create(1, "feedback", "outcome", "decision")
    log = memory_log(held, SETTINGS)
    importing = asyncio.create_task(import_log(target.deployment, TOPOLOGY, log, held, lambda _: None, wait_s=4.0))
    await asyncio.sleep(1.0)
    assert [len(block.offsets) for block in await target.read("feedback")] == [0]
    assert [len(block.offsets) for block in await target.read("outcome")] == [1]
    await target.send("decision", 0, b'{"id":"d1"}', b'{"id":"d2"}')
    imported = await importing
    assert (imported.not_found, imported.records) == (2, {"feedback": 4, "outcome": 4})
    # With the log's own decisions at hand, those that never were are not waited for at all.
    held["decision"] = [empty("decision", 0)]
    append(held, "decision", 0, (0, b"s", b'{"id":"d1"}', ()))
    imported = await import_log(target.deployment, TOPOLOGY, memory_log(held, SETTINGS), ["feedback"], lambda _: None, wait_s=60.0)
    assert imported.not_found == 0
    assert imported.waited <= 1


async def test_commands_do_not_overtake_what_was_decided_before_them(place: Callable[[str], Place]) -> None:
    """A command, model or outcome is sent once the decisions that it came after are there; telemetry after it is sent after it."""
    target = place("a")
    held = {name: [empty(name, 0)] for name in ("telemetry", "control", "model", "outcome", "decision")}
    later = Outcome("e1", 0, 100, Verdict.INCIDENT, 50)
    append(held, "telemetry", 0, (0, b"e1", b"before", ()))
    append(held, "decision", 0, (10, b"s", b'{"id":"d1","entity":"e1","time_ms":5}', ()))
    append(held, "control", 0, (20, b"s|kill|", encode(Control(Command.KILL, 0, "me", "s")), ()))
    append(held, "decision", 0, (30, b"s", b'{"id":"d2","entity":"e2","time_ms":5}', ()))
    append(held, "outcome", 0, (40, b"s", encode(later), ()))
    append(held, "model", 0, (50, b"s", b"{}", ()))
    append(held, "telemetry", 0, (60, b"e1", b"after", ()))
    await target.create(1, "telemetry", "control", "model", "outcome", "decision")
    names = ["telemetry", "control", "model", "outcome"]

    async def sent() -> list[int]:
        return [len((await target.read(name))[0].offsets) for name in names]

    importing = asyncio.create_task(import_log(target.deployment, TOPOLOGY, memory_log(held, SETTINGS), names, lambda _: None))
    await until(sent, [1, 0, 0, 0])
    await target.send("decision", 0, b'{"id":"d1"}')
    # The outcome is about d1 alone; the model came after d2.
    await until(sent, [1, 1, 0, 1])
    await target.send("decision", 0, b'{"id":"d2"}')
    imported = await importing
    assert await sent() == [2, 1, 1, 1]
    assert (imported.waited, imported.not_found) == (2, 0)


async def until(sent: Callable[[], Awaitable[list[int]]], wanted: list[int]) -> None:
    """Wait until so many records have been sent, and see that there are no more a moment later."""
    async with asyncio.timeout(60):
        while await sent() != wanted:  # noqa: ASYNC110 - another task sends
            await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)
    assert await sent() == wanted


async def test_an_import_sends_peoples_models_and_not_the_trainers(place: Callable[[str], Place]) -> None:
    """Of the model topic, what people gave, brought back or imported is sent; what the trainer put in force is not."""
    target = place("a")
    held = {"model": [empty("model", 0)]}
    for name, headers in (("given", ()), ("trained", (("ce_source", b"npo/training/0"),)), ("rollback", (("ce_source", b"npo/model"),))):
        append(held, "model", 0, (0, b"s", name.encode(), headers))
    await target.create(1, "model", "decision")
    imported = await import_log(target.deployment, TOPOLOGY, memory_log(held, SETTINGS), held, lambda _: None)
    assert (await target.read("model"))[0].values == [b"given", b"rollback"]
    assert (imported.records, imported.left_out) == ({"model": 2}, 1)


def recommendation(identity: str, scope: str, time_ms: int, **answers: int) -> bytes:
    """What an answer needs of a recommendation's record: operators with their last revision."""
    standing = [{"operator": name, "kind": "like", "revision": revision, "time_ms": 1} for name, revision in answers.items()]
    return msgspec.json.encode({"id": identity, "scope": scope, "time_ms": time_ms, "answers": standing})


async def test_an_answer_fits_its_recommendation(place: Callable[[str], Place]) -> None:
    """An answer has the recommendation's key and partition, the scope's event time and the operator's next revision."""
    target = place("a")
    await target.create(3, "recommendation", "feedback", "decision", "scenario")
    partition = partition_of(b"scope-1", 3)
    await target.send(
        "recommendation", partition, recommendation("abc1", "scope-1", 100), recommendation("abc1", "scope-1", 200, ann=2), key=b"scope-1"
    )
    await target.send("recommendation", partition, recommendation("abc2", "scope-1", 150), b"not json", key=b"scope-1")
    await target.send("scenario", partition, b'{"scope":"scope-1","time_ms":5000}', b'{"scope":"other","time_ms":9000}', key=b"scope-1")
    sent = (await give(target.deployment, "abc1", Said(Answer.OVERRIDE, "ann", reason="noise", note="again"))).feedback
    assert sent == Feedback("abc1", "ann", Answer.OVERRIDE, 5000, 3, reason="noise", note="again")
    given = await give(target.deployment, "abc2", Said(Answer.LIKE, "ann", revision=7), "scope-1")
    assert (given.feedback.revision, given.taken) == (7, None)
    assert (await give(target.deployment, "abc1", Said(Answer.RETRACT, "ann"))).feedback.revision == 4
    blocks = await target.read("feedback")
    assert [len(block.offsets) for block in blocks] == [3 if index == partition else 0 for index in range(3)]
    assert blocks[partition].keys == [b"scope-1"] * 3
    assert msgspec.json.decode(blocks[partition].values[0] or b"", type=Feedback) == sent
    with pytest.raises(UnknownDecisionError, match="2 recommendations begin with abc"):
        await give(target.deployment, "abc", Said(Answer.LIKE, "ann"))
    with pytest.raises(UnknownDecisionError, match="npo answer"):
        await give(target.deployment, "xyz", Said(Answer.LIKE, "ann"))
    with pytest.raises(SettingsError, match="revision"):
        await give(target.deployment, "abc1", Said(Answer.LIKE, "ann", revision=0))
    await target.send("decision", partition, b'{"id":"xyz1","scope":"scope-1","status":"withheld"}', key=b"scope-1")
    with pytest.raises(NotSurfacedError, match=r"xyz1 was withheld.*npo why xyz1"):
        await give(target.deployment, "xyz", Said(Answer.LIKE, "ann"))
