"""The least robot for the runtime benchmarks, as a process of its own: `python -m benchmarks.runtime_robot`.

The cameras, pictures and rates that the peers get, as topics; joint states at 100 Hz; commands carried out at
once.
"""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64MultiArray

from benchmarks.peers.rig import CAMERA_HZ, SECOND, SIZE
from wallwm_ros.bridge import qos
from wallwm_ros.bridge.running import run_node
from wallwm_ros.bridge.sim import camera_info_message, image_message, joint_state_message
from wallwm_ros.core.calibration import load_calibrations
from wallwm_ros.core.config import load_robot

STATE_S = 0.01


class LeastRobot(Node):
    """Noise out of three cameras, and an arm that is where it was told to be."""

    def __init__(self) -> None:
        super().__init__("bench_robot")
        self._robot = load_robot("sim")
        self._position = np.array([(joint.low + joint.high) / 2 for joint in self._robot.joints])
        calibrations = load_calibrations(self._robot)
        rng = np.random.default_rng(0)
        self._cameras = []
        for camera in self._robot.cameras:
            calibration = calibrations[camera.name]
            info = camera_info_message(
                calibration.K, calibration.width, calibration.height, calibration.frame
            )
            film = [
                image_message(rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8), calibration.frame, 0)
                for _ in range(8)
            ]
            self._cameras.append((
                self.create_publisher(Image, camera.topic, qos.SENSOR_OUT), film,
                self.create_publisher(CameraInfo, camera.info_topic, qos.SENSOR_OUT), info,
            ))  # fmt: skip
        self._states = self.create_publisher(JointState, self._robot.states[0].topic, qos.SENSOR_OUT)
        topic = self._robot.outputs("forward")[0].topic
        self.create_subscription(Float64MultiArray, topic, self._command, qos.COMMAND)
        self.create_timer(STATE_S, self._feel)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._shoot, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the cameras."""
        self._stop.set()
        self._thread.join(1.0)

    def _command(self, message: Float64MultiArray) -> None:
        self._position = np.array(message.data)

    def _shoot(self) -> None:
        """All cameras take their pictures at the same moment, which is their stamp."""
        due_ns, number = time.monotonic_ns(), 0
        while not self._stop.is_set():
            stamp = self.get_clock().now().to_msg()
            for images, film, infos, info in self._cameras:
                picture = film[number % len(film)]
                picture.header.stamp = info.header.stamp = stamp
                images.publish(picture)
                infos.publish(info)
            number += 1
            due_ns += round(SECOND / CAMERA_HZ)
            time.sleep(max(0, due_ns - time.monotonic_ns()) / SECOND)

    def _feel(self) -> None:
        now_ns, still = self.get_clock().now().nanoseconds, np.zeros_like(self._position)
        message = joint_state_message(self._robot.joint_names, self._position, still, now_ns)
        self._states.publish(message)


if __name__ == "__main__":
    sys.exit(run_node(LeastRobot, LeastRobot.close))
