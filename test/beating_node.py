"""A process that does nothing but beat as a policy does."""

import sys

import rclpy

from wallwm_ros.bridge.heartbeat import HeartbeatOutput
from wallwm_ros.bridge.running import run_node


def make():
    """A node with a heart."""
    node = rclpy.create_node("policy_node")
    node.heart = HeartbeatOutput(node)
    node.heart.start()
    return node


if __name__ == "__main__":
    sys.exit(run_node(make, lambda node: node.heart.stop()))
