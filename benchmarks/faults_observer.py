"""Writes down every command with the time at which it was sent, and what the control process says of it.

A process of its own, that nothing disturbs.

Usage: python faults_observer.py ROBOT_PROFILE FILE
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import rclpy
from faults_motion import pack, reports
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Float64MultiArray

from wallwm_msgs.msg import ControlStatus
from wallwm_ros.core.config import load_robot

DEEP = QoSProfile(depth=5000, reliability=ReliabilityPolicy.RELIABLE)  # a busy machine must lose none


def main() -> None:
    """Run until told to stop."""
    robot, file = load_robot(sys.argv[1]), Path(sys.argv[2])
    (output,) = robot.outputs("forward")
    rclpy.init(args=sys.argv, signal_handler_options=SignalHandlerOptions.NO)
    ended: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: ended.append(received))
    node = rclpy.create_node("faults_observer")
    with file.open("ab", buffering=0) as record, reports(file).open("ab", buffering=0) as said:

        def heard(message: Float64MultiArray, info: dict[str, Any]) -> None:
            record.write(pack(info["source_timestamp"], info["publication_sequence_number"], message.data))

        def told(message: ControlStatus, info: dict[str, Any]) -> None:
            if len(message.command):
                said.write(pack(info["source_timestamp"], message.missed_periods, message.command))

        node.create_subscription(Float64MultiArray, output.topic, heard, DEEP)
        node.create_subscription(ControlStatus, "/control_status", told, DEEP)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not ended:
            executor.spin_once(timeout_sec=0.1)
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
