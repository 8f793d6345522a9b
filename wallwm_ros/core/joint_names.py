"""Joints go by the robot profile's names; messages, recordings and tables may call them otherwise."""

from __future__ import annotations

from collections.abc import Mapping

from wallwm_ros.core.robot import RobotProfile


def joint_names(profile: RobotProfile, topic: str = "") -> dict[str, str]:
    """What the JointState messages of a topic call a joint -> what the profile calls it.

    Args:
        profile: of the robot.
        topic: one that the profile does not know, or none: all names that mean one joint only.
    """
    sources = [source for source in profile.states if source.message == "JointState"]
    sources = [source for source in sources if source.topic == topic] or sources
    pairs = [pair for source in sources for pair in zip(source.names, source.columns, strict=True)]
    given = [name for name, _ in pairs]
    return {name: column for name, column in pairs if given.count(name) == 1}


def renamed(joints: Mapping[str, float], names: Mapping[str, str]) -> dict[str, float]:
    """Positions [rad, m] under the profile's names; joints that the profile does not have keep their own."""
    own = {name: value for name, value in joints.items() if name not in names}
    return own | {names[name]: value for name, value in joints.items() if name in names}
