"""Control as it is often written, an rclpy timer that publishes: `python -m benchmarks.runtime_timer RATE`.

It hears the same joint states as control_node and publishes the same two messages; it computes nothing.
"""

from __future__ import annotations

import sys
import time

from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from wallwm_msgs.msg import ControlStatus
from wallwm_ros.bridge import qos
from wallwm_ros.bridge.running import run_node
from wallwm_ros.core.config import load_robot


class TimerControl(Node):
    """Holds the arm where it is first found."""

    def __init__(self, rate_hz: float) -> None:
        super().__init__("timer_control")
        robot = load_robot("sim")
        self._names, self._held, self._begun_s = list(robot.joint_names), None, None
        topic = robot.outputs("forward")[0].topic
        self._commands = self.create_publisher(Float64MultiArray, topic, qos.COMMAND)
        self._status = self.create_publisher(ControlStatus, "/control_status", qos.STATUS)
        self.create_subscription(JointState, robot.states[0].topic, self._feel, qos.STATE)
        self.create_timer(1.0 / rate_hz, self._tick)

    def _feel(self, message: JointState) -> None:
        where = dict(zip(message.name, message.position, strict=True))
        self._measured = [where[name] for name in self._names]
        self._held = self._held or self._measured

    def _tick(self) -> None:
        now_s = time.perf_counter()
        before_s, self._begun_s = self._begun_s, now_s
        if self._held is None or before_s is None:
            return
        self._commands.publish(Float64MultiArray(data=self._held))
        status = ControlStatus(joint_names=self._names, command=self._held, measured=self._measured)
        status.header.stamp = self.get_clock().now().to_msg()
        status.period_ms = 1000.0 * (now_s - before_s)
        self._status.publish(status)


if __name__ == "__main__":
    sys.exit(run_node(lambda: TimerControl(float(sys.argv[1])), lambda _: None))
