"""What the console counts, for Prometheus: requests by route, never by path, so that the number of series is bounded."""

import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.aiohttp import make_aiohttp_handler

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Measures:
    """Counts of one console.

    Attributes:
        registry: All of them; a module of the API may add its own.
        requests: By method, route and status.
        seconds: By route, from the request's head to the answer's end.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives it no types
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter("npo_console_requests", "Requests.", ("method", "route", "status"), registry=self.registry)
        self.seconds = Histogram("npo_console_request_seconds", "Time to answer.", ("route",), buckets=SECONDS, registry=self.registry)


MEASURES = web.AppKey("measures", Measures)


@web.middleware
async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count a request and its time."""
    measures, started_s = request.app[MEASURES], time.perf_counter()
    response = await handler(request)
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else ""
    measures.requests.labels(request.method, route, str(response.status)).inc()
    measures.seconds.labels(route).observe(time.perf_counter() - started_s)
    return response


def handler(measures: Measures) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return what answers Prometheus."""
    return make_aiohttp_handler(measures.registry)
