"""Measured values in: JointState and PoseStamped messages -> arrays in the order of the robot profile."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState

from wallwm_model.errors import ObservationError
from wallwm_ros.bridge.stamps import to_ns
from wallwm_ros.core.robot import StateSource

_TYPES = {"JointState": JointState, "PoseStamped": PoseStamped}


def message_type(source: StateSource) -> type:
    """The message class of a state topic."""
    return _TYPES[source.message]


def read_state(message: JointState | PoseStamped, source: StateSource) -> tuple[int, np.ndarray]:
    """Message -> its stamp [ns] and the values (n,) of `source.columns`, in their units.

    Columns of a JointState are found by name; names that the profile does not list are passed over.

    Raises:
        ObservationError: a joint missing, names and positions of different length, or a value not finite.
    """
    if isinstance(message, JointState):
        values = _by_name(message, source)
    else:
        p, q = message.pose.position, message.pose.orientation
        values = np.array((p.x, p.y, p.z, q.x, q.y, q.z, q.w))
    if not np.isfinite(values).all():
        bad = [name for name, value in zip(source.columns, values, strict=True) if not np.isfinite(value)]
        names = ", ".join(bad)
        raise ObservationError(f"{source.topic} must be finite; found a non-finite value for {names}")
    return to_ns(message.header.stamp), values


def _by_name(message: JointState, source: StateSource) -> np.ndarray:
    names, positions = message.name, message.position
    if len(names) != len(positions):
        raise ObservationError(
            f"{source.topic} must have one position per name; "
            f"found {len(names)} names, {len(positions)} positions"
        )
    found = dict(zip(names, positions, strict=True))
    missing = [name for name in source.names if name not in found]
    if missing:
        expected = f"{source.topic} must have joints {', '.join(source.names)}"
        raise ObservationError(f"{expected}; {', '.join(missing)} missing")
    return np.array([found[name] for name in source.names], dtype=np.float64)
