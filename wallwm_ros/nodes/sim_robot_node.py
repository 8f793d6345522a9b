"""The simulated robot as a ROS 2 node: cameras, joint states and time out, controller commands in."""

from __future__ import annotations

import os
import sys

from rclpy.node import Node

from wallwm_ros.bridge.params import Parameters
from wallwm_ros.bridge.running import run_node
from wallwm_ros.bridge.sim_body import SimBody, check_profile
from wallwm_ros.bridge.sim_inputs import SimInputs
from wallwm_ros.bridge.sim_outputs import SimOutputs
from wallwm_ros.bridge.sim_pace import LockstepPace, RealtimePace
from wallwm_ros.core.config import SimConfig, load_robot
from wallwm_ros.core.priority import set_realtime

PRIORITY = 5  # below the control process


class SimRobotNode(Node):
    """Puts together parameters, body, topics and pace.

    Raises:
        WallWMError: a parameter, the robot profile or the renderer is not usable.
    """

    def __init__(self) -> None:
        super().__init__("sim_robot_node")
        parameters = Parameters(self, SimConfig, self._changed)
        config = parameters.read()
        parameters.locked = True
        check_profile(load_robot(config.robot))
        self._body = SimBody(config)
        pace = LockstepPace if config.mode == "lockstep" else RealtimePace
        self._pace = pace(self, config, self._body, SimOutputs(self, config, self._body))
        SimInputs(self, self._pace)
        # A robot does not become slow when the computer is busy. In lockstep the policy must keep up instead,
        # and with one core it would starve.
        urgent = config.mode == "realtime" and len(os.sched_getaffinity(0)) > 1 and set_realtime(PRIORITY)
        pictures = f"pictures by {self._body.sim.renderer}"
        self.get_logger().info(f"{config.mode}, {pictures}, {'real-time' if urgent else 'normal'} priority")

    def _changed(self, config: SimConfig) -> None:
        self._body.blank = config.blank_cameras

    def close(self) -> None:
        """Stop simulating."""
        self._pace.close()


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop; 1 when it cannot start."""
    return run_node(SimRobotNode, SimRobotNode.close, args)


if __name__ == "__main__":
    sys.exit(main())
