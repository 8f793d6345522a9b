"""How even are control periods? The control node at 100 Hz, beside the simulated robot and its cameras."""

from __future__ import annotations

import os
import random
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SECONDS = 10.0
PERIOD_MS = 10.0


def measure(seconds: float) -> dict[str, Any]:
    """Control periods as the control node measured them [ms], while it holds the arms."""
    found = sorted(periods(seconds, 1000.0 / PERIOD_MS))
    off = sorted(abs(period - PERIOD_MS) for period in found)
    return {
        "what": f"{len(found)} control periods of {PERIOD_MS:g} ms, beside the simulated robot",
        "period_ms_p50": _quantile(found, 0.5),
        "jitter_ms_p50": _quantile(off, 0.5),
        "jitter_ms_p99": _quantile(off, 0.99),
        "jitter_ms_max": off[-1],
    }


def periods(seconds: float, rate_hz: float, stand_in: Sequence[str] = ()) -> list[float]:
    """Periods [ms] as the control process reports them, one by one, beside the simulated robot.

    Args:
        rate_hz: of control and of the reports.
        stand_in: command line of a program that publishes ControlStatus in the control node's place.
    """
    import rclpy
    from lifecycle_msgs.msg import Transition
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.qos import QoSProfile, ReliabilityPolicy

    from wallwm_msgs.msg import ControlStatus
    from wallwm_ros.bridge.planner import Planner
    from wallwm_ros.cli.processes import NodeGroup

    os.environ["ROS_DOMAIN_ID"] = str(random.SystemRandom().randint(1, 101))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    found: list[float] = []
    with tempfile.TemporaryDirectory() as folder, NodeGroup(Path(folder)) as group:
        group.start({"sim_robot_node": {}})
        if stand_in:
            group.start_command("stand_in", stand_in)
        else:
            group.start({"control_node": {"rate_hz": rate_hz, "status_rate_hz": rate_hz}})
        rclpy.init()
        node = rclpy.create_node("bench_jitter")
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        done = threading.Event()
        spinning = threading.Thread(target=_spin, args=(executor, done), daemon=True)
        spinning.start()
        planner = Planner(node, group.check)
        for change in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            if not stand_in:
                planner.transition("control_node", change)
        planner.judge()  # answers once the simulated robot runs
        held = [False]

        def heard(status: ControlStatus) -> None:
            if held[0]:
                found.append(float(status.period_ms))

        deep = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)  # a busy reader must lose none
        node.create_subscription(ControlStatus, "/control_status", heard, deep)
        time.sleep(2.0)
        held[0] = True
        time.sleep(seconds)
        held[0] = False
        group.check()
        done.set()
        spinning.join()
        executor.shutdown()
        rclpy.try_shutdown()
    return found


def _spin(executor: Any, done: threading.Event) -> None:
    """Turn an executor until told to stop: shutting it down under a thread that spins it ends in errors."""
    while not done.is_set():
        executor.spin_once(timeout_sec=0.1)


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
