"""What the publisher tells of itself: whether the read model follows the topics, and what stands in it."""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from schemas import codecs
from schemas.alignment import Alarm
from schemas.identity import partition_of
from schemas.settings import Deployment
from streams import admin
from streams.embedded import Kafka, Valkey, start_valkey
from streams.embedded.children import free_ports
from streams.groups import plan_topics
from streams.logs.sending import open_sender
from streams.serving import measures
from streams.serving.force import Commanded, Force
from streams.serving.measures import Measures
from streams.topology import TOPOLOGY
from tests.console.serving import published

PARTITIONS, PATIENCE_S = 2, 90.0
TOLD = Commanded("me", 1_000)
OK, UNAVAILABLE = 200, 503


def until(condition: Callable[[], Any]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.1)


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Return what an exposition tells: by metric and values of its labels, which are in the order of their names."""
    found = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {(sample.name, *sample.labels.values()): sample.value for sample in found}


def told(held: Measures) -> dict[tuple[str, ...], float]:
    """Return the gauges of the publisher."""
    return {(sample.name, *sample.labels.values()): sample.value for metric in held.collect() for sample in metric.samples}


def test_ready_while_rounds_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher is ready from its first round on, and not while rounds stay away; alive it is all the time."""
    held, now_s = Measures(), 1_000.0
    monkeypatch.setattr("streams.serving.measures.time.time", lambda: now_s)
    assert "not been written yet" in held.ready().checks["read_model"].reason
    held.written([], {})
    assert held.ready().ok
    now_s += measures.ROUND_S_MAX + 1
    assert "nothing written for 11.0 s" in held.ready().checks["read_model"].reason
    assert not held.ready().ok
    held.written([], {})
    assert held.ready().ok
    assert held.live().ok


def test_delay_is_that_of_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each batch counts once, with the age of its oldest record; a round without records counts no delay, and tells what is behind."""
    held = Measures()
    monkeypatch.setattr("streams.serving.measures.time.time", lambda: 10.0)
    held.written([9_000, 4_000], {"decision": 3})
    held.written([], {"decision": 1})
    held.written([11_000], {"decision": 0})
    get = held.registry.get_sample_value
    assert get("npo_readmodel_append_to_write_seconds_count") == 2
    assert get("npo_readmodel_append_to_write_seconds_sum") == 6, "a clock that is ahead gives no negative delay"
    assert told(held)["npo_readmodel_lag_offsets", "decision"] == 0


async def test_scopes_are_told_as_they_stand_in_redis(valkey: Valkey, unique_name: str) -> None:
    """Alarms, commands and open recommendations are those that Redis holds, and gone when it holds them no more."""
    forces = {
        b"*:0": Force(),
        b"*:1": Force(killed=TOLD),
        b"*:2": Force(),
        b"a:b:1": Force(frozen=TOLD, quarantined={"eve": TOLD, "mallory": TOLD}),
        b"web:0": Force(),
    }
    async with Redis.from_url(valkey.url) as redis:
        await redis.zadd(f"{unique_name}:clock", {"a:b": 1, "web": 2})
        await redis.hset(f"{unique_name}:alarms:a:b", "override_budget", "{}")
        await redis.zadd(f"{unique_name}:open:web", {"d1": 1, "d2": 2})
        await redis.hset(f"{unique_name}:control", mapping={name: msgspec.json.encode(force) for name, force in forces.items()})
        held = Measures()
        await held.look(redis, unique_name)
        assert told(held) == {
            ("npo_scope_alarm", "a:b", "override_budget"): 1,
            ("npo_scope_open", "a:b"): 0,
            ("npo_scope_open", "web"): 2,
            ("npo_scope_in_force", "*", "killed"): 1,
            ("npo_scope_in_force", "a:b", "frozen"): 1,
            ("npo_scope_in_force", "a:b", "quarantined"): 2,
        }
        await redis.delete(*(f"{unique_name}:{part}" for part in ("clock", "control")))
        await held.look(redis, unique_name)
        assert told(held), "not asked again at once"
        held._looked_s -= measures.LOOK_S
        await held.look(redis, unique_name)
        assert told(held) == {}


def ask(port: int, path: str) -> tuple[int, str]:
    """Return status and body of an answer; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


async def raise_alarms(deployment: Deployment, count: int) -> None:
    """Write alarms as the pipeline does."""
    async with open_sender(deployment) as sender:
        for number in range(count):
            event = Alarm(f"a{number}", "web", 1_000 + number, f"alarm-{number}", raised=True, detail="made up", positions={})
            await sender.send("alignment", partition_of(b"web", PARTITIONS), b"web", codecs.encode(event), ())


@pytest.mark.timeout(300)  # a Valkey that ends and starts, on a machine that may be busy
def test_a_publisher_tells_that_redis_is_away(kafka: Kafka, unique_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All read: nothing is behind, markers or not. Redis away: alive and not ready. Redis empty again: one more rebuild, and ready."""
    monkeypatch.setattr(measures, "ROUND_S_MAX", 3.0)
    monkeypatch.setattr(measures, "LOOK_S", 0.0)
    (port,) = free_ports(1)
    valkey = start_valkey(tmp_path)
    places: dict[str, Any] = {"broker": kafka.bootstrap, "redis": valkey.url, "health_port": port, "home": tmp_path}
    deployment = Deployment(**places, topic_prefix=f"{unique_name}.", application=unique_name, partitions=PARTITIONS)
    asyncio.run(admin.ensure(deployment, plan_topics(TOPOLOGY, PARTITIONS, application=unique_name, prefix=f"{unique_name}.", keep=True)))
    with published(deployment):
        asyncio.run(raise_alarms(deployment, 3))
        until(lambda: samples(ask(port, "/metrics")[1]).get(("npo_scope_alarm", "alarm-2", "web")) == 1)
        until(lambda: samples(ask(port, "/metrics")[1]).get(("npo_readmodel_lag_offsets", "alignment")) == 0)
        assert ask(port, "/readyz")[0] == OK
        before = samples(ask(port, "/metrics")[1])["npo_readmodel_rebuilds_total",]
        valkey.kill()
        until(lambda: ask(port, "/readyz")[0] == UNAVAILABLE)
        assert "nothing written" in json.loads(ask(port, "/readyz")[1])["checks"]["read_model"]["reason"]
        assert ask(port, "/livez")[0] == OK
        with start_valkey(tmp_path, valkey.port):
            until(lambda: ask(port, "/readyz")[0] == OK)
            after = samples(ask(port, "/metrics")[1])
    assert (before, after["npo_readmodel_rebuilds_total",]) == (1, 2)
