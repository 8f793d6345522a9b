"""Watches what every camera says of itself, from configure to cleanup."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from wallwm_ros.bridge import qos
from wallwm_ros.bridge.camera_info import from_message
from wallwm_ros.bridge.diagnostics import camera_message
from wallwm_ros.core.camera_guard import CameraInfoGuard
from wallwm_ros.core.robot import RobotProfile

POLL_S = 0.01
REPORT_S = 1.0


class CameraWatch:
    """Hands every CameraInfo to a guard, and says what the guard thinks of it.

    Args:
        node: who subscribes, logs and publishes.
        profile: topics.
        publish: takes the diagnostics.
        on_change: called when the verdict on a camera has changed.
    """

    def __init__(
        self,
        node: Node,
        profile: RobotProfile,
        publish: Callable[[DiagnosticArray], None],
        on_change: Callable[[], None],
    ) -> None:
        self._node, self._publish, self._on_change = node, publish, on_change
        self._guard: CameraInfoGuard | None = None
        self._subscriptions = {
            camera.name: node.create_subscription(
                CameraInfo, camera.info_topic, partial(self._heard, camera.name), qos.NEWEST_STATE
            )
            for camera in profile.cameras
            if camera.info_topic
        }
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(REPORT_S, self._report, clock=steady)

    def check(self, guard: CameraInfoGuard, timeout_s: float) -> None:
        """From now on `guard` judges; wait until it has heard every camera, `timeout_s` at most.

        Only from inside a callback of the node: the executor cannot deliver messages meanwhile, so they are
        taken from the subscriptions themselves, which hold those that came in the meantime.
        """
        self._guard = guard
        deadline = time.monotonic() + timeout_s
        self._take()
        while guard.unheard and time.monotonic() < deadline:
            time.sleep(POLL_S)
            self._take()
        if guard.unheard:
            names = ", ".join(guard.unheard)
            text = f"no camera_info from {names} within {timeout_s:g} s: not checked until it comes"
            self._node.get_logger().warning(text)

    def close(self) -> None:
        """End the subscriptions and the reports."""
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def _take(self) -> None:
        for name, subscription in self._subscriptions.items():
            with subscription.handle:
                taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
            if taken is not None:
                self._guard.hear(name, from_message(taken[0]))

    def _heard(self, camera: str, message: CameraInfo) -> None:
        if not self._guard.hear(camera, from_message(message)):
            return
        problem = self._guard.problems.get(camera)
        if problem:
            self._node.get_logger().error(f"no inference: {problem}", throttle_duration_sec=REPORT_S)
        else:
            self._node.get_logger().info(f"the camera_info of {camera} is as calibrated again")
        self._report()
        self._on_change()

    def _report(self) -> None:
        stamp_ns = self._node.get_clock().now().nanoseconds
        self._publish(camera_message(self._guard, stamp_ns))
