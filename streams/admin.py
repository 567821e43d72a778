"""Topics as they should be against as they are: creating what is missing, fixing settings, deleting nothing."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Literal

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from msgspec import Struct

from schemas.errors import StackError, TopologyError
from schemas.settings import Deployment
from streams.clients import client_options
from streams.groups import TopicPlan

REPLICAS_MAX = 3
# In DescribeConfigs: a value that the topic itself sets, not a default of its broker.
SET_BY_TOPIC = 1
# A broker's answers show what it has accepted a moment later.
SETTLE_TRIES, SETTLE_S = 100, 0.1


class Difference(Struct, frozen=True):
    """One thing that is not as it should be: a topic's absence, its number of partitions, or one of its settings."""

    topic: str
    what: Literal["absent", "partitions", "setting"]
    name: str
    wanted: str
    found: str

    @property
    def fixable(self) -> bool:
        """Whether `apply` changes it: partitions it leaves alone, because keys would move to others."""
        return self.what != "partitions"


@asynccontextmanager
async def open_admin(deployment: Deployment) -> AsyncIterator[AIOKafkaAdminClient]:
    """Open an admin client.

    Raises:
        StackError: the broker does not answer.
    """
    admin = AIOKafkaAdminClient(**client_options(deployment))
    try:
        await admin.start()
    except KafkaError as error:
        await admin.close()
        raise StackError(f"no broker answers at {deployment.broker} ({error}); start one with `npo up`, or correct NPO_BROKER") from error
    try:
        yield admin
    finally:
        await admin.close()


async def cluster_id(deployment: Deployment) -> str:
    """Return the identity of the broker's cluster."""
    async with open_admin(deployment) as admin:
        return str((await admin.describe_cluster())["cluster_id"])


async def plan(admin: AIOKafkaAdminClient, wanted: Iterable[TopicPlan]) -> list[Difference]:
    """Compare the topics that should be with those that are; settings beyond the wanted ones are the operator's own."""
    wanted = list(wanted)
    found = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
    settings = await _settings(admin, [topic.name for topic in wanted if topic.name in found])
    differences = []
    for topic in wanted:
        if topic.name not in found:
            differences.append(Difference(topic.name, "absent", "", f"{topic.partitions} partitions", "no topic"))
            continue
        if found[topic.name] != topic.partitions:
            differences.append(Difference(topic.name, "partitions", "", str(topic.partitions), str(found[topic.name])))
        for name, value in topic.config.items():
            current = settings[topic.name].get(name)
            if current is None or current.value != value:
                differences.append(Difference(topic.name, "setting", name, value, current.value if current else "unknown to the broker"))
    return differences


async def apply(admin: AIOKafkaAdminClient, wanted: Iterable[TopicPlan]) -> list[Difference]:
    """Create what is missing, correct settings, and return what still differs: numbers of partitions, which stay as they are.

    Raises:
        TopologyError: the broker refuses a topic or a setting.
    """
    by_name = {topic.name: topic for topic in wanted}
    differences = await plan(admin, by_name.values())
    if absent := [by_name[difference.topic] for difference in differences if difference.what == "absent"]:
        brokers = len((await admin.describe_cluster())["brokers"])
        replicas = min(REPLICAS_MAX, brokers)
        # What is acknowledged must outlive a leader: with the broker's default, one copy would do.
        durable = {"min.insync.replicas": str(replicas - 1)} if replicas == REPLICAS_MAX else {}
        new = [NewTopic(topic.name, topic.partitions, replicas, topic_configs=topic.config | durable) for topic in absent]
        for name, code, message in (await admin.create_topics(new)).topic_errors:
            # Another process may have been quicker.
            if code not in {0, TopicAlreadyExistsError.errno}:
                raise TopologyError(f"the broker does not create {name}: {message or for_code(code).__name__}")
    if wrong := sorted({difference.topic for difference in differences if difference.what == "setting"}):
        # AlterConfigs replaces all that a topic sets: what is not named again falls back to the broker's default.
        found = await _settings(admin, wrong)
        kept = {name: {key: value.value for key, value in found[name].items() if value.by_topic} for name in wrong}
        changes = [ConfigResource(ConfigResourceType.TOPIC, name, configs=kept[name] | by_name[name].config) for name in wrong]
        for response in await admin.alter_configs(changes):
            for code, message, _, name in response.resources:
                if code:
                    raise TopologyError(f"the broker does not change the settings of {name}: {message or for_code(code).__name__}")
    return await _settled(admin, by_name.values())


async def ensure(deployment: Deployment, wanted: Iterable[TopicPlan]) -> None:
    """Apply, and refuse what then still differs.

    Raises:
        TopologyError: a topic has another number of partitions, or the broker refuses something.
    """
    async with open_admin(deployment) as admin:
        remaining = await apply(admin, wanted)
    if remaining:
        lines = "; ".join(f"{each.topic} has {each.found} partitions, wanted {each.wanted}" for each in remaining)
        raise TopologyError(f"{lines}. Set NPO_PARTITIONS to what is there, or start with other topics (NPO_TOPIC_PREFIX, NPO_APPLICATION)")


class _Setting(Struct, frozen=True):
    value: str
    by_topic: bool


async def _settings(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, _Setting]]:
    """Return the settings of topics that exist, by topic and name."""
    if not names:
        return {}
    found: dict[str, dict[str, _Setting]] = {}
    for response in await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names]):
        entries: Any
        for code, message, _, name, entries in response.resources:
            if code:
                raise TopologyError(f"the broker does not tell the settings of {name}: {message or for_code(code).__name__}")
            found[name] = {entry[0]: _Setting(entry[1] or "", entry[3] == SET_BY_TOPIC) for entry in entries}
    return found


async def _settled(admin: AIOKafkaAdminClient, wanted: Iterable[TopicPlan]) -> list[Difference]:
    """Wait until the broker shows what it has accepted (for ten seconds at most), and return what differs then."""
    differences = await plan(admin, wanted)
    for _ in range(SETTLE_TRIES):
        if not any(difference.fixable for difference in differences):
            break
        await asyncio.sleep(SETTLE_S)
        differences = await plan(admin, wanted)
    return differences
