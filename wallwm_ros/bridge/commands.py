"""Commands out: positions in the order of the robot profile -> the messages its controllers take."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from wallwm_ros.bridge import qos
from wallwm_ros.bridge.stamps import SECOND, to_stamp
from wallwm_ros.core.robot import CommandOutput, RobotProfile

_TYPES = {"forward": Float64MultiArray, "trajectory": JointTrajectory, "pose": PoseStamped}


class CommandOutputs:
    """Publishers for one command interface of a robot.

    Args:
        interface: `profile` for the robot's own choice.
        ahead_ns: when a trajectory's point is due, counted from its receipt [ns].

    Raises:
        ConfigError: the robot has no such interface.
    """

    def __init__(self, node: Node, profile: RobotProfile, interface: str, ahead_ns: int) -> None:
        self._node, self._ahead_ns = node, ahead_ns
        outputs = profile.outputs(interface)
        self._outputs = [
            (
                node.create_publisher(_TYPES[output.interface], output.topic, qos.COMMAND),
                output,
                profile.columns(output.columns),
            )
            for output in outputs
        ]

    def send(self, position: np.ndarray, velocity: np.ndarray, stamp_ns: int) -> None:
        """Publish a command: (D,) positions [rad, m] and velocities [unit/s], for `stamp_ns` (node clock)."""
        for publisher, output, columns in self._outputs:
            values = position[columns].tolist()
            if output.interface == "forward":
                message = Float64MultiArray(data=values)
            elif output.interface == "trajectory":
                message = _trajectory(output, values, velocity[columns].tolist(), self._ahead_ns)
            else:
                message = _pose(output, values, stamp_ns)
            publisher.publish(message)

    def close(self) -> None:
        """Destroy the publishers."""
        for publisher, _, _ in self._outputs:
            self._node.destroy_publisher(publisher)
        self._outputs = []


def _trajectory(
    output: CommandOutput, positions: list[float], velocities: list[float], ahead_ns: int
) -> JointTrajectory:
    """One point; a header stamp of zero means "begin at once"."""
    due = Duration(sec=ahead_ns // SECOND, nanosec=ahead_ns % SECOND)
    point = JointTrajectoryPoint(positions=positions, velocities=velocities, time_from_start=due)
    return JointTrajectory(joint_names=list(output.columns), points=[point])


def _pose(output: CommandOutput, values: list[float], stamp_ns: int) -> PoseStamped:
    message = PoseStamped()
    message.header.stamp, message.header.frame_id = to_stamp(stamp_ns), output.frame
    position, orientation = message.pose.position, message.pose.orientation
    position.x, position.y, position.z, orientation.x, orientation.y, orientation.z, orientation.w = values
    return message
