"""Small changes of rigid motions (4, 4), as twists (6,): translation first [m], then rotation [rad]."""

from __future__ import annotations

import numpy as np

from wallwm_model.transforms import skew


def exp(twist: np.ndarray) -> np.ndarray:
    """Twist (6,) [m, rad] -> rigid motion (4, 4)."""
    W = skew(twist[3:])
    angle = float(np.linalg.norm(twist[3:]))
    if angle < 1e-6:
        a, b, c = 1.0, 0.5, 1.0 / 6.0
    else:
        a, b = np.sin(angle) / angle, (1 - np.cos(angle)) / angle**2
        c = (1 - a) / angle**2
    out = np.eye(4)
    out[:3, :3] += a * W + b * W @ W
    out[:3, 3] = (np.eye(3) + b * W + c * W @ W) @ twist[:3]
    return out


def log(T: np.ndarray) -> np.ndarray:
    """Rigid motion (4, 4) -> twist (6,) [m, rad]; the inverse of `exp` for turns under 180 degrees."""
    R = T[:3, :3]
    axis = np.array((R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1])) / 2
    sine, cosine = float(np.linalg.norm(axis)), (np.trace(R) - 1) / 2
    angle = float(np.arctan2(sine, cosine))
    w = axis * (angle / sine if sine > 1e-9 else 1.0)
    W = skew(w)
    if angle < 1e-4:
        c = 1.0 / 12.0
    else:
        c = (1 - angle * np.sin(angle) / (2 * (1 - np.cos(angle)))) / angle**2
    return np.concatenate([(np.eye(3) - W / 2 + c * W @ W) @ T[:3, 3], w])


def adjoint(T: np.ndarray) -> np.ndarray:
    """(6, 6) that carries twists: `T exp(x) = exp(adjoint(T) x) T`."""
    R = T[:3, :3]
    out = np.zeros((6, 6))
    out[:3, :3] = out[3:, 3:] = R
    out[:3, 3:] = skew(T[:3, 3]) @ R
    return out
