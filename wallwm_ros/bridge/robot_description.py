"""A robot's kinematics, from its description in a file, in the simulator, or on /robot_description."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from std_msgs.msg import String

from wallwm_model.errors import ConfigError
from wallwm_ros.bridge import qos
from wallwm_ros.core.robot import RobotProfile

if TYPE_CHECKING:
    from wallwm_model.forward_kinematics import ForwardKinematics

TOPIC = "/robot_description"
POLL_S = 0.01


class _Unspun(CallbackGroup):
    """A subscription in here is left alone by whatever executor spins its node, in any thread."""

    def can_execute(self, entity: Any) -> bool:
        """Never."""
        return False

    def beginning_execution(self, entity: Any) -> bool:
        """Never."""
        return False

    def ending_execution(self, entity: Any) -> None:
        """Nothing has begun."""


def read_robot_description(node: Node, timeout_s: float = 5.0) -> str:
    """The URDF that robot_state_publisher, or whoever else, has latched on /robot_description.

    The message is taken from the subscription itself, so that it may be awaited inside a callback of the
    node, where its executor cannot deliver anything, and beside a thread that spins the node, which would
    otherwise take it first: a latched message comes once.

    Raises:
        ConfigError: nothing came in time, or something empty.
    """
    subscription = node.create_subscription(
        String, TOPIC, lambda message: None, qos.LATCHED, callback_group=_Unspun()
    )
    deadline = time.monotonic() + timeout_s
    try:
        while True:
            with subscription.handle:
                taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
            if taken is not None:
                break
            if time.monotonic() > deadline:
                raise ConfigError(f"expected a URDF on {TOPIC}; found none within {timeout_s:g} s")
            time.sleep(POLL_S)
    finally:
        node.destroy_subscription(subscription)
    text = taken[0].data
    if not text.strip():
        raise ConfigError(f"expected a URDF on {TOPIC}; found an empty text")
    return text


def kinematics_of(node: Node, profile: RobotProfile, timeout_s: float = 5.0) -> ForwardKinematics:
    """What the profile's `description` describes; waits for the topic if that is where it comes from.

    Raises:
        ConfigError: no description, none that arrives in time, or one that cannot be read.
    """
    from wallwm_model.forward_kinematics import load_kinematics

    urdf = read_robot_description(node, timeout_s) if profile.description == "topic" else None
    return load_kinematics(profile, urdf)
