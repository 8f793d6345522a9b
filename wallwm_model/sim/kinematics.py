"""Forward kinematics of both arms with plain array operations (easy to port to other array libraries).

Constants describe one arm in its base frame; tests compare them with the MuJoCo model.
"""

from __future__ import annotations

import numpy as np

from wallwm_model.captions import ARMS
from wallwm_model.sim.robot import BASE_XYZ, BASE_YAW

# Joint k: first this translation in the parent's frame [m], then a turn about this axis.
JOINT_OFFSET = np.array(
    [(0, 0, 0.085), (0, 0, 0.065), (0.06, 0, 0.30), (0.2, 0, 0), (0.1, 0, 0), (0.07, 0, 0)], dtype=np.float64
)  # (6, 3)
JOINT_AXIS = np.array(
    [(0, 0, 1), (0, 1, 0), (0, 1, 0), (1, 0, 0), (0, 1, 0), (1, 0, 0)], dtype=np.float64
)  # (6, 3)
PINCH_OFFSET = np.array((0.13, 0.0, 0.0))  # midpoint between the finger pads, in the last link's frame [m]


def rotation_z(angle: float) -> np.ndarray:
    """(3, 3) turn about z by `angle` [rad]."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([(c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)])


BASE_ROTATION = np.stack([rotation_z(BASE_YAW[arm]) for arm in ARMS])  # (2, 3, 3) R_world_base
BASE_POSITION = np.array([BASE_XYZ[arm] for arm in ARMS])  # (2, 3) [m]


def axis_rotation(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Turn about one of the coordinate axes: axis (3,) one-hot, angle (...) [rad] -> (..., 3, 3)."""
    x, y, z = axis
    skew = np.array([(0, -z, y), (z, 0, -x), (-y, x, 0)])
    s, c = np.sin(angle)[..., None, None], np.cos(angle)[..., None, None]
    return np.eye(3) + s * skew + (1.0 - c) * (skew @ skew)


def arm_forward(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One arm: (..., 6) [rad] -> pinch position (..., 3) [m], orientation (..., 3, 3), base frame."""
    position = np.zeros((*joints.shape[:-1], 3))
    rotation = np.broadcast_to(np.eye(3), (*joints.shape[:-1], 3, 3))
    for k in range(6):
        position = position + rotation @ JOINT_OFFSET[k]
        rotation = rotation @ axis_rotation(JOINT_AXIS[k], joints[..., k])
    return position + rotation @ PINCH_OFFSET, rotation


def forward(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both arms: (..., 14) [rad, m] -> pinch (..., 2, 3) [m] and orientation (..., 2, 3, 3), world frame.

    The gripper openings (values 6 and 13) do not matter. Arm 0 is left, arm 1 right.
    """
    arms = np.stack([joints[..., 0:6], joints[..., 7:13]], axis=-2)  # (..., 2, 6)
    position, rotation = arm_forward(arms)
    world = BASE_POSITION + np.einsum("aij,...aj->...ai", BASE_ROTATION, position)
    return world, BASE_ROTATION @ rotation
