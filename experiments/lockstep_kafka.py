"""A running stack in lockstep: settled is what the broker says, not what time has passed."""

import asyncio
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition

from experiments.lockstep import PARTITIONS, Record
from schemas.errors import StackError
from schemas.settings import Deployment
from schemas.topics import physical
from streams import admin
from streams.clients import client_options
from streams.groups import TaskGroup, consumer_group
from streams.logs.reading import open_reader, read_blocks
from streams.logs.sending import open_sender

POLL_S = 0.004
STANDSTILL_S_MAX = 90.0

Offsets = dict[str, int]


@contextmanager
def running(deployment: Deployment, topology: Iterable[TaskGroup], keep: Collection[str]) -> Iterator["Running"]:
    """Drive a running stack that has taken nothing yet.

    Args:
        deployment: of one partition.
        topology: the task groups that it runs.
        keep: short names of the topics that will be read.
    """
    if deployment.partitions != PARTITIONS:
        raise StackError(f"{deployment.partitions} partitions: records that meet have no one order; run a stack of {PARTITIONS}")
    with asyncio.Runner() as runner:
        pipeline = Running(deployment, tuple(topology), keep, runner)
        runner.run(pipeline.open())
        try:
            yield pipeline
        finally:
            runner.run(pipeline.close())


class Running:
    """A running stack with the interface of `experiments.lockstep.Pipeline`; made by `running`."""

    def __init__(self, deployment: Deployment, topology: Sequence[TaskGroup], keep: Collection[str], runner: asyncio.Runner) -> None:
        self._deployment = deployment
        self._runner = runner
        self._open = AsyncExitStack()
        self._groups = {
            consumer_group(deployment.application, group): {topic.name: self._place(topic.name) for topic in group.inputs}
            for group in topology
        }
        self._derived = {topic.name for group in topology for topic in group.outputs}
        self._read_to = dict.fromkeys(keep, 0)
        self._kept: dict[str, list[Record]] = {topic: [] for topic in keep}
        self._places = {topic: self._place(topic) for topic in {*keep, *(name for group in self._groups.values() for name in group)}}

    async def open(self) -> None:
        """Connect."""
        self._admin = await self._open.enter_async_context(admin.open_admin(self._deployment))
        # Questions on a consumer that reads would wait behind its long polls.
        self._reader, self._stable = [await self._open.enter_async_context(open_reader(self._deployment)) for _ in range(2)]
        # It sees open transactions too.
        self._latest = await self._open.enter_async_context(AIOKafkaConsumer(**client_options(self._deployment)))
        self._sender = await self._open.enter_async_context(open_sender(self._deployment))

    async def close(self) -> None:
        """Disconnect."""
        await self._open.aclose()

    def send(self, topic: str, records: Sequence[Record]) -> None:
        """Append records to a topic that no task writes, and wait until the broker has them."""
        assert topic not in self._derived
        self._runner.run(self._send(topic, records))

    def settle(self) -> None:
        """Wait until every group has committed the end of each of its inputs, and no transaction is open.

        Raises:
            StackError: nothing has moved for a while.
        """
        self._runner.run(self._settle())

    def read(self, topic: str) -> list[Record]:
        """Return what was committed to a kept topic when the stack last settled, and was not read yet."""
        records, self._kept[topic] = self._kept[topic], []
        return records

    async def _send(self, topic: str, records: Sequence[Record]) -> None:
        for record in records:
            await self._sender.send(topic, 0, *record)
        await self._sender.flush()

    async def _settle(self) -> None:
        moved_s = time.monotonic()
        seen: object = None
        while True:
            # Positions first: what is appended after they were read shows in the ends.
            committed = await self._committed()
            ends = await self._ends(self._latest)
            stable = await self._ends(self._stable)
            if ends == stable and self._all_taken(committed, stable):
                break
            if (state := (committed, ends)) != seen:
                seen, moved_s = state, time.monotonic()
            elif time.monotonic() - moved_s > STANDSTILL_S_MAX:
                raise StackError(f"nothing moved for {STANDSTILL_S_MAX:.0f} s: positions {committed}, ends {ends}; see the workers' logs")
            await asyncio.sleep(POLL_S)
        for topic, end in stable.items():
            if topic in self._kept:
                await self._read(topic, end)

    def _all_taken(self, committed: dict[str, Offsets], stable: Offsets) -> bool:
        """Tell whether positions have reached the ends; a group need not commit the marker after the last record of a task's topic."""
        return all(
            positions.get(topic, 0) >= stable[topic] - (topic in self._derived)
            for name, positions in committed.items()
            for topic in self._groups[name]
        )

    async def _committed(self) -> dict[str, Offsets]:
        found = await asyncio.gather(*(self._admin.list_consumer_group_offsets(name) for name in self._groups))
        return {
            name: {topic: positions[place].offset for topic, place in inputs.items() if place in positions}
            for (name, inputs), positions in zip(self._groups.items(), found, strict=True)
        }

    async def _ends(self, consumer: AIOKafkaConsumer) -> Offsets:
        found = await consumer.end_offsets(list(self._places.values()))
        return {topic: found[place] for topic, place in self._places.items()}

    async def _read(self, topic: str, end: int) -> None:
        async for block in read_blocks(self._reader, topic, self._places[topic], self._read_to[topic], end):
            self._kept[topic] += [Record(*record) for record in zip(block.keys, block.values, block.headers, strict=True)]
        self._read_to[topic] = end

    def _place(self, topic: str) -> TopicPartition:
        return TopicPartition(physical(topic, self._deployment.topic_prefix), 0)
