"""The audit topic: every request to write is on it, with the name of who asked, and no name is anywhere else."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from aiokafka import TopicPartition

from schemas import topics
from schemas.codecs import decode
from schemas.events import Audit
from schemas.headers import event_id
from schemas.identity import partition_of
from schemas.settings import Deployment, load_settings
from streams.console import audit, tokens
from streams.console.routes import Call, Identity
from streams.logs.exporting import export_log
from streams.logs.files import read_manifest
from streams.logs.reading import bounds, open_reader, partition_counts, read_blocks
from streams.topology import TOPOLOGY
from tests.console.serving import call, published, served, surfaced, until, write

NAME = "Ana Lima-Pérez"
SAMPLE = {"entity": "web-1", "time_ms": 1_000, "metrics": {"cpu": 1.0}}
OUTCOME = {"scope": "db", "entity": "db-1", "start_ms": 5, "end_ms": 9, "verdict": "incident", "time_ms": 10}


@pytest.fixture(scope="module")
def guarded(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """A console that asks for tokens, and one token of each role, all of one person."""
    path = tmp_path_factory.mktemp("tokens") / "tokens.json"
    made = {role: tokens.make(f"{NAME} {role}", role, 1, None if role == "viewer" else "ana") for role in tokens.ROLES}
    tokens.write(path, [token for _, token in made.values()])
    with published(deployment), served(deployment.model_copy(update={"tokens": path})) as address:
        yield address, {role: secret for role, (secret, _) in made.items()}


def values(deployment: Deployment) -> dict[str, list[tuple[int, bytes, bytes, str]]]:
    """All records of all topics, by topic: partition, key, value, and headers as text."""

    async def read() -> dict[str, list[tuple[int, bytes, bytes, str]]]:
        found: dict[str, list[tuple[int, bytes, bytes, str]]] = {}
        async with open_reader(deployment) as reader:
            for name, count in (await partition_counts(deployment)).items():
                for partition in range(count):
                    place = TopicPartition(topics.physical(name, deployment.topic_prefix), partition)
                    held = (await bounds(reader, [place]))[place]
                    async for block in read_blocks(reader, name, place, held.first, held.end):
                        rows = zip(block.keys, block.values, block.headers, strict=True)
                        found.setdefault(name, []).extend(
                            (partition, key or b"", value or b"", str(headers)) for key, value, headers in rows
                        )
                        assert name != "audit" or len({event_id(headers) for headers in block.headers}) == len(block.headers)
        return found

    return asyncio.run(read())


def test_every_write_is_on_record(deployment: Deployment, guarded: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    """Each request to write leaves one record, taken, refused by role or unusable, with its status and place; reading leaves none.

    The name of who asked is on no other topic, and in no exported log.
    """
    console, secrets = guarded
    write(deployment, surfaced("d1", "web", 1_000_000))
    until(lambda: call(console, "GET", "/api/v1/decisions/d1", headers=bearer(secrets["viewer"])).status == 200)
    asked = [
        ("operator", "/decisions/d1/answers", {"kind": "like"}, 201), ("operator", "/decisions/d1/answers", {"kind": "like"}, 200),
        ("operator", "/decisions/d1/answers", {"kind": "override", "revision": 1}, 409),
        ("operator", "/decisions/none/answers", {"kind": "like"}, 404), ("operator", "/decisions/d1/answers", {"kind": "nonsense"}, 400),
        ("operator", "/outcomes", OUTCOME, 201), ("operator", "/telemetry", {"samples": [SAMPLE] * 3}, 201),
        ("viewer", "/decisions/d1/answers", {"kind": "like"}, 403), ("operator", "/control", {"command": "kill"}, 403),
        ("admin", "/control", {"command": "freeze"}, 200),
    ]  # fmt: skip
    for role, path, body, status in asked:
        assert call(console, "POST", f"/api/v1{path}", body, bearer(secrets[role])).status == status
    assert call(console, "POST", "/api/v1/control", {"command": "kill"}, bearer("npo_unknown")).status == 401
    held = values(deployment)
    told = [(partition, key, decode("audit", value)) for partition, key, value, _ in held["audit"]]
    assert all(key == event.name.encode() and partition == partition_of(key, deployment.partitions) for partition, key, event in told)
    events: list[Audit] = sorted((event for *_, event in told), key=lambda event: event.time_ms)
    assert [(e.name, e.role, e.operator, e.method, e.path, e.status) for e in events] == [
        (f"{NAME} {role}", role, None if role == "viewer" else "ana", "POST", f"/api/v1{path}", status) for role, path, _, status in asked
    ]
    for event in events:
        places = [place.split(":") for place in event.position.split(",") if place]
        assert bool(places) == (event.status in {200, 201})
        for topic, partition, offset in places:
            assert int(offset) < len([row for row in held[topic] if row[0] == int(partition)])
    assert len(events[-1].position.split(",")) == deployment.partitions
    for topic, rows in held.items():
        spoken = any(NAME in value.decode() + key.decode() + headers for _, key, value, headers in rows)
        assert spoken == (topic == "audit"), topic
    asyncio.run(export_log(deployment, load_settings(deployment), TOPOLOGY, tmp_path / "log", lambda *_: None))
    exported = read_manifest(tmp_path / "log").topics.keys()
    assert exported == asyncio.run(partition_counts(deployment)).keys() - {"audit"}


def test_without_tokens_the_name_that_is_given_is_on_record(deployment: Deployment) -> None:
    """Where everybody names himself, the record has the name of the machine's own user and the operator that was given."""
    with served(deployment) as console:
        assert call(console, "POST", "/api/v1/decisions/none/answers", {"kind": "like", "operator": "zoe"}).status in {404, 503}
    events: list[Audit] = [decode("audit", value) for _, _, value, _ in values(deployment)["audit"]]
    assert [(event.name, event.role) for event in events if event.operator == "zoe"] == [("local", "admin")]


def bearer(secret: str) -> dict[str, str]:
    """The header that has a token."""
    return {"Authorization": f"Bearer {secret}"}


async def test_what_the_end_of_the_console_breaks_off_is_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is cancelled may have written already: it is noted before it ends."""
    noted: list[int] = []

    async def note(_: Call, status: int) -> None:
        await asyncio.sleep(0)
        noted.append(status)

    async def respond() -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(audit, "note", note)
    request = make_mocked_request("POST", "/api/v1/control")
    running = asyncio.create_task(audit.noted(Call(request, Identity("anna", "admin"), {}, None, None), respond))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert noted == [503]
