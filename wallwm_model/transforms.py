"""Rigid transforms as (4, 4) arrays: `T_a_b` is the pose of b in a and takes points of b to a [m]."""

from __future__ import annotations

import numpy as np

from wallwm_model.errors import ConfigError

ROTATION_TOLERANCE = 1e-6  # of R R^T from the identity


def rotation_fault(R: np.ndarray) -> str:
    """What keeps a (3, 3) from being a rotation, in words; empty if nothing does."""
    if np.abs(R @ R.T - np.eye(3)).max() > ROTATION_TOLERANCE:
        return "rows of length 1, at right angles"
    return "right-handed, determinant +1" if np.linalg.det(R) < 0 else ""


def is_transform(T: np.ndarray) -> bool:
    """Whether a (4, 4) is a rotation and a translation."""
    return not rotation_fault(T[:3, :3]) and np.array_equal(T[3], (0, 0, 0, 1))


def inverse(T: np.ndarray) -> np.ndarray:
    """(4, 4) `T_a_b` -> `T_b_a`."""
    R = T[:3, :3].T
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = R, -R @ T[:3, 3]
    return out


def skew(v: np.ndarray) -> np.ndarray:
    """(3,) -> the (3, 3) matrix of the cross product `v x`."""
    x, y, z = v
    return np.array([(0.0, -z, y), (z, 0.0, -x), (-y, x, 0.0)])


def from_quaternion(translation: np.ndarray, quaternion: np.ndarray) -> np.ndarray:
    """Translation (3,) [m] and quaternion (4,) x y z w -> (4, 4).

    Raises:
        ConfigError: the quaternion's length is not 1 (to 1e-3; it is then made exactly 1).
    """
    length = float(np.linalg.norm(quaternion))
    if abs(length - 1) > 1e-3:
        raise ConfigError(f"quaternion (x y z w) must have length 1; found {length:.4f}")
    x, y, z, w = np.asarray(quaternion) / length
    T = np.eye(4)
    T[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    T[:3, 3] = translation
    return T


def pose_numbers(T: np.ndarray) -> np.ndarray:
    """(4, 4) -> (7,) translation x, y, z [m] and quaternion x, y, z, w with w >= 0."""
    R = T[:3, :3]
    # The largest of the four is found first, so that nothing is divided by a small number.
    squares = np.array([1 + R[0, 0] - R[1, 1] - R[2, 2], 1 - R[0, 0] + R[1, 1] - R[2, 2],
                        1 - R[0, 0] - R[1, 1] + R[2, 2], 1 + R[0, 0] + R[1, 1] + R[2, 2]])  # fmt: skip
    products = np.array([
        [squares[0], R[0, 1] + R[1, 0], R[0, 2] + R[2, 0], R[2, 1] - R[1, 2]],
        [R[0, 1] + R[1, 0], squares[1], R[1, 2] + R[2, 1], R[0, 2] - R[2, 0]],
        [R[0, 2] + R[2, 0], R[1, 2] + R[2, 1], squares[2], R[1, 0] - R[0, 1]],
        [R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1], squares[3]],
    ])  # fmt: skip  # 4 q q^T
    q = products[int(np.argmax(squares))]
    q = q / np.linalg.norm(q)
    return np.concatenate([T[:3, 3], -q if q[3] < 0 else q])


def angle_between(R_a: np.ndarray, R_b: np.ndarray) -> float:
    """Angle of the turn from one (3, 3) rotation to another [rad]; exact for small ones too."""
    turn = R_a.T @ R_b
    sine = np.linalg.norm([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / 2
    return float(np.arctan2(sine, (np.trace(turn) - 1) / 2))
