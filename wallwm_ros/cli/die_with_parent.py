"""Becomes the given command, in a session of its own, and is told to end when the parent process dies.

Usage: python die_with_parent.py PARENT_PID COMMAND [ARGUMENT ...]
The signal is SIGTERM, so that a control node can still bring the arm to a stop. Standard library only.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    os.setsid()  # Ctrl-C in the terminal reaches the parent alone, which stops its children in order
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(sys.argv[1]):  # the parent died before the line above took effect
        sys.exit(1)
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
