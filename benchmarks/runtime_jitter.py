"""How even are control periods at 200 Hz while every core is busy? control_node, and an rclpy timer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.runtime_figures import summary
from wallwm_ros.cli.bench import part

RATE_HZ = 200.0
# Takes a core until it is killed, or whoever began it is.
BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n  for _ in range(100_000): pass"
KINDS = {
    "wallwm": (),
    "rclpy_timer": (sys.executable, "-m", "benchmarks.runtime_timer", f"{RATE_HZ:g}"),
}


def run(seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Who -> deviation of the period from 5 ms [ms], one after the other under the same load."""
    with busy(len(os.sched_getaffinity(0))) as count:
        found = {}
        for name, stand_in in KINDS.items():
            say(f"control periods of {name.replace('_', ' ')}, {count} cores kept busy")
            periods = part("jitter").periods(seconds, RATE_HZ, stand_in)
            off = [abs(period - 1000.0 / RATE_HZ) for period in periods]
            found[name] = summary(off, p99_9=0.999) | {"period_ms_p50": summary(periods)["ms_p50"]}
    return {"rate_hz": RATE_HZ, "busy_processes": count, **found}


@contextmanager
def busy(count: int) -> Iterator[int]:
    """So many processes that only take time; all at normal priority."""
    processes = [subprocess.Popen([sys.executable, "-I", "-S", "-c", BUSY]) for _ in range(count)]
    try:
        yield count
    finally:
        for process in processes:
            process.kill()
            process.wait()
