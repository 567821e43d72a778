"""`npo control kill|resume|freeze`: commands to one scope, or to all."""

import asyncio
import getpass
import time
import uuid
from typing import Annotated

from cyclopts import App, Parameter
from msgspec import to_builtins
from rich.console import Console

from schemas import codecs
from schemas.events import Command, Control
from schemas.headers import cloud_event
from schemas.identity import partition_of
from schemas.settings import Deployment
from schemas.topics import CONTROL
from streams.home import connect
from streams.logs.reading import partition_counts, require
from streams.logs.sending import open_sender

ALL_SCOPES = "*"

control_app = App(name="control", result_action="return_value")

As = Annotated[str | None, Parameter(name="--as")]


@control_app.command
def kill(*, scope: str | None = None, reason: str = "", by: As = None, json: bool = False) -> int:
    """Surface nothing any more, until `resume`.

    Args:
        scope: The scope to command; all scopes where none is given.
        reason: Why, for the record.
        by: Who commands it; the login name where it is not given.
        json: Print the command as JSON.
    """
    return command(Command.KILL, scope, reason, by, json=json)


@control_app.command
def resume(*, scope: str | None = None, reason: str = "", by: As = None, json: bool = False) -> int:
    """Take back kill and freeze: those of a scope with `--scope`, those of all scopes without.

    Args:
        scope: The scope to command; all scopes where none is given.
        reason: Why, for the record.
        by: Who commands it; the login name where it is not given.
        json: Print the command as JSON.
    """
    return command(Command.RESUME, scope, reason, by, json=json)


@control_app.command
def freeze(*, scope: str | None = None, reason: str = "", by: As = None, json: bool = False) -> int:
    """Go on surfacing, but let no answer move scores or trust, until `resume`; the override budget stays in force.

    Args:
        scope: The scope to command; all scopes where none is given.
        reason: Why, for the record.
        by: Who commands it; the login name where it is not given.
        json: Print the command as JSON.
    """
    return command(Command.FREEZE, scope, reason, by, json=json)


def command(what: Command, scope: str | None, reason: str, by: str | None, *, json: bool) -> int:
    """Send one command and print it."""
    control = Control(what, time.time_ns() // 1_000_000, by or getpass.getuser(), scope, reason=reason)
    records = asyncio.run(send(connect(), control))
    if json:
        Console().print_json(data=to_builtins(control) | {"records": records})
    else:
        where = "all scopes" if scope is None else f"scope {scope}"
        Console().print(f"{what.value} sent to {where} ({records} record{'s' if records > 1 else ''})", markup=False)
    return 0


async def send(deployment: Deployment, control: Control) -> int:
    """Write a command, to all scopes as one record in every partition, and return how many records that were.

    Raises:
        TopologyError: there is no control topic.
    """
    counts = await partition_counts(deployment)
    require(counts, [CONTROL.name], deployment)
    every = range(counts[CONTROL.name])
    partitions = every if control.scope is None else [partition_of(control.scope.encode(), len(every))]
    key = "|".join((control.scope or ALL_SCOPES, control.command.value, control.subject)).encode()
    identity, value = uuid.uuid4().hex, codecs.encode(control)
    async with open_sender(deployment) as sender:
        for partition in partitions:
            headers = cloud_event(f"{identity}-{partition}", CONTROL.name, "npo/control", control.time_ms, identity)
            await sender.send(CONTROL.name, partition, key, value, headers)
    return len(partitions)
