"""The policy's heartbeat: its executor sends it, so it tells of a process that still listens and answers."""

from __future__ import annotations

import time

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.timer import Timer
from std_msgs.msg import Header

from wallwm_ros.bridge import qos
from wallwm_ros.core.watchdogs import Heartbeat

TOPIC = "policy_heartbeat"
BEAT_S = 0.05
LISTEN_S = 0.025
LEAVING = "leaving"  # frame_id of the last beat: silence from now on is meant


class HeartbeatOutput:
    """Beats from `start` to `stop`.

    The publisher lives as long as the node: one that is destroyed right after its last message may take that
    along.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(Header, TOPIC, qos.STATUS)
        self._timer: Timer | None = None

    def start(self) -> None:
        """Beat from now on."""
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self._node.create_timer(BEAT_S, self._beat, clock=steady)
        self._beat()

    def stop(self) -> None:
        """Take leave."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
            self._beat(LEAVING)

    def _beat(self, frame_id: str = "") -> None:
        self._publisher.publish(Header(stamp=self._node.get_clock().now().to_msg(), frame_id=frame_id))


class HeartbeatFeed:
    """Hears the policy's heartbeat, and tells when it has come round to hear it; stamps do not count."""

    def __init__(self, node: Node, heartbeat: Heartbeat) -> None:
        self._node, self._heartbeat = node, heartbeat
        self._subscription = node.create_subscription(Header, TOPIC, self._heard, qos.STATUS)
        self._timer = node.create_timer(LISTEN_S, self._listen, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """Stop listening."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_subscription(self._subscription)

    def _heard(self, message: Header) -> None:
        if message.frame_id == LEAVING:
            self._heartbeat.leave()
        else:
            self._heartbeat.beat(time.monotonic_ns())

    def _listen(self) -> None:
        self._heartbeat.listening(time.monotonic_ns())
