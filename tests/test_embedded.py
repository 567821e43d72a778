"""The embedded servers: real, whole, and gone when the process that started them is gone."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import OffsetAndMetadata

from schemas.errors import EmbeddedServerError
from streams.embedded import Child, Kafka, Valkey, children, jars, start_child, start_kafka, start_valkey
from streams.embedded.children import HOST, PORTS, connect, free_ports, wait_until_ready

SLEEP = "import time; print('started', flush=True); time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP


async def create_topic(bootstrap: str, topic: str) -> None:
    """Create a topic of one partition."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    finally:
        await admin.close()


async def write(bootstrap: str, topic: str, values: list[bytes], transactional_id: str | None = None) -> None:
    """Write values to partition 0, in one transaction if it has a name."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=transactional_id) as producer:
        if transactional_id:
            await producer.begin_transaction()
        for value in values:
            await producer.send_and_wait(topic, value, partition=0)
        if transactional_id:
            await producer.commit_transaction()


async def read(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """The first committed values of partition 0."""
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        return [(await consumer.getone()).value for _ in range(count)]


def start_python(code: str, directory: Path) -> Child:
    """Start Python on some code and wait until it has printed something."""
    child = start_child("python", [sys.executable, "-c", code], directory / "child.log")

    def has_printed() -> None:
        if not child.log_tail():
            raise EOFError

    wait_until_ready(child, has_printed, EOFError)
    return child


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that somebody listens on."""
    (port,) = free_ports(1)
    with socket.create_server((HOST, port)):
        yield port


async def test_broker_commits_transactions_at_once(kafka: Kafka, unique_name: str) -> None:
    """A broker that `start_kafka` returned runs transactions, and a committed one is read."""
    await create_topic(kafka.bootstrap, unique_name)
    await write(kafka.bootstrap, unique_name, [b"a", b"b"], transactional_id=unique_name)
    assert await read(kafka.bootstrap, unique_name, 2) == [b"a", b"b"]


async def test_broker_keeps_positions_of_groups(kafka: Kafka, unique_name: str) -> None:
    """A position that a group committed is the position that its next consumer finds."""
    await create_topic(kafka.bootstrap, unique_name)
    await write(kafka.bootstrap, unique_name, [b"a", b"b"])
    partition = TopicPartition(unique_name, 0)
    for expected, commit in ((None, 1), (1, 2)):
        async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=unique_name, enable_auto_commit=False) as consumer:
            consumer.assign([partition])
            assert await consumer.committed(partition) == expected
            await consumer.commit({partition: OffsetAndMetadata(commit, "")})


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
async def test_broker_takes_compressed_batches(kafka: Kafka, unique_name: str, codec: str) -> None:
    """What is written through a codec is read back as it was."""
    await create_topic(kafka.bootstrap, unique_name)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, compression_type=codec) as producer:
        await producer.send_and_wait(unique_name, b"x" * 10_000)
    assert await read(kafka.bootstrap, unique_name, 1) == [b"x" * 10_000]


async def test_historic_records_are_kept(kafka: Kafka, unique_name: str) -> None:
    """A topic that says nothing about retention keeps records for ever, however old their timestamps."""
    await create_topic(kafka.bootstrap, unique_name)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, unique_name)])
    finally:
        await admin.close()
    configs = {config[0]: config[1] for resource in response.resources for config in resource[4]}
    assert configs["retention.ms"] == "-1"


async def test_killed_broker_comes_back_with_its_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After SIGKILL a broker starts again on its directory and port, without any Java of the machine, and has lost nothing."""
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    first = start_kafka(tmp_path)
    try:
        await create_topic(first.bootstrap, "kept")
        await write(first.bootstrap, "kept", [b"a", b"b"])
    finally:
        first.kill()
    with start_kafka(tmp_path, port=first.port) as second:
        assert second.bootstrap == first.bootstrap
        await write(second.bootstrap, "kept", [b"c"])
        assert await read(second.bootstrap, "kept", 3) == [b"a", b"b", b"c"]


def test_second_broker_on_a_directory_is_refused(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that a running broker uses is refused: two controllers would write one metadata log."""
    monkeypatch.setattr(children, "LOCK_S_MAX", 0.1)
    with pytest.raises(EmbeddedServerError, match=rf"Kafka already runs with the log {kafka.log}"):
        start_kafka(kafka.log.parent)


def test_child_that_ends_says_why(tmp_path: Path) -> None:
    """Waiting for a child that has ended raises an error with its exit code and the end of its log."""
    child = start_child("python", [sys.executable, "-c", "raise SystemExit('no disk')"], tmp_path / "child.log")
    with pytest.raises(EmbeddedServerError, match=r"(?s)python ended with code 1; .*child\.log:\nno disk"):
        wait_until_ready(child, lambda: connect(1), OSError)


def test_servers_die_with_a_killed_parent(tmp_path: Path) -> None:
    """SIGKILL of the process that started the servers leaves none of them behind."""
    code = f"""
import pathlib, time
from streams.embedded import start_kafka, start_valkey
directory = pathlib.Path({str(tmp_path)!r})
print(start_kafka(directory / "kafka").pid, start_valkey(directory / "valkey").pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        servers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert sorted(server.name() for server in servers) == ["java", "valkey-server"]
        parent.send_signal(signal.SIGKILL)
    gone, alive = psutil.wait_procs(servers, timeout=30)
    assert (len(gone), alive) == (2, [])


def test_child_outlives_the_thread_that_asked_for_it(tmp_path: Path) -> None:
    """A child belongs to the process: the end of the thread that started it does not end it."""
    children: list[Child] = []
    thread = threading.Thread(target=lambda: children.append(start_python(SLEEP, tmp_path)))
    thread.start()
    thread.join()
    with children[0] as child:
        time.sleep(0.2)  # the kernel's signal would be there at once
        assert child.is_running


def test_terminal_signals_do_not_reach_a_child(tmp_path: Path) -> None:
    """A child is in a session of its own, so that Ctrl-C reaches the parent alone."""
    with start_python(SLEEP, tmp_path) as child:
        assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid


@pytest.mark.parametrize(("code", "ended_by"), [(SLEEP, signal.SIGTERM), (STUBBORN, signal.SIGKILL)])
def test_stop_ends_a_child(code: str, ended_by: signal.Signals, tmp_path: Path) -> None:
    """A stopped child has ended: by SIGTERM, or by SIGKILL if it ignores that."""
    child = start_python(code, tmp_path)
    assert child.stop(grace_s=0.5) == -ended_by
    assert not child.is_running
    assert child.stop() == -ended_by  # stopping it again does no harm


def test_taken_port_is_refused(taken_port: int, tmp_path: Path) -> None:
    """A port that somebody listens on is refused before a server is started, with the port in the message."""
    with pytest.raises(EmbeddedServerError, match=str(taken_port)):
        start_kafka(tmp_path, port=taken_port)
    with pytest.raises(EmbeddedServerError, match=str(taken_port)):
        start_valkey(tmp_path, port=taken_port)


def test_free_ports_differ_and_can_be_bound() -> None:
    """Free ports are different, of the range, and free."""
    ports = free_ports(20)
    assert len(set(ports)) == len(ports) == 20
    for port in ports:
        assert port in PORTS
        socket.create_server((HOST, port)).close()


def test_valkey_answers(valkey: Valkey) -> None:
    """What is written to Valkey is read from it."""
    with redis.Redis.from_url(valkey.url) as client:
        client.set("key", "value")
        assert client.get("key") == b"value"


def test_valkey_starts_on_the_port_of_a_killed_one(tmp_path: Path) -> None:
    """Connections that a killed server left behind do not keep its port from the next one."""
    first = start_valkey(tmp_path)
    with redis.Redis.from_url(first.url) as client:
        client.ping()
        first.kill()
        with start_valkey(tmp_path, port=first.port) as second:
            assert second.url == first.url
            assert client.ping()


def linked_cache(cache: Path) -> Path:
    """A cache of links to the user's jars."""
    directory = cache / f"kafka-{jars.KAFKA_VERSION}"
    directory.mkdir(parents=True)
    for jar in jars.kafka_jars():
        (directory / jar.name).symlink_to(jar)
    return directory


def test_altered_jar_is_refused(tmp_path: Path) -> None:
    """A jar that differs from the lock in one byte is refused, with its name and what to do."""
    directory = linked_cache(tmp_path)
    name = f"kafka-clients-{jars.KAFKA_VERSION}.jar"
    altered = (directory / name).read_bytes() + b"\0"
    (directory / name).unlink()
    (directory / name).write_bytes(altered)
    with pytest.raises(EmbeddedServerError, match=rf"{name} has SHA-256 \w+, kafka-jars.lock says \w+; delete .* and start again"):
        jars.kafka_jars(tmp_path)


def test_concurrent_first_uses_fetch_each_jar_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two first uses at the same time share one cache: each jar is fetched once, and both get all of them."""
    source = linked_cache(tmp_path / "source")
    fetched: list[str] = []
    found: list[list[Path]] = []

    def fetch(coordinate: str, directory: Path) -> None:
        fetched.append(coordinate)
        time.sleep(0.002)
        name = jars._file_name(coordinate)
        (directory / name).symlink_to(source / name)

    monkeypatch.setattr(jars, "_fetch", fetch)
    users = [threading.Thread(target=lambda: found.append(jars.kafka_jars(tmp_path / "cache"))) for _ in range(2)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert found[0] == found[1] == jars.kafka_jars(tmp_path / "cache")
    assert len(fetched) == len(set(fetched)) == len(found[0])
