"""The simulated robot with one red cube on its table that can be moved: `python -m benchmarks.runtime_sim`.

A message on /bench/move (std_msgs/Float64, y in m) lays the cube down there; /bench/moved tells when.
"""

from __future__ import annotations

import dataclasses
import sys

from builtin_interfaces.msg import Time
from std_msgs.msg import Float64

from benchmarks.runtime_engine import SHOWN
from wallwm_model.sim.scene import Cube, sample_scene
from wallwm_ros.bridge.running import run_node
from wallwm_ros.bridge.sim_body import SimBody
from wallwm_ros.nodes.sim_robot_node import SimRobotNode

SIDE = 0.15  # the cube lies so far to one side of the middle [m]
DISTANCE = 0.28  # in front of the robot [m]
HALF = 0.023  # edge [m]


class MovableSim(SimRobotNode):
    """SimRobotNode, and a hand that moves the cube between two physics steps."""

    def __init__(self) -> None:
        super().__init__()
        self._moved = self.create_publisher(Time, "/bench/moved", 10)
        self._pace.ask(_lay_out)
        self.create_subscription(Float64, "/bench/move", self._move, 10)

    def _move(self, message: Float64) -> None:
        def move(body: SimBody) -> Time:
            cube = body.sim.data.joint("cube_red")
            cube.qpos[:3], cube.qvel[:] = (DISTANCE, message.data, HALF), 0.0
            return self.get_clock().now().to_msg()

        self._moved.publish(self._pace.ask(move))


def _lay_out(body: SimBody) -> None:
    """A scene with this one cube and nothing else."""
    scene = sample_scene("pick_place", 0)
    cubes = {"red": Cube(DISTANCE, SIDE, 0.0, HALF)}
    start = list(scene.start)
    start[SHOWN] = 0.0  # it points nowhere yet
    scene = dataclasses.replace(scene, cubes=cubes, pads={}, twin=None, start=tuple(start))
    body.sim.reset(scene)
    body.command(body.sim.targets)


if __name__ == "__main__":
    sys.exit(run_node(MovableSim, MovableSim.close))
