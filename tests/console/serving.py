"""A console and a publisher beside the tests, each in a thread with an event loop of its own; events that the pipeline would write."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from aiohttp import ClientSession
from aiokafka import AIOKafkaProducer

from schemas import codecs, topics
from schemas.events import Decision, Life, Recommendation, Scenario, Status
from schemas.identity import partition_of
from schemas.settings import Deployment
from streams.console.server import serve
from streams.serving.publisher import publish

EXAMPLES = Path(__file__).parents[2] / "schemas" / "examples"
WAIT_S_MAX = 60.0
# What takes longer to end has not heard that it should.
LOST_S = 20.0


class Reply(NamedTuple):
    """What the server answered."""

    status: int
    headers: Mapping[str, str]
    body: Any


@contextmanager
def running(work: Callable[[], Coroutine[Any, Any, None]]) -> Iterator[Future[None]]:
    """Run a coroutine in a thread of its own until the block ends; its failure is the future's, and the block's."""
    loop, ended = asyncio.new_event_loop(), Future[None]()
    task = loop.create_task(work())

    def run() -> None:
        try:
            loop.run_until_complete(asyncio.wait([task]))
            if not task.cancelled():
                task.result()
            ended.set_result(None)
        except BaseException as error:  # noqa: BLE001 - the test hears of it
            ended.set_exception(error)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield ended
    finally:
        deadline = time.monotonic() + WAIT_S_MAX
        # More than once: in Python 3.11 `asyncio.wait_for` loses a cancellation that comes in the moment of its answer.
        while not ended.done() and time.monotonic() < deadline:
            with suppress(RuntimeError):  # the loop has just been closed
                loop.call_soon_threadsafe(task.cancel)
            thread.join(LOST_S)
    ended.result(0)


@contextmanager
def served(deployment: Deployment) -> Iterator[str]:
    """Run a console, and give its address."""
    address: Future[str] = Future()
    with running(lambda: serve(deployment, ready=address.set_result)) as ended:
        while not address.done() and not ended.done():
            time.sleep(0.01)
        if ended.done():
            ended.result()
        yield address.result(0)


@contextmanager
def published(deployment: Deployment) -> Iterator[None]:
    """Run a publisher."""
    with running(lambda: publish(deployment)):
        yield


def call(
    address: str, method: str, path: str, body: object = None, headers: dict[str, str] | None = None, content: bytes | None = None
) -> Reply:
    """Send one request; a body is sent as JSON, `content` as it is."""

    async def ask() -> Reply:
        sent = content if body is None else msgspec.json.encode(body)
        given = ({"Content-Type": "application/json"} if sent is not None else {}) | (headers or {})
        async with (
            ClientSession(skip_auto_headers=["Content-Type"]) as session,
            session.request(method, address + path, data=sent, headers=given) as answer,
        ):
            read = await answer.read()
            text = "json" in answer.headers.get("Content-Type", "")
            return Reply(answer.status, answer.headers, msgspec.json.decode(read) if text and read else read)

    return asyncio.run(ask())


def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + WAIT_S_MAX
    while not condition():
        assert time.monotonic() < deadline, "it does not come to hold"
        time.sleep(0.02)


def write(deployment: Deployment, log: Iterable[tuple[str, Any]]) -> None:
    """Write events to the partitions of their scopes, as the pipeline does: in a transaction."""

    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=deployment.broker, transactional_id=f"{deployment.application}-test")
        await producer.start()
        try:
            async with producer.transaction():
                for topic, event in log:
                    key = event.scope.encode()
                    partition = partition_of(key, deployment.partitions)
                    await producer.send(topics.physical(topic, deployment.topic_prefix), codecs.encode(event), key, partition=partition)
        finally:
            await producer.stop()

    asyncio.run(send())


def example(topic: str, name: str) -> Any:  # noqa: ANN401 - a struct of the topic's
    """Return an example event of a topic."""
    return codecs.decode(topic, (EXAMPLES / topic / f"{name}.json").read_bytes())


def surfaced(name: str, scope: str, time_ms: int, entity: str = "web-3") -> list[tuple[str, Any]]:
    """A scenario, its decision, and the recommendation that was opened, by topic."""
    scenario: Scenario = msgspec.structs.replace(
        example("scenario", "scenario"), id=f"s-{name}", scope=scope, entity=entity, time_ms=time_ms, symptom_start_ms=time_ms
    )
    return [
        ("scenario", scenario),
        ("decision", decided(name, scope, time_ms, Status.SURFACED, entity)),
        ("recommendation", opened(name, scope, time_ms, entity)),
    ]


def decided(name: str, scope: str, time_ms: int, status: Status, entity: str = "web-3") -> Decision:
    """A decision."""
    made: Decision = msgspec.structs.replace(
        example("decision", "passed"), id=name, scenario=f"s-{name}", scope=scope, entity=entity, status=status,
        time_ms=time_ms, decided_ms=time_ms,
        positions={"scenario": 1, "feedback": 0, "outcome": 0, "control": 0, "model": 0},
    )  # fmt: skip
    return made


def opened(name: str, scope: str, time_ms: int, entity: str = "web-3", life: Life = Life.OPENED) -> Recommendation:
    """A recommendation at a moment of its life."""
    shown: Recommendation = msgspec.structs.replace(
        example("recommendation", "opened"), id=name, scope=scope, entity=entity, life=life,
        time_ms=time_ms, scenario_ms=time_ms, opened_ms=time_ms, deadline_ms=time_ms + 4 * 3_600_000,
    )  # fmt: skip
    return shown
