"""Fault points: places at which a test can have the process killed, to see that nothing is lost or doubled.

`NPO_FAULT_POINT=after_commit:3` kills the process with SIGKILL when it passes `after_commit` for the third time.
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

_point, _, _passing = os.environ.get("NPO_FAULT_POINT", "").partition(":")
_spared = iter(range(int(_passing or 1) - 1))


def reach(point: str) -> None:
    """Pass a fault point: does nothing unless the environment names it."""
    if point == _point and next(_spared, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
