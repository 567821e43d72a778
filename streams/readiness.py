"""Whether a deployment's groups are at work, and how far behind: asked of the broker, not of the processes."""

from collections.abc import Iterable

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import for_code
from msgspec import Struct

from schemas.settings import Deployment
from schemas.topics import physical
from streams.groups import TaskGroup, consumer_group
from streams.logs.reading import bounds, open_reader, read_blocks

STABLE = "Stable"
# Markers of transactions are no records, so what is behind is counted by reading; beyond this many offsets, their number is told.
COUNTED_MAX = 20_000


class GroupState(Struct):
    """One consumer group.

    Attributes:
        group: Its name.
        state: As the broker says: Stable, Empty, Dead, PreparingRebalance, CompletingRebalance.
        members: Workers.
        assigned: Partitions that a worker has.
        partitions: Partitions that the group reads.
        behind: Committed records that it has not taken yet; with `exact` false, offsets, of which some are no records.
        exact: Whether `behind` counts records.
    """

    group: str
    state: str
    members: int
    assigned: int
    partitions: int
    behind: int = 0
    exact: bool = True

    @property
    def ready(self) -> bool:
        """Whether it is stable and every partition has a worker."""
        return self.state == STABLE and self.assigned == self.partitions


def inputs(deployment: Deployment, group: TaskGroup) -> list[TopicPartition]:
    """Return the partitions that a group reads."""
    names = [physical(topic.name, deployment.topic_prefix) for topic in group.inputs]
    return [TopicPartition(name, partition) for name in names for partition in range(deployment.partitions)]


async def present(admin: AIOKafkaAdminClient, places: Iterable[TopicPartition]) -> list[TopicPartition]:
    """Return the partitions that exist: a consumer that is asked for another one asks for it again and again."""
    found = {(topic["topic"], each["partition"]) for topic in await admin.describe_topics() for each in topic["partitions"]}
    return [place for place in places if place in found]


async def group_states(deployment: Deployment, admin: AIOKafkaAdminClient, groups: Iterable[TaskGroup]) -> list[GroupState]:
    """Ask for the state and assignment of each group."""
    states = []
    for group in groups:
        name, wanted = consumer_group(deployment.application, group), set(inputs(deployment, group))
        (response,) = await admin.describe_consumer_groups([name])
        (described,) = response.to_object()["groups"]
        if described["error_code"]:
            raise for_code(described["error_code"])(f"describing group {name}")
        assignments = [member["member_assignment"] for member in described["members"]]
        assigned = {
            TopicPartition(topic, partition)
            for assignment in assignments
            if assignment
            for topic, partitions in ConsumerProtocolMemberAssignment.decode(assignment).assignment
            for partition in partitions
        }
        states.append(GroupState(name, described["state"], len(assignments), len(assigned & wanted), len(wanted)))
    return states


async def count_behind(
    deployment: Deployment, admin: AIOKafkaAdminClient, groups: Iterable[TaskGroup], states: Iterable[GroupState]
) -> None:
    """Fill in how many committed records each group has not taken yet."""
    async with open_reader(deployment) as reader:
        for group, state in zip(groups, states, strict=True):
            held = await bounds(reader, await present(admin, inputs(deployment, group)))
            committed = await admin.list_consumer_group_offsets(state.group)
            for partition, (first, end) in held.items():
                # -1, or absent: nothing is committed yet.
                start = max(first, committed[partition].offset if partition in committed else first)
                if end - start > COUNTED_MAX:
                    state.behind, state.exact = state.behind + end - start, False
                elif end > start:
                    async for block in read_blocks(reader, "", partition, start, end):
                        state.behind += len(block.offsets)


async def unready(deployment: Deployment, admin: AIOKafkaAdminClient, groups: Iterable[TaskGroup], workers: int) -> list[str]:
    """Return the groups that are not at work with so many workers each, and what is missing."""
    return [
        f"{state.group}: {state.state}, {state.members} workers, {state.assigned} of {state.partitions} partitions assigned"
        for state in await group_states(deployment, admin, groups)
        if not state.ready or state.members < workers
    ]
