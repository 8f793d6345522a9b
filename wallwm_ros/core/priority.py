"""Real-time priority, so that the control loop keeps its rate beside busy processes."""

from __future__ import annotations

import os


def set_realtime(priority: int) -> bool:
    """Give every thread of this process, and those it starts later, a real-time priority; 0 gives it back.

    All threads, because a thread that the loop waits for (it holds the interpreter) must run as well.
    Returns whether the system allowed it.
    """
    policy = os.SCHED_FIFO if priority else os.SCHED_OTHER
    try:
        for thread in os.listdir("/proc/self/task"):
            try:
                os.sched_setscheduler(int(thread), policy, os.sched_param(priority))
            except ProcessLookupError:
                continue  # it ended meanwhile
    except OSError:
        return False
    return True
