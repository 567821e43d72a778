"""Fault points: places at which a test can have the process killed, to see that nothing is lost or doubled.

`NPO_FAULT_POINT=after_commit:3` kills the process with SIGKILL when it passes `after_commit` for the third time;
`after_commit:3:SIGSTOP` stops it there instead.
"""

import os
import signal

POINTS = (
    "before_compute",
    "after_compute",
    "after_begin",
    "after_outputs",
    "after_changelog",
    "after_positions",
    "after_commit",
    "after_store",
)

_point, _passing, _signal = (os.environ.get("NPO_FAULT_POINT", "") + "::").split(":")[:3]
_turns = iter([*([False] * (int(_passing or 1) - 1)), True])


def reach(point: str) -> None:
    """Pass a fault point: does nothing unless the environment names it."""
    if point == _point and next(_turns, False):
        os.kill(os.getpid(), signal.Signals[_signal or "SIGKILL"])
