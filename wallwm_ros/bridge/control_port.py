"""What the control process hears and says beside commands: measured states in, status out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from rclpy.node import Node

from wallwm_model.errors import ObservationError
from wallwm_msgs.msg import ControlStatus
from wallwm_ros.bridge import joint_states, qos
from wallwm_ros.bridge.stamps import to_stamp
from wallwm_ros.core.control_state import Measured, Status
from wallwm_ros.core.robot import RobotProfile, StateSource

WARN_EVERY_S = 5.0


class StateFeed:
    """Subscribes to a robot's state topics and keeps the newest measured values.

    A message that cannot be read leaves the values before it in place: they age, and the controller stops.

    Args:
        now_ns: the control clock [ns].
    """

    def __init__(self, node: Node, profile: RobotProfile, now_ns: Callable[[], int]) -> None:
        self._node, self._profile, self._now_ns = node, profile, now_ns
        self.clear()
        self._subscriptions = [
            node.create_subscription(
                joint_states.message_type(source),
                source.topic,
                partial(self._heard, source, profile.columns(source.columns)),
                qos.NEWEST_STATE,
            )
            for source in profile.states
        ]

    def clear(self) -> None:
        """Forget what was measured."""
        self._positions = np.full(len(self._profile.joints), np.nan)
        self._times: dict[str, tuple[int, int]] = {}  # topic -> (stamp, time of receipt in the control clock)
        self._latest: Measured | None = None

    def latest(self) -> Measured | None:
        """Newest values of all columns; None until every topic was heard. For any thread."""
        return self._latest

    def close(self) -> None:
        """End the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def _heard(self, source: StateSource, columns: list[int], message: Any) -> None:
        try:
            stamp_ns, values = joint_states.read_state(message, source)
        except ObservationError as error:
            self._node.get_logger().warning(str(error), throttle_duration_sec=WARN_EVERY_S)
            return
        before = self._times.get(source.topic)
        if before is not None and stamp_ns and stamp_ns == before[0]:
            received_ns = before[1]  # the same measurement sent again is not a newer one
        else:
            received_ns = self._now_ns()
        self._times[source.topic] = (stamp_ns, received_ns)
        self._positions = self._positions.copy()  # the control thread may be reading the old array
        self._positions[columns] = values
        if len(self._times) == len(self._profile.states):
            self._latest = Measured(self._positions, min(time_ns for _, time_ns in self._times.values()))


class StatusOutput:
    """Publishes what the controller did."""

    def __init__(self, node: Node, profile: RobotProfile) -> None:
        self._publisher = node.create_publisher(ControlStatus, "control_status", qos.STATUS)
        self._message = ControlStatus(joint_names=list(profile.joint_names))

    def send(self, status: Status, period_ns: int, stamp_ns: int) -> None:
        """Publish `status` after a period of `period_ns`, stamped `stamp_ns` (node clock)."""
        message = self._message
        message.header.stamp = to_stamp(stamp_ns)
        message.state, message.reason = int(status.state), status.reason
        message.generation, message.sequence = status.generation, status.sequence
        message.step, message.steps, message.settled = status.step, status.steps, status.settled
        message.command = [] if status.command is None else status.command.tolist()
        message.measured = [] if status.measured is None else status.measured.tolist()
        message.rejected, message.period_ms = status.rejected, period_ns / 1e6
        message.dropped_steps, message.missed_periods = status.dropped_steps, status.missed_periods
        message.seam_velocity, message.seam_acceleration = status.seam_velocity, status.seam_acceleration
        self._publisher.publish(message)

    def close(self, node: Node) -> None:
        """Destroy the publisher."""
        node.destroy_publisher(self._publisher)
