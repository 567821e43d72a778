"""`npo control kill|resume|freeze|shadow|reopen` to a scope or to all, `revoke|quarantine|release` about one source of answers."""

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from msgspec import Struct, field, to_builtins
from rich.console import Console

from schemas import codecs
from schemas.alignment import SourceRevoked
from schemas.errors import SettingsError
from schemas.events import ABOUT_SOURCES, Command, Control
from schemas.headers import cloud_event
from schemas.identity import SEPARATOR, partition_of
from schemas.settings import Deployment
from schemas.topics import ALIGNMENT, CONTROL, dead_letter
from streams.home import account, connect
from streams.logs.reading import open_reader, partition_counts, require
from streams.logs.tails import event_time
from streams.logs.taking import WAIT_S, Letter, Sent, Since, open_office, since_now
from streams.serving.commanded import read_forces
from streams.serving.force import ALL_SCOPES, Force

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
# So long what scopes tell of a `revoke` is waited for: each folds with a record of its own, whenever that comes.
FOLDED_S = 1.5

control_app = App(name="control", result_action="return_value")

As = Annotated[str | None, Parameter(name="--as")]


class Folded(Struct):
    """How many classes of a scope were folded again, from how many kept answers."""

    classes: int
    answers: int


class Effect(Struct):
    """What came of a command.

    Attributes:
        control: The command.
        records: How many records it was: one, or one in every partition where it is to all scopes.
        in_force: Whether the deciding tasks have taken all of them and refused none; None where that was not waited for.
        delay_ms: From sending until they were seen to be taken; what is decided after it knows the command.
        refused: Why the tasks have refused it, empty where they have not.
        took_back: What was in force before a `resume` of this reach took it back, in words.
        remains: What a `resume` of this reach leaves in force here, in words: that of another reach.
        unseen: Whether no record of late is of the scope, so that its name may be misspelt.
        revoked: What a `revoke` took out, by scope, as far as the scopes have told it.
    """

    control: Control
    records: int
    in_force: bool | None = None
    delay_ms: float | None = None
    refused: str = ""
    took_back: list[str] = field(default_factory=list)
    remains: list[str] = field(default_factory=list)
    unseen: bool = False
    revoked: dict[str, Folded] = field(default_factory=dict)


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
        Console().print(sentence(effect), markup=False, highlight=False, soft_wrap=True)
    return FAULT if effect.in_force is False else 0


def sentence(effect: Effect) -> str:
    """Say what came of a command."""
    control, count = effect.control, effect.records
    where = "all scopes" if control.scope is None else f"scope {control.scope}"
    what = f"{control.command.value} {control.subject}".rstrip()
    sent = f"{what} sent to {where} ({count} record{'s' if count > 1 else ''})"
    if effect.took_back:
        sent += f"; takes back: {', '.join(effect.took_back)}"
    elif control.command is Command.RESUME:
        sent += "; there was nothing of this reach to take back"
    if effect.remains:
        sent += f"; leaves in force: {', '.join(effect.remains)}"
    if effect.in_force is None:
        return sent
    if effect.refused:
        return f"{sent}, and REFUSED, {effect.refused}"
    if not effect.in_force:
        return f"{sent}, NOT in force yet after {WAIT_S:.0f} s: do workers of `deciding` run? (`npo status`)"
    said = [f"{sent}; in force after {effect.delay_ms:.0f} ms", *(folded(name, told) for name, told in sorted(effect.revoked.items()))]
    if control.command is Command.REVOKE and (control.scope is None or not effect.revoked):
        said.append("a scope that is not named here folds without it when its next records come")
    if effect.unseen:
        said.append(f"NOTE: no record of late is of scope {control.scope}: is it spelt right? (`npo watch --once` shows the scopes)")
    return "; ".join(said)


def folded(scope: str, told: Folded) -> str:
    """Say what came of revoking a source in one scope."""
    if not told.classes and not told.answers:
        return f"{scope} has never heard it"
    return f"{scope}: {told.classes} classes folded again from {told.answers} answers"


async def send(deployment: Deployment, control: Control, wait_s: float | None) -> Effect:
    """Write a command, to all scopes as one record in every partition, and wait until it is in force.

    Control is applied before any other block of a task: once a task has committed beyond the record, nothing that it writes
    was decided without it.

    Args:
        deployment: where to.
        control: the command.
        wait_s: how long to wait; None does not wait.

    Raises:
        TopologyError: a topic does not exist.
        SettingsError: not a command, e.g. a scope with a name that is too long.
        StackError: no broker answers, or the command was taken and what came of it cannot be seen.
    """
    counts = await partition_counts(deployment)
    refused = dead_letter(CONTROL.name)
    require(counts, [CONTROL.name, *([] if wait_s is None else [refused])], deployment)
    letters = letters_of(control, counts[CONTROL.name])
    effect = Effect(control, len(letters))
    if control.command is Command.RESUME:
        forces, reach = await read_forces(deployment), control.scope or ALL_SCOPES
        effect.took_back = [f"{what} by {told.by}" for what, told in forces.get(reach, Force()).flags()]
        others = {ALL_SCOPES} if control.scope else forces.keys() - {ALL_SCOPES}
        left = [(name, what, told) for name in sorted(others) for what, told in forces.get(name, Force()).flags()]
        effect.remains = [f"{what} of {'all scopes' if name == ALL_SCOPES else f'scope {name}'} by {told.by}" for name, what, told in left]
    # All its records have one key, and their dead letters one partition.
    watched = [(refused, partition_of(letters[0].key, counts[refused]))] if wait_s is not None else []
    if control.command is Command.REVOKE:
        watched += [(ALIGNMENT.name, place) for place in places_of(control, counts.get(ALIGNMENT.name, 0))]
    since = await since_now(deployment, watched)
    async with open_office(deployment) as office:
        begun = time.perf_counter()
        sent = await office.send(letters)
        if wait_s is None:
            return effect
        effect.in_force = await office.taken(sent, wait_s)
        if not effect.in_force:
            return effect
        effect.delay_ms = (time.perf_counter() - begun) * 1000
    effect.refused = await since.refusal(sent, wait_s) or ""
    effect.in_force = not effect.refused
    if control.scope is not None:
        async with open_reader(deployment) as consumer:
            effect.unseen = not await event_time(consumer, deployment.topic_prefix, counts, control.scope)
    if effect.in_force and control.command is Command.REVOKE:
        effect.revoked = await revocations(since, control, sent)
    return effect


async def revocations(since: Since, control: Control, sent: list[Sent]) -> dict[str, Folded]:
    """Return what the scopes of a `revoke` tell of it within a moment: a scope of its own mostly at once, all of them each later."""
    after = {one.partition: one.offset for one in sent}

    def is_of_it(event: object) -> bool:
        if not isinstance(event, SourceRevoked) or event.source != control.subject or control.scope not in {None, event.scope}:
            return False
        (place,) = after if control.scope else [partition_of(event.scope.encode(), len(after))]
        return event.positions.get(CONTROL.name, 0) > after[place]

    async def told() -> dict[str, Folded]:
        return {each.scope: Folded(each.classes, each.answers) for each in await since.events(ALIGNMENT.name) if is_of_it(each)}

    if control.scope and (found := await told()):
        return found
    await asyncio.sleep(FOLDED_S)
    return await told()


def places_of(control: Control, partitions: int) -> list[int]:
    """Return the partitions that a command goes to, of a topic keyed by scope."""
    return list(range(partitions)) if control.scope is None else [partition_of(control.scope.encode(), partitions)]


def letters_of(control: Control, partitions: int) -> list[Letter]:
    """Return the records of a command.

    Raises:
        SettingsError: not a command.
    """
    value = codecs.encode(control)
    if control.command in ABOUT_SOURCES and not control.subject:
        raise SettingsError(f"{control.command} of nobody: name the operator or other source of answers")
    if control.command is Command.REOPEN and not control.reason:
        raise SettingsError("reopen without a reason: say with --reason why more may be overridden than was declared")
    for what, name in (("scope", control.scope or ""), ("source", control.subject)):
        if SEPARATOR in name:
            raise SettingsError(f"{what} {name!r} has the control character U+001F in its name; give another {what}")
    try:
        msgspec.json.decode(value, type=Control)
    except msgspec.ValidationError as error:
        raise SettingsError(f"not a command: {error}; change the option of that name") from error
    key = "|".join((control.scope or ALL_SCOPES, control.command.value, control.subject)).encode()
    identity = uuid.uuid4().hex
    return [
        Letter(CONTROL.name, place, key, value, cloud_event(f"{identity}-{place}", CONTROL.name, "npo/control", control.time_ms, identity))
        for place in places_of(control, partitions)
    ]
