"""Become another program that ends with its parent: `python -I -S leash.py PARENT_PID COMMAND...`.

The kernel's promise (Linux) survives `exec`, so this process asks for it and turns into the
program. Doing the same between fork and exec would need Python code in a forked, threaded process.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Ask for SIGTERM at the parent's death, then become `command`."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:  # else it died before we could ask
        os.execvp(command[0], command)  # noqa: S606 - the supervisor's own command lines


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
