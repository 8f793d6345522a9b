"""How even are control periods? The control node at 100 Hz, beside the simulated robot and its cameras."""

from __future__ import annotations

import os
import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

SECONDS = 10.0
PERIOD_MS = 10.0


def measure(seconds: float) -> dict[str, Any]:
    """Control periods as the control node measured them [ms], while it holds the arms."""
    os.environ["ROS_DOMAIN_ID"] = str(random.SystemRandom().randint(1, 101))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    periods = sorted(_periods(seconds))
    off = sorted(abs(period - PERIOD_MS) for period in periods)
    return {
        "what": f"{len(periods)} control periods of {PERIOD_MS:g} ms, beside the simulated robot",
        "period_ms_p50": _quantile(periods, 0.5),
        "jitter_ms_p50": _quantile(off, 0.5),
        "jitter_ms_p99": _quantile(off, 0.99),
        "jitter_ms_max": off[-1],
    }


def _periods(seconds: float) -> list[float]:
    import rclpy
    from lifecycle_msgs.msg import Transition
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.qos import QoSProfile, ReliabilityPolicy

    from wallwm_msgs.msg import ControlStatus
    from wallwm_ros.bridge.planner import Planner
    from wallwm_ros.cli.processes import NodeGroup

    periods: list[float] = []
    with tempfile.TemporaryDirectory() as folder, NodeGroup(Path(folder)) as group:
        group.start({"sim_robot_node": {}, "control_node": {"status_rate_hz": 100.0}})
        rclpy.init()
        node = rclpy.create_node("bench_jitter")
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        threading.Thread(target=executor.spin, daemon=True).start()
        planner = Planner(node, group.check)
        planner.transition("control_node", Transition.TRANSITION_CONFIGURE)
        planner.transition("control_node", Transition.TRANSITION_ACTIVATE)
        planner.judge()  # answers once the simulated robot runs
        held = [False]

        def heard(status: ControlStatus) -> None:
            if held[0]:
                periods.append(float(status.period_ms))

        deep = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)  # a busy reader must lose none
        node.create_subscription(ControlStatus, "/control_status", heard, deep)
        time.sleep(2.0)
        held[0] = True
        time.sleep(seconds)
        held[0] = False
        group.check()
        executor.shutdown(timeout_sec=1.0)
        rclpy.try_shutdown()
    return periods


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
