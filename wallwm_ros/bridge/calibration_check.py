"""The check's part in ROS: pictures and joints of one moment in, overlays out."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image

from wallwm_model.calibration import CameraCalibration
from wallwm_model.calibration_check.snapshot import Snapshot
from wallwm_model.errors import ObservationError
from wallwm_model.forward_kinematics import ForwardKinematics
from wallwm_ros.bridge import images, qos
from wallwm_ros.bridge.observations import ObservationFeed, make_synchronizer
from wallwm_ros.bridge.robot_description import kinematics_of
from wallwm_ros.core.robot import RobotProfile
from wallwm_ros.core.synchronizer import SyncLimits, Unsound

TOPIC = "/calibration_check"
# Looser than for driving: pictures count only of arms that stand still.
LIMITS = SyncLimits(max_spread_ns=200_000_000, max_age_ns=2_000_000_000)


class CheckPort:
    """Context manager: a node that listens to a robot's cameras and joints, and publishes overlays.

    Args:
        profile: of the robot.
        calibrations: camera -> calibration.
    """

    def __init__(self, profile: RobotProfile, calibrations: Mapping[str, CameraCalibration]) -> None:
        self._profile, self._calibrations = profile, calibrations

    def __enter__(self) -> CheckPort:
        # Ctrl-C is for the program, which ends in order.
        self._context = rclpy.Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("calibration_check", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._synchronizer = make_synchronizer(self._profile, LIMITS)
        self._feed = ObservationFeed(
            self._node, self._profile, self._calibrations, self._synchronizer, lambda: None
        )
        self._publishers = {
            name: self._node.create_publisher(Image, f"{TOPIC}/{name}", qos.SENSOR_OUT)
            for name in self._calibrations
        }
        self._thread = threading.Thread(target=self._spin, name="calibration_check", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(timeout_sec=0.5)
        self._thread.join(timeout=1.0)
        rclpy.try_shutdown(context=self._context)

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def kinematics(self) -> ForwardKinematics:
        """Of the robot. Raises ConfigError: none, or none that can be read."""
        return kinematics_of(self._node, self._profile)

    def newest(self) -> tuple[int, Snapshot] | str:
        """Stamp [ns], and pictures and joints that belong together; or why there are none, in words."""
        match = self._synchronizer.newest(self._node.get_clock().now().nanoseconds)
        if isinstance(match, Unsound):
            return match.text
        try:
            pictures = {name: self._feed.decode(name, message) for name, message in match.pictures.items()}
        except ObservationError as error:
            return str(error)
        joints: dict[str, float] = {}
        for source in self._profile.states:
            values = match.states[source.topic].tolist()
            joints |= zip(source.columns, values, strict=True)
        return match.stamp_ns, Snapshot(pictures, joints)

    def show(self, pictures: Mapping[str, np.ndarray], stamp_ns: int) -> None:
        """Publish overlays, (H, W, 3) uint8 RGB each, on `/calibration_check/<camera>`."""
        for name, picture in pictures.items():
            frame = self._calibrations[name].frame or name
            self._publishers[name].publish(images.image_message(picture, frame, stamp_ns))

    @property
    def watched(self) -> bool:
        """Whether anybody looks at the overlays."""
        return any(publisher.get_subscription_count() for publisher in self._publishers.values())
