"""Sending a few records and waiting until the task group that they are for has taken them: how a command tells its effect."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from schemas import codecs, topics
from schemas.errors import DecodeError
from schemas.headers import Headers
from schemas.identity import partition_of
from schemas.settings import Deployment
from streams.admin import open_admin
from streams.clients import client_options
from streams.groups import TaskGroup, consumer_group
from streams.logs.reading import bounds, open_reader, read_blocks

# By its name alone: the steps behind the topology take a second to import, and a kill must not wait for them.
DECIDING = TaskGroup("deciding", state="scopes", agents=())
# Longer than a group needs to give the tasks of a worker that was killed to another one.
WAIT_S = 25.0
POLL_S = 0.005
# The markers of one transaction reach its partitions within milliseconds of each other.
SETTLE_S = 1.0


class Letter(NamedTuple):
    """One record to send."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: Headers


class Sent(NamedTuple):
    """Where a record was appended."""

    topic: str
    partition: int
    offset: int


class Told(NamedTuple):
    """One record that was written since a position."""

    key: bytes | None
    value: bytes | None
    headers: Headers


class Office:
    """Sends records for one task group and waits until it has taken them; `open_office` makes one.

    Args:
        deployment: where to.
        group: the task group, of which only the name matters.
        producer: a producer that has started.
        admin: an admin client that has started.
    """

    def __init__(self, deployment: Deployment, group: TaskGroup, producer: AIOKafkaProducer, admin: AIOKafkaAdminClient) -> None:
        self.deployment = deployment
        self.group = consumer_group(deployment.application, group)
        self._producer = producer
        self._admin = admin

    async def send(self, letters: Iterable[Letter]) -> list[Sent]:
        """Send records at once, and return where they were appended."""
        prefix = self.deployment.topic_prefix
        futures = [
            await self._producer.send(topics.physical(topic, prefix), value, key, partition, headers=list(headers))
            for topic, partition, key, value, headers in letters
        ]
        return [Sent(topics.short(done.topic, prefix), done.partition, done.offset) for done in await asyncio.gather(*futures)]

    async def taken(self, sent: Iterable[Sent], wait_s: float) -> bool:
        """Wait until the group has committed beyond all of the records; false where it has not in `wait_s`.

        It commits together with what it writes: from then on the records have had their effect, or a dead letter says why not.
        """
        ends = {TopicPartition(topics.physical(one.topic, self.deployment.topic_prefix), one.partition): one.offset for one in sent}
        deadline = time.monotonic() + wait_s
        while ends:
            try:
                committed = await self._admin.list_consumer_group_offsets(self.group, partitions=list(ends))
            except KafkaError as error:
                # A coordinator that moves, or is loading the group's positions, answers the next time.
                if not error.retriable:
                    raise
                committed = {}
            ends = {place: offset for place, offset in ends.items() if place not in committed or committed[place].offset <= offset}
            if ends and time.monotonic() > deadline:
                return False
            if ends:
                await asyncio.sleep(POLL_S)
        return True


@asynccontextmanager
async def open_office(deployment: Deployment, group: TaskGroup = DECIDING) -> AsyncIterator[Office]:
    """Open what sends records for a task group and waits until it has taken them.

    Raises:
        StackError: no broker is known, or it does not answer.
    """
    async with open_admin(deployment) as admin:
        producer = AIOKafkaProducer(**client_options(deployment), enable_idempotence=True)
        await producer.start()
        try:
            yield Office(deployment, group, producer, admin)
        finally:
            await producer.stop()


class Since:
    """The ends of some partitions at one moment, and what has been written to them since.

    Args:
        deployment: where they are.
        places: partition by topic, by short name.
        ends: their ends then.
    """

    def __init__(self, deployment: Deployment, places: dict[str, int], ends: dict[str, int]) -> None:
        self.deployment = deployment
        self.places = places
        self.ends = ends

    async def read(self, name: str) -> list[Told]:
        """Return the committed records that a topic's partition has got since."""
        place = TopicPartition(topics.physical(name, self.deployment.topic_prefix), self.places[name])
        async with open_reader(self.deployment) as consumer:
            end = (await bounds(consumer, [place]))[place].end
            return [
                Told(*record)
                async for block in read_blocks(consumer, name, place, self.ends[name], end)
                for record in zip(block.keys, block.values, block.headers, strict=True)
            ]

    async def events(self, name: str) -> list[Any]:
        """Return the events among them that can be decoded."""
        events = []
        for record in await self.read(name):
            try:
                events.append(codecs.decode(name, record.value))
            except DecodeError:
                continue
        return events


async def since_now(deployment: Deployment, names: Iterable[str], key: bytes, counts: dict[str, int]) -> Since:
    """Note the ends of the partitions of topics that a key belongs to."""
    places = {name: partition_of(key, counts[name]) for name in names}
    physical = {name: TopicPartition(topics.physical(name, deployment.topic_prefix), partition) for name, partition in places.items()}
    async with open_reader(deployment) as consumer:
        held = await bounds(consumer, list(physical.values()))
    return Since(deployment, places, {name: held[place].end for name, place in physical.items()})
