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
from schemas.errors import DecodeError, StackError
from schemas.headers import Headers
from schemas.settings import Deployment
from streams.admin import open_admin
from streams.clients import client_options
from streams.groups import TaskGroup, consumer_group
from streams.logs.reading import bounds, open_reader, read_blocks

# By its name alone: the steps behind the topology take a second to import, and a kill must not wait for them.
DECIDING = TaskGroup("deciding", state="scopes", agents=())
# Longer than a group needs to give the tasks of a worker that was killed to another one.
WAIT_S = 25.0
# At first as often as tells a delay in milliseconds, then as rarely as does not burden the broker.
POLL_S, POLL_S_MAX = 0.005, 0.03


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


async def send_letters(producer: AIOKafkaProducer, prefix: str, letters: Iterable[Letter]) -> list[Sent]:
    """Send records at once, and return where they were appended."""
    futures = [
        await producer.send(topics.physical(topic, prefix), value, key, partition, headers=list(headers))
        for topic, partition, key, value, headers in letters
    ]
    return [Sent(topics.short(done.topic, prefix), done.partition, done.offset) for done in await asyncio.gather(*futures)]


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
        return await send_letters(self._producer, self.deployment.topic_prefix, letters)

    async def taken(self, sent: Iterable[Sent], wait_s: float) -> bool:
        """Wait until the group has committed beyond all of the records; false where it has not in `wait_s`.

        It commits together with what it writes: from then on the records have had their effect, or a dead letter says why not.
        """
        ends = {TopicPartition(topics.physical(one.topic, self.deployment.topic_prefix), one.partition): one.offset for one in sent}
        begun_s = time.monotonic()
        while ends:
            try:
                committed = await self._admin.list_consumer_group_offsets(self.group, partitions=list(ends))
            except KafkaError as error:
                # A coordinator that moves, or is loading the group's positions, answers the next time.
                if not error.retriable:
                    raise
                committed = {}
            ends = {place: offset for place, offset in ends.items() if place not in committed or committed[place].offset <= offset}
            waited_s = time.monotonic() - begun_s
            if ends and waited_s > wait_s:
                return False
            if ends:
                await asyncio.sleep(min(POLL_S + waited_s / 10, POLL_S_MAX))
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
    """The ends of some partitions at one moment, and what has been written to them since; `since_now` makes one.

    Args:
        deployment: where they are.
        ends: their ends then, by short name and partition.
    """

    def __init__(self, deployment: Deployment, ends: dict[tuple[str, int], int]) -> None:
        self.deployment = deployment
        self.ends = ends

    async def read(self, name: str) -> list[Told]:
        """Return the committed records that a topic's partitions have got since."""
        starts = {self.place(*each): end for each, end in self.ends.items() if each[0] == name}
        async with open_reader(self.deployment) as consumer:
            held = await bounds(consumer, list(starts))
            return [
                Told(*record)
                for place, start in starts.items()
                async for block in read_blocks(consumer, name, place, start, held[place].end)
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

    async def refusal(self, sent: Iterable[Sent], wait_s: float) -> str | None:
        """Say why one of the records, which the deciding group has taken, has become a dead letter; None where none has.

        All else that the group has written for them to these partitions can be read afterwards.

        Raises:
            StackError: what came of them cannot be seen within `wait_s`.
        """
        await self._settle(wait_s)
        places = {(one.topic, str(one.partition), str(one.offset)) for one in sent}
        for topic in {topic for topic, *_ in places}:
            for letter in await self.read(topics.dead_letter(topic)):
                said = {name: value.decode(errors="replace") for name, value in letter.headers}
                place = tuple(said.get(name, "") for name in ("npo_topic", "npo_partition", "npo_offset"))
                # Other groups may read the topic, and refuse what this one takes.
                if place in places and said.get("npo_group") == DECIDING.name:
                    return f"{said.get('npo_reason')}: {said.get('npo_detail')}"
        return None

    async def _settle(self, wait_s: float) -> None:
        """Wait until all that has been appended to the partitions by now is committed or aborted.

        The markers of one transaction reach its partitions one after the other: its positions may be seen before its records.
        """
        places = [self.place(*each) for each in self.ends]
        async with open_reader(self.deployment, committed=False) as consumer:
            appended = await bounds(consumer, places)
        deadline = time.monotonic() + wait_s
        async with open_reader(self.deployment) as consumer:
            while pending := [place for place, held in (await bounds(consumer, places)).items() if held.end < appended[place].end]:
                if time.monotonic() > deadline:
                    raise StackError(
                        f"taken, but a transaction on {pending[0].topic}-{pending[0].partition} has not ended within {wait_s:.0f} s, and "
                        "what came of it cannot be seen; `npo status` tells whether the workers run and what is in force"
                    )
                await asyncio.sleep(POLL_S_MAX)

    def place(self, name: str, partition: int) -> TopicPartition:
        """Return a partition as the broker names it."""
        return TopicPartition(topics.physical(name, self.deployment.topic_prefix), partition)


async def since_now(deployment: Deployment, places: Iterable[tuple[str, int]]) -> Since:
    """Note the ends of partitions, by short name and number."""
    since = Since(deployment, dict.fromkeys(places, 0))
    named = {since.place(*each): each for each in since.ends}
    if named:
        async with open_reader(deployment) as consumer:
            for place, held in (await bounds(consumer, list(named))).items():
                since.ends[named[place]] = held.end
    return since
