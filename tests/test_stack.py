"""The stack: up, found, kept running, down; whatever ends it, no process stays behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from schemas.errors import StackError
from streams import processes
from streams.cli.stack import inspect
from streams.embedded import Kafka, Valkey, start_child
from streams.home import STATE, StackState, connect, find, hold, read_state
from streams.processes import Kept
from streams.stack import down, running_stack
from streams.topology import TOPOLOGY

PATIENCE_S = 90.0
WORKERS = tuple(f"{group.name}-1" for group in TOPOLOGY)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of the test's own; whatever the test leaves running there is ended."""
    monkeypatch.setenv("NPO_HOME", str(tmp_path))
    monkeypatch.delenv("NPO_BROKER", raising=False)
    monkeypatch.delenv("NPO_REDIS", raising=False)
    monkeypatch.setenv("NPO_PARTITIONS", "2")
    yield tmp_path
    for process in of_home(tmp_path):
        process.kill()


def npo(*tokens: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user does."""
    return subprocess.run([sys.executable, "-m", "streams.cli", *tokens], check=False, capture_output=True, text=True, timeout=PATIENCE_S)


def of_home(home: Path) -> list[psutil.Process]:
    """The processes that run for a home, this one apart."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("NPO_HOME", "").startswith(str(home)) or str(home) in " ".join(process.cmdline())
        except psutil.Error:
            continue
        if ours and process.pid != os.getpid():
            found.append(process)
    return found


def until(condition: Callable[[], Any]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.05)


def conditions(state: StackState | None) -> dict[str, str]:
    """Each process' condition."""
    return {} if state is None else {process.name: process.condition for process in state.processes}


@pytest.mark.timeout(300)  # three starts and two ends of everything, on a machine that may be busy
def test_stack_lives_its_life(home: Path) -> None:
    """Up, up again, status, a killed worker started again, down, up with all data, supervisor killed: as the commands promise."""
    first = npo("up")
    assert first.returncode == 0, first.stderr
    state = find(home)
    assert state is not None
    assert conditions(state) == dict.fromkeys(("kafka", "valkey", *WORKERS, "publisher", "console"), "running")

    again = npo("up")
    assert (again.returncode, "already running" in again.stdout) == (0, True)
    assert find(home) == state, "the second `up` has changed nothing"

    shown = npo("status", "--json")
    report = json.loads(shown.stdout)
    assert (shown.returncode, report["sound"]) == (0, True)
    assert [(group["state"], group["assigned"] == group["partitions"]) for group in report["groups"]] == [("Stable", True)] * len(TOPOLOGY)

    (worker,) = (process for process in state.processes if process.name == "deciding-1")
    os.kill(worker.pid, signal.SIGKILL)
    until(lambda: restarts(find(home)).get("deciding-1") == 1)
    assert npo("control", "kill", "--reason", "drill").returncode == 0
    until(all_taken)

    ended = npo("down")
    assert (ended.returncode, "ended" in ended.stdout) == (0, True)
    assert of_home(home) == []
    left = npo("down")
    assert (left.returncode, "no stack was running" in left.stdout) == (0, True)

    assert npo("up").returncode == 0
    assert asyncio.run(inspect(connect())).in_force["*"].killed is not None, "records outlive down and up"
    state = find(home)
    assert state is not None
    os.kill(state.pid, signal.SIGKILL)
    until(lambda: not of_home(home))
    until(lambda: find(home) is None)
    assert npo("status").returncode == 1

    assert npo("down", "--wipe").returncode == 0
    assert [path.name for path in home.iterdir()] == ["stack.lock"]


def test_stack_of_this_process_ends_with_its_block(home: Path, kafka: Kafka, valkey: Valkey, unique_name: str) -> None:
    """`running_stack` uses the servers that it is given, is found by others, and leaves no process, even after an error."""

    def fail() -> None:
        fields: dict[str, Any] = {
            "broker": kafka.bootstrap,
            "redis": valkey.url,
            "application": unique_name,
            "topic_prefix": f"{unique_name}.",
        }
        with running_stack(home, **fields) as deployment:
            assert (deployment.broker, deployment.redis) == (kafka.bootstrap, valkey.url)
            assert conditions(find(home)) == dict.fromkeys((*WORKERS, "publisher", "console"), "running")
            assert connect().model_dump() == deployment.model_dump(), "commands find it"
            with pytest.raises(StackError, match="another stack"), running_stack(home):
                pass
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert of_home(home) == []
    assert find(home) is None


def test_stack_that_cannot_start_says_why_and_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong setting ends `up` with code 1 and its reason, whoever has to read it: the terminal, not only a log."""
    monkeypatch.setenv("NPO_PROFILE", str(home / "no-such-profile.yaml"))
    failed = npo("up")
    assert failed.returncode == 1
    assert "no-such-profile.yaml" in failed.stderr.replace("\n", "")
    assert of_home(home) == []


def test_state_file_of_a_dead_stack_is_not_believed(home: Path) -> None:
    """A state file without its lock is no stack, even where its process id is now another process': nobody is ended for it."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        (home / "stack.lock").touch()
        stale = f'{{"pid": {bystander.pid}, "phase": "running", "started_ms": 0, "broker": "127.0.0.1:1", "redis": "", "own_broker": true, '
        (home / STATE).write_text(stale + '"application": "npo", "topic_prefix": "npo.", "partitions": 2}')
        assert read_state(home) is not None
        assert find(home) is None
        with pytest.raises(StackError, match="npo up"):
            connect()
        assert down() is False
        assert bystander.poll() is None
        bystander.communicate(b"\n")


def test_home_has_one_holder(home: Path) -> None:
    """The lock of a home is held by one; whoever only looks does not disturb the next holder."""
    with os.fdopen(hold(home)), pytest.raises(StackError, match="npo down"):
        hold(home)
    assert find(home) is None
    os.close(hold(home))


def all_taken() -> bool:
    """Whether the groups are at work and have taken every record."""
    report = asyncio.run(inspect(connect()))
    return report.sound and not any(group.behind for group in report.groups)


def restarts(state: StackState | None) -> dict[str, int]:
    """How often each process was started again."""
    return {} if state is None else {process.name: process.restarts for process in state.processes}


def keep(home: Path, code: str, *, may_stop: bool = True) -> Kept:
    """A process that runs a line of Python."""
    kept = Kept("child", lambda: start_child("child", [sys.executable, "-c", code], home / "child.log"), str(home / "child.log"), may_stop)
    kept.begin()
    return kept


@pytest.mark.parametrize(
    ("code", "may_stop", "condition", "restarts"),
    [
        ("raise SystemExit(3)", True, "failed", 2),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", True, "failed", 2),
        ("pass", True, "stopped", 0),
        ("pass", False, "failed", 2),
    ],
)
def test_process_that_ends_is_started_again_and_given_up(
    home: Path, monkeypatch: pytest.MonkeyPatch, code: str, condition: str, restarts: int, *, may_stop: bool
) -> None:
    """An end with an error is forgiven so many times in a row; an end in good order is left alone, except a server's."""
    monkeypatch.setattr(processes, "RESTART_DELAYS_S", (0.0, 0.01))
    kept = keep(home, code, may_stop=may_stop)

    def settled() -> bool:
        kept.tend()
        return kept.condition in {"stopped", "failed"}

    until(settled)
    assert (kept.condition, kept.restarts) == (condition, restarts)
    assert not kept.tend(), "nothing is left to do"


def test_process_that_has_run_soundly_starts_with_a_clean_slate(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends far apart are never given up."""
    monkeypatch.setattr(processes, "RESTART_DELAYS_S", (0.0,))
    monkeypatch.setattr(processes, "SOUND_S", 0.0)
    kept = keep(home, "raise SystemExit(3)")

    def restarted_often() -> bool:
        kept.tend()
        return kept.restarts >= 4

    until(restarted_often)
    assert kept.condition == "running"
    kept.stop(5.0)
