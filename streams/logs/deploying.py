"""Putting a model in force by hand: what may be sent, sending it, and waiting until the decider has taken it up."""

import time
import uuid
from math import isfinite
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from schemas import topics
from schemas.alignment import ModelTaken
from schemas.codecs import encode
from schemas.errors import SettingsError
from schemas.events import Model, Name
from schemas.headers import cloud_event
from schemas.identity import SEPARATOR, derived_name, partition_of
from schemas.settings import Deployment, load_settings
from streams.logs.reading import open_reader, partition_counts, require
from streams.logs.tails import event_time, settings_in_use
from streams.logs.taking import WAIT_S, Letter, open_office, since_now

# What the record of a model's return or import says of why: a model has no field for it.
NOTE = "npo_note"
WEIGHTS = msgspec.json.Decoder(dict[Name, float])


class Taken(Struct):
    """A model that was sent, whether it is in force, and what taking it up came to; None where it was in force already."""

    model: Model
    in_force: bool
    taken: ModelTaken | None = None


def imported(model: Model, scope: str, by: str) -> Model:
    """Return a model as another scope's: its id follows from model and scope, its evaluation stays with the scope it was made on."""
    made_of = msgspec.json.encode([model.id, model.intercept, model.weights], order="deterministic").decode()
    return replace(
        model, id=derived_name(made_of, f"import {scope}"), scope=scope, parent=model.id, evaluation={}, origin="imported", by=by
    )


def read_model(path: Path) -> Model:
    """Read a model from a file.

    Raises:
        SettingsError: no such file, or not a model.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Model)
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}; give a file, or a model's id with --from-scope") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not a model as `npo model show --json` prints it: {error}") from error


def check(model: Model) -> None:
    """Check what a file may have wrong: numbers that are not finite or beyond 1e100, names that are empty, too long, or no names.

    Raises:
        SettingsError: it cannot be used.
    """
    if wrong := [name for name, weight in model.weights.items() if not isfinite(weight)]:
        raise SettingsError(f"model {model.id}: the weights of {', '.join(wrong)} are not finite numbers")
    if not isfinite(model.intercept):
        raise SettingsError(f"model {model.id}: the intercept {model.intercept} is not a finite number")
    try:
        msgspec.json.decode(encode(model), type=Model)
        WEIGHTS.decode(msgspec.json.encode(model.weights))
    except msgspec.ValidationError as error:
        raise SettingsError(f"model {model.id}: {error}; correct that number or name") from error
    if SEPARATOR in model.scope:
        raise SettingsError(f"scope {model.scope!r} has the control character U+001F in its name; give another scope")


async def send_model(deployment: Deployment, model: Model, reason: str, wait_s: float = WAIT_S) -> Taken:
    """Write a model record under its scope's key, at the scope's event time, and wait until the decider has taken it up.

    Raises:
        TopologyError: a topic does not exist.
        SettingsError: the decider has refused it.
        StackError: it was taken, and what came of it cannot be seen.
    """
    counts = await partition_counts(deployment)
    refused = topics.dead_letter(topics.MODEL.name)
    require(counts, [topics.MODEL.name, topics.ALIGNMENT.name, refused], deployment)
    async with open_reader(deployment) as consumer:
        time_ms = await event_time(consumer, deployment.topic_prefix, counts, model.scope)
    # A scope of which nothing is known has no time of its own yet.
    model = replace(model, time_ms=time_ms or time.time_ns() // 1_000_000)
    key, identity = model.scope.encode(), uuid.uuid4().hex
    headers = (
        *cloud_event(identity, topics.MODEL.name, "npo/model", model.time_ms, identity),
        *([(NOTE, reason.encode())] if reason else []),
    )
    since = await since_now(deployment, [(name, partition_of(key, counts[name])) for name in (topics.ALIGNMENT.name, refused)])
    async with open_office(deployment) as office:
        (sent,) = await office.send([Letter(topics.MODEL.name, partition_of(key, counts[topics.MODEL.name]), key, encode(model), headers)])
        if not await office.taken([sent], wait_s):
            return Taken(model, in_force=False)
    if why := await since.refusal([sent], wait_s):
        raise SettingsError(f"the decider has refused model {model.id}, {why}")
    for event in await since.events(topics.ALIGNMENT.name):
        if isinstance(event, ModelTaken) and event.positions.get(sent.topic) == sent.offset + 1:
            return Taken(model, in_force=True, taken=event)
    # The model that is in force already changes nothing, and the decider tells nothing.
    return Taken(model, in_force=True)


async def require_settings_in_use(deployment: Deployment, scope: str) -> None:
    """Check that the workers decide under the settings of this command: the initial model is their profile's.

    Raises:
        SettingsError: the scope's latest decision was made under others.
    """
    counts = await partition_counts(deployment)
    async with open_reader(deployment) as consumer:
        used = await settings_in_use(consumer, deployment.topic_prefix, counts, scope)
    own = load_settings(deployment).digest
    if used not in {None, own}:
        raise SettingsError(
            f"scope {scope} decides under settings {used}, this command has {own}, whose initial model may be another; set NPO_PROFILE, "
            "NPO_POLICY, NPO_CATALOGUE, NPO_SCOPES and NPO_SEED as the workers have them"
        )
