"""The AsyncAPI 3.0 document: servers, channels, messages and operations, from topology, topics, schemas and examples.

Plain data, which the tests check against AsyncAPI's own schema. The models of pydantic-asyncapi 0.3 do not fit: they have no key of a
Kafka message, spell `topicConfiguration` otherwise, and ask for OAuth flows where a server has SASL.
"""

from collections.abc import Iterable, Iterator
from typing import Any, get_args

import yaml

from schemas import topics
from schemas.headers import JSON
from schemas.settings import Deployment
from schemas.topics import MERGE, Topic, dead_letter, physical
from streams.contracts.messages import BINDINGS, DEAD_LETTER, header_schemas, letter, messages
from streams.contracts.schemas import Schema, capitalised, components
from streams.groups import TaskGroup, TopicPlan, consumer_group, plan_topics

APPLICATION = "npo"
MECHANISMS = {"PLAIN": "plain", "SCRAM-SHA-256": "scramSha256", "SCRAM-SHA-512": "scramSha512"}


def document(topology: Iterable[TaskGroup]) -> dict[str, Any]:
    """Return the AsyncAPI document of a topology."""
    groups = tuple(topology)
    # Changelogs belong to their group alone and are nobody's contract.
    plans = {topics.short(plan.name): plan for plan in plan_topics(groups, 1) if not plan.name.endswith("-changelog")}
    carried = [topic for topic in topics.TOPICS if topic.name in plans]
    letters = [topic for topic in carried if dead_letter(topic.name) in plans]
    written = {MERGE, *(topic for group in groups for topic in group.outputs)}
    _, structs = components([topic.name for topic in carried], "#/components/schemas/{name}")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "NPO streaming pipeline",
            "version": "1.0.0",
            "description": (
                "Telemetry in; scenarios, decisions and recommendations out; answers back. Topics begin with `npo.` unless "
                "NPO_TOPIC_PREFIX says otherwise; all have NPO_PARTITIONS partitions and the broker's append time. "
                "Written by `python -m streams.contracts`; docs/contracts.md says how to use it."
            ),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": JSON.decode(),
        "servers": _servers(),
        "channels": {
            **{topic.name: _channel(topic, plans[topic.name], derived=topic in written) for topic in carried},
            **{dead_letter(topic.name): _letters_channel(topic, plans[dead_letter(topic.name)]) for topic in letters},
        },
        "operations": dict(sorted(operation for group in groups for operation in _operations(group))),
        "components": {
            "messages": dict(message for topic in carried for message in messages(topic))
            | {f"{topic.name}.{DEAD_LETTER}": letter(topic) for topic in letters},
            "schemas": {name: _draft_07(struct) for name, struct in structs.items()} | header_schemas(),
            "securitySchemes": {
                **{name: {"type": kind, "description": f"SASL {mechanism}"} for mechanism, (name, kind) in _mechanisms().items()},
                "certificate": {"type": "X509", "description": "A client's certificate, where the broker asks for one."},
            },
        },
    }


def _mechanisms() -> dict[str, tuple[str, str]]:
    """Return name and type of the security scheme of each SASL mechanism that a deployment can have."""
    kinds = get_args(Deployment.model_fields["sasl_mechanism"].annotation)
    return {mechanism: (f"sasl-{mechanism.lower()}", MECHANISMS[mechanism]) for kind in kinds for mechanism in get_args(kind)}


def _servers() -> dict[str, Any]:
    """Return one server for each security protocol that a deployment can have."""
    servers = {}
    for protocol in get_args(Deployment.model_fields["security_protocol"].annotation):
        names = [name for name, _ in _mechanisms().values()] if "SASL" in protocol else ["certificate"] if protocol == "SSL" else []
        servers[protocol.lower().replace("_", "-")] = {
            "host": "{broker}",
            "protocol": "kafka-secure" if "SSL" in protocol else "kafka",
            "description": f"NPO_SECURITY_PROTOCOL={protocol}",
            "variables": {"broker": {"default": "localhost:9092", "description": "NPO_BROKER"}},
            **({"security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in names]} if names else {}),
        }
    return servers


def _channel(topic: Topic, plan: TopicPlan, *, derived: bool) -> dict[str, Any]:
    names = [name for name, _ in messages(topic)]
    return {
        "address": plan.name,
        "title": topic.name,
        "description": f"{capitalised(topic.carries)}. Key: {topic.key}.",
        "messages": {name.rpartition(".")[2]: {"$ref": f"#/components/messages/{name}"} for name in names},
        "tags": [{"name": name} for name, holds in (("input", topic in topics.INPUTS), ("derived", derived)) if holds],
        "bindings": _topic_binding(plan),
    }


def _letters_channel(topic: Topic, plan: TopicPlan) -> dict[str, Any]:
    return {
        "address": plan.name,
        "title": dead_letter(topic.name),
        "description": f"Records of {physical(topic.name)} that could not be processed: unchanged, under their own key, with the reason.",
        "messages": {DEAD_LETTER: {"$ref": f"#/components/messages/{topic.name}.{DEAD_LETTER}"}},
        "tags": [{"name": "dead letters"}],
        "bindings": _topic_binding(plan),
    }


def _topic_binding(plan: TopicPlan) -> dict[str, Any]:
    """Return a topic's settings in AsyncAPI's types."""
    config: dict[str, Any] = {name: int(value) if value.lstrip("-").isdigit() else value for name, value in plan.config.items()}
    config["cleanup.policy"] = [config["cleanup.policy"]]
    return {"kafka": {"topic": plan.name, "topicConfiguration": config, "bindingVersion": BINDINGS}}


def _operations(group: TaskGroup) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give what each agent of a group receives and sends; the merge order is sent by the group."""
    for agent in group.agents:
        for topic in agent.reads:
            yield f"{agent.name}-receives-{topic.name}", _operation("receive", group, agent.name, topic.name)
        for name in (*(topic.name for topic in agent.writes), *(dead_letter(topic.name) for topic in agent.reads)):
            yield f"{agent.name}-sends-{name}", _operation("send", group, agent.name, name)
    if group.merges:
        yield f"{group.name}-sends-{MERGE.name}", _operation("send", group, group.name, MERGE.name)


def _operation(action: str, group: TaskGroup, agent: str, channel: str) -> dict[str, Any]:
    binding = {"groupId": {"type": "string", "const": consumer_group(APPLICATION, group)}, "bindingVersion": BINDINGS}
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "title": f"{agent} {'writes' if action == 'send' else 'reads'} {channel}",
        "tags": [{"name": group.name}],
        **({"bindings": {"kafka": binding}} if action == "receive" else {}),
    }


def _draft_07(schema: Schema) -> Schema:
    """Return a struct's schema in AsyncAPI's own dialect, where an array's places are its `items`."""
    places = schema.get("prefixItems")
    return {**{name: part for name, part in schema.items() if name != "prefixItems"}, **({"items": places} if places else {})}


class _Dumper(yaml.SafeDumper):
    """Writes shared parts out each time: aliases make a document hard to read."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's
        return True


def to_yaml(value: dict[str, Any]) -> str:
    """Write a document."""
    note = "# Written from streams/topology.py and schemas by `python -m streams.contracts`; do not edit.\n"
    return note + yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=140)
