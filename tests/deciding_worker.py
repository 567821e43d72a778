"""A deployment of a test's own with one worker of the deciding group, and scenarios for it to decide."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiokafka import TopicPartition

from schemas import codecs, topics
from schemas.events import Scenario
from schemas.identity import partition_of
from schemas.settings import Deployment
from streams import admin
from streams.embedded import Kafka, start_child
from streams.groups import plan_topics
from streams.logs.reading import bounds, open_reader, read_blocks
from streams.logs.sending import open_sender
from streams.stack import environment, run_aside
from streams.topology import TOPOLOGY
from tests.deciding.logs import scenario

PARTITIONS = 2
PATIENCE_S = 60.0


@contextmanager
def deciding(kafka: Kafka, name: str, home: Path, **fields: Any) -> Iterator[Deployment]:  # noqa: ANN401 - the fields of Deployment
    """Make topics, and run a worker of the deciding group until the block ends."""
    deployment = make(kafka, name, home, **fields)
    run_aside(admin.ensure(deployment, plan_topics(TOPOLOGY, PARTITIONS, application=name, prefix=f"{name}.", keep=True)))
    command = [sys.executable, "-m", "streams.engine.worker", "deciding"]
    worker = start_child("worker", command, home / "worker.log", environment=environment(deployment))
    try:
        yield deployment
        worker.raise_if_ended()
    finally:
        worker.stop(PATIENCE_S)


def make(kafka: Kafka, name: str, home: Path, **fields: Any) -> Deployment:  # noqa: ANN401 - the fields of Deployment
    """Return a deployment on the shared broker."""
    return Deployment(broker=kafka.bootstrap, topic_prefix=f"{name}.", application=name, partitions=PARTITIONS, home=home, **fields)


def variables(deployment: Deployment) -> dict[str, str]:
    """Return the NPO_* variables that tell a deployment to commands."""
    return {name: value for name, value in environment(deployment).items() if name.startswith("NPO_")}


def unusual(number: int, scope: str = "shop", score: float = 5.0) -> Scenario:
    """A scenario of an entity of its own, ten minutes after the one before; at the usual score it is surfaced."""
    return scenario(f"{scope}-{number}", 10 * number, entity=f"{scope}-{number}", scope=scope, score=score)


async def send_scenarios(deployment: Deployment, scenarios: list[Scenario]) -> None:
    """Send scenarios as the encoder does."""
    async with open_sender(deployment) as sender:
        for event in scenarios:
            key = event.scope.encode()
            await sender.send("scenario", partition_of(key, PARTITIONS), key, codecs.encode(event), (("ce_id", event.id.encode()),))


async def events(deployment: Deployment, name: str, partition: int | None = None) -> list[Any]:
    """Return the committed events of a topic, partition by partition."""
    found = []
    async with open_reader(deployment) as reader:
        for index in range(PARTITIONS) if partition is None else [partition]:
            place = TopicPartition(topics.physical(name, deployment.topic_prefix), index)
            held = (await bounds(reader, [place]))[place]
            async for block in read_blocks(reader, name, place, held.first, held.end):
                found += [codecs.decode(name, value) for value in block.values]
    return found
