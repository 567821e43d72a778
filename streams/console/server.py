"""The console: the operator's page and the HTTP API, one aiohttp server; `python -m streams.console.server`, or `npo console`.

It holds nothing of its own: reads come from the read model in Redis, writes go to Kafka, so that any number of consoles may run.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import structlog
from aiohttp import web
from redis.asyncio import Redis
from redis.exceptions import RedisError

from schemas.errors import SettingsError, StackError
from schemas.settings import CONSOLE_PORT, Deployment, Settings, load_settings
from streams.console import audit, auth, openapi, reads, stream, writer, writes
from streams.console.measures import MEASURES, Measures, handler, measure
from streams.console.problems import ProblemError, answer, known
from streams.console.reading import read_model
from streams.console.routes import API, DEPLOYMENT, JSON, RANKS, REDIS, SETTINGS, Answer, Call, Route
from streams.engine.probes import OK, UNAVAILABLE, Check, Report
from streams.home import web_address

STATIC = Path(__file__).parent / "static"
# The views of the page: it shows by its own address what it was asked for, so that links to them last.
PAGES = ("/", "/queue", "/why/{id}", "/loop", "/loop/{scope}")
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
BODY_BYTES_MAX = 8 << 20
REDIS_TIMEOUT_S = 5.0
# Longer than a command waits until it is in force; streams of events end at once.
SHUTDOWN_S = 8.0

ROUTES: tuple[Route, ...] = (*reads.ROUTES, *stream.ROUTES, *writes.ROUTES)
LIFESPANS = (auth.lifespan, writer.lifespan, writes.lifespan, stream.lifespan)

log = structlog.get_logger()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_application(deployment: Deployment, settings: Settings) -> web.Application:
    """Return the console's application.

    Args:
        deployment: Where broker and Redis are.
        settings: What decisions depend on.

    Raises:
        StackError: no Redis is known.
    """
    if deployment.redis is None:
        raise StackError("no Redis with the read model: start one with `npo up`, or set NPO_REDIS=redis://host:port/0")
    application = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[measure, tell_problems])
    application[DEPLOYMENT] = deployment
    application[SETTINGS] = settings
    application[MEASURES] = Measures()
    application[REDIS] = Redis.from_url(deployment.redis, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S)
    application.on_response_prepare.append(secure)
    application.on_shutdown.append(stream.end)
    application.cleanup_ctx.append(close_redis)
    application.cleanup_ctx.extend(LIFESPANS)
    for route in ROUTES:
        application.router.add_route(route.method, API + route.path, endpoint(route))
    document = msgspec.json.encode(openapi.document(ROUTES))
    application.router.add_get("/openapi.json", partial(fixed, document))
    application.router.add_get("/livez", partial(fixed, msgspec.json.encode(Report(ok=True, checks={}))))
    application.router.add_get("/readyz", ready)
    application.router.add_get("/metrics", handler(application[MEASURES]))
    for path in PAGES:
        application.router.add_get(path, page)
    application.router.add_static("/static", STATIC)
    return application


def endpoint(route: Route) -> Handler:
    """Return what answers a route: who asks may, parameters and body fit, and then its handler."""

    async def respond(call: Call) -> web.StreamResponse:
        if RANKS[call.identity.role] < RANKS[route.role]:
            who = f"{call.identity.name} is {call.identity.role}"
            raise ProblemError(403, f"{who}; {route.method} {route.path} is for {route.role}s", "role")
        call.query, call.body = parameters(call.request, route), await body(call.request, route)
        given = await route.handler(call)
        if isinstance(given, web.StreamResponse):
            return given
        content, status = given if isinstance(given, Answer) else (given, route.status)
        return web.Response(status=status, body=msgspec.json.encode(content), content_type=JSON)

    async def handle(request: web.Request) -> web.StreamResponse:
        call = Call(request, await auth.identify(request), dict(request.match_info), None, None)
        return await (respond(call) if route.method == "GET" else audit.noted(call, partial(respond, call)))

    return handle


def parameters(request: web.Request, route: Route) -> Any:  # noqa: ANN401 - the route's own struct
    """Read the query's parameters.

    Raises:
        ProblemError: 400 for one that is unknown, given twice, or out of range.
    """
    given = dict(request.query)
    if len(given) != len(request.query):
        raise ProblemError(400, f"a parameter is given twice: {request.query_string}; give it once", "invalid")
    if route.query is None:
        if given:
            raise ProblemError(400, f"unknown parameter {', '.join(sorted(given))}; {route.method} {route.path} takes none", "invalid")
        return None
    try:
        return msgspec.convert(given, route.query, strict=False)
    except msgspec.ValidationError as error:
        raise ProblemError(400, f"parameters {request.query_string!r}: {error}; GET /openapi.json lists them", "invalid") from error


async def body(request: web.Request, route: Route) -> Any:  # noqa: ANN401 - the route's own struct
    """Read the body.

    Raises:
        ProblemError: 415 for another type than JSON, 413 for one too large, 400 for one that does not fit.
    """
    if route.body is None:
        return None
    # A page of another origin can send any other type without asking first.
    if request.content_type != JSON:
        raise ProblemError(415, f"Content-Type {request.content_type!r}; send {JSON}", "content_type")
    try:
        return msgspec.json.decode(await request.read(), type=route.body)
    except web.HTTPRequestEntityTooLarge as error:
        raise ProblemError(413, f"the body is larger than {BODY_BYTES_MAX} bytes; send it in parts", "too_large") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProblemError(400, f"the body cannot be used: {error}; GET /openapi.json tells what it may be", "invalid") from error


@web.middleware
async def tell_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error with a problem."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < web.HTTPBadRequest.status_code:
            raise
        kept = {name: value for name, value in error.headers.items() if name == "Allow"}
        return answer(ProblemError(error.status, f"{request.method} {request.path}: {error.reason}; GET /openapi.json lists all", "", kept))
    except Exception as error:
        problem = known(error)
        if problem is None:
            log.exception("a request failed", method=request.method, path=request.path)
            problem = ProblemError(500, "the console failed over this request; its log says why", "failed")
        return answer(problem)


async def secure(_: web.Request, response: web.StreamResponse) -> None:
    """Add the headers that every answer has; what is cached is asked for again, and costs nothing while its ETag holds."""
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-cache" if isinstance(response, web.FileResponse) else "no-store")


async def page(_: web.Request) -> web.FileResponse:
    """Give the page, whose modules read the view from its address."""
    return web.FileResponse(STATIC / "index.html")


async def fixed(content: bytes, _: web.Request) -> web.Response:
    """Give a body that is always the same."""
    return web.Response(body=content, content_type=JSON)


async def ready(request: web.Request) -> web.Response:
    """Tell whether there is a read model, and whether events are followed."""
    application = request.app
    try:
        silent = "" if (await read_model(application).cursor()).places else "Redis holds no read model: does the publisher run?"
    except (RedisError, OSError) as error:
        silent = f"Redis is away: {error}"
    hub = application[stream.HUB]
    deaf = "" if hub.ready.is_set() and not hub.ended else "Kafka has not answered yet, or the hub has failed"
    checks = {"read_model": Check(not silent, "", silent), "events": Check(not deaf, "", deaf)}
    report = Report(all(check.ok for check in checks.values()), checks)
    return web.Response(status=OK if report.ok else UNAVAILABLE, body=msgspec.json.encode(report), content_type=JSON)


async def close_redis(application: web.Application) -> AsyncIterator[None]:
    """Close the connections to Redis at the end."""
    yield
    await application[REDIS].aclose()


async def serve(deployment: Deployment, *, ready: Callable[[str], None] = lambda _: None) -> None:
    """Serve until cancelled, or until events can be followed no more.

    Args:
        deployment: Where broker and Redis are, and where to listen.
        ready: Called with the page's address once it answers.

    Raises:
        SettingsError: it cannot listen there.
        StackError: no Redis is known.
    """
    application = make_application(deployment, load_settings(deployment))
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_S)
    port = CONSOLE_PORT if deployment.console_port is None else deployment.console_port
    try:
        await runner.setup()
        try:
            await web.TCPSite(runner, deployment.console_host, port).start()
        except OSError as error:
            where = f"NPO_CONSOLE_HOST={deployment.console_host} NPO_CONSOLE_PORT={port}"
            raise SettingsError(f"{where}: cannot listen there ({error}); choose another port, or 0 for a free one") from error
        address = web_address(deployment.console_host, runner.addresses[0][1])
        log.info("console", address=address)
        ready(address)
        # It follows the topics until its end; where it fails, the process ends with it, and is started again.
        await asyncio.shield(application[stream.FOLLOWING])
    finally:
        await runner.cleanup()


async def _serve_until_stopped(deployment: Deployment, ready: Callable[[str], None]) -> None:
    serving = asyncio.ensure_future(serve(deployment, ready=ready))
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, serving.cancel)
    await asyncio.wait([serving])
    if not serving.cancelled():
        serving.result()


def run_console(deployment: Deployment, ready: Callable[[str], None] = lambda _: None) -> None:
    """Serve the page and the API until SIGTERM or Ctrl-C."""
    asyncio.run(_serve_until_stopped(deployment, ready))


if __name__ == "__main__":
    run_console(Deployment())
