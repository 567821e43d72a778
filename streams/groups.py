"""What a topology is made of, and what follows from one: topics to create, and the picture of the system."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from agents.step import Step
from schemas.topics import AUDIT, FEEDBACK, MERGE, Retention, Topic, dead_letter, physical

# Samples and scenarios can be had again from their sources; a week is what an operator has to notice.
SHORT_RETENTION_MS = 7 * 86_400_000
# Room for a model or a window of an excerpt; Kafka's own default is 1 MiB.
RECORD_BYTES_MAX = 8 * 1024 * 1024
# A dead letter is the whole record and some headers more.
DEAD_LETTER_BYTES_MAX = RECORD_BYTES_MAX + 64 * 1024
# A local store that was away for less than this still learns of every deleted row.
TOMBSTONE_RETENTION_MS = 30 * 86_400_000


class Agent(NamedTuple):
    """What one step reads and writes; a topic is read by one agent of its group only."""

    name: str
    reads: tuple[Topic, ...]
    step: Step
    writes: tuple[Topic, ...]


class TaskGroup(NamedTuple):
    """Agents over one state. A task of the group is one partition number of all the topics that they read."""

    name: str
    state: str
    agents: tuple[Agent, ...]

    @property
    def inputs(self) -> tuple[Topic, ...]:
        """The topics that the group reads."""
        return tuple(topic for agent in self.agents for topic in agent.reads)

    @property
    def outputs(self) -> tuple[Topic, ...]:
        """The topics that the group writes, dead letters and the merge order apart."""
        return tuple(dict.fromkeys(topic for agent in self.agents for topic in agent.writes))

    @property
    def merges(self) -> bool:
        """Whether inputs meet here, so that their order has to be recorded."""
        return len(self.inputs) > 1


class TopicPlan(NamedTuple):
    """One topic as it should be on the broker."""

    name: str
    partitions: int
    config: dict[str, str]


def consumer_group(application: str, group: TaskGroup) -> str:
    """Return the name of a group's consumer group, which also begins the names of its changelog and its transactions."""
    return f"{application}-{group.name}"


def changelog(application: str, group: TaskGroup) -> str:
    """Return the broker's name of a group's changelog topic, as Faust derives it."""
    return f"{consumer_group(application, group)}-{group.state}-changelog"


def plan_topics(
    topology: Iterable[TaskGroup], partitions: int, *, application: str = "npo", prefix: str = "npo.", keep: bool = False
) -> list[TopicPlan]:
    """Return every topic that a topology needs, as it should be.

    All have the broker's append time: a broker deletes records whose own time is older than the retention.

    Args:
        topology: the task groups.
        partitions: of every topic; the topics of one group must have the same number.
        application: begins the changelogs' names.
        prefix: begins the other topics' names.
        keep: keep everything for ever, as a stack on one machine does.
    """
    groups = tuple(topology)
    data = dict.fromkeys(topic for group in groups for topic in (*group.inputs, *group.outputs))
    if any(group.merges for group in groups):
        data[MERGE] = None
    # Where people answer, the console notes who did.
    if FEEDBACK in data:
        data[AUDIT] = None
    plans = [
        TopicPlan(physical(topic.name, prefix), partitions, _config(RECORD_BYTES_MAX, None if keep else topic.retention)) for topic in data
    ]
    inputs = dict.fromkeys(topic for group in groups for topic in group.inputs)
    plans += [
        TopicPlan(physical(dead_letter(topic.name), prefix), partitions, _config(DEAD_LETTER_BYTES_MAX, Retention.LONG)) for topic in inputs
    ]
    compacted = {
        "cleanup.policy": "compact",
        "delete.retention.ms": str(TOMBSTONE_RETENTION_MS),
        "max.message.bytes": str(RECORD_BYTES_MAX),
        "message.timestamp.type": "LogAppendTime",
    }
    return plans + [TopicPlan(changelog(application, group), partitions, compacted) for group in groups]


def _config(bytes_max: int, retention: Retention | None) -> dict[str, str]:
    return {
        "cleanup.policy": "delete",
        "max.message.bytes": str(bytes_max),
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(SHORT_RETENTION_MS) if retention is Retention.SHORT else "-1",
    }


def describe(topology: Iterable[TaskGroup]) -> dict[str, Any]:
    """Return a topology as plain data, for JSON."""
    return {
        group.name: {
            "state": group.state,
            "agents": {
                agent.name: {
                    "reads": [topic.name for topic in agent.reads],
                    "step": f"{agent.step.__module__}.{agent.step.__qualname__}",
                    "writes": [topic.name for topic in agent.writes],
                }
                for agent in group.agents
            },
        }
        for group in topology
    }


def mermaid(topology: Iterable[TaskGroup]) -> str:
    """Draw a topology as a Mermaid flowchart: topics are rounded, agents are boxes inside their group."""
    groups = tuple(topology)
    topics = dict.fromkeys(topic.name for group in groups for topic in (*group.inputs, *group.outputs))
    lines = ["flowchart LR"]
    lines += [f"  {_node(name)}([{name}])" for name in topics]
    for group in groups:
        lines.append(f'  subgraph {group.name}["{group.name}: one task per partition, state {group.state}"]')
        lines += [f"    {agent.name}[{agent.name}]" for agent in group.agents]
        lines.append("  end")
    for group in groups:
        for agent in group.agents:
            lines += [f"  {_node(topic.name)} --> {agent.name}" for topic in agent.reads]
            lines += [f"  {agent.name} --> {_node(topic.name)}" for topic in agent.writes]
    return "\n".join(lines) + "\n"


def _node(topic: str) -> str:
    """Name a topic's node so that it is no agent's, and no word that Mermaid keeps for itself."""
    return f"topic-{topic}"
