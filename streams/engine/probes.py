"""The HTTP server of a worker or of the publisher: `/livez`, `/readyz`, `/metrics`.

It has a thread and an event loop of its own, so that a step that computes for long does not keep it from answering. Where it does not
answer at all, the interpreter itself is stuck: that is what a liveness probe beside our own watchdog is for.
"""

import asyncio
import threading
from concurrent.futures import Future
from typing import Protocol

import msgspec
from aiohttp import web
from msgspec import Struct
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

from schemas.errors import SettingsError

OK, UNAVAILABLE = 200, 503
START_S_MAX = 10.0


class Check(Struct, frozen=True):
    """One check: whether it holds, what was found, and what is wrong where it does not hold."""

    ok: bool
    value: str | int | float
    reason: str = ""


class Report(Struct, frozen=True):
    """All checks of one question, by name."""

    ok: bool
    checks: dict[str, Check]


class Health(Protocol):
    """Whoever can tell whether a process lives and is ready, from any thread."""

    def live(self) -> Report:
        """Tell whether it makes progress."""
        ...

    def ready(self) -> Report:
        """Tell whether it does its part."""
        ...


class Probes(threading.Thread):
    """Serves a process' health for as long as the process lives.

    Args:
        host: address to listen on.
        port: port to listen on; 0 for a free one.
        health: what to tell.
        registry: the metrics to tell.
    """

    def __init__(self, host: str, port: int, health: Health, registry: CollectorRegistry) -> None:
        super().__init__(name="probes", daemon=True)
        self._host = host
        self._port = port
        self._health = health
        self._registry = registry
        self._bound: Future[int] = Future()

    def serve(self) -> int:
        """Start to listen, and return the port.

        Raises:
            SettingsError: it cannot listen there.
        """
        self.start()
        try:
            return self._bound.result(START_S_MAX)
        except OSError as error:
            where = f"NPO_HEALTH_HOST={self._host} NPO_HEALTH_PORT={self._port}"
            raise SettingsError(f"{where}: cannot listen there ({error}); choose another port, or 0 for a free one") from error

    def run(self) -> None:
        """Serve, in the thread."""
        asyncio.run(self._serve())

    def routes(self) -> list[web.RouteDef]:
        """What is served."""
        return [
            web.get("/livez", self._live),
            web.get("/readyz", self._ready),
            web.get("/metrics", make_aiohttp_handler(self._registry)),
        ]

    async def _serve(self) -> None:
        application = web.Application()
        application.add_routes(self.routes())
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
            self._bound.set_result(int(runner.addresses[0][1]))
        except BaseException as error:  # noqa: BLE001 - the starting thread hears of it
            self._bound.set_exception(error)
            return
        await asyncio.Event().wait()

    async def _live(self, _: web.Request) -> web.Response:
        return _answer(self._health.live())

    async def _ready(self, _: web.Request) -> web.Response:
        return _answer(self._health.ready())


def _answer(report: Report) -> web.Response:
    return web.Response(status=OK if report.ok else UNAVAILABLE, body=msgspec.json.encode(report), content_type="application/json")
