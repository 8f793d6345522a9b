"""The least robot that the runtime can drive, as a process of its own: small pictures, camera_info and joint
states out; commands in and carried out at once. Orders on /tiny_robot/order (std_msgs/String) name cameras:
those after `mute` fall silent, those after `swap` say that they have another lens, those after `relabel` send
pictures with another frame_id. An order in force is repeated on /tiny_robot/obeyed.
"""

from __future__ import annotations

import sys

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64MultiArray, String

from wallwm_ros.bridge import qos
from wallwm_ros.bridge.running import run_node
from wallwm_ros.bridge.sim import camera_info_message, image_message, joint_state_message
from wallwm_ros.core.calibration import load_calibrations
from wallwm_ros.core.config import load_robot


class TinyRobot(Node):
    """Pictures at 20 Hz, joint states at 100 Hz."""

    def __init__(self) -> None:
        super().__init__("tiny_robot")
        self._robot = load_robot("sim")
        self._position = np.array([(joint.low + joint.high) / 2 for joint in self._robot.joints])
        self._position[0] += 0.2
        self._named = {"mute": "", "swap": "", "relabel": ""}
        self._pictures = {
            c.name: self.create_publisher(Image, c.topic, qos.SENSOR_OUT) for c in self._robot.cameras
        }
        self._infos = {
            c.name: self.create_publisher(CameraInfo, c.info_topic, qos.SENSOR_OUT)
            for c in self._robot.cameras
        }
        self._calibrations = load_calibrations(self._robot)
        self._states = self.create_publisher(JointState, self._robot.states[0].topic, qos.SENSOR_OUT)
        command = self._robot.outputs("forward")[0].topic
        self.create_subscription(Float64MultiArray, command, self._command, qos.COMMAND)
        self._obeyed = self.create_publisher(String, "/tiny_robot/obeyed", qos.LATCHED)
        self.create_subscription(String, "/tiny_robot/order", self._order, 10)
        self.create_timer(0.05, self._look)
        self.create_timer(0.01, self._feel)

    def _command(self, message: Float64MultiArray) -> None:
        self._position = np.array(message.data)

    def _order(self, message: String) -> None:
        order, _, cameras = message.data.partition(" ")
        self._named[order] = cameras
        self._obeyed.publish(message)

    def _look(self) -> None:
        now = self.get_clock().now().nanoseconds
        for name, publisher in self._pictures.items():
            if name not in self._named["mute"]:
                frame = "elsewhere" if name in self._named["relabel"] else self._calibrations[name].frame
                publisher.publish(image_message(np.full((192, 192, 3), 90, np.uint8), frame, now))
                self._infos[name].publish(self._info(name))

    def _info(self, name: str) -> CameraInfo:
        calibration = self._calibrations[name]
        K = calibration.K.copy()
        K[0, 0] *= 1.2 if name in self._named["swap"] else 1.0
        return camera_info_message(K, calibration.width, calibration.height, calibration.frame)

    def _feel(self) -> None:
        now = self.get_clock().now().nanoseconds
        still = np.zeros_like(self._position)
        self._states.publish(joint_state_message(self._robot.joint_names, self._position, still, now))


if __name__ == "__main__":
    sys.exit(run_node(TinyRobot, lambda _: None))
