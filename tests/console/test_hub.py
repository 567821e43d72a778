"""The stream of events: who is cut off and resumes has seen exactly the log; nobody holds up anybody; what is gone is told."""

import asyncio
import json
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
from aiohttp import ClientResponse, ClientTimeout, web
from aiohttp.test_utils import TestClient, TestServer
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from schemas import codecs, topics
from schemas.alignment import Alarm
from schemas.events import Answer, Command, Control, Feedback
from schemas.identity import partition_of
from schemas.settings import Deployment
from streams import admin
from streams.console import hub as hubs
from streams.console import stream
from streams.console.cursor import NOWHERE, OFFSET_MAX, Cursor, of_positions, parse, write
from streams.console.routes import API, DEPLOYMENT, Call, Identity
from streams.console.server import parameters, tell_problems
from streams.embedded import Kafka, Valkey, start_kafka
from streams.groups import plan_topics
from streams.topology import TOPOLOGY
from tests.test_publisher import publishing

PARTITIONS = 2
SCOPES = ("web", "db")
PATH = f"{API}/events"
Application = TestClient[web.Request, web.Application]


class Written(NamedTuple):
    """One committed record of the log: the topic and scope as a listener knows them, where it stands, and its event."""

    topic: str
    scope: str | None
    partition: int
    offset: int
    event: Any


class Sent(NamedTuple):
    """One frame of the stream: what kind it is, the cursor after it, and its data."""

    kind: str
    id: str
    data: dict[str, Any]


def alarm(scope: str, number: int, detail: str = "d") -> Alarm:
    """An alarm of which only scope and number matter."""
    return Alarm(f"a{number}", scope, 1_000 + number, "budget", raised=True, detail=detail, positions={})


async def make_topics(kafka: Kafka, name: str) -> Deployment:
    """A deployment whose topics exist, and have nothing."""
    deployment = Deployment(broker=kafka.bootstrap, topic_prefix=f"{name}.", application=name, partitions=PARTITIONS)
    await admin.ensure(deployment, plan_topics(TOPOLOGY, PARTITIONS, application=name, prefix=f"{name}.", keep=True))
    return deployment


@asynccontextmanager
async def serving(deployment: Deployment, ring_events: int = hubs.RING_EVENTS) -> AsyncIterator[Application]:
    """The stream of events on a server of its own, whose hub is ready."""
    route = stream.ROUTES[0]

    async def handle(request: web.Request) -> web.StreamResponse:
        answer = await route.handler(Call(request, Identity("local", "admin"), {}, parameters(request, route), None))
        assert isinstance(answer, web.StreamResponse)
        return answer

    application = web.Application(middlewares=[tell_problems])
    application[DEPLOYMENT] = deployment
    application.cleanup_ctx.append(stream.lifespan)
    application.router.add_get(PATH, handle)
    async with TestClient(TestServer(application), timeout=ClientTimeout(total=None)) as client:
        hub = application[stream.HUB]
        hub.ring_events = ring_events
        await asyncio.wait_for(hub.ready.wait(), 60)
        yield client


def hub_of(client: Application) -> hubs.Hub:
    """The hub of a server."""
    application = client.server.app  # type: ignore[attr-defined]  # of TestServer, which the base class is not
    hub: hubs.Hub = application[stream.HUB]
    return hub


@asynccontextmanager
async def writing(deployment: Deployment) -> AsyncIterator[AIOKafkaProducer]:
    """A producer that writes as the pipeline does, in transactions."""
    producer = AIOKafkaProducer(bootstrap_servers=deployment.broker, transactional_id=deployment.application, max_request_size=1 << 20)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def append(
    producer: AIOKafkaProducer, deployment: Deployment, records: list[tuple[str, Any]], *, commit: bool = True
) -> list[Written]:
    """Append records in one transaction, which is committed or aborted, and return what of it the log then holds."""
    await producer.begin_transaction()
    written = []
    for topic, event in records:
        # An answer stands for its dead letter here; its own topic is not followed. A command to all stands in every partition.
        answered = isinstance(event, Feedback)
        name, scope = (topics.dead_letter(topic), "web") if answered else (topic, event.scope)
        headers = [("npo_reason", b"spoofed"), ("npo_topic", topic.encode()), ("npo_reason", b"unknown_decision")] if answered else []
        for partition in range(PARTITIONS) if scope is None else [partition_of(scope.encode(), PARTITIONS)]:
            physical = topics.physical(name, deployment.topic_prefix)
            key = (scope or "*").encode()
            sent = await producer.send_and_wait(physical, codecs.encode(event), key, partition=partition, headers=headers)
            written.append(Written(name, scope, partition, sent.offset, json.loads(codecs.encode(event))))
    if not commit:
        await producer.abort_transaction()
        return []
    await producer.commit_transaction()
    return written


async def frames(response: ClientResponse, bytes_max: int | None = None) -> AsyncIterator[Sent]:
    """Read whole frames until the response ends, or until so many bytes have come, wherever in a frame that is."""
    assert response.status == 200, await response.text()
    rest = b""
    while bytes_max is None or bytes_max > 0:
        part = await response.content.read(16_384 if bytes_max is None else min(bytes_max, 16_384))
        if not part:
            return
        bytes_max = None if bytes_max is None else bytes_max - len(part)
        *whole, rest = (rest + part).split(b"\n\n")
        for frame in whole:
            fields = dict(line.split(b": ", 1) for line in frame.split(b"\n") if not line.startswith(b":"))
            yield Sent(fields.get(b"event", b"").decode(), fields.get(b"id", b"").decode(), json.loads(fields.get(b"data", b"{}")))


async def listen(client: Application, query: dict[str, str], cuts: list[int], enough: Callable[[list[Sent]], bool]) -> list[Sent]:
    """Listen until there is enough, cut off after each of `cuts` bytes, and resuming by the last id that came whole."""
    got: list[Sent] = []
    last = ""
    for bytes_max in (*cuts, None):
        async with client.get(PATH, params=query, headers={"Last-Event-ID": last} if last else {}) as response:
            async for sent in frames(response, bytes_max):
                got.append(sent)
                last = sent.id or last
                if enough(got):
                    return got
            response.close()
    return got


def seen(got: list[Sent]) -> dict[tuple[str, int], list[tuple[int, Any]]]:
    """What came, by topic and partition in the order in which it came."""
    by_place: dict[tuple[str, int], list[tuple[int, Any]]] = defaultdict(list)
    for sent in got:
        if sent.kind:
            event = sent.data["event"]
            place = sent.data["topic"], sent.data["partition"]
            by_place[place].append((sent.data["offset"], event["event"] if sent.kind == "refused" else event))
    return by_place


def expected(log: list[Written], start: Cursor, scope: str | None) -> dict[tuple[str, int], list[tuple[int, Any]]]:
    """What a listener that starts somewhere has to see of a log."""
    by_place: dict[tuple[str, int], list[tuple[int, Any]]] = defaultdict(list)
    for each in log:
        if each.offset >= start.places.get((each.topic, each.partition), OFFSET_MAX) and (scope is None or each.scope in {None, scope}):
            by_place[each.topic, each.partition].append((each.offset, each.event))
    return by_place


records = st.one_of(
    st.builds(lambda scope, number: ("alignment", alarm(scope, number)), st.sampled_from(SCOPES), st.integers(0, 99)),
    st.builds(lambda scope: ("control", Control(Command.FREEZE, 1_000, "me", scope)), st.sampled_from((None, *SCOPES))),
    st.builds(lambda number: ("feedback", Feedback(f"d{number}", "me\u2028\n", Answer.LIKE, 1_000)), st.integers(0, 99)),
)
transactions = st.lists(st.tuples(st.lists(records, max_size=12), st.integers(0, 4).map(bool)), min_size=1, max_size=8)
listeners = st.tuples(
    st.sets(st.sampled_from(("alignment", "control", "refused", "model")), min_size=1).map(sorted),
    st.sampled_from((None, *SCOPES)),
    # After how many bytes it is cut off, each time.
    st.lists(st.integers(1, 3_000), max_size=6),
    # Before which transaction it comes, and whether it wants to know what was before.
    st.integers(0, 8),
    st.booleans(),
)


@pytest.fixture(scope="module")
def grown(kafka: Kafka) -> Deployment:
    """A deployment whose log grows from example to example."""
    return asyncio.run(make_topics(kafka, "test-hub"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle frames come often."""
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)


@given(log=transactions, crowd=st.lists(listeners, min_size=1, max_size=4), ring_events=st.integers(1, 60))
# An event that is lost is waited for in vain, which takes too long to be done again with ever smaller logs.
@settings(max_examples=15, phases=(Phase.explicit, Phase.generate), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cut_off_and_resumed_sees_exactly_the_log(
    grown: Deployment,
    quick: None,  # noqa: ARG001 - a fixture
    log: list[tuple[list[tuple[str, Any]], bool]],
    crowd: list[tuple[list[str], str | None, list[int], int, bool]],
    ring_events: int,
) -> None:
    """A client that is cut off at any byte and resumes by its last id gets each committed event of its topics and scope once, in order."""

    async def run() -> None:
        async with serving(grown, ring_events) as client, writing(grown) as producer, asyncio.timeout(40), asyncio.TaskGroup() as group:
            hub = hub_of(client)
            start = write(Cursor(hub.cluster, dict(hub.ends)))
            held: list[Written] = []
            complete = False

            async def one(names: list[str], scope: str | None, cuts: list[int], _: int, earlier: bool) -> None:  # noqa: FBT001 - drawn
                def enough(got: list[Sent]) -> bool:
                    return complete and sum(map(len, seen(got).values())) >= sum(map(len, wanted(got).values()))

                def wanted(got: list[Sent]) -> dict[tuple[str, int], list[tuple[int, Any]]]:
                    return expected(held, parse(next(sent.id for sent in got if sent.id)), scope)

                query = {"topics": ",".join(names), **({"scope": scope} if scope else {}), **({"after": start} if earlier else {})}
                got = await listen(client, query, cuts, enough)
                assert seen(got) == wanted(got)
                assert not any(sent.kind == "reset" for sent in got)
                assert {sent.data["event"]["reason"] for sent in got if sent.kind == "refused"} <= {"unknown_decision"}

            for number in range(9):
                for listener in crowd:
                    if listener[3] == number:
                        group.create_task(one(*listener))
                if number < len(log):
                    held += await append(producer, grown, *log[number][:1], commit=log[number][1])
            complete = True

    asyncio.run(run())


async def test_who_reads_a_state_and_then_listens_misses_nothing(kafka: Kafka, valkey: Valkey, unique_name: str, quick: None) -> None:  # noqa: ARG001 - a fixture
    """From the positions of the read model at any moment, the stream gives what comes after them: the state and the stream fit together."""
    deployment = (await make_topics(kafka, unique_name)).model_copy(update={"redis": valkey.url})
    async with (
        serving(deployment, ring_events=5) as client, writing(deployment) as producer, Redis.from_url(valkey.url) as redis,
        publishing(deployment),
    ):  # fmt: skip
        held: list[Written] = []
        cursors = []
        for number in range(6):
            held += await append(producer, deployment, [("alignment", alarm(scope, number)) for scope in SCOPES for _ in range(4)])
            cursors.append(of_positions(cast("dict[bytes, bytes]", await redis.hgetall(f"{unique_name}:positions"))))
        for cursor in cursors:
            if cursor != NOWHERE:
                wanted = expected(held, cursor, None)
                count = sum(map(len, wanted.values()))
                got = await listen(client, {"topics": "alignment", "after": write(cursor)}, [], enough_of(count))
                assert seen(got) == wanted
        assert cursors[-1] != NOWHERE


def enough_of(count: int) -> Callable[[list[Sent]], bool]:
    """Tell whether so many events have come."""
    return lambda got: sum(map(len, seen(got).values())) >= count


async def first_frames(client: Application, after: str, count: int, **query: str) -> list[Sent]:
    """The first frames that come to one who goes on from somewhere."""
    return await listen(client, {"after": after, **query}, [], lambda got: len(got) >= count)


async def test_place_that_the_log_does_not_hold_is_reset(kafka: Kafka, unique_name: str) -> None:
    """Another cluster, an offset beyond the log's end, one that was deleted: a reset first, with a cursor from which new events come."""
    deployment = await make_topics(kafka, unique_name)
    async with writing(deployment) as producer:
        written = await append(producer, deployment, [("alignment", alarm("web", number)) for number in range(20)])
        place = written[0].topic, written[0].partition
        physical = TopicPartition(topics.physical("alignment", deployment.topic_prefix), written[0].partition)
        async with admin.open_admin(deployment) as kafka_admin:
            await kafka_admin.delete_records({physical: RecordsToDelete(10)})
        async with serving(deployment) as client:
            hub = hub_of(client)
            lost = [Cursor("another", {place: 15}), Cursor(hub.cluster, {place: 10_000}), Cursor(hub.cluster, {place: 9})]
            for cursor in lost:
                _, reset = await first_frames(client, write(cursor), 2, topics="alignment")
                assert reset.kind == "reset"
                assert parse(reset.id) == Cursor(hub.cluster, {each: end for each, end in hub.ends.items() if each[0] == "alignment"})
                new = await append(producer, deployment, [("alignment", alarm("web", 99))])
                *_, event = await first_frames(client, reset.id, 2, topics="alignment")
                assert event.data["offset"] == new[0].offset
            _, held = await first_frames(client, write(Cursor(hub.cluster, {place: 10})), 2, topics="alignment")
            assert (held.kind, held.data["offset"]) == ("alignment", 10)


async def test_stalled_client_holds_up_nobody(kafka: Kafka, unique_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one client takes nothing, others get all and the ring stays small; the stalled one is cut off, and resumes whole."""
    monkeypatch.setattr(stream, "STALLED_S", 0.5)
    deployment = await make_topics(kafka, unique_name)
    async with serving(deployment, ring_events=20) as client, writing(deployment) as producer:
        hub, application = hub_of(client), client.server.app  # type: ignore[attr-defined]  # as in hub_of
        start = write(Cursor(hub.cluster, dict(hub.ends)))
        stalled = socket.socket()
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        stalled.connect((client.server.host, client.server.port))
        stalled.sendall(f"GET {PATH}?topics=alignment&after={start} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        written: list[Written] = []
        reading = asyncio.create_task(listen(client, {"topics": "alignment", "after": start}, [], enough_of(400)))
        for number in range(40):
            written += await append(producer, deployment, [("alignment", alarm("web", each, "x" * 40_000)) for each in range(10)])
            assert hub.next - hub.oldest <= 20, number
        wanted = expected(written, parse(start), None)
        assert seen(await reading) == wanted
        async with asyncio.timeout(60):
            while application[stream.LISTENERS]:  # noqa: ASYNC110 - the server changes it
                await asyncio.sleep(0.05)
        stalled.close()
        resumed = await listen(client, {"topics": "alignment", "after": start}, [], lambda got: len(got) > len(written))
        assert seen(resumed) == wanted


async def test_hub_outlives_its_broker(tmp_path: Path, unique_name: str, quick: None) -> None:  # noqa: ARG001 - a fixture
    """The broker is killed and starts again: a client that has stayed sees what was written before and after, each event once."""
    first = start_kafka(tmp_path)
    deployment = await make_topics(first, unique_name)
    async with serving(deployment) as client:
        start = write(Cursor(hub_of(client).cluster, dict(hub_of(client).ends)))
        query = {"topics": "alignment", "after": start}
        reading = asyncio.create_task(listen(client, query, [], enough_of(6)))
        async with writing(deployment) as producer:
            written = await append(producer, deployment, [("alignment", alarm("web", number)) for number in range(3)])
        first.kill()
        with await asyncio.to_thread(start_kafka, tmp_path, first.port):
            async with writing(deployment) as producer:
                written += await append(producer, deployment, [("alignment", alarm("web", number)) for number in range(3)])
            assert seen(await reading) == expected(written, parse(start), None)


async def test_wrong_requests_are_problems(kafka: Kafka, unique_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown topic, a cursor that is none, one stream too many: a problem that names it; and a stream that ends makes room."""
    monkeypatch.setattr(stream, "LISTENERS_MAX", 1)
    deployment = await make_topics(kafka, unique_name)
    async with serving(deployment) as client:
        for query, named in (({"topics": "alignment,weather"}, "weather"), ({"after": "yesterday"}, "yesterday"), ({"scope": ""}, "scope")):
            async with client.get(PATH, params=query) as response:
                assert (response.status, response.content_type) == (400, "application/problem+json")
                assert named in (await response.json())["detail"]
        async with client.get(PATH) as response:
            assert response.status == 200
            async with client.get(PATH) as refused:
                assert refused.status == 503
            response.close()
        async with asyncio.timeout(60):
            while (await client.get(PATH)).status == 503:  # noqa: ASYNC110 - the server notices when it does
                await asyncio.sleep(0.05)
