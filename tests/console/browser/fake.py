"""A small console for browser tests: the page's own files, canned JSON of the API's shapes, a log of answers, and faults on request.

`python -m tests.console.browser.fake [CARDS]` runs it on 127.0.0.1:8471 for a look.
"""

import asyncio
import json
import mimetypes
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
from aiohttp import web

from schemas.events import Action, Answer, ClassHistory, Life, Recommendation, StandingAnswer, Symptom
from streams.console.sentences import entities_in_words, history_in_words, peers_in_words, symptoms_in_words
from streams.console.views import Accepted, AnswerRequest, Card, InForce, Me, Member, MomentView, Queue, ScopeList
from streams.explaining.words import proposed

STATIC = Path(__file__).parents[3] / "streams" / "console" / "static"
# As the console sends it: what it forbids must break here too.
POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
NOW_MS = 1_577_842_500_000
MINUTE_MS = 60_000
SYMPTOMS = (
    ("disk_write_latency", 4, 84.2, 12.0, "throttle-writes", "throttle writes of batch jobs"),
    ("memory_used", 12, 93.25, 62.0, "restart-service", "restart the service on this server"),
    ("error_rate", 2, 0.032, 0.004, "roll-back", "roll the latest release back"),
    ("cpu_usage", 25, 97.0, 46.0, "add-replica", "start one more replica"),
)
Json = dict[str, Any]


def recommendation(number: int, **changes: Any) -> Recommendation:  # noqa: ANN401 - fields of the struct
    """Make the recommendation of this number."""
    metric, _, value, usual, action, description = SYMPTOMS[number % len(SYMPTOMS)]
    label = f"{metric}:up"
    opened_ms = NOW_MS - (number % 50) * MINUTE_MS
    made = Recommendation(
        id=f"{number:016x}",
        life=Life.OPENED,
        scope="shop" if number % 3 else "search",
        entity=f"web-{number}",
        scenario_class=f"shop|{label}|{action}",
        time_ms=opened_ms,
        scenario_ms=opened_ms,
        opened_ms=opened_ms,
        deadline_ms=opened_ms + 240 * MINUTE_MS,
        summary=f"web-{number}: {metric} {value:g} (level up, usually {usual:g})",
        action=Action(action, 1 + 4 * (number % 4 == 2), reversible=number % 4 != 2, description=description),
        symptoms=(Symptom(metric, label, "level", "up", 6.2, value, usual),),
        confidence=0.98 - (number % 18) / 100,
        threshold=0.8,
        repeats=number % 3,
        peers_alike=number % 4,
        answers=(),
        positions={"scenario": 9120, "feedback": 0, "outcome": 12, "control": 1, "model": 1},
    )
    return msgspec.structs.replace(made, **changes)


def card(number: int, members: int = 1, **changes: Any) -> Card:  # noqa: ANN401 - fields of the struct
    """Make the card of this number: members beyond the first have the ids behind `number * 1000`."""
    first = recommendation(number)
    scope, action, same_class = first.scope, first.action, first.scenario_class
    others = (recommendation(number * 1000 + place, scope=scope, action=action, scenario_class=same_class) for place in range(1, members))
    says = symptoms_in_words(first.symptoms, SYMPTOMS[number % len(SYMPTOMS)][1] * MINUTE_MS)
    held = [first, *others]
    hosts = max(len(held), first.peers_alike + 1)
    made = Card(
        id=first.id,
        scope=scope,
        scenario_class=same_class,
        title=entities_in_words([each.entity for each in held]),
        says=f"{says}; {peers_in_words(first.peers_alike, 12)}",
        action=action.name,
        action_says=proposed(action),
        confidence=first.confidence,
        threshold=first.threshold,
        urgency=hosts * first.confidence,
        opened_ms=first.opened_ms,
        deadline_ms=first.deadline_ms,
        hosts=hosts,
        peers_alike=first.peers_alike,
        peers_seen=12,
        repeats=first.repeats,
        like_says=history_in_words(ClassHistory(15, 12, 3, 0)),
        cleared=False,
        members=tuple(Member(each, says, 4 * MINUTE_MS) for each in held),
    )
    return msgspec.structs.replace(made, **changes)


def moment(number: int) -> MomentView:
    """Make the moment of the decision of this number: an hour, the symptom in its last quarter."""
    metric, _, value, usual, *_ = SYMPTOMS[number % len(SYMPTOMS)]
    wave = [0.06 * ((7 * step + number) % 5 - 2) for step in range(60)]
    risen = [usual + max(0, step - 45) / 14 * (value - usual) for step in range(60)]
    values = tuple(None if step == 20 else level + usual * shift for step, level, shift in zip(range(60), risen, wave, strict=True))
    return MomentView(
        tuple(NOW_MS - (59 - step) * MINUTE_MS for step in range(60)), {metric: values}, NOW_MS - 14 * MINUTE_MS, {metric: usual}
    )


class Fake:
    """One console; its methods may be called from the test's thread.

    Attributes:
        cards: What GET /queue gives.
        me: What GET /me gives.
        canned: Path under /api/v1 to (status, JSON), before anything else; also for POST.
        log: Answers that the log has, in order; two with one revision are a fault of the page.
        posts: Bodies of POSTs as they came, by path.
        tokens: Where not empty, the bearer tokens that are known.
        streams: How many event streams are open.
        lose_next: How many answers are written and their 201 lost.
        fail_next: Problems for the next POSTs: (status, kind, detail).
        quiet: Whether the pipeline makes nothing of answers by itself.
    """

    def __init__(self, cards: list[Card]) -> None:
        self.cards = cards
        self.me = Me("local", "admin", None, None, tokens=False)
        self.canned: dict[str, tuple[int, Json]] = {}
        self.log: list[Json] = []
        self.posts: list[tuple[str, Json]] = []
        self.in_force: list[InForce] = []
        self.gets: list[str] = []
        self.resumed: list[str] = []
        self.streams = 0
        self.tokens: set[str] = set()
        self.lose_next = 0
        self.fail_next: list[tuple[int, str, str]] = []
        self.quiet = False
        self.standing: dict[str, dict[str, StandingAnswer]] = {}
        self.closed: set[str] = set()
        self.port = 0
        self._events: list[tuple[str, Json]] = []
        self._news = asyncio.Event()
        self._gate = asyncio.Event()
        self._gate.set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen: on the same port as before, where it has been stopped."""
        if not self._thread.is_alive():
            self._thread.start()
        self._do(self._start())

    def stop(self) -> None:
        """Close all connections and listen no more, as a server that is killed."""
        self._do(self._stop())

    def close(self) -> None:
        """Stop for good."""
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def hold(self) -> None:
        """Let POSTs wait until `release`."""
        self._loop.call_soon_threadsafe(self._gate.clear)

    def release(self) -> None:
        """Let POSTs go on."""
        self._loop.call_soon_threadsafe(self._gate.set)

    def push(self, event: str, data: Any, *, topic: str = "", partition: int = 0, offset: int = 0) -> None:  # noqa: ANN401 - an event's struct or JSON
        """Tell listeners of one event of a topic, `refused` or `reset`."""
        told = {"topic": topic or event, "partition": partition, "offset": offset, "event": msgspec.to_builtins(data)}
        self._loop.call_soon_threadsafe(self._push, event, told)

    def told(self, decision: str, **changes: Any) -> None:  # noqa: ANN401 - fields of the struct
        """Tell listeners a moment of the life of a decision of some card."""
        self.push("recommendation", self.moment_of(decision, **changes))

    def answer(self, decision: str, operator: str, kind: str, revision: int = 1, *, reason: str | None = None) -> None:
        """Have another operator answer."""
        self._loop.call_soon_threadsafe(self._take, decision, StandingAnswer(operator, Answer(kind), revision, NOW_MS, reason=reason))

    def moment_of(self, decision: str, **changes: Any) -> Recommendation:  # noqa: ANN401 - fields of the struct
        """Return a decision's recommendation with the answers that stand, and what else is asked."""
        held = next(each.recommendation for one in self.cards for each in one.members if each.recommendation.id == decision)
        answers = tuple(each for each in self.standing.get(decision, {}).values() if each.kind != Answer.RETRACT)
        positions = held.positions | {"feedback": len(self.log)}
        return msgspec.structs.replace(held, **{"answers": answers, "positions": positions, "time_ms": NOW_MS} | changes)

    def _do(self, work: Any) -> Any:  # noqa: ANN401 - a coroutine and its result
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self) -> None:
        application = web.Application()
        for path in ("/", "/queue", "/why/{id}", "/loop", "/loop/{scope}"):
            application.router.add_get(path, self._page)
        application.router.add_get("/static/{path:.*}", self._static)
        application.router.add_get("/api/v1/events", self._stream)
        application.router.add_get("/api/v1/{path:.*}", self._get)
        application.router.add_post("/api/v1/{path:.*}", self._post)
        application.on_response_prepare.append(self._secure)
        self._runner = web.AppRunner(application, shutdown_timeout=0.05, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    @staticmethod
    async def _secure(_: web.Request, response: web.StreamResponse) -> None:
        response.headers["Content-Security-Policy"] = POLICY

    @staticmethod
    async def _page(_: web.Request) -> web.Response:
        return whole(STATIC / "index.html")

    @staticmethod
    async def _static(request: web.Request) -> web.Response:
        return whole(STATIC / request.match_info["path"])

    def _push(self, event: str, told: Json) -> None:
        self._events.append((event, told))
        self._news.set()
        self._news = asyncio.Event()

    def _take(self, decision: str, answer: StandingAnswer) -> None:
        by = self.standing.setdefault(decision, {})
        if answer.operator in by and by[answer.operator].revision > answer.revision:
            return
        by[answer.operator] = answer
        late = decision in self.closed
        told = {"topic": "recommendation", "partition": 0, "offset": len(self._events)}
        self._push("recommendation", told | {"event": msgspec.to_builtins(self.moment_of(decision, life=Life.ANSWERED, late=late))})

    def _unknown(self, request: web.Request) -> bool:
        return bool(self.tokens) and request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens

    async def _get(self, request: web.Request) -> web.Response:
        path = "/" + unquote(request.match_info["path"])
        self.gets.append(path)
        if self._unknown(request):
            return problem(401, "", "no token, or one that is not known; send Authorization: Bearer ...")
        if path in self.canned:
            status, body = self.canned[path]
            return problem(status, body.get("kind", ""), body.get("detail", "")) if status >= 400 else web.json_response(body)
        head, _, tail = path.strip("/").partition("/")
        made: dict[str, Callable[[], Any]] = {
            "me": lambda: self.me,
            "queue": self._queue,
            "scopes": lambda: ScopeList(self._place(), ()),
        }
        if head in made:
            return plain(made[head]())
        decision = tail.split("/")[0]
        if tail.endswith("/moment"):
            return plain(moment(int(decision, 16)))
        if head == "recommendations" and decision:
            return plain(self.moment_of(decision))
        return problem(404, "", f"nothing at {path}")

    def _place(self) -> str:
        return f"fake/recommendation:0={len(self._events)}"

    def _queue(self) -> Queue:
        answered = {decision for decision, by in self.standing.items() if any(each.kind != Answer.RETRACT for each in by.values())}
        gone = answered | self.closed
        waiting = []
        for one in self.cards:
            ids = [each.recommendation.id for each in one.members]
            told = zip(one.members, map(self.moment_of, ids), strict=True)
            members = tuple(msgspec.structs.replace(each, recommendation=now) for each, now in told if now.id not in gone)
            if members:
                waiting.append(msgspec.structs.replace(one, members=members))
        open_count = sum(len(one.members) for one in waiting)
        return Queue(self._place(), {"shop": NOW_MS, "search": NOW_MS}, open_count, tuple(waiting), 2 * MINUTE_MS, tuple(self.in_force))

    async def _post(self, request: web.Request) -> web.StreamResponse:
        path = "/" + unquote(request.match_info["path"])
        body = await request.json()
        self.posts.append((path, body))
        await self._gate.wait()
        if self._unknown(request):
            return problem(401, "", "no token, or one that is not known; send Authorization: Bearer ...")
        if self.fail_next:
            return problem(*self.fail_next.pop(0))
        if path == "/control" and (refused := self._unnamed(body)):
            return refused
        if path in self.canned:
            status, canned = self.canned[path]
            return (
                problem(status, canned.get("kind", ""), canned.get("detail", ""))
                if status >= 400
                else web.json_response(canned, status=status)
            )
        response = self._answered(path.split("/")[2], msgspec.convert(body, AnswerRequest))
        if self.lose_next:
            self.lose_next -= 1
            return await self._lost(request)
        return response

    def _unnamed(self, command: Json) -> web.Response | None:
        """Return the refusal of a command without a name or under another's than the token's; None where it is fine."""
        named = command.get("operator")
        if self.me.tokens and named not in {None, self.me.operator}:
            return problem(403, "", f"{self.me.name} speaks as {self.me.operator}, not as {named}; leave `operator` out")
        if not (self.me.operator or named):
            return problem(400, "", "who says so? name yourself in `operator`")
        return None

    @staticmethod
    async def _lost(request: web.Request) -> web.StreamResponse:
        """Break off behind the head: of a connection without any answer Chromium itself would send the request again."""
        response = web.StreamResponse(status=201, headers={"Content-Type": "application/json", "Content-Length": "500"})
        await response.prepare(request)
        await response.write(b"{")
        assert request.transport is not None
        request.transport.close()
        return response

    def _answered(self, decision: str, said: AnswerRequest) -> web.Response:
        operator = self.me.operator or said.operator
        assert operator is not None
        entry = {"decision": decision, "operator": operator, "kind": said.kind.value, "reason": said.reason, "note": said.note}
        own = [each for each in self.log if (each["decision"], each["operator"]) == (decision, operator)]
        revision = said.revision or 1 + max((each["revision"] for each in own), default=0)
        same = next((each for each in own if each["revision"] == revision), None)
        offset = self.log.index(same) if same else len(self.log)
        accepted = Accepted(decision, operator, said.kind, revision, NOW_MS, "feedback", 0, offset, closed=decision in self.closed)
        if same:
            if same != entry | {"revision": revision}:
                return problem(409, "contradiction", f"revision {revision} of {operator} says {same['kind']}; send the next revision")
            return plain(accepted, 200)
        self.log.append(entry | {"revision": revision})
        if not self.quiet:
            self._take(decision, StandingAnswer(operator, said.kind, revision, NOW_MS, None, said.reason, said.note))
        return plain(accepted, 201)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if self._unknown(request):
            return problem(401, "", "no token, or one that is not known; send Authorization: Bearer ...")
        if "/events" in self.canned:
            status, body = self.canned["/events"]
            return problem(status, body["kind"], body["detail"])
        since = request.headers.get("Last-Event-ID", "")
        self.resumed.append(since)
        place = int(since.rpartition("=")[2]) if since else len(self._events)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        await response.write(b": here\n\n")
        self.streams += 1
        try:
            while True:
                news = self._news
                for event, told in self._events[place:]:
                    place += 1
                    identity = f"fake/recommendation:0={place}"
                    await response.write(f"id: {identity}\nevent: {event}\ndata: {json.dumps(told)}\n\n".encode())
                with suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), 10)
                await response.write(b": here\n\n")
        except ConnectionResetError:
            return response
        finally:
            self.streams -= 1


def whole(path: Path) -> web.Response:
    """Answer with a file's bytes: a `FileResponse` that is cancelled, as where a page is left, leaves its file open."""
    return web.Response(body=path.read_bytes(), content_type=mimetypes.guess_type(path)[0] or "application/octet-stream")


def plain(body: Any, status: int = 200) -> web.Response:  # noqa: ANN401 - any struct
    """Answer with a struct."""
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")


def problem(status: int, kind: str, detail: str) -> web.Response:
    """Answer with a problem."""
    body = {"type": f"urn:npo:{kind}" if kind else "about:blank", "title": "", "status": status, "detail": detail}
    return web.Response(status=status, body=json.dumps(body).encode(), content_type="application/problem+json")


if __name__ == "__main__":
    shown = Fake([card(number, members=1 + 3 * (number % 5 == 1)) for number in range(1, 1 + int((*sys.argv, "12")[1]))])
    shown.port = 8471
    shown.start()
    print(shown.url)  # noqa: T201 - for a look
    threading.Event().wait()
