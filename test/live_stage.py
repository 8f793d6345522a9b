"""The processes that live tests of the policy node share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lifecycle_msgs.msg import Transition
from live_bench import ACTIVE, HERE, UNCONFIGURED, LiveBench

REACH = "reach the red cube with the left arm"
RETRACT = "retract the left arm"
LONG_S = 3.0
# Patient enough for a machine whose cores are all taken: a starved process is not what is tested here.
PATIENT = {"max_observation_age_ms": 2000.0, "max_observation_spread_ms": 1000.0, "control_timeout_s": 4.0}


def serve(
    folder: Path, bundle: str = "sound", node: str = "tiny_policy_node.py", **parameters: object
) -> Iterator[LiveBench]:
    """policy_node with the tiny engine, or another `node`, an active control_node and the tiny robot, until it is closed."""
    bench = LiveBench(int(os.environ.get("ROS_DOMAIN_ID") or 43), folder)
    policy = _arguments(model=folder / bundle, observation_timeout_s=3.0, **PATIENT, **parameters)
    control = _arguments(joint_state_timeout_s=5.0, heartbeat_timeout_s=5.0)
    try:
        bench.start("tiny_robot", str(HERE / "tiny_robot.py"))
        bench.start("policy_node", str(HERE / node), *policy)
        bench.start("control_node", "-m", "wallwm_ros.nodes.control_node", *control)
        bench.bring_up("control_node")
        bench.until(bench.events.server_is_ready)
        bench.until(bench.tasks.server_is_ready)
        bench.until(lambda: bench.status is not None and len(bench.status.measured))  # the robot is heard
        yield bench
    finally:
        bench.close()


def ready(bench: LiveBench, bundle: str = "sound") -> LiveBench:
    """Everything active, whatever the test before has left behind."""
    bench.mute("")
    state = bench.state("policy_node")
    if state == UNCONFIGURED:
        assert bench.set("policy_node", model=f"{bench.folder}/{bundle}") == ""
        assert bench.change("policy_node", Transition.TRANSITION_CONFIGURE), bench.output("policy_node")
    if state != ACTIVE:
        assert bench.change("policy_node", Transition.TRANSITION_ACTIVATE), bench.output("policy_node")
    return bench


def _arguments(**values: object) -> list[str]:
    return ["--ros-args", *(part for name, value in values.items() for part in ("-p", f"{name}:={value}"))]
