"""What a route is: the server dispatches by rows of `Route`, and the OpenAPI document is made from the same rows.

A module of the API exports `ROUTES`, a tuple of rows, and where it holds something open, `lifespan`: an aiohttp cleanup context that
opens it, puts it into the application under a `web.AppKey`, yields, and closes it. `streams.console.server` lists these modules.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from aiohttp import web
from msgspec import Struct
from redis.asyncio import Redis

from schemas.settings import Deployment, Settings

API = "/api/v1"
JSON = "application/json"
EVENT_STREAM = "text/event-stream"

# What the server itself puts into the application, before any `lifespan`.
DEPLOYMENT = web.AppKey("deployment", Deployment)
SETTINGS = web.AppKey("settings", Settings)
REDIS = web.AppKey("redis", Redis)

Role = Literal["viewer", "operator", "admin"]
RANKS: dict[str | None, int] = {None: 0, "viewer": 1, "operator": 2, "admin": 3}


class Identity(NamedTuple):
    """Who asks.

    Attributes:
        name: Of the token, or of everybody where there are none.
        role: What he may do.
        operator: The pseudonym that his answers bear; None where everybody names himself.
        team: His team, where the token names one.
        tokens: Whether the server asks for tokens.
    """

    name: str
    role: Role
    operator: str | None = None
    team: str | None = None
    tokens: bool = False


@dataclass
class Call:
    """One request, checked: its role suffices, its parameters and body are of the route's structs.

    Attributes:
        request: As aiohttp has it; `request.app` has what `lifespan` opened.
        identity: Who asks.
        path: Parameters of the path, unquoted.
        query: The route's `query` struct; None where it has none.
        body: The route's `body` struct; None where it has none.
        position: Set by a handler that has written: `<topic>:<partition>:<offset>`, several separated by commas; for the audit.
    """

    request: web.Request
    identity: Identity
    path: dict[str, str]
    query: Any
    body: Any
    position: str = ""


class Answer(NamedTuple):
    """A body with another status than the route's own."""

    body: Struct
    status: int


# A struct is written as JSON under the route's status; anything a handler cannot do, it raises (`streams.console.problems`).
Handler = Callable[[Call], Awaitable[Struct | Answer | web.StreamResponse]]


class Route(NamedTuple):
    """One row of the API.

    Attributes:
        method: GET or POST.
        path: Under the prefix `/api/v1`; parameters in braces.
        handler: Answers.
        role: The least role that may; None for everybody, without a token.
        summary: A sentence for the document.
        response: Struct of the body; None where it is no JSON of a struct.
        status: Of a body that comes without another.
        query: Struct of the query's parameters: its defaults are theirs, and a parameter that it does not name is refused.
        body: Struct of the request's body.
        also: Further statuses with the same body.
        problems: Statuses of problems, besides 400, 401, 403, 413, 415 and 503, where they apply.
        content: Type of the body.
    """

    method: Literal["GET", "POST"]
    path: str
    handler: Handler
    role: Role | None
    summary: str
    response: type[Struct] | None = None
    status: int = 200
    query: type[Struct] | None = None
    body: type[Struct] | None = None
    also: tuple[int, ...] = ()
    problems: tuple[int, ...] = ()
    content: str = JSON
