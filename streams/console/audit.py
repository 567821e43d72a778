"""The audit topic: a record for every request to write, taken or refused, with the name of who asked."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from schemas.codecs import encode
from schemas.events import Audit
from schemas.headers import cloud_event
from schemas.identity import partition_of
from schemas.topics import AUDIT
from streams.console.problems import known
from streams.console.routes import Call
from streams.console.writer import WRITER
from streams.logs.taking import Letter

SOURCE = "npo/console"


async def noted(call: Call, respond: Callable[[], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    """Answer a request to write, and have it on record before whoever asked has the answer.

    Raises:
        ProblemError: 503 where the record cannot be written; else what `respond` raises.
    """
    try:
        response = await respond()
    except web.HTTPException as error:
        await note(call, error.status)
        raise
    except asyncio.CancelledError:
        # The console ends, and what was asked for may have been written.
        await asyncio.shield(note(call, HTTPStatus.SERVICE_UNAVAILABLE.value))
        raise
    except Exception as error:
        problem = known(error)
        await note(call, problem.status if problem else HTTPStatus.INTERNAL_SERVER_ERROR.value)
        raise
    await note(call, response.status)
    return response


async def note(call: Call, status: int) -> None:
    """Write one record of a request, and wait until the broker has it.

    Args:
        call: The request, and who asked.
        status: What it is answered with.

    Raises:
        ProblemError: 503 where the broker does not acknowledge it in time.
    """
    who, request = call.identity, call.request
    time_ms, event = time.time_ns() // 1_000_000, uuid.uuid4().hex
    # Where there are no tokens, everybody names himself.
    operator = who.operator or getattr(call.body, "operator", None)
    told = Audit(time_ms, who.name, who.role, operator, request.method, request.path, status, call.position)
    writer, key = request.app[WRITER], who.name.encode()
    headers = cloud_event(event, AUDIT.name, SOURCE, time_ms, event)
    await writer.send([Letter(AUDIT.name, partition_of(key, writer.counts[AUDIT.name]), key, encode(told), headers)])
