"""The records about one decision: from the topics of a deployment, quickest by its read model, or from an exported log."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from aiokafka import TopicPartition
from redis.asyncio import Redis
from redis.exceptions import RedisError

from schemas import codecs, topics
from schemas.errors import DecodeError, UnknownDecisionError
from schemas.events import Decision, Judgement, Model, Recommendation, Scenario
from schemas.identity import partition_of
from schemas.settings import Deployment, Settings, load_settings
from streams.explaining.explanation import Explanation, explain
from streams.logs.files import read_manifest
from streams.logs.reading import bounds, open_reader, partition_counts, read_blocks, require
from streams.reporting.records import ALL, Where, records
from streams.serving.readmodel import SCAN_COUNT

# As many ids as a message names; which others begin alike does not matter.
MATCHES_MAX = 5
REDIS_TIMEOUT_S = 5.0

Read = Callable[[str, Where], AsyncIterator[bytes]]


class Held(NamedTuple):
    """What the read model knows: the decision, and at which offsets its other records begin."""

    decision: Decision
    recommendation: int = 0
    judgement: int = 0


async def explain_running(deployment: Deployment, name: str) -> Explanation:
    """Explain a decision from the topics of a deployment.

    Args:
        deployment: Where to look; its Redis, if it is known, is asked first: it holds the newest decisions of every scope.
        name: The decision's id, or the beginning of it where only one begins so.

    Raises:
        UnknownDecisionError: no decision has this id, or several begin with it.
        TopologyError: there is no decision topic.
        SettingsError: the deployment's settings cannot be read.
    """
    settings = load_settings(deployment)
    counts = await partition_counts(deployment)
    require(counts, [topics.DECISION.name], deployment)
    held = await ask_read_model(deployment, name)
    async with open_reader(deployment) as consumer:

        async def read(topic: str, where: Where) -> AsyncIterator[bytes]:
            for partition in range(counts[topic]) if where.partition is None else [where.partition]:
                place = TopicPartition(topics.physical(topic, deployment.topic_prefix), partition)
                first, last = (await bounds(consumer, [place]))[place]
                end = last if where.end is None else min(where.end, last)
                async for block in read_blocks(consumer, topic, place, max(first, where.start), end):
                    for value in block.values:
                        if value and (where.containing is None or where.containing in value):
                            yield value

        return await explain_from(read, counts, name, settings, held)


async def explain_logged(directory: Path, name: str) -> Explanation:
    """Explain a decision from an exported log; see `explain_running`.

    Raises:
        UnknownDecisionError: no decision has this id, or several begin with it.
        LogFileError: not a complete log.
    """
    manifest = read_manifest(directory)
    counts = {topic: len(parts) for topic, parts in manifest.topics.items()}

    async def read(topic: str, where: Where) -> AsyncIterator[bytes]:
        for record in records(directory, topic, where):
            if record.value:
                yield record.value

    return await explain_from(read, counts, name, manifest.settings)


async def explain_from(
    read: Read, counts: Mapping[str, int], name: str, settings: Settings | None = None, held: Held | None = None
) -> Explanation:
    """Find a decision and the records about it, and explain it.

    All of them have the scope as key, so only that partition of each topic is read; the scenario stands where the decision's
    own positions say.
    """
    found = held or Held(await find_decision(read, counts, name))
    decision = found.decision

    async def of(topic: str, identity: str, start: int = 0, end: int | None = None) -> list[Any]:
        if topic not in counts:
            return []
        where = Where(partition_of(decision.scope.encode(), counts[topic]), start, end, quoted(identity))
        return [event async for event in _decoded(read(topic, where), topic)]

    after = decision.positions.get(topics.SCENARIO.name, 0)
    scenarios = await of(topics.SCENARIO.name, decision.scenario, max(0, after - 1), after)
    lives: list[Recommendation] = await of(topics.RECOMMENDATION.name, decision.id, found.recommendation)
    judgements: list[Judgement] = await of(topics.JUDGEMENT.name, decision.id, found.judgement)
    identity = decision.versions.get("model", "")
    models: list[Model] = [model for model in await of(topics.MODEL.name, identity) if model.id == identity]
    return explain(
        decision,
        next((each for each in scenarios if isinstance(each, Scenario) and each.id == decision.scenario), None),
        [each for each in lives if each.id == decision.id],
        [each for each in judgements if each.decision == decision.id],
        models[-1] if models else None,
        settings,
    )


async def find_decision(read: Read, counts: Mapping[str, int], name: str) -> Decision:
    """Find a decision by its id or the beginning of it, in all partitions of the decision topic.

    Raises:
        UnknownDecisionError: none, or several.
    """
    matches: dict[str, Decision] = {}
    if topics.DECISION.name in counts:
        beginning = b'"id":' + quoted(name)[:-1]
        decision: Decision
        async for decision in _decoded(read(topics.DECISION.name, ALL._replace(containing=beginning)), topics.DECISION.name):
            if decision.id == name:
                return decision
            if decision.id.startswith(name) and len(matches) <= MATCHES_MAX:
                matches[decision.id] = decision
    if len(matches) == 1:
        return next(iter(matches.values()))
    raise unknown(name, list(matches))


def unknown(name: str, matches: list[str]) -> UnknownDecisionError:
    """Say that no decision has an id, or that several begin with it."""
    if matches:
        count = f"{len(matches)}" if len(matches) <= MATCHES_MAX else f"more than {MATCHES_MAX}"
        return UnknownDecisionError(f"{count} decisions begin with {name!r}: {', '.join(matches[:MATCHES_MAX])}; give more of it")
    return UnknownDecisionError(
        f"no decision {name!r}: `npo watch` lists the recommendations that are open, and a decision that the topics no longer hold may be "
        "in an exported log (`npo why DECISION --log DIR`)"
    )


async def ask_read_model(deployment: Deployment, name: str) -> Held | None:
    """Ask the read model for a decision by its id, or the beginning of it where it holds only one that begins so; None if it cannot tell.

    Raises:
        UnknownDecisionError: it holds several that begin so.
    """
    if deployment.redis is None:
        return None
    application = deployment.application
    redis: Redis = Redis.from_url(deployment.redis, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S)
    with suppress(RedisError, OSError, DecodeError):
        async with redis:
            value: Any = await redis.get(f"{application}:decision:{name}")
            if value is None:
                names = await _held(redis, f"{application}:decision:", name)
                if len(names) > 1:
                    raise unknown(name, names)
                value = await redis.get(f"{application}:decision:{names[0]}") if names else None
            if value is None:
                return None
            decision: Decision = codecs.decode(topics.DECISION.name, value)
            offsets = [
                await redis.zscore(f"{application}:{kind}s:{decision.scope}", decision.id)
                for kind in (topics.RECOMMENDATION.name, topics.JUDGEMENT.name)
            ]
            return Held(decision, *(int(offset or 0) for offset in offsets))
    return None


async def _held(redis: Redis, prefix: str, name: str) -> list[str]:
    """Return the ids of decisions that begin so: all, or a few more than a message names."""
    pattern = "".join(f"\\{letter}" if letter in "*?[]^\\" else letter for letter in prefix + name)
    found: set[str] = set()
    async for key in redis.scan_iter(match=f"{pattern}*", count=SCAN_COUNT):
        found.add(key.decode().removeprefix(prefix))
        if len(found) > MATCHES_MAX:
            break
    return sorted(found)


def quoted(name: str) -> bytes:
    """Return a name as it stands in JSON."""
    return msgspec.json.encode(name)


async def _decoded(values: AsyncIterator[bytes], topic: str) -> AsyncIterator[Any]:
    """Decode, leaving out what is none of ours."""
    async for value in values:
        with suppress(DecodeError):
            yield codecs.decode(topic, value)
