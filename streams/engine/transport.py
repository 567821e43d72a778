"""Faust's consumer, handing over blocks: which partitions to take from, and how a block becomes one Faust message."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import ConsumerStoppedError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message

from schemas.topics import CONTROL
from streams.clients import client_options
from streams.engine.fetch import Delivery, drain
from streams.engine.transactions import Tasks

if TYPE_CHECKING:
    from streams.engine.app import GroupApp

FETCH_BYTES = 2 * 1024 * 1024
# Every question on the consumer's connections waits behind this long poll.
FETCH_WAIT_MS = 100
# How soon to look again whether a full task has room.
FULL_TASK_S = 0.01
REBALANCE_TIMEOUT_S = 30.0
MAX_POLL_INTERVAL_S = 300.0
REQUEST_TIMEOUT_S = 40.0


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread in which aiokafka's consumer lives."""

    app: "GroupApp"

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:  # noqa: ARG002 - Faust's
        """Create the consumer from the deployment: Faust knows no short long polls, and has settings of its own for TLS and SASL."""
        deployment = self.app.plan.deployment
        self._assignor = self.app.assignor
        return AIOKafkaConsumer(
            **client_options(deployment),
            client_id=self.app.conf.id,
            group_id=self.app.conf.id,
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_min_bytes=1,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=FETCH_BYTES,
            session_timeout_ms=int(deployment.session_timeout_s * 1000),
            heartbeat_interval_ms=int(deployment.session_timeout_s * 1000 / 5),
            rebalance_timeout_ms=int(REBALANCE_TIMEOUT_S * 1000),
            max_poll_interval_ms=int(MAX_POLL_INTERVAL_S * 1000),
            request_timeout_ms=int(REQUEST_TIMEOUT_S * 1000),
        )

    async def take(self, wanted: dict[TP, str], timeout_s: float) -> dict[TP, list[Delivery]]:
        """Take what has been fetched for the wanted partitions, from another thread."""
        found = await self.call_thread(self._take, wanted, timeout_s, self.app.consumer_generation_id)
        return cast("dict[TP, list[Delivery]]", found)

    async def _take(self, wanted: dict[TP, str], timeout_s: float, generation: int) -> dict[Any, list[Delivery]]:
        def is_current() -> bool:
            # What is taken while the flow is stopped, or by a call from before a rebalance that has ended meanwhile, would be lost.
            return bool(self.consumer.flow_active) and self.app.consumer_generation_id == generation

        consumer = self._ensure_consumer()
        if consumer._closed or consumer._fetcher._closed:
            raise ConsumerStoppedError
        with consumer._fetcher._subscriptions.fetch_context():
            return await drain(consumer._fetcher, wanted, timeout_s, is_current)


class Consumer(driver.Consumer):
    """Faust's consumer, one message per block."""

    app: "GroupApp"
    transactions: Tasks
    _thread: ConsumerThread

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:  # noqa: ASYNC109 - Faust's
        """Give the blocks of tasks that have room, and feed changelogs to recovery.

        A task that has none is left out of the fetch: nobody waits for it, and control is always read.
        """
        if not self.flow_active:
            await self.wait(self.can_resume_flow)  # type: ignore[arg-type]  # Faust waits for asyncio's events too
        if self.should_stop:
            return
        self.app.watchdog.working(f"{self.app.conf.id} fetching")
        active = self._get_active_partitions().copy()
        generation = self.app.consumer_generation_id
        wanted = {tp: name for tp in active if (name := self._wants(tp)) is not None}
        if not wanted:
            await asyncio.sleep(FULL_TASK_S)
            return
        found = await self._thread.take(wanted, timeout if len(wanted) == len(active) else FULL_TASK_S)
        if not self.flow_active or self.app.consumer_generation_id != generation:
            return
        changelog = self.app.plan.changelog
        for tp in [tp for tp in found if tp.topic == changelog]:
            self.app.recovery.restore(TP(*tp), found.pop(tp))
        # All before the first is on its way: a task knows of control before any other block that came with it.
        for tp, deliveries in found.items():
            self.transactions.offer(tp.partition, deliveries)
        for tp, deliveries in found.items():
            for delivery in deliveries:
                yield TP(*tp), self._message(TP(*tp), delivery, generation)

    def _wants(self, tp: TP) -> str | None:
        """Return the short name of a topic to take from now, None to leave it."""
        if tp.topic == self.app.plan.changelog:
            return tp.topic
        name = self.app.inputs[tp.topic]
        task = self.transactions.owned.get(tp.partition)
        return name if task is not None and (task.has_room or name == CONTROL.name) else None

    def _message(self, tp: TP, delivery: Delivery, generation: int) -> ConsumerMessage:
        """Wrap a block; Faust goes by the offset of its last record."""
        offset = delivery.next - 1
        value = cast("bytes", delivery)
        return ConsumerMessage(tp.topic, tp.partition, offset, 0.0, 0, [], b"", value, None, 0, 0, tp, generation_id=generation)

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the last stable offsets; Faust asks its consumer, which knows them only after a first fetch."""
        return {TP(*place): end for place, end in (await self.app.positions.ends(partitions)).items()}

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the first offsets, without waiting behind a long poll."""
        return {TP(*place): start for place, start in (await self.app.positions.starts(partitions)).items()}

    async def verify_all_partitions_active(self) -> None:
        """Do nothing: Faust looks at what its own way of fetching leaves behind; the watchdog looks at ours."""

    async def perform_seek(self) -> None:
        """Do nothing: tasks seek when they are assigned, to the positions that they read after the fence."""


class Transport(driver.Transport):
    """Faust's transport with the classes above."""

    Consumer = Consumer
    TransactionManager = Tasks
