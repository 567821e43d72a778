"""Topics, inputs and worker processes of one test, and the fold that says what workers must have written."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import rocksdict
import stamina
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from schemas.events import Merge
from schemas.topics import physical
from streams.groups import TaskGroup, changelog, consumer_group, plan_topics
from tests.engine.toy import FORGET, TOPOLOGY, mix

ROOT = Path(__file__).resolve().parents[2]
PARTITIONS = 4
SESSION_S = "1.0"
PATIENCE_S = 60.0


# Topic, partition, offset.
Place = tuple[str, int, int]


class Got(NamedTuple):
    """A record as it was read back."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class Worker:
    """One worker process, with its log in a file."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    def wait(self) -> int:
        """Wait until it has ended; return its exit code."""
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running:\n{self.said()}") from None

    def end(self) -> int:
        """Tell it to end; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()

    def said(self) -> str:
        """What it has logged."""
        return self.log.read_text(errors="replace")

    def ask(self, path: str) -> tuple[int, str]:
        """Ask its health server, once it listens; return status and body. Status 0 where nobody answers."""
        port = re.findall(r"health .*port=(\d+)", self.said())
        if not port:
            return 0, ""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port[0]}{path}", timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def checks(self, path: str = "/readyz") -> dict[str, Any]:
        """The checks of one of its reports by name, empty where nobody answers."""
        _, body = self.ask(path)
        checks: dict[str, Any] = json.loads(body)["checks"] if body else {}
        return checks

    def numbers(self) -> dict[str, float]:
        """Its metrics, by name and labels as Prometheus writes them."""
        _, body = self.ask("/metrics")
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in body.splitlines() if line[:1] != "#")}

    def total(self, name: str, **labels: str) -> float:
        """The sum of a metric over all labels but these."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(value for full, value in self.numbers().items() if full.startswith(f"{name}{{") and all(one in full for one in wanted))


class Lab:
    """One test's own topics and workers on a shared broker."""

    def __init__(self, bootstrap: str, name: str, directory: Path, topology: Sequence[TaskGroup] = TOPOLOGY) -> None:
        self.bootstrap = bootstrap
        self.application = name
        self.prefix = f"{name}."
        self.directory = directory
        self.topology = topology
        self.workers: list[Worker] = []
        self.ends: dict[TopicPartition, int] = {}
        catalogue = directory / "catalogue.yaml"
        catalogue.write_text("actions: []\n")
        self.environment = {
            **os.environ,
            "NPO_BROKER": bootstrap,
            "NPO_APPLICATION": name,
            "NPO_TOPIC_PREFIX": self.prefix,
            "NPO_CATALOGUE": str(catalogue),
            "NPO_SESSION_TIMEOUT_S": SESSION_S,
            "PYTHONPATH": str(ROOT),
        }

    def on_broker(self, topic: str) -> str:
        """The broker's name of a topic."""
        return physical(topic, self.prefix)

    async def create_topics(self, partitions: int = PARTITIONS) -> None:
        """Create all topics of the topology."""
        plans = plan_topics(self.topology, partitions, application=self.application, prefix=self.prefix, keep=True)
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(plan.name, plan.partitions, 1, topic_configs=plan.config) for plan in plans])
        finally:
            await admin.close()

    async def write(self, records: Iterable[tuple[str, bytes, bytes]], *, transaction: str | None = None, abort: bool = False) -> None:
        """Write (topic, key, value) records, in one transaction if it has a name; an aborted one is not to be seen."""
        async with AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, transactional_id=transaction, linger_ms=5, max_request_size=8 << 20
        ) as producer:
            if transaction:
                await producer.begin_transaction()
            futures = [await producer.send(self.on_broker(topic), value, key) for topic, key, value in records]
            done = await asyncio.gather(*futures)
            if transaction and abort:
                await producer.abort_transaction()
                return
            if transaction:
                await producer.commit_transaction()
        for one in done:
            place = TopicPartition(one.topic, one.partition)
            self.ends[place] = max(self.ends.get(place, 0), one.offset + 1)

    def start(self, group: str = "pair", *, home: str = "home", fault: str = "", **environment: str) -> Worker:
        """Start a worker process."""
        log = self.directory / f"worker-{len(self.workers)}.log"
        command = [sys.executable, "-m", "streams.engine.worker", group, "--topology", "tests.engine.toy:TOPOLOGY"]
        variables = {**self.environment, "NPO_HOME": str(self.directory / home), "NPO_FAULT_POINT": fault, **environment}
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=variables, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        worker = Worker(process, log)
        self.workers.append(worker)
        return worker

    def close(self) -> None:
        """Kill what is still running."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()

    @contextmanager
    def running(self, group: str = "pair", **options: str) -> Iterator[Worker]:
        """A worker that is told to end, and must do so with 0."""
        worker = self.start(group, **options)
        yield worker
        assert worker.end() == 0, worker.said()

    async def committed(self, group: str = "pair") -> dict[TopicPartition, int]:
        """Committed positions of a group."""
        row = next(row for row in self.topology if row.name == group)
        found: Mapping[TopicPartition, Any] = {}
        # A broker that was stopped and goes on is not there at once.
        async for attempt in stamina.retry_context(on=KafkaError, attempts=None, timeout=PATIENCE_S):
            with attempt:
                admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
                await admin.start()
                try:
                    found = await admin.list_consumer_group_offsets(consumer_group(self.application, row))
                finally:
                    await admin.close()
        return {place: max(0, position.offset) for place, position in found.items()}

    async def drained(self, *workers: Worker, group: str = "pair") -> None:
        """Wait until a group has taken all that was written, while its workers run."""
        deadline = time.monotonic() + PATIENCE_S
        while not await self.is_drained(group):
            for worker in workers:
                assert worker.process.poll() is None, worker.said()
            assert time.monotonic() < deadline, "\n".join(worker.said() for worker in workers)
            await asyncio.sleep(0.05)

    async def is_drained(self, group: str = "pair") -> bool:
        """Whether a group has taken all that was written to its topics."""
        inputs = {self.on_broker(topic.name) for row in self.topology if row.name == group for topic in row.inputs}
        committed = await self.committed(group)
        return all(committed.get(place, 0) >= end for place, end in self.ends.items() if place.topic in inputs)

    async def read(self, topic: str, *, on_broker: bool = False) -> dict[int, list[Got]]:
        """Read what is committed in a topic, by partition; its name is the short one unless it is said to be the broker's."""
        name = topic if on_broker else self.on_broker(topic)
        places = [TopicPartition(name, partition) for partition in range(PARTITIONS)]
        found: dict[int, list[Got]] = {partition: [] for partition in range(PARTITIONS)}
        async with AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, isolation_level="read_committed", auto_offset_reset="earliest", fetch_max_wait_ms=10
        ) as consumer:
            consumer.assign(places)
            ends = await consumer.end_offsets(places)
            while any([await consumer.position(place) < ends[place] for place in places]):
                for place, records in (await consumer.getmany(timeout_ms=50)).items():
                    found[place.partition] += [Got(one.offset, one.key, one.value, tuple(one.headers)) for one in records]
        return found

    async def check(self, group: str = "pair", rejected: frozenset[Place] = frozenset()) -> dict[int, list[str]]:
        """Compare outputs and state with a fold of the inputs in the recorded order.

        Args:
            group: the group.
            rejected: topic, partition and offset of records that must have changed nothing.

        Returns:
            By partition: the topics in the order in which its blocks were taken.
        """
        row = next(row for row in self.topology if row.name == group)
        inputs = {topic.name: await self.read(topic.name) for topic in row.inputs}
        outputs, changes = await self.read("out"), await self.changes(group)
        merges = sorted_merges(await self.read("merge"), group)
        for partition in range(PARTITIONS):
            here = {name: records[partition] for name, records in inputs.items()}
            taken = in_order(merges[partition], here) if row.merges else [(name, records, 0) for name, records in here.items()]
            assert sum(len(records) for _, records, _ in taken) == sum(map(len, here.values())), "not every record was taken"
            expected, rows = fold(taken, partition, here, rejected)
            assert [json.loads(got.value or b"") for got in outputs[partition]] == expected
            assert replay_rows(changes[partition]) == rows
        return {partition: [step.topic for merge in merges[partition] for step in merge.steps] for partition in merges}

    async def changes(self, group: str = "pair") -> dict[int, list[Got]]:
        """Read a group's changelog."""
        row = next(row for row in self.topology if row.name == group)
        return await self.read(changelog(self.application, row), on_broker=True)

    def database(self, partition: int, home: str = "home", group: str = "pair") -> tuple[dict[bytes, bytes], int]:
        """A task's local rows and the changelog offset that they stand for, -1 where there is none."""
        paths = list((self.directory / home / "state" / f"{self.application}-{group}").rglob(f"*-{partition}.db"))
        if not paths:
            return {}, -1
        database = rocksdict.Rdict(str(paths[0]), rocksdict.Options(raw_mode=True), access_type=rocksdict.AccessType.read_only())
        rows = cast("dict[bytes, bytes]", dict(database.items()))
        return rows, int(rows.pop(b"__faust\0offset__", b"-1"))


def sorted_merges(records: Mapping[int, list[Got]], group: str) -> dict[int, list[Merge]]:
    """The merge records of each task of a group, in order."""
    found: dict[int, list[Merge]] = {}
    for partition, got in records.items():
        merges = [msgspec.json.decode(one.value or b"", type=Merge) for one in got]
        assert {(one.key, merge.partition) for one, merge in zip(got, merges, strict=True) if merge.group == group} <= {
            (f"{group}-{partition}".encode(), partition)
        }
        found[partition] = [merge for merge in merges if merge.group == group]
    return found


def in_order(merges: Iterable[Merge], inputs: Mapping[str, list[Got]]) -> list[tuple[str, list[Got], int]]:
    """One task's blocks (topic, records, next position) in the order in which it took them; each begins where the last ended."""
    taken = []
    positions = dict.fromkeys(inputs, 0)
    for merge in merges:
        for topic, start, following in ((step.topic, step.start, step.next) for step in merge.steps):
            assert positions[topic] == start < following
            taken.append((topic, [got for got in inputs[topic] if start <= got.offset < following], following))
            positions[topic] = following
    return taken


def fold(
    taken: Iterable[tuple[str, list[Got], int]], partition: int, inputs: Iterable[str], rejected: frozenset[Place]
) -> tuple[list[object], dict[bytes, bytes]]:
    """What the toy step makes of one task's blocks: outputs in order, and rows."""
    rows: dict[bytes, bytes] = {}
    expected: list[object] = []
    positions: dict[str, int] = dict.fromkeys(inputs, 0)
    for topic, records, following in taken:
        for got in records:
            positions[topic] = got.offset + 1
            if (topic, partition, got.offset) in rejected:
                continue
            states = []
            for key in (got.key or b"", b"all"):
                rows[key] = b"%d" % mix(int(rows.get(key, b"0")), topic, partition, got.offset)
                states.append(int(rows[key]))
            result = {"topic": topic, "partition": partition, "offset": got.offset, "state": states[0], "all": states[1]}
            expected.append({**result, "positions": positions.copy()})
            if got.value == FORGET:
                del rows[got.key or b""]
        positions[topic] = following
    return expected, rows


def replay_rows(changes: Iterable[Got]) -> dict[bytes, bytes]:
    """The state that a changelog holds."""
    rows: dict[bytes, bytes] = {}
    for change in changes:
        if change.value is None:
            rows.pop(change.key or b"", None)
        else:
            rows[change.key or b""] = change.value
    return rows


def mixed_records(count: int, topics: Sequence[str] = ("alpha", "beta"), keys: int = 16) -> list[tuple[str, bytes, bytes]]:
    """Records of several topics and keys, in a fixed order."""
    return [
        (topics[index % len(topics)], b"key-%d" % (index * 7 % keys), FORGET if index % 11 == 0 else b"value") for index in range(count)
    ]


async def until(true: Callable[[], object]) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
