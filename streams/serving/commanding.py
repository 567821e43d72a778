"""Commanding scopes and sources of answers: a command is written, waited for until it is in force, and told in words."""

import asyncio
import time
import uuid

import msgspec
from msgspec import Struct, field

from schemas import codecs
from schemas.alignment import SourceRevoked
from schemas.errors import SettingsError
from schemas.events import ABOUT_SOURCES, Command, Control
from schemas.headers import cloud_event
from schemas.identity import SEPARATOR, partition_of
from schemas.settings import Deployment
from schemas.topics import ALIGNMENT, CONTROL, dead_letter
from streams.logs.reading import open_reader, partition_counts, require
from streams.logs.tails import event_time
from streams.logs.taking import Letter, Sent, Since, open_office, since_now
from streams.serving.commanded import read_forces
from streams.serving.force import ALL_SCOPES, Force

# So long what scopes tell of a `revoke` is waited for: each folds with a record of its own, whenever that comes.
FOLDED_S = 1.5


class Folded(Struct):
    """How many classes of a scope were folded again, from how many kept answers."""

    classes: int
    answers: int


class Effect(Struct):
    """What came of a command.

    Attributes:
        control: The command.
        records: How many records it was: one, or one in every partition where it is to all scopes.
        positions: The next offset after its record, by partition (`control:0`).
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
    positions: dict[str, int] = field(default_factory=dict)
    in_force: bool | None = None
    delay_ms: float | None = None
    refused: str = ""
    took_back: list[str] = field(default_factory=list)
    remains: list[str] = field(default_factory=list)
    unseen: bool = False
    revoked: dict[str, Folded] = field(default_factory=dict)


def sentence(effect: Effect, wait_s: float) -> str:
    """Say what came of a command that was waited for so long."""
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
        return f"{sent}, NOT in force yet after {wait_s:.0f} s: do workers of `deciding` run? (`npo status`)"
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
        effect.positions = {f"{one.topic}:{one.partition}": one.offset + 1 for one in sent}
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
