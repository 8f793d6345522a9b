"""Unit quaternions as (..., 4) arrays x y z w, and rotation vectors as (..., 3) [rad]."""

from __future__ import annotations

import numpy as np

_SMALL = 1e-9


def normalise(q: np.ndarray) -> np.ndarray:
    """Unit quaternion in the direction of `q`; the identity if `q` is (nearly) zero."""
    norm = np.linalg.norm(q, axis=-1, keepdims=True)
    return np.where(norm < _SMALL, np.array([0.0, 0.0, 0.0, 1.0]), q / np.maximum(norm, _SMALL))


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rotation b, then a."""
    ax, ay, az, aw = np.moveaxis(a, -1, 0)
    bx, by, bz, bw = np.moveaxis(b, -1, 0)
    return np.stack(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ],
        axis=-1,
    )


def conjugate(q: np.ndarray) -> np.ndarray:
    """Inverse of a unit quaternion."""
    return q * np.array([-1.0, -1.0, -1.0, 1.0])


def log(q: np.ndarray) -> np.ndarray:
    """Rotation vector [rad], at most pi long: the short way round."""
    q = np.where(q[..., 3:] < 0, -q, q)
    sine = np.linalg.norm(q[..., :3], axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(sine, q[..., 3:])
    return q[..., :3] * np.where(sine < _SMALL, 2.0, angle / np.maximum(sine, _SMALL))


def exp(vector: np.ndarray) -> np.ndarray:
    """Unit quaternion of a rotation vector [rad]."""
    angle = np.linalg.norm(vector, axis=-1, keepdims=True)
    scale = np.where(angle < _SMALL, 0.5, np.sin(angle / 2) / np.maximum(angle, _SMALL))
    return np.concatenate([vector * scale, np.cos(angle / 2)], axis=-1)


def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rotation vector [rad] that leads from a to b, seen from a, the short way round."""
    return log(multiply(conjugate(a), b))


def slerp(a: np.ndarray, b: np.ndarray, fraction: float) -> np.ndarray:
    """From a (0) to b (1) at constant angular velocity, the short way round."""
    return multiply(a, exp(fraction * between(a, b)))


def align(rows: np.ndarray, first: np.ndarray) -> np.ndarray:
    """(T, 4) rows with signs such that neighbours, beginning with `first`, lie on the same half sphere."""
    out = rows.copy()
    previous = first
    for row in out:
        if row @ previous < 0:
            row *= -1
        previous = row
    return out
