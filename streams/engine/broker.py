"""What a worker asks the broker before it starts: topics and their limits, and positions after the fence."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from types import TracebackType
from typing import NamedTuple, Self

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code
from aiokafka.structs import TopicPartition

from schemas.errors import PositionError, TopologyError
from schemas.settings import Deployment
from streams.clients import client_options
from streams.logs.reading import open_reader, read_blocks


class TopicFacts(NamedTuple):
    """A topic as it is: its partitions, and its largest record batch in bytes."""

    partitions: int
    bytes_max: int


async def read_topics(deployment: Deployment, names: Collection[str]) -> dict[str, TopicFacts]:
    """Read partitions and limits of topics.

    Raises:
        TopologyError: a topic does not exist, or may not be read.
    """
    admin = AIOKafkaAdminClient(**client_options(deployment))
    await admin.start()
    try:
        described = await admin.describe_topics(list(names))
        partitions = {topic["topic"]: len(topic["partitions"]) for topic in described if not topic["error_code"]}
        if missing := sorted(set(names) - partitions.keys()):
            raise TopologyError(f"topics {missing} do not exist or may not be read; create them with `npo topics apply`")
        wanted = ["max.message.bytes"]
        resources = [ConfigResource(ConfigResourceType.TOPIC, name, configs=dict.fromkeys(wanted)) for name in names]
        (response,) = await admin.describe_configs(resources)
    finally:
        await admin.close()
    bytes_max = {}
    for code, message, _, name, entries, *_ in response.resources:
        if code:
            raise TopologyError(
                f"cannot read the settings of {name}: {for_code(code).__name__} {message or ''}; allow DescribeConfigs on it"
            )
        bytes_max[name] = int(next(entry[1] for entry in entries if entry[0] == "max.message.bytes"))
    return {name: TopicFacts(partitions[name], bytes_max[name]) for name in names}


class Positions:
    """Reads positions on connections of its own: on those of the consumer each question waits behind a long poll.

    Args:
        deployment: where the broker is.
        group: the consumer group.
    """

    def __init__(self, deployment: Deployment, group: str) -> None:
        self._deployment = deployment
        self._group = group
        self._consumer = AIOKafkaConsumer(
            **client_options(deployment), group_id=group, enable_auto_commit=False, isolation_level="read_committed"
        )

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._consumer.stop()

    async def starts(self, partitions: Iterable[tuple[str, int]]) -> dict[TopicPartition, int]:
        """Return the first position that each partition still holds."""
        return dict(await self._consumer.beginning_offsets([TopicPartition(*place) for place in partitions]))

    async def ends(self, partitions: Iterable[tuple[str, int]]) -> dict[TopicPartition, int]:
        """Return the last stable offset of each partition: the end of what is committed."""
        return dict(await self._consumer.end_offsets([TopicPartition(*place) for place in partitions]))

    async def committed(self, partitions: Collection[TopicPartition], changelogs: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the committed position of each partition; where there is none, the log's start.

        To be asked after the fence: a transaction of an earlier owner that is being committed may show late.

        Args:
            partitions: inputs.
            changelogs: the changelog partition of each task, numbered as its inputs are.

        Raises:
            PositionError: a position that the log does not hold, or a task that has state and no positions.
        """
        found = await asyncio.gather(*(self._consumer.committed(partition) for partition in partitions))
        starts, ends, written = await asyncio.gather(self.starts(partitions), self.ends(partitions), self.ends(changelogs))
        committed = dict(zip(partitions, found, strict=True))
        check_positions(self._group, committed, starts, ends)
        for changelog, end in written.items():
            forgotten = all(position is None for place, position in committed.items() if place.partition == changelog.partition)
            if forgotten and await self._holds_records(changelog, end):
                raise PositionError(
                    f"group {self._group} has no positions for partition {changelog.partition}, but state in {changelog.topic}: the broker "
                    "has forgotten them (offsets.retention.minutes). Set them by hand (kafka-consumer-groups --reset-offsets), or start "
                    "anew under another NPO_APPLICATION"
                )
        return {partition: starts[partition] if position is None else position for partition, position in committed.items()}

    async def _holds_records(self, partition: TopicPartition, end: int) -> bool:
        """Tell whether a partition holds a committed record below `end`: what a first transaction left when it was aborted is none."""
        async with open_reader(self._deployment) as reader:
            first = (await reader.beginning_offsets([partition]))[partition]
            async for block in read_blocks(reader, "", partition, first, end):
                return bool(block.offsets)
        return False


def check_positions(
    group: str,
    committed: Mapping[TopicPartition, int | None],
    starts: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
) -> None:
    """Raise PositionError if a committed position is outside what its log holds."""
    for partition, position in committed.items():
        if position is not None and not starts[partition] <= position <= ends[partition]:
            raise PositionError(
                f"group {group} is at {position} of {partition.topic}, partition {partition.partition}, which holds "
                f"{starts[partition]} to {ends[partition]}: records are lost or the topic was made anew. Restore it, or accept the "
                "loss: set the group's position by hand (kafka-consumer-groups --reset-offsets)"
            )
