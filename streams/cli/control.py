"""`npo control kill|resume|freeze|shadow` to a scope or to all, `revoke|quarantine|release` about one source of answers."""

import asyncio
import getpass
import time
import uuid
from collections.abc import Callable
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from msgspec import Struct, to_builtins
from rich.console import Console

from schemas import codecs
from schemas.errors import SettingsError
from schemas.events import Command, Control
from schemas.headers import cloud_event
from schemas.identity import partition_of
from schemas.settings import Deployment
from schemas.topics import CONTROL
from streams.home import connect
from streams.logs.reading import partition_counts, require
from streams.logs.taking import WAIT_S, Letter, open_office
from streams.serving.force import ABOUT_SOURCES, ALL_SCOPES

FAULT = 1
OF_SCOPES = (
    (Command.KILL, "Surface nothing any more, until `resume`."),
    (Command.RESUME, "Take back kill, freeze and shadow: those of a scope with `--scope`, those of all scopes without."),
    (Command.FREEZE, "Go on surfacing, but let no answer move scores or trust, until `resume`; the override budget stays in force."),
    (Command.SHADOW, "Decide and log everything, and surface nothing, until `resume`."),
)
OF_SOURCES = (
    (Command.REVOKE, "Take what a source has answered out of scores and trust, and let it count for nothing more, until `release`."),
    (Command.QUARANTINE, "Let a source's answers count for nothing from now on, until `release`; they are logged."),
    (Command.RELEASE, "Let a source's answers count again from now on; what `revoke` has taken out stays out."),
)

control_app = App(name="control", result_action="return_value")

As = Annotated[str | None, Parameter(name="--as")]


class Effect(Struct):
    """What came of a command.

    Attributes:
        control: The command.
        records: How many records it was: one, or one in every partition where it is to all scopes.
        in_force: Whether the deciding tasks have taken all of them; None where that was not waited for.
        delay_ms: From sending until that was seen; what is decided after it knows the command.
    """

    control: Control
    records: int
    in_force: bool | None = None
    delay_ms: float | None = None


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
            source: Whose answers it is about: an operator, or a source of outcomes.
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
    control = Control(what, time.time_ns() // 1_000_000, by or getpass.getuser(), scope, source, reason)
    deployment = connect()
    with Console(stderr=True).status("waiting until it is in force" if wait else "sending"):
        effect = asyncio.run(send(deployment, control, WAIT_S if wait else None))
    if json:
        told = {"in_force": effect.in_force, "delay_ms": effect.delay_ms, "records": effect.records}
        Console().print_json(data=to_builtins(control) | told)
    else:
        Console().print(sentence(effect), markup=False, highlight=False, soft_wrap=True)
    return FAULT if effect.in_force is False else 0


def sentence(effect: Effect) -> str:
    """Say what came of a command."""
    control, count = effect.control, effect.records
    where = "all scopes" if control.scope is None else f"scope {control.scope}"
    what = f"{control.command.value} {control.subject}".rstrip()
    sent = f"{what} sent to {where} ({count} record{'s' if count > 1 else ''})"
    if effect.in_force is None:
        return sent
    if effect.in_force:
        return f"{sent}; in force after {effect.delay_ms:.0f} ms"
    return f"{sent}, NOT in force yet after {WAIT_S:.0f} s: do workers of `deciding` run? (`npo status`)"


async def send(deployment: Deployment, control: Control, wait_s: float | None) -> Effect:
    """Write a command, to all scopes as one record in every partition, and wait until it is in force.

    Control is applied before any other block of a task: once a task has committed beyond the record, nothing that it writes
    was decided without it.

    Args:
        deployment: where to.
        control: the command.
        wait_s: how long to wait; None does not wait.

    Raises:
        TopologyError: there is no control topic.
        SettingsError: not a command, e.g. a scope with a name that is too long.
    """
    counts = await partition_counts(deployment)
    require(counts, [CONTROL.name], deployment)
    letters = letters_of(control, counts[CONTROL.name])
    async with open_office(deployment) as office:
        begun = time.perf_counter()
        sent = await office.send(letters)
        if wait_s is None:
            return Effect(control, len(sent))
        in_force = await office.taken(sent, wait_s)
        return Effect(control, len(sent), in_force, (time.perf_counter() - begun) * 1000 if in_force else None)


def letters_of(control: Control, partitions: int) -> list[Letter]:
    """Return the records of a command.

    Raises:
        SettingsError: not a command.
    """
    value = codecs.encode(control)
    if control.command in ABOUT_SOURCES and not control.subject:
        raise SettingsError(f"{control.command} of nobody: name the operator or other source of answers")
    try:
        msgspec.json.decode(value, type=Control)
    except msgspec.ValidationError as error:
        raise SettingsError(f"not a command: {error}; change the option of that name") from error
    places = range(partitions) if control.scope is None else [partition_of(control.scope.encode(), partitions)]
    key = "|".join((control.scope or ALL_SCOPES, control.command.value, control.subject)).encode()
    identity = uuid.uuid4().hex
    return [
        Letter(CONTROL.name, place, key, value, cloud_event(f"{identity}-{place}", CONTROL.name, "npo/control", control.time_ms, identity))
        for place in places
    ]
