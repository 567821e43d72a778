"""The log of a worker: to stderr, without secrets, and without floods."""

import logging
import sys
import time
from collections import Counter

import structlog

REPEAT_S = 60.0


class Repeats(logging.Filter):
    """Lets each place of a library's code log once an interval, and then says how much was left out.

    A client whose broker is away logs some eighty lines a second, of a dozen kinds.

    Args:
        interval_s: the interval, in seconds.
    """

    def __init__(self, interval_s: float) -> None:
        super().__init__()
        self._interval_s = interval_s
        self._next_s: dict[tuple[str, int], float] = {}
        self._left_out: Counter[tuple[str, int]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is logged."""
        place, now_s = (record.pathname, record.lineno), time.monotonic()
        if now_s < self._next_s.get(place, 0.0):
            self._left_out[place] += 1
            return False
        self._next_s[place] = now_s + self._interval_s
        if left_out := self._left_out.pop(place, 0):
            record.msg, record.args = f"{record.getMessage()} (and {left_out} more of this kind before)", ()
        return True


def configure_logs() -> None:
    """Log to stderr, without the values of variables in tracebacks: there may be secrets among them."""
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    stamps = structlog.processors.TimeStamper(fmt="iso")
    structlog.configure(
        processors=[structlog.processors.add_log_level, stamps, console], logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Repeats(REPEAT_S))
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s:%(name)s:%(message)s", handlers=[handler])
