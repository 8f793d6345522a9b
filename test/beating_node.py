"""A process that does nothing but beat as a policy does."""

import sys
import time

import rclpy

from wallwm_ros.bridge.heartbeat import HeartbeatOutput
from wallwm_ros.bridge.running import run_node

LISTENERS = 2  # control_node and the test


def make():
    """A node with a heart."""
    node = rclpy.create_node("policy_node")
    node.heart = HeartbeatOutput(node)
    while node.heart._publisher.get_subscription_count() < LISTENERS:
        time.sleep(0.01)  # who does not hear it from the beginning would not miss it either
    node.heart.start()
    return node


if __name__ == "__main__":
    sys.exit(run_node(make, lambda node: node.heart.stop()))
