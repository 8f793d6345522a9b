"""Runs one command and takes it down, with all its descendants, when the process that wanted it dies.

A set-up that is killed must not leave a compiler writing into folders that the next set-up clears.
Usage: python guard.py PARENT_PID COMMAND [ARGUMENT ...]
"""

import ctypes
import os
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1


def main() -> int:
    os.setsid()
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(sys.argv[1]):  # the parent died before the line above took effect
        return 1
    return subprocess.call(sys.argv[2:], stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
