"""The read model as the API reads it: keys of Redis, decoded; where it stands, and waiting until it stands further."""

import asyncio
import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple, cast

import msgspec
from aiohttp import web
from redis.asyncio import Redis

from schemas import codecs
from schemas.alignment import Alarm, ChallengerWindow, LossWindow, MonitorDecision, RetrainingResult
from schemas.identity import partition_of
from streams.console import cursor
from streams.console.cursor import Cursor
from streams.console.loop import ScopeRecords
from streams.console.problems import ProblemError
from streams.console.routes import DEPLOYMENT, REDIS
from streams.serving.force import ALL_SCOPES, Force

# A write is in the read model some tens of milliseconds after the broker has it.
WAIT_S_MAX, LOOK_S = 2.0, 0.01
# So many records are looked at for one page: a filter that few records pass gives short pages instead of slow ones.
LOOKED_MAX = 2_000
# The sorted sets of each scope that hold events by offset.
SERIES: dict[str, Any] = {
    "windows": LossWindow,
    "monitors": MonitorDecision,
    "challengers": ChallengerWindow,
    "results": RetrainingResult,
}


class Page(NamedTuple):
    """Records, the newest first, and the place before which the next page begins; None after the last."""

    events: list[Any]
    next: str | None


class ReadModel:
    """Reads one application's keys.

    Args:
        redis: A client of Redis, asked for bytes.
        prefix: What every key starts with, without the colon.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        self.redis = redis
        self._prefix = prefix

    def key(self, *parts: str) -> str:
        """Return the key of a part of the read model."""
        return ":".join((self._prefix, *parts))

    async def cursor(self) -> Cursor:
        """Read where the read model stands."""
        # The client is asked for bytes.
        return cursor.of_positions(cast("dict[bytes, bytes]", await self.redis.hgetall(self.key("positions"))))

    async def cursor_after(self, after: str) -> str:
        """Wait until the read model stands where a cursor does, or `WAIT_S_MAX` long; return where it then stands.

        Raises:
            DecodeError: not a cursor.
            ProblemError: 503 where there is no read model.
        """
        wanted = cursor.parse(after)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WAIT_S_MAX
        while not cursor.at_least(held := await self.cursor(), wanted) and loop.time() < deadline:  # noqa: ASYNC110 - Redis calls nobody
            await asyncio.sleep(LOOK_S)
        if held == cursor.NOWHERE:
            raise ProblemError(
                503, "Redis holds no read model yet; run `python -m streams.serving.publisher`, and try again", "read_model_away"
            )
        return cursor.write(held)

    async def clocks(self) -> dict[str, int]:
        """Read the event time of every scope."""
        clocks = cast("list[tuple[bytes, float]]", await self.redis.zrange(self.key("clock"), 0, -1, withscores=True))
        return {scope.decode(): int(time_ms) for scope, time_ms in sorted(clocks)}

    async def clock(self, scope: str) -> int | None:
        """Read the event time of one scope; None where nothing was heard of it."""
        time_ms = await self.redis.zscore(self.key("clock"), scope)
        return None if time_ms is None else int(time_ms)

    async def event(self, topic: str, name: str) -> Any:  # noqa: ANN401 - a struct of the topic's
        """Read the record that is held under a name; None where there is none."""
        return (await self.events(topic, [name]))[0]

    async def events(self, topic: str, names: Iterable[str]) -> list[Any]:
        """Read the records that are held under names, None where there is none."""
        keys = [self.key(topic, name) for name in names]
        values = cast("list[bytes | None]", await self.redis.mget(keys) if keys else [])
        return [None if value is None else codecs.decode(topic, value) for value in values]

    async def held(self, topic: str, names: Iterable[str]) -> dict[str, Any]:
        """Read the records that are held under names, by these."""
        wanted = list(dict.fromkeys(names))
        return {name: event for name, event in zip(wanted, await self.events(topic, wanted), strict=True) if event is not None}

    async def answerable(self, scopes: Iterable[str]) -> list[Any]:
        """Read the recommendations of some scopes that can be answered in time: those that are open, and those that have cleared."""
        async with self.redis.pipeline(transaction=False) as pipe:
            for scope in scopes:
                pipe.zrange(self.key("open", scope), 0, -1)
                pipe.zrange(self.key("cleared", scope), 0, -1)
            names = [name.decode() for found in await pipe.execute() for name in found]
        return list((await self.held("recommendation", names)).values())

    async def forces(self) -> dict[str, Force]:
        """Read what people have commanded, by reach: a scope's name, or `*` for all scopes."""
        fields = cast("dict[bytes, bytes]", await self.redis.hgetall(self.key("control")))
        forces = [(field.decode().rpartition(":")[0], msgspec.json.decode(value, type=Force)) for field, value in sorted(fields.items())]
        # A command to all is one record in every partition: in force as soon as one of them has it.
        return {reach: force for reach, force in forces if force}

    async def scope(self, scope: str, clock_ms: int, forces: dict[str, Force], series: Mapping[str, Any] = SERIES) -> ScopeRecords:
        """Read everything that is held of one scope.

        Args:
            scope: Its name.
            clock_ms: Its event time.
            forces: As `forces` gives them.
            series: Which of `SERIES` to read.
        """
        async with self.redis.pipeline(transaction=False) as pipe:
            pipe.zcard(self.key("open", scope))
            pipe.hgetall(self.key("scope", scope))
            pipe.hvals(self.key("alarms", scope))
            for name in series:
                pipe.zrange(self.key(name, scope), 0, -1)
            waiting, fields, alarms, *values = await pipe.execute()
        read = {name: [msgspec.json.decode(each, type=series[name]) for each in held] for name, held in zip(series, values, strict=True)}
        raised = [msgspec.json.decode(value, type=Alarm) for value in alarms]
        reaching = {reach: force for reach, force in forces.items() if reach in {scope, ALL_SCOPES}}
        return ScopeRecords(scope, clock_ms, waiting, fields, alarms=raised, forces=reaching, **read)

    async def newest(
        self, topic: str, scopes: list[str], before: str, limit: int, wanted: Callable[[Any], bool], *, waiting: bool = False
    ) -> Page:
        """Read the newest records of a topic below a place.

        Args:
            topic: `recommendation` or `decision`.
            scopes: Of these scopes.
            before: As `Page.next` gave it; empty for the very newest.
            limit: At most so many.
            wanted: Only records for which this is true.
            waiting: Only recommendations that wait for an answer.

        Raises:
            DecodeError: `before` is no place.
        """
        ends = {place for place in (await self.cursor()).places if place[0] == topic}
        places = {place: offset for place, offset in cursor.parse(before).places.items() if place in ends}
        found: list[Any] = []
        looked = 0
        while len(found) < limit and looked < LOOKED_MAX:
            candidates = await self._below(topic, scopes, len(ends), places, limit, waiting=waiting)
            if not candidates:
                return Page(found, None)
            for place, offset, event in candidates:
                places[place] = offset
                looked += 1
                if wanted(event):
                    found.append(event)
                if len(found) == limit:
                    break
        return Page(found, cursor.write(Cursor("", places)))

    async def _below(
        self, topic: str, scopes: list[str], count: int, places: dict[tuple[str, int], int], limit: int, *, waiting: bool
    ) -> list[tuple[tuple[str, int], int, Any]]:
        """Return the next records below the places: in each partition by offset, among partitions by time, the newest first.

        Offsets of scopes in one partition can be compared; so one place a partition says where a page ends, however many scopes it has.
        """
        where = {scope: (topic, partition_of(scope.encode(), count)) for scope in scopes if count}
        async with self.redis.pipeline(transaction=False) as pipe:
            for scope, place in where.items():
                held, below = self.key(f"{topic}s", scope), f"({places[place]}" if place in places else "+inf"
                if waiting:
                    # The offset alone: the other score is a time.
                    pipe.zinter({held: 1, self.key("open", scope): 0}, withscores=True)
                else:
                    pipe.zrevrangebyscore(held, below, "-inf", 0, limit, withscores=True)
            answers = await pipe.execute()
        by_place: dict[tuple[str, int], list[tuple[int, str]]] = {}
        for place, answer in zip(where.values(), answers, strict=True):
            end = places.get(place)
            ids = ((int(offset), name.decode()) for name, offset in answer)
            by_place.setdefault(place, []).extend((offset, name) for offset, name in ids if end is None or offset < end)
        chosen = [(place, *each) for place, ids in by_place.items() for each in sorted(ids, reverse=True)[:limit]]
        values = dict(zip(chosen, await self.events(topic, [name for _, _, name in chosen]), strict=True))
        # One that was dropped between the two reads is left out.
        rows = [(place, offset, event) for (place, offset, _), event in values.items() if event is not None]
        return list(islice(newest_first(rows), limit))


def newest_first(rows: list[tuple[tuple[str, int], int, Any]]) -> Iterator[tuple[tuple[str, int], int, Any]]:
    """Merge the partitions' records by time; those of one partition keep their order."""
    by_place: dict[tuple[str, int], list[tuple[tuple[str, int], int, Any]]] = {}
    for row in rows:
        by_place.setdefault(row[0], []).append(row)
    return heapq.merge(*by_place.values(), key=lambda row: (-row[2].time_ms, row[0]))


def read_model(application: web.Application) -> ReadModel:
    """Return the read model of an application."""
    return ReadModel(application[REDIS], application[DEPLOYMENT].application)


def found(event: Any, what: str, name: str) -> Any:  # noqa: ANN401 - a struct of its topic's
    """Return an event that was found.

    Raises:
        ProblemError: 404 where it is None.
    """
    if event is None:
        raise ProblemError(
            404, f"no {what} {name!r} is held: each scope holds its newest 10,000; `npo why` finds older ones", "unknown_decision"
        )
    return event
