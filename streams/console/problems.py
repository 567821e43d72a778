"""Errors as the API tells them: application/problem+json (RFC 9457), one table from our errors to statuses."""

from http import HTTPStatus

import msgspec
from aiohttp import web
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from schemas.errors import ContradictionError, NotSurfacedError, NpoError, RecordError, StackError, TopologyError, UnknownDecisionError
from streams.console.views import Problem

PROBLEM_JSON = "application/problem+json"
BLANK = "about:blank"

# The first that fits: subclasses before their classes.
STATUSES: tuple[tuple[type[Exception], int, str], ...] = (
    (UnknownDecisionError, 404, UnknownDecisionError.reason),
    (NotSurfacedError, 409, NotSurfacedError.reason),
    (ContradictionError, 409, "contradiction"),
    (RecordError, 400, "invalid"),
    (StackError, 503, "unavailable"),
    (TopologyError, 503, "unavailable"),
    (RedisError, 503, "read_model_away"),
    (KafkaError, 503, "broker_away"),
)
REMEDIES = {
    "read_model_away": "Redis, which holds what the page shows, does not answer; try again, nothing is lost",
    "broker_away": "Kafka does not answer; nothing was written, try again",
}


class ProblemError(NpoError):
    """A request that is answered with a problem.

    Args:
        status: HTTP status.
        detail: What was wrong, with which value, and what to do.
        kind: Names the kind of problem where the status alone does not: `urn:npo:<kind>`.
        headers: Of the answer.
    """

    def __init__(self, status: int, detail: str, kind: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.headers = headers or {}


def known(error: Exception) -> ProblemError | None:
    """Return an error as a problem; None for one that is our own fault."""
    if isinstance(error, ProblemError):
        return error
    for kind, status, name in STATUSES:
        if isinstance(error, kind):
            return ProblemError(status, REMEDIES.get(name) or str(error), name)
    return None


def answer(problem: ProblemError) -> web.Response:
    """Write a problem."""
    kind = f"urn:npo:{problem.kind}" if problem.kind else BLANK
    body = Problem(kind, HTTPStatus(problem.status).phrase, problem.status, problem.detail)
    return web.Response(status=problem.status, body=msgspec.json.encode(body), content_type=PROBLEM_JSON, headers=problem.headers)
