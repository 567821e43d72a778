"""One Faust app per task group: its agents, its table, its consumer group."""

from typing import Any, cast

import faust
from faust.app.base import BootStrategy
from faust.types import StreamT

from streams.engine.broker import Positions
from streams.engine.liveness import Watchdog, end_process
from streams.engine.metrics import Metrics
from streams.engine.plan import Plan
from streams.engine.recovery import Recovery, TableManager
from streams.engine.store import URL, StateTable, Store
from streams.engine.task import Task
from streams.engine.transactions import Tasks
from streams.engine.transport import REBALANCE_TIMEOUT_S, REQUEST_TIMEOUT_S, Transport

# A full stream buffer idles the consumer for up to a second; how much is fetched is limited by the tasks.
STREAM_BUFFER = 1 << 16


class Boot(BootStrategy):
    """Consumer and tables only: nothing listens, and tasks have producers of their own."""

    enable_web = False
    enable_kafka_producer = False


class GroupApp(faust.App):
    """The Faust app of one task group.

    Args:
        plan: the group, and all that its tasks share.
        positions: reads positions.
        watchdog: ends the process when a task stands still.
        metrics: counts what the tasks do.
    """

    BootStrategy = Boot

    def __init__(self, plan: Plan, positions: Positions, watchdog: Watchdog, metrics: Metrics) -> None:
        self.plan = plan
        self.metrics = metrics
        self.positions = positions
        self.watchdog = watchdog
        self.inputs = {plan.names[topic]: topic for topic in plan.steps}
        directory = plan.deployment.home / "state" / plan.application
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(
            plan.application,
            # Hook of `app.in_transaction`: committed reads, and Tasks in the place of Faust's transactions.
            processing_guarantee="exactly_once",
            TableManager=TableManager,
            autodiscover=False,
            datadir=directory,
            store=URL,
            canonical_url="http://127.0.0.1",
            topic_partitions=plan.partitions,
            topic_allow_declare=False,
            topic_disable_leader=True,
            table_standby_replicas=0,
            stream_buffer_maxsize=STREAM_BUFFER,
            stream_wait_empty=False,
            stream_recovery_delay=0.0,
            # The consumer is created from the deployment; Faust derives limits of its own from these.
            broker_session_timeout=plan.deployment.session_timeout_s,
            broker_rebalance_timeout=REBALANCE_TIMEOUT_S,
            broker_request_timeout=max(REQUEST_TIMEOUT_S, plan.deployment.session_timeout_s),
            worker_redirect_stdouts=False,
        )
        self.in_worker = True
        self.table = StateTable(self, name=plan.group.state, partitions=plan.partitions, key_type=bytes, value_type=bytes)
        self.tables.add(self.table)
        for agent in plan.group.agents:
            topic = self.topic(
                *(plan.names[read.name] for read in agent.reads),
                partitions=plan.partitions,
                acks=False,
                key_serializer="raw",
                value_serializer="raw",
            )
            self.agent(topic, name=agent.name)(self._deliver)

    @property
    def store(self) -> Store:
        """The databases of the tasks."""
        return self.table.data

    @property
    def owned(self) -> dict[int, Task]:
        """The tasks of this process, by number; another dictionary after each assignment."""
        return cast("Tasks", self.consumer.transactions).owned

    @property
    def recovery(self) -> Recovery:
        """What reads changelogs."""
        return cast("TableManager", self.tables).recovery

    async def _deliver(self, stream: StreamT[Any]) -> None:
        """Pass blocks from a Faust stream on to their tasks: what every agent does."""
        async for event in cast("faust.Stream[Any]", stream).noack().events():
            message = event.message
            task = self.owned.get(message.partition)
            if task is not None and message.generation_id == self.consumer_generation_id:
                task.put(event.value)

    async def on_stop(self) -> None:
        """Stop the tasks before what they use."""
        await self.consumer.transactions.on_partitions_revoked(set())
        await super().on_stop()

    async def crash(self, reason: BaseException) -> None:
        """End the process: a worker that is broken in part is worse than one that starts again."""
        self._crash(reason)

    def _crash(self, reason: BaseException) -> None:
        """Hear of any part that has crashed."""
        if not self.should_stop:
            end_process(f"{self.conf.id} failed: {reason}", reason)

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> Transport:
        return Transport(self.conf.broker_producer, self)
