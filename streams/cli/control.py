"""`npo control kill|resume|freeze|shadow|reopen` to a scope or to all, `revoke|quarantine|release` about one source of answers."""

import asyncio
import time
from collections.abc import Callable
from typing import Annotated

from cyclopts import App, Parameter
from msgspec import to_builtins
from rich.console import Console

from schemas.events import Command, Control
from streams.home import account, connect
from streams.logs.taking import WAIT_S
from streams.serving.commanding import send, sentence

FAULT = 1
OF_SCOPES = (
    (Command.KILL, "Surface nothing any more, until `resume`."),
    (Command.RESUME, "Take back kill, freeze and shadow: those of a scope with `--scope`, those of all scopes without."),
    (Command.FREEZE, "Go on surfacing, but let no answer move scores or trust, until `resume`; the override budget stays in force."),
    (Command.SHADOW, "Decide and log everything, and surface nothing, until `resume`."),
    (Command.REOPEN, "Start the override budget anew where it has less than at the start; needs `--reason`, which is on record with who."),
)
NAMED = "A source of outcomes is called `outcome:NAME`."
OF_SOURCES = (
    (Command.REVOKE, f"Take a source's answers out of scores and trust, and let it count for nothing more, until `release`. {NAMED}"),
    (Command.QUARANTINE, f"Let a source's answers count for nothing from now on, until `release`; they are logged. {NAMED}"),
    (Command.RELEASE, f"Let a source's answers count again from now on; what `revoke` has taken out stays out. {NAMED}"),
)

control_app = App(name="control", result_action="return_value")

As = Annotated[str | None, Parameter(name="--as")]


def _of_scopes(what: Command) -> Callable[..., int]:
    def run(*, scope: str | None = None, reason: str = "", by: As = None, wait: bool = True, json: bool = False) -> int:
        """Command scopes.

        Args:
            scope: The scope to command; all scopes where none is given.
            reason: Why, for the record.
            by: Who commands it; the login name where it is not given.
            wait: Wait until it is in force, and tell after how long; exit code 1 where it is not.
            json: Print what came of it as JSON.
        """
        return command(what, scope, "", reason, by, wait=wait, json=json)

    return run


def _of_sources(what: Command) -> Callable[..., int]:
    def run(source: str, *, scope: str | None = None, reason: str = "", by: As = None, wait: bool = True, json: bool = False) -> int:
        """Command about a source.

        Args:
            source: Whose answers it is about: an operator's name, or `outcome:NAME` for the outcomes whose `source` is NAME
                (`outcome:outcome` for those that name none).
            scope: The scope to command; all scopes where none is given.
            reason: Why, for the record.
            by: Who commands it; the login name where it is not given.
            wait: Wait until it is in force, and tell after how long; exit code 1 where it is not.
            json: Print what came of it as JSON.
        """
        return command(what, scope, source, reason, by, wait=wait, json=json)

    return run


for _what, _does in OF_SCOPES:
    control_app.command(_of_scopes(_what), name=_what.value, help=_does)
for _what, _does in OF_SOURCES:
    control_app.command(_of_sources(_what), name=_what.value, help=_does)


def command(what: Command, scope: str | None, source: str, reason: str, by: str | None, *, wait: bool, json: bool) -> int:
    """Send one command, wait until it is in force, and print what came of it; 1 where it is not in force yet."""
    control = Control(what, time.time_ns() // 1_000_000, by or account(), scope, source, reason)
    deployment = connect()
    with Console(stderr=True).status("waiting until it is in force" if wait else "sending"):
        effect = asyncio.run(send(deployment, control, WAIT_S if wait else None))
    if json:
        told = to_builtins(effect)
        Console().print_json(data=told.pop("control") | told)
    else:
        Console().print(sentence(effect, WAIT_S), markup=False, highlight=False, soft_wrap=True)
    return FAULT if effect.in_force is False else 0
