"""Processes that are kept running: one that ends is started again, later each time, and given up when that does not help."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import structlog
from msgspec import Struct

from schemas.errors import EmbeddedServerError
from streams.embedded import Child

# So many ends in a row are forgiven, each with its wait; a process that has run for a minute starts with a clean slate.
RESTART_DELAYS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
SOUND_S = 60.0

Condition = Literal["running", "waiting", "stopped", "failed"]

log = structlog.get_logger()


class ProcessState(Struct):
    """One process as the state file shows it.

    Attributes:
        name: What it is.
        condition: `waiting` to be started again, `stopped` by someone else in good order, or `failed` too often.
        pid: Process id of the latest start; 0 where none succeeded.
        restarts: How often it was started again.
        exit_code: Of its latest end; a negative one is a signal's number.
        log: Where it writes.
        health: Where it answers /livez, /readyz and /metrics; empty where it does not.
    """

    name: str
    condition: Condition
    pid: int
    restarts: int
    exit_code: int | None
    log: str
    health: str = ""


@dataclass
class Kept:
    """A process that is kept running.

    Attributes:
        name: What it is.
        start: Starts it.
        log: Where it writes.
        may_stop: Whether it may end in good order (code 0) without being started again; a server may not.
        health: Where it answers /livez, /readyz and /metrics.
    """

    name: str
    start: Callable[[], Child]
    log: str
    may_stop: bool = True
    health: str = ""
    child: Child | None = None
    condition: Condition = "waiting"
    restarts: int = 0
    exit_code: int | None = None
    failures: int = 0
    started_s: float = 0.0
    next_start_s: float = 0.0

    def begin(self) -> None:
        """Start it for the first time; what goes wrong is the caller's to handle."""
        self.started_s = time.monotonic()
        self.child = self.start()
        self.condition = "running"

    def tend(self) -> bool:
        """Look after it: note its end, start it again when it is time. Tell whether anything has changed."""
        if self.condition == "running" and self.child is not None and not self.child.is_running:
            self._ended(self.child.process.returncode)
            return True
        if self.condition == "waiting" and time.monotonic() >= self.next_start_s:
            self.restarts += 1
            try:
                self.begin()
            except (EmbeddedServerError, OSError) as error:
                log.warning("does not start", process=self.name, why=str(error))
                self._ended(None)
            else:
                log.info("started again", process=self.name, restarts=self.restarts)
            return True
        return False

    def stop(self, grace_s: float) -> None:
        """End it and keep it ended."""
        if self.child is not None and self.child.is_running:
            self.exit_code = self.child.stop(grace_s)
        self.condition = "stopped"

    def state(self) -> ProcessState:
        """Return what the state file shows."""
        return ProcessState(
            self.name, self.condition, self.child.pid if self.child else 0, self.restarts, self.exit_code, self.log, self.health
        )

    def _ended(self, exit_code: int | None) -> None:
        self.exit_code = exit_code
        if exit_code == 0 and self.may_stop:
            self.condition = "stopped"
            log.info("stopped", process=self.name)
            return
        now = time.monotonic()
        if now - self.started_s >= SOUND_S:
            self.failures = 0
        if self.failures == len(RESTART_DELAYS_S):
            self.condition = "failed"
            log.error("given up", process=self.name, exit_code=exit_code, ends_in_a_row=self.failures + 1, log=self.log)
            return
        delay_s = RESTART_DELAYS_S[self.failures]
        self.failures += 1
        self.condition, self.next_start_s = "waiting", now + delay_s
        log.warning("ended", process=self.name, exit_code=exit_code, starts_again_in_s=delay_s, log=self.log)
