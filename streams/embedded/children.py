"""Child processes that die with this one, and ports for them."""

import fcntl
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from schemas.errors import EmbeddedServerError

HOST = "127.0.0.1"
LOG_TAIL_BYTES = 4_000
READY_S_MAX = 60.0
LOCK_S_MAX = 5.0

# Under Linux's range of ephemeral ports (32768-60999): there, the outgoing connection of a client that keeps knocking
# at a server's port while the server restarts can be given that very port, and the server finds it taken.
PORTS = range(20_000, 32_000)

_LAUNCHER = Path(__file__).with_name("launcher.py")

# The kernel sends a child its parent-death signal when the *thread* that started it ends, so every child is started
# by one thread that lives as long as the process.
_STARTER = ThreadPoolExecutor(1, "start-child")


@dataclass(frozen=True)
class Child:
    """A running process that dies with this one; leaving its `with` block stops it.

    Attributes:
        name: What to call it in messages.
        process: The process, in a session of its own: Ctrl-C in the terminal reaches only this process, which then
            stops its children in the order it chooses.
        log: File that its output is appended to.
    """

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    def stop(self, grace_s: float = 10.0) -> int:
        """End it with SIGTERM, after `grace_s` seconds with SIGKILL; return its exit code (negative: the signal's number)."""
        self.process.terminate()
        try:
            return self.process.wait(grace_s)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """End it with SIGKILL; return its exit code."""
        self.process.kill()
        return self.process.wait()

    def log_tail(self) -> str:
        """The end of its log, at most 4,000 bytes."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - LOG_TAIL_BYTES))
            return log.read().decode(errors="replace")

    def raise_if_ended(self) -> None:
        """Raise EmbeddedServerError, with the end of the log, if it has ended."""
        if not self.is_running:
            message = f"{self.name} ended with code {self.process.returncode}; the end of its log {self.log}:\n{self.log_tail()}"
            raise EmbeddedServerError(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def start_child(
    name: str, command: Sequence[str | Path], log: Path, *, port: int | None = None, environment: Mapping[str, str] | None = None
) -> Child:
    """Start a command that dies with this process, however this process ends.

    Args:
        name: What to call it in messages.
        command: Absolute path of the program, and its arguments.
        log: File for its output, in an existing directory; a child of its own holds it locked for as long as it lives, so
            that none is started beside it.
        port: Port on 127.0.0.1 that it is going to listen on.
        environment: Its environment variables; by default those of this process.

    Raises:
        EmbeddedServerError: Another child lives on this log, or the port is taken.
    """
    launch = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), *map(str, command)]
    with log.open("ab") as output:
        _lock(name, output)
        if port is not None:
            _check_port_is_free(name, port)
        process = _STARTER.submit(
            subprocess.Popen,
            launch,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        ).result()
    return Child(name, process, log)


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that nobody listens on at this moment.

    Raises:
        EmbeddedServerError: A thousand tries found too few.
    """
    found: list[int] = []
    with ExitStack() as held:
        for _ in range(1_000):
            if len(found) == count:
                return found
            port = secrets.choice(PORTS)
            try:
                held.enter_context(_listen(port))
            except OSError:
                continue
            found.append(port)
    message = f"found {len(found)} of {count} free ports in {PORTS.start}-{PORTS.stop - 1}; end what listens there"
    raise EmbeddedServerError(message)


def wait_until_ready(child: Child, probe: Callable[[], None], *not_yet: type[Exception]) -> None:
    """Call `probe` until it raises none of the errors `not_yet`; a child that does not get there is killed.

    Raises:
        EmbeddedServerError: The child ended, or was not ready within a minute.
    """
    deadline = time.monotonic() + READY_S_MAX
    with ExitStack() as on_failure:
        on_failure.callback(child.kill)
        while not _succeeds(probe, not_yet):
            child.raise_if_ended()
            if time.monotonic() > deadline:
                message = f"{child.name} is not ready after {READY_S_MAX:.0f} s; the end of its log {child.log}:\n{child.log_tail()}"
                raise EmbeddedServerError(message)
            time.sleep(0.02)
        child.raise_if_ended()
        on_failure.pop_all()


def connect(port: int) -> None:
    """Raise OSError if nobody accepts connections on a port."""
    socket.create_connection((HOST, port), timeout=1.0).close()


def _succeeds(probe: Callable[[], None], not_yet: tuple[type[Exception], ...]) -> bool:
    try:
        probe()
    except not_yet:
        return False
    return True


def _lock(name: str, log: BinaryIO) -> None:
    """Lock a log through the file description that the child inherits: the kernel unlocks it when the child is gone.

    Raises:
        EmbeddedServerError: Another child holds it, and does not end while we wait: one whose parent was killed needs a moment.
    """
    deadline = time.monotonic() + LOCK_S_MAX
    while True:
        try:
            return fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                message = f"{name} already runs with the log {log.name}; stop that one or take another directory"
                raise EmbeddedServerError(message) from error
        time.sleep(0.05)


def _check_port_is_free(name: str, port: int) -> None:
    """Raise EmbeddedServerError if somebody listens on a port."""
    try:
        _listen(port).close()
    except OSError as error:
        message = f"{name} cannot have port {port} of {HOST} ({error.strerror}); end what listens there or leave the port out"
        raise EmbeddedServerError(message) from error


def _listen(port: int) -> socket.socket:
    """A socket listening on a port. SO_REUSEADDR, as servers do: connections that a killed server left do not count."""
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(1)
    except OSError:
        listener.close()
        raise
    return listener
