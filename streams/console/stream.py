"""Server-sent events from the hub: `GET /events`, which a client goes on from where it stopped, without loss and without doubles.

Each event has as its `id` the cursor after it; an `id` without an event comes at the start and while nothing comes, so that a client
always has one. It gives the last one back as the header `Last-Event-ID`, or as `after`; `reset` tells it that the log no longer holds
that place, and that it has to read anew what it shows.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from typing import Annotated

import structlog
from aiohttp import web
from aiokafka.errors import KafkaError
from msgspec import Meta, Struct

from schemas.errors import NpoError, StackError
from schemas.events import Name
from streams.console.cursor import NOWHERE, Cursor, Places, parse, write
from streams.console.hub import FOLLOWED, Hub
from streams.console.messages import REFUSED, Event
from streams.console.problems import ProblemError
from streams.console.routes import DEPLOYMENT, EVENT_STREAM, Call, Route

# `refused` stands for the dead letters of all topics that are followed.
CHOICES = {**{name: (name,) for name in FOLLOWED}, "refused": REFUSED}
LISTENERS_MAX = 100
HEARTBEAT_S = 10.0
# A client that takes nothing for so long is cut off; it resumes.
STALLED_S = 30.0
READY_S = 5.0
RETRY_MS = 1_000
# So many events are written at a stretch, some 10 ms: meanwhile nobody else is served.
BATCH_EVENTS, WRITE_BYTES = 200, 64 << 10
HEADERS = {"Content-Type": EVENT_STREAM, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
RESET = '{"why":"the log no longer holds the place to go on from: read anew what you show"}'

log = structlog.get_logger()


class EventsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """What to listen to.

    Attributes:
        topics: Names of topics separated by commas; `refused` are the dead letters.
        scope: Only events of this scope, and those that are of all; None for every scope.
        after: A cursor to go on from; the header `Last-Event-ID` goes before it. Without either, events from now on.
    """

    topics: Annotated[str, Meta(max_length=1_000)] = ",".join(CHOICES)
    scope: Name | None = None
    after: str = ""


class Listener:
    """One listener: what it hears, and where it stands.

    Args:
        hub: What it listens to; ready.
        names: Short names of topics.
        scope: Only events of this scope, and those of all; None for every scope.
        cursor: Where to go on; partitions that it does not name begin now.
    """

    def __init__(self, hub: Hub, names: Collection[str], scope: str | None, cursor: Cursor) -> None:
        self.hub = hub
        self.names = names
        self.scope = scope
        self.lost = cursor != NOWHERE and cursor.cluster != hub.cluster
        self.epoch = hub.epoch
        self.places = {place: cursor.places.get(place, end) for place, end in hub.ends.items() if place[0] in names}
        self.number = 0
        # Whether the log has been asked for places that the hub has not come to yet.
        self.checked = False

    async def frames(self) -> AsyncIterator[bytes]:
        """Return what it is sent, as it comes; it ends with the hub.

        Raises:
            KafkaError: the broker is away while older events are read.
        """
        loop = asyncio.get_running_loop()
        told_s, told = loop.time(), "" if self._elsewhere() else self._field()
        yield f"retry: {RETRY_MS}\n{told}\n".encode()
        while not self.hub.ended:
            frames = await self._next()
            if frames:
                told_s, told = loop.time(), ""
                yield frames
            elif loop.time() - told_s < HEARTBEAT_S:
                await self.hub.news(self.number, told_s + HEARTBEAT_S - loop.time())
            else:
                told_s, before, told = loop.time(), told, self._field()
                yield b":\n\n" if told == before else f":\n{told}\n".encode()

    async def _next(self) -> bytes:
        """Return what comes next, empty where there is nothing: a reset, older events from the topics, or newer ones from the ring."""
        hub = self.hub
        if outside := {} if self._elsewhere() else self._outside():
            chunk = await hub.stored(outside)
            self.lost = chunk is None
            if chunk and not self._elsewhere():
                return await self._older(*chunk)
        if self._elsewhere():
            self.lost, self.checked, self.epoch, self.number = False, True, hub.epoch, hub.next
            self.places = {place: end for place, end in hub.ends.items() if place[0] in self.names}
            return f"{self._field()}event: reset\ndata: {RESET}\n\n".encode()
        number = max(self.number, hub.oldest)
        events = hub.since(number, BATCH_EVENTS)
        self.number = number + len(events)
        frames = self._frames(events)
        if self.number == hub.next:
            self.places = {place: max(offset, hub.ends[place]) for place, offset in self.places.items()}
        return frames

    async def _older(self, events: list[Event], after: Places) -> bytes:
        """Go past events that came from the topics, with a pause now and then in which others are served."""
        frames = b""
        for start in range(0, len(events), BATCH_EVENTS):
            frames += self._frames(events[start : start + BATCH_EVENTS])
            await asyncio.sleep(0)
        self.places |= after
        self.checked = True
        return frames

    def _elsewhere(self) -> bool:
        """Tell whether its places are not of the log that the hub reads, or are gone from it."""
        return self.lost or self.epoch != self.hub.epoch

    def _outside(self) -> dict[tuple[str, int], int]:
        """Return its places that the ring does not reach back to, and, once, those that the hub has not come to: the log may end before."""
        floors, ends = self.hub.floors, self.hub.ends
        return {place: at for place, at in self.places.items() if at < floors[place] or (at > ends[place] and not self.checked)}

    def _frames(self, events: list[Event]) -> bytes:
        """Write those of the events that it has not had and hears, and go past all of them."""
        frames = bytearray()
        for event in events:
            place = event.topic, event.partition
            if place not in self.places or event.offset < self.places[place]:
                continue
            self.places[place] = event.offset + 1
            if None in {self.scope, event.scope} or event.scope == self.scope:
                kind = "refused" if event.topic in REFUSED else event.topic
                frames += f"{self._field()}event: {kind}\ndata: ".encode() + event.data + b"\n\n"
        return bytes(frames)

    def _field(self) -> str:
        """Return the field that says where it stands."""
        return f"id: {write(Cursor(self.hub.cluster, self.places))}\n"


HUB = web.AppKey("hub", Hub)
FOLLOWING = web.AppKey("following", asyncio.Task[None])
LISTENERS = web.AppKey("listeners", set[Listener])


async def events(call: Call) -> web.StreamResponse:
    """Send events until the client goes away.

    Raises:
        ProblemError: 400 for an unknown topic, 503 for one listener too many.
        DecodeError: a cursor that is none.
        StackError: the broker has not answered yet.
    """
    query: EventsQuery = call.query
    chosen = query.topics.split(",")
    if unknown := [name for name in chosen if name not in CHOICES]:
        raise ProblemError(400, f"topics={query.topics!r}: no topic {unknown[0]!r}; there are {', '.join(CHOICES)}", "invalid")
    cursor = parse(call.request.headers.get("Last-Event-ID") or query.after)
    hub, listeners = call.request.app[HUB], call.request.app[LISTENERS]
    with suppress(TimeoutError):
        await asyncio.wait_for(hub.ready.wait(), READY_S)
    if hub.ended or not hub.ready.is_set():
        raise StackError("Kafka has not answered yet, or the console is ending; try again")
    if len(listeners) >= LISTENERS_MAX:
        raise ProblemError(503, f"{LISTENERS_MAX} streams of events are open, which is the most; close one", "busy")
    listener = Listener(hub, {name for choice in chosen for name in CHOICES[choice]}, query.scope, cursor)
    response = web.StreamResponse(headers=HEADERS)
    listeners.add(listener)
    try:
        await response.prepare(call.request)
        await send(call.request, response, listener)
    finally:
        listeners.discard(listener)
    return response


async def send(request: web.Request, response: web.StreamResponse, listener: Listener) -> None:
    """Send what a listener hears; a client that goes away, is stalled, or cannot be served any more is cut off, and resumes."""
    try:
        async for frames in listener.frames():
            for start in range(0, len(frames), WRITE_BYTES):
                async with asyncio.timeout(STALLED_S):
                    await response.write(frames[start : start + WRITE_BYTES])
    except ConnectionError:
        return
    except TimeoutError:
        log.info("listener cut off", stalled_s=STALLED_S)
    except (KafkaError, OSError, NpoError) as error:
        log.warning("listener cut off", why=repr(error))
    if request.transport is not None:
        request.transport.abort()


async def lifespan(application: web.Application) -> AsyncIterator[None]:
    """Run the hub as long as the application runs."""
    application[HUB], application[LISTENERS] = Hub(application[DEPLOYMENT]), set()
    application[FOLLOWING] = asyncio.create_task(application[HUB].run())
    application[FOLLOWING].add_done_callback(_tell_failure)
    yield
    await end(application)
    await asyncio.wait([application[FOLLOWING]])


async def end(application: web.Application) -> None:
    """End the hub, where it runs, and with it every stream of events."""
    if FOLLOWING in application:
        application[FOLLOWING].cancel()


def _tell_failure(following: asyncio.Task[None]) -> None:
    if not following.cancelled() and following.exception():
        log.error("the hub has failed; streams of events end", exc_info=following.exception())


ROUTES = (
    Route(
        "GET",
        "/events",
        events,
        "viewer",
        "Events as they come (server-sent events); go on with Last-Event-ID",
        query=EventsQuery,
        content=EVENT_STREAM,
    ),
)
