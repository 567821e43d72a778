"""The home of a stack: who runs one there, and where its servers are.

`NPO_HOME` (`.npo`) belongs to one stack at a time: who runs it holds the lock of `stack.lock` until its end, however that comes, and
tells in `stack.json` what runs. A state file whose lock nobody holds is what a killed stack left behind.
"""

import fcntl
import getpass
import os
import time
from pathlib import Path
from typing import Any, Literal

import msgspec
import pydantic
from msgspec import Struct

from schemas.errors import SettingsError, StackError
from schemas.settings import Deployment
from streams.processes import ProcessState

STATE, LOCK = "stack.json", "stack.lock"
# Whoever looks whether a stack runs holds the lock for an instant; whoever has just taken it writes the state at once.
TRIES, TRY_S = 20, 0.05

Phase = Literal["starting", "running", "stopping", "ended"]


class StackState(Struct):
    """What `stack.json` tells: who runs the stack, where its servers are, what its processes do.

    Attributes:
        pid: Process id of who runs it.
        phase: How far it is.
        started_ms: Wall clock of its start.
        broker: Kafka's address; empty until it is known.
        redis: Redis' address; empty until it is known.
        own_broker: Whether the stack started the broker, whose topics then keep everything.
        application: Begins the names of groups and changelogs, and of keys in Redis.
        topic_prefix: Begins the names of topics.
        partitions: Of every topic.
        processes: All that it started.
        error: Why it ended, where it ended by itself.
        console: Address of the operator's page; empty until it is known.
    """

    pid: int
    phase: Phase
    started_ms: int
    broker: str
    redis: str
    own_broker: bool
    application: str
    topic_prefix: str
    partitions: int
    processes: list[ProcessState] = msgspec.field(default_factory=list)
    error: str = ""
    console: str = ""


def account() -> str:
    """Return the login name of who runs this process, `uid-N` where the system has no name for it, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


def declared(**fields: Any) -> Deployment:  # noqa: ANN401 - the fields of Deployment
    """Return the deployment that NPO_* variables declare; `fields` go before them.

    Raises:
        SettingsError: a variable cannot be used.
    """
    try:
        deployment = Deployment(**fields)
    except pydantic.ValidationError as error:
        faults = "; ".join(f"NPO_{'_'.join(map(str, each['loc'])).upper()}={each['input']!r}: {each['msg']}" for each in error.errors())
        raise SettingsError(f"{faults}; correct or unset the variable") from error
    paths = {name: value.absolute() for name, value in deployment if isinstance(value, Path)}
    return deployment.model_copy(update=paths)


def without_password(url: str) -> str:
    """Return a Redis address as it may be shown and kept: without user and password."""
    scheme, divider, rest = url.partition("://")
    return f"{scheme}{divider}{rest.rpartition('@')[2]}"


def web_address(host: str, port: int) -> str:
    """Return the address at which this machine's browser finds a server: one that listens everywhere is on loopback too."""
    name = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared with, not listened on
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def find(home: Path) -> StackState | None:
    """Return the state of the stack that runs in a home, or None where none does."""
    if not (home / LOCK).exists():
        return None
    with (home / LOCK).open() as lock:
        for _ in range(TRIES):
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                if state := read_state(home):
                    return state
                time.sleep(TRY_S)
            else:
                return None
    return None


def read_state(home: Path) -> StackState | None:
    """Return what the state file tells, be it of a stack that is gone; None where there is none.

    Raises:
        StackError: it is of another version.
    """
    try:
        return msgspec.json.decode((home / STATE).read_bytes(), type=StackState)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        remedy = "another version wrote it: end its stack with that version, or delete the file where none runs"
        raise StackError(f"{home / STATE} cannot be read ({error}); {remedy}") from error


def connect() -> Deployment:
    """Return where the servers are: NPO_BROKER's, else those of the stack that runs in NPO_HOME.

    Raises:
        StackError: neither is there.
        SettingsError: a variable cannot be used.
    """
    deployment = declared()
    if deployment.broker is not None:
        return deployment
    state = find(deployment.home)
    if state is None or not state.broker:
        how = "is still starting" if state else "runs"
        where = f"a stack {how} in {deployment.home}" if state else f"no stack runs in {deployment.home}"
        raise StackError(f"{where}, and NPO_BROKER is not set; start one with `npo up`, or set NPO_BROKER=host:port")
    return deployment.model_copy(
        update={
            "broker": state.broker,
            "redis": deployment.redis or state.redis,
            "application": state.application,
            "topic_prefix": state.topic_prefix,
            "partitions": state.partitions,
        }
    )


def hold(home: Path) -> int:
    """Take the lock of a home, and return its file descriptor: the lock is held until that is closed, or this process is gone.

    Raises:
        StackError: another process holds it.
    """
    home.mkdir(parents=True, exist_ok=True)
    lock = os.open(home / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    for _ in range(TRIES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(TRY_S)
        else:
            (home / STATE).unlink(missing_ok=True)
            return lock
    os.close(lock)
    raise StackError(f"another stack runs in {home}; end it with `npo down`, or set NPO_HOME to another directory")
