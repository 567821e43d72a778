"""What all tasks of one group have in common: settings, steps, names and limits."""

from dataclasses import dataclass
from functools import cached_property

from agents.step import Step
from schemas.errors import TopologyError
from schemas.settings import Deployment, Settings
from schemas.topics import MERGE, dead_letter, physical
from streams.engine.broker import TopicFacts, read_topics
from streams.engine.compute import Limits
from streams.groups import TaskGroup, changelog, consumer_group


@dataclass(frozen=True)
class Plan:
    """One task group as this process runs it.

    Attributes:
        deployment: where servers and files are.
        settings: what decisions depend on.
        group: the row of the topology.
        topics: the group's topics as they are on the broker, by their names there.
    """

    deployment: Deployment
    settings: Settings
    group: TaskGroup
    topics: dict[str, TopicFacts]

    @cached_property
    def application(self) -> str:
        """The consumer group, which also begins the names of the changelog and of the transactions."""
        return consumer_group(self.deployment.application, self.group)

    @cached_property
    def changelog(self) -> str:
        """The broker's name of the state's changelog."""
        return changelog(self.deployment.application, self.group)

    @cached_property
    def partitions(self) -> int:
        """How many tasks there are."""
        return self.topics[self.changelog].partitions

    @cached_property
    def steps(self) -> dict[str, Step]:
        """The step of each input topic, by short name."""
        return {topic.name: agent.step for agent in self.group.agents for topic in agent.reads}

    @cached_property
    def names(self) -> dict[str, str]:
        """The broker's name of each topic that the group reads or writes, by short name."""
        return _names(self.deployment, self.group)

    @cached_property
    def limits(self) -> Limits:
        """What the steps may write to, and how much each topic takes at once."""
        written = [*(topic.name for topic in self.group.outputs), *(dead_letter(topic.name) for topic in self.group.inputs)]
        taken = {name: self.topics[self.names[name]].bytes_max for name in written}
        return Limits(taken, self.topics[self.changelog].bytes_max, self.group.name)

    def partitions_of(self, name: str) -> int:
        """Return the number of partitions of a topic, by its short name."""
        return self.topics[self.names[name]].partitions


def _names(deployment: Deployment, group: TaskGroup) -> dict[str, str]:
    inputs = [topic.name for topic in group.inputs]
    names = [*inputs, *(topic.name for topic in group.outputs), *map(dead_letter, inputs), *([MERGE.name] if group.merges else [])]
    return {name: physical(name, deployment.topic_prefix) for name in names}


async def make_plan(deployment: Deployment, settings: Settings, group: TaskGroup) -> Plan:
    """Read what the broker knows of a group's topics.

    Raises:
        TopologyError: a topic does not exist, or its partitions do not fit the group's.
    """
    state = changelog(deployment.application, group)
    topics = await read_topics(deployment, [*_names(deployment, group).values(), state])
    plan = Plan(deployment, settings, group, topics)
    check_partitions(plan)
    return plan


def check_partitions(plan: Plan) -> None:
    """Raise TopologyError if topics that are read together, or their changelog, differ in their number of partitions."""
    for topic in plan.group.inputs:
        name = plan.names[topic.name]
        if (found := plan.topics[name].partitions) != plan.partitions:
            raise TopologyError(
                f"topic {name} has {found} partitions, {plan.changelog} has {plan.partitions}; they are read together and must be equal. "
                "Recreate one of them (`npo topics plan` shows how)"
            )
