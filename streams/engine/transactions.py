"""Which tasks are ours: fenced and placed at every assignment, stopped at every revocation.

Faust's own manager commits transactions on a timer, with whatever outputs are in them; here they belong to the tasks.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka.structs import TopicPartition
from faust.transport.consumer import TransactionManager
from faust.types import TP

from schemas.errors import TopologyError
from schemas.topics import CONTROL
from streams.engine.fetch import Delivery
from streams.engine.task import Task

if TYPE_CHECKING:
    from streams.engine.app import GroupApp

# What the watchdog calls the time from a new assignment to tasks at work.
ASSIGNMENT = "assignment"

log = structlog.get_logger()


class Tasks(TransactionManager):
    """The tasks of this process, in the place of Faust's transaction manager."""

    app: "GroupApp"

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - Faust's
        super().__init__(*args, **options)
        self.owned: dict[int, Task] = {}

    def offer(self, partition: int, deliveries: list[Delivery]) -> None:
        """Tell a task, if it is still ours, of blocks that are on their way to it."""
        if (task := self.owned.get(partition)) is not None:
            for delivery in deliveries:
                task.offer(delivery)

    async def flush(self) -> None:
        """Do nothing: tasks wait for their own outputs."""

    async def commit(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:  # noqa: ARG002, FBT001, FBT002 - Faust's
        """Do nothing: tasks commit."""
        return False

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:  # noqa: ARG002 - all of them, in Faust's protocol
        """Stop all tasks: the open transactions end before others may own them."""
        self.app.recovery.recovered = False
        owned, self.owned = self.owned, {}
        await asyncio.gather(*(task.stop() for task in owned.values()))

    async def on_stop(self) -> None:
        """Stop all tasks."""
        await self.on_partitions_revoked(set())

    async def on_rebalance(self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP]) -> None:  # noqa: ARG002 - Faust's
        """Own the assigned tasks: fence, then read positions, then seek; the same for those that were ours before.

        Raises:
            TopologyError: the assignment gives a task some of its topics only.
            PositionError: the broker no longer holds what a task would read next, or has forgotten where that was.
        """
        app = self.app
        app.watchdog.offered(ASSIGNMENT)
        await self.on_partitions_revoked(revoked)
        partitions = whole_tasks(assigned, {app.plan.names[topic]: topic for topic in app.plan.steps})
        tasks = {partition: Task(app.plan, partition, app.store, app.watchdog, app.metrics) for partition in partitions}
        await asyncio.gather(*(task.fence() for task in tasks.values()))
        places = {TopicPartition(app.plan.names[topic], partition): (partition, topic) for partition in tasks for topic in app.plan.steps}
        control = [place for place, (_, topic) in places.items() if topic == CONTROL.name]
        changelogs = [TopicPartition(app.plan.changelog, partition) for partition in tasks]
        committed, control_ends = await asyncio.gather(app.positions.committed(places, changelogs), app.positions.ends(control))
        await self.consumer.seek_wait({TP(*place): position for place, position in committed.items()})
        for partition, task in tasks.items():
            positions = {topic: committed[place] for place, (number, topic) in places.items() if number == partition}
            control_end = max((end for place, end in control_ends.items() if place.partition == partition), default=0)
            task.start(positions, control_end)
        self.owned = tasks
        app.watchdog.idle(ASSIGNMENT)
        log.info("tasks assigned", group=app.plan.application, generation=app.consumer_generation_id, partitions=sorted(tasks))


def whole_tasks(assigned: set[TP], topics: dict[str, str]) -> list[int]:
    """Return the partition numbers of an assignment.

    Args:
        assigned: topics and partitions, changelogs too.
        topics: short name of each topic that the group reads, by its name on the broker.

    Raises:
        TopologyError: a partition number comes with some of the topics only.
    """
    found: dict[int, set[str]] = defaultdict(set)
    for tp in assigned:
        if tp.topic in topics:
            found[tp.partition].add(topics[tp.topic])
    for partition, names in found.items():
        if missing := set(topics.values()) - names:
            raise TopologyError(
                f"partition {partition} was assigned with {sorted(names)} but without {sorted(missing)}; a task needs all of them. "
                "Give these topics the same number of partitions, and all workers the same topology"
            )
    return sorted(found)
