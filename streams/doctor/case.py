"""What the checks look at: a deployment, its settings, and the newest records of its topics."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from msgspec import Struct

from agents.step import Block
from schemas import codecs, topics
from schemas.errors import DecodeError
from schemas.headers import Headers, find
from schemas.settings import Deployment, Settings
from streams.logs.reading import bounds, read_blocks

# Of each partition: enough to see a habit, and read in a second.
NEWEST_RECORDS = 500
HOUR_MS = 3_600_000


class Finding(Struct, frozen=True):
    """One mistake: what is so, and what to do about it."""

    found: str
    remedy: str


class Letter(NamedTuple):
    """One dead letter: the short name of the topic that it comes from, why it was refused, and when, by the broker's clock."""

    topic: str
    reason: str
    detail: str
    time_ms: int


class Case:
    """A deployment whose broker answers; what was read once is kept.

    Args:
        deployment: where the servers are.
        settings: what this process would decide under.
        now_ms: this machine's clock.
        admin: asks the broker.
        reader: reads committed records.
        counts: partitions of each topic that exists, by short name.
    """

    def __init__(
        self,
        deployment: Deployment,
        settings: Settings,
        now_ms: int,
        admin: AIOKafkaAdminClient,
        reader: AIOKafkaConsumer,
        counts: dict[str, int],
    ) -> None:
        self.deployment = deployment
        self.settings = settings
        self.now_ms = now_ms
        self.admin = admin
        self.reader = reader
        self.counts = counts
        self._newest: dict[str, list[Block]] = {}

    def broker_name(self, topic: str) -> str:
        """Return the broker's name of a topic."""
        return topics.physical(topic, self.deployment.topic_prefix)

    async def newest(self, topic: str) -> list[Block]:
        """Return the newest records of a topic, by partition in order; nothing where it does not exist."""
        if topic not in self._newest:
            self._newest[topic] = [
                block
                for place, (first, end) in (await bounds(self.reader, self._places(topic))).items()
                async for block in read_blocks(self.reader, topic, place, max(first, end - NEWEST_RECORDS), end)
            ]
        return self._newest[topic]

    async def events(self, topic: str) -> list[Any]:
        """Return the newest events of a topic, by partition in order; what cannot be decoded is left out."""
        return [event for block in await self.newest(topic) for event in _decoded(topic, block)]

    async def letters(self, since_ms: int = 0) -> list[Letter]:
        """Return the newest dead letters of all topics that were written since a time."""
        return [
            Letter(topic.name, _text(headers, "npo_reason"), _text(headers, "npo_detail"), time_ms)
            for topic in topics.TOPICS
            for block in await self.newest(topics.dead_letter(topic.name))
            for headers, time_ms in zip(block.headers, block.timestamps_ms, strict=True)
            if time_ms >= since_ms
        ]

    def _places(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(self.broker_name(topic), partition) for partition in range(self.counts.get(topic, 0))]


def _decoded(topic: str, block: Block) -> Iterator[Any]:
    for value in block.values:
        try:
            yield codecs.decode(topic, value)
        except DecodeError:
            continue


def _text(headers: Headers, name: str) -> str:
    return (find(headers, name) or b"").decode(errors="replace")
