"""Our own liveness: whoever has work and makes no progress for too long ends the process, and a supervisor starts it again.

A thread looks, so that a blocked event loop cannot keep it from looking. Ending at once is safe at any moment: what is
not committed did not happen.
"""

import faulthandler
import os
import sys
import threading
import time
from typing import NamedTuple, NoReturn

import structlog

LOOKS_PER_LIMIT = 10
EXIT_FAULT = 1

log = structlog.get_logger()


def end_process(reason: str, error: BaseException | None = None) -> NoReturn:
    """End this process with a non-zero code, from any thread, now."""
    log.critical("process ends", reason=reason, exc_info=error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_FAULT)


class Wait(NamedTuple):
    """Who has work, and how long it has made no progress, in seconds."""

    name: str
    seconds: float


class Watchdog(threading.Thread):
    """Ends the process when somebody has had work for longer than the limit without progress.

    Args:
        limit_s: how long one piece of work may take, in seconds.
    """

    def __init__(self, limit_s: float) -> None:
        super().__init__(name="watchdog", daemon=True)
        self.limit_s = limit_s
        self.looked_s = time.monotonic()
        self._since: dict[str, float] = {}

    def working(self, name: str) -> None:
        """Say that `name` has work and has just made progress."""
        self._since[name] = time.monotonic()

    def offered(self, name: str) -> None:
        """Say that `name` has work, and nothing about progress."""
        self._since.setdefault(name, time.monotonic())

    def idle(self, name: str) -> None:
        """Say that `name` has nothing to do."""
        self._since.pop(name, None)

    def waits(self) -> list[Wait]:
        """Return who has work, the longest without progress first; from any thread."""
        now = time.monotonic()
        return sorted((Wait(name, now - since) for name, since in self._since.copy().items()), key=lambda wait: -wait.seconds)

    def run(self) -> None:
        """Look, for as long as the process lives."""
        while True:
            time.sleep(self.limit_s / LOOKS_PER_LIMIT)
            self.looked_s = time.monotonic()
            waits = self.waits()
            if waits and waits[0].seconds > self.limit_s:
                # A step that blocks the event loop keeps others waiting too: where it is tells more than who was found first.
                faulthandler.dump_traceback(sys.stderr)
                names = ", ".join(f"{name} for {seconds:.1f} s" for name, seconds in waits)
                end_process(f"no progress within {self.limit_s} s, stands still: {names}")
