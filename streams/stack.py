"""The stack of one machine: servers, topics, workers, publisher; run, started, ended."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import structlog
from aiokafka.errors import KafkaError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from schemas.errors import NpoError, StackError
from schemas.settings import CONSOLE_PORT, Deployment, load_settings
from streams import admin
from streams.console.auth import open_tokens
from streams.embedded import Child, start_child, start_kafka, start_valkey
from streams.embedded.children import free_ports
from streams.groups import TopicPlan, plan_topics
from streams.home import STATE, StackState, connect, declared, find, hold, read_state, web_address, without_password
from streams.processes import Kept
from streams.readiness import unready
from streams.topology import TOPOLOGY

# What a stack keeps in its home beside state file and lock.
KAFKA, VALKEY, WORKERS, LOGS = "kafka", "valkey", "workers", "logs"
# The stores of `npo worker`.
STATE_DIRECTORY = "state"
PUBLISHER, CONSOLE = "publisher", "console"
TEND_S = 0.2
READY_S_MAX = 120.0
# A worker ends its block, commits, and leaves its group; a broker writes its clean shutdown.
GRACE_S = 20.0
DOWN_S_MAX = 120.0


log = structlog.get_logger()
T = TypeVar("T")

__all__ = ["Stack", "connect", "declared", "down", "environment", "find", "running_stack", "supervise", "up", "wanted_topics"]


def wanted_topics(deployment: Deployment) -> list[TopicPlan]:
    """Return the topics of a deployment as they should be; a broker that the stack itself runs keeps everything."""
    state = find(deployment.home)
    keep = state is not None and state.own_broker and state.broker == deployment.broker
    return plan_topics(TOPOLOGY, deployment.partitions, application=deployment.application, prefix=deployment.topic_prefix, keep=keep)


def environment(deployment: Deployment) -> dict[str, str]:
    """Return the environment that tells a child process a deployment."""
    fields = {f"NPO_{name.upper()}": value for name, value in deployment}
    # What the deployment leaves open must not come from this process' own variables.
    inherited = {name: value for name, value in os.environ.items() if name not in fields}
    return inherited | {name: str(value) for name, value in fields.items() if value is not None}


def log_file(deployment: Deployment, name: str) -> Path:
    """Return the log of a process, in a directory that exists."""
    directory = deployment.home / LOGS
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"{name}.log"


class Stack:
    """The processes of one stack, as children of this process.

    Args:
        deployment: What to run; servers that it names are used, the others are started.
        workers: Worker processes of each task group.
    """

    def __init__(self, deployment: Deployment, workers: int) -> None:
        self.deployment = deployment
        self.workers = workers
        self.kept: list[Kept] = []
        self.state = StackState(
            pid=os.getpid(),
            phase="starting",
            started_ms=time.time_ns() // 1_000_000,
            broker=deployment.broker or "",
            redis=without_password(deployment.redis or ""),
            own_broker=deployment.broker is None,
            application=deployment.application,
            topic_prefix=deployment.topic_prefix,
            partitions=deployment.partitions,
        )
        self._ending = threading.Event()
        self._tender = threading.Thread(target=self._tend, name="stack-tender", daemon=True)

    def start(self) -> None:
        """Start everything in order and wait until it is at work.

        Raises:
            SettingsError: a file of settings or tokens cannot be used, or the console is open to all and not on loopback.
            EmbeddedServerError: a server does not start.
            TopologyError: topics that do not fit.
            StackError: the groups are not at work in time, or a process ends again and again.
        """
        self.write_state()
        load_settings(self.deployment)
        open_tokens(self.deployment)
        self._start_servers()
        self.write_state()
        run_aside(admin.ensure(self.deployment, wanted_topics(self.deployment)))
        self._start_processes()
        self.write_state()
        self._tender.start()
        self._wait_until_ready()
        self.state.phase = "running"
        self.write_state()

    def stop(self, error: str = "") -> None:
        """End everything in order: publisher and workers, then the servers; workers leave together."""
        self._ending.set()
        if self._tender.ident is not None:
            self._tender.join()
        self.state.phase, self.state.error = "stopping", error
        self.write_state()
        processes = [kept for kept in self.kept if kept.may_stop]
        with ThreadPoolExecutor(max(1, len(processes))) as stoppers:
            list(stoppers.map(lambda kept: kept.stop(GRACE_S), processes))
        for kept in reversed(self.kept):
            if not kept.may_stop:
                kept.stop(GRACE_S)
        self.state.phase = "ended"
        self.write_state()

    def write_state(self) -> None:
        """Write the state file, whole or not at all."""
        self.state.processes = [kept.state() for kept in self.kept]
        written = self.deployment.home / f"{STATE}.new"
        written.touch(0o600)
        written.write_bytes(msgspec.json.format(msgspec.json.encode(self.state)))
        written.replace(self.deployment.home / STATE)

    def _start_servers(self) -> None:
        home = self.deployment.home
        if self.deployment.broker is None:
            (port,) = free_ports(1)
            self._keep("kafka", partial(start_kafka, home / KAFKA, port), home / KAFKA / "kafka.log", may_stop=False)
            self.deployment = self.deployment.model_copy(update={"broker": f"127.0.0.1:{port}"})
            self.state.broker = f"127.0.0.1:{port}"
        if self.deployment.redis is None:
            (port,) = free_ports(1)
            self._keep("valkey", partial(start_valkey, home / VALKEY, port), home / VALKEY / "valkey.log", may_stop=False)
            self.deployment = self.deployment.model_copy(update={"redis": f"redis://127.0.0.1:{port}/0"})
            self.state.redis = f"redis://127.0.0.1:{port}/0"

    def _start_processes(self) -> None:
        """Start workers, publisher and console; each answers for its health at a port of its own."""
        names = [(group.name, f"{group.name}-{number}") for group in TOPOLOGY for number in range(1, self.workers + 1)]
        *ports, publisher, free = free_ports(len(names) + 2)
        for (group, name), port in zip(names, ports, strict=True):
            # A home of its own: two workers of a group must not share a store.
            fields = {"home": self.deployment.home / WORKERS / name, "health_port": port}
            start = partial(self._start_python, name, self.deployment.model_copy(update=fields), "streams.engine.worker", group)
            self._keep(name, start, log_file(self.deployment, name), health=web_address(self.deployment.health_host, port))
        deployment = self.deployment.model_copy(update={"health_port": publisher})
        start = partial(self._start_python, PUBLISHER, deployment, "streams.serving.publisher")
        self._keep(PUBLISHER, start, log_file(self.deployment, PUBLISHER), health=web_address(self.deployment.health_host, publisher))
        # Chosen once: started again, the console is where it was.
        host, wanted = self.deployment.console_host, self.deployment.console_port
        port = wanted or (CONSOLE_PORT if wanted is None and is_free(host, CONSOLE_PORT) else free)
        start = partial(self._start_python, CONSOLE, self.deployment.model_copy(update={"console_port": port}), "streams.console.server")
        self.state.console = web_address(host, port)
        self._keep(CONSOLE, start, log_file(self.deployment, CONSOLE), health=self.state.console)

    def _start_python(self, name: str, deployment: Deployment, module: str, *arguments: str) -> Child:
        command = [sys.executable, "-m", module, *arguments]
        return start_child(name, command, log_file(self.deployment, name), environment=environment(deployment))

    def _keep(self, name: str, start: Callable[[], Child], output: Path, *, may_stop: bool = True, health: str = "") -> None:
        kept = Kept(name, start, str(output), may_stop, health)
        self.kept.append(kept)
        kept.begin()

    def _tend(self) -> None:
        while not self._ending.wait(TEND_S):
            # All of them are looked after: `any` would stop at the first change.
            if sum(kept.tend() for kept in self.kept):
                try:
                    self.write_state()
                except OSError:
                    log.exception("state file not written", home=str(self.deployment.home))

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_S_MAX
        while missing := run_aside(self._missing()):
            for kept in self.kept:
                if kept.condition == "failed":
                    tail = kept.child.log_tail() if kept.child else ""
                    raise StackError(f"{kept.name} ends again and again (code {kept.exit_code}); the end of its log {kept.log}:\n{tail}")
            if time.monotonic() > deadline:
                logs = self.deployment.home / LOGS
                raise StackError(f"after {READY_S_MAX:.0f} s not at work: {'; '.join(missing)}; {logs} tells why")
            time.sleep(TEND_S / 2)

    async def _missing(self) -> list[str]:
        """Return what is not at work yet."""
        try:
            async with admin.open_admin(self.deployment) as client:
                missing = await unready(self.deployment, client, TOPOLOGY, self.workers)
            async with Redis.from_url(str(self.deployment.redis)) as redis:
                if not await redis.exists(f"{self.deployment.application}:positions"):
                    missing.append(f"{PUBLISHER}: no read model yet")
        except (KafkaError, RedisError, StackError) as error:
            return [f"servers: {error}"]
        return missing if await answers(self.state.console) else [*missing, f"{CONSOLE}: does not listen yet"]


def is_free(host: str, port: int) -> bool:
    """Tell whether a server could listen there."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return True
    except OSError:
        return False


async def answers(address: str) -> bool:
    """Tell whether a server listens at an address of the web."""
    url = urlsplit(address)
    try:
        _, writer = await asyncio.open_connection(url.hostname, url.port)
    except OSError:
        return False
    writer.close()
    return True


@contextmanager
def running_stack(home: Path, workers: int = 1, **fields: Any) -> Iterator[Deployment]:  # noqa: ANN401 - the fields of Deployment
    """Run a stack as children of this process, from ready until the block ends.

    Args:
        home: Directory of the stack; what an earlier one left there is taken up.
        workers: Worker processes of each task group.
        fields: Fields of `Deployment` that go before NPO_* variables: `profile`, `catalogue`, `partitions`, ...

    Yields:
        Where its servers are.

    Raises:
        StackError: another stack runs in the home, or this one does not come up.
        NpoError: settings, servers or topics that cannot be used.
    """
    deployment = declared(home=home, **fields)
    with os.fdopen(hold(deployment.home)), _working(deployment, workers) as working:
        yield working


@contextmanager
def _working(deployment: Deployment, workers: int) -> Iterator[Deployment]:
    """Run a stack in a home whose lock this process holds."""
    stack = Stack(deployment, workers)
    try:
        stack.start()
        yield stack.deployment
    except NpoError as error:
        stack.stop(str(error))
        raise
    except BaseException:
        stack.stop()
        raise
    stack.stop()


def supervise(workers: int = 1, *, ready: Callable[[Deployment], None] = lambda _: None) -> None:
    """Run a stack until SIGTERM or Ctrl-C.

    Args:
        workers: Worker processes of each task group.
        ready: Called when everything is at work.

    Raises:
        NpoError: the stack does not come up.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    deployment = declared()
    # Never closed: who waits for the lock waits until this process is gone.
    hold(deployment.home)
    try:
        with _working(deployment, workers) as working:
            ready(working)
            threading.Event().wait()
    except KeyboardInterrupt:
        return


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    # Once: a second Ctrl-C must not break off the ending in the middle.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def up(workers: int = 1) -> tuple[StackState, bool]:
    """Start a stack that outlives this process, and wait until it is at work; tell its state and whether it is new.

    Raises:
        StackError: it does not come up.
        SettingsError: a variable cannot be used.
    """
    deployment = declared()
    home = deployment.home
    state = find(home)
    if state is not None and state.phase == "running":
        return state, False
    new = state is None
    output = log_file(deployment, "supervisor")
    command = [sys.executable, "-m", "streams.cli", "up", "--foreground", "--workers", str(workers)]
    supervisor = None
    if new:
        with output.open("ab") as opened:
            supervisor = subprocess.Popen(  # noqa: S603 - this program itself
                command, stdin=subprocess.DEVNULL, stdout=opened, stderr=subprocess.STDOUT, start_new_session=True
            )
    try:
        while True:
            ended = supervisor is not None and supervisor.poll() is not None
            state = find(home)
            if state is not None and state.phase == "running":
                return state, new
            if ended or (supervisor is None and state is None):
                left = read_state(home)
                raise StackError((left.error if left else "") or f"the stack did not come up; {output} tells why")
            time.sleep(TEND_S / 2)
    except KeyboardInterrupt:
        if supervisor is not None:
            supervisor.terminate()
            supervisor.wait(DOWN_S_MAX)
        raise


def down(*, wipe: bool = False) -> bool:
    """End the stack of NPO_HOME and wait until all of it has ended; tell whether there was one.

    Args:
        wipe: Remove its records, stores and logs too.

    Raises:
        StackError: it does not end.
        SettingsError: a variable cannot be used.
    """
    home = declared().home
    state = find(home)
    if state is not None:
        _signal(state.pid, signal.SIGTERM)
        if not _wait_until_gone(home, DOWN_S_MAX):
            # Its children die with it.
            _signal(state.pid, signal.SIGKILL)
            if not _wait_until_gone(home, 10.0):
                raise StackError(f"the stack of process {state.pid} does not end; end that process yourself")
    (home / STATE).unlink(missing_ok=True)
    if wipe:
        for name in (KAFKA, VALKEY, WORKERS, LOGS, STATE_DIRECTORY):
            shutil.rmtree(home / name, ignore_errors=True)
    return state is not None


def _signal(pid: int, number: int) -> None:
    # It may have ended by itself in this moment.
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _wait_until_gone(home: Path, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while find(home) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(TEND_S / 4)
    return True


def run_aside(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a thread of its own: the calling thread may have an event loop already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
