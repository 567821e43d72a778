"""Become a command that dies with the process that asked for it: `launcher.py PARENT_PID COMMAND...`.

Run as a script, outside any package, so that it starts in some 20 ms. PR_SET_PDEATHSIG survives `exec`.
Only Linux has it: elsewhere a child outlives a parent that was killed with SIGKILL.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(parent: int, command: list[str]) -> None:
    """Ask for SIGKILL at the parent's death, then replace this process by the command."""
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    # The parent may have died before the line above: then no signal will ever come.
    if os.getppid() == parent:
        os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
