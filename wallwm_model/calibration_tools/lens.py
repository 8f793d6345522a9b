"""Projection through the three lens models with derivatives, and its inverse; thin over OpenCV."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

MODELS = {"plumb_bob": 5, "rational_polynomial": 8, "equidistant": 4}  # coefficients
_TIGHT = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 60, 1e-10)


def project(
    points: np.ndarray, rvec: np.ndarray, tvec: np.ndarray, K: np.ndarray, model: str, D: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points on a board -> pixels, with derivatives.

    Args:
        points: (N, 3) in the board frame [m].
        rvec, tvec: (3,) rotation vector [rad] and translation [m] of T_optical_board.
        K: (3, 3) intrinsics [px].
        model: one of `MODELS`.
        D: its coefficients.

    Returns:
        (N, 2) pixels; (2N, 4 + len(D)) derivatives by fx, fy, cx, cy, D; (2N, 6) by rvec, tvec.
    """
    points = np.ascontiguousarray(points, np.float64).reshape(-1, 1, 3)
    rvec, tvec, D = (np.array(v, np.float64).reshape(-1, 1) for v in (rvec, tvec, D))
    if model == "equidistant":
        pixels, J = cv2.fisheye.projectPoints(points, rvec, tvec, K, D)
        return pixels.reshape(-1, 2), J[:, :8], J[:, 8:14]
    pixels, J = cv2.projectPoints(points, rvec, tvec, K, D)[:2]
    return pixels.reshape(-1, 2), J[:, 6 : 10 + len(D)], J[:, :6]


def rays(pixels: np.ndarray, K: np.ndarray, model: str, D: Sequence[float]) -> np.ndarray:
    """(N, 2) pixels -> (N, 2) x/z and y/z of their rays in the optical frame."""
    pixels = np.ascontiguousarray(pixels, np.float64).reshape(-1, 1, 2)
    D = np.asarray(D, np.float64)
    if model == "equidistant":
        return cv2.fisheye.undistortPoints(pixels, K, D, criteria=_TIGHT).reshape(-1, 2)
    return cv2.undistortPoints(pixels, K, D, criteria=_TIGHT).reshape(-1, 2)


def board_pose(
    points: np.ndarray, pixels: np.ndarray, K: np.ndarray, model: str, D: Sequence[float]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Pose of a planar board from its corners: rvec [rad] and tvec [m] of T_optical_board, or None."""
    directions = np.column_stack([rays(pixels, K, model, D), np.ones(len(pixels))])
    sound = np.isfinite(directions).all(1) & (np.abs(directions) < 60).all(1)
    if sound.sum() < 6:
        return None
    # Seen by a camera turned to the board, steep rays of a fisheye do not run off to infinity.
    directions = directions[sound] / np.linalg.norm(directions[sound], axis=1, keepdims=True)
    turn = _towards(directions.mean(0))  # R_optical_turned
    turned = directions @ turn
    if (turned[:, 2] < 0.05).any():
        return None
    flat = np.ascontiguousarray(turned[:, :2] / turned[:, 2:]).reshape(-1, 1, 2)
    objects = np.ascontiguousarray(points[sound]).reshape(-1, 1, 3)
    count, rvecs, tvecs, errors = cv2.solvePnPGeneric(
        objects, flat, np.eye(3), None, flags=cv2.SOLVEPNP_IPPE, reprojectionError=np.zeros(2)
    )
    for i in np.argsort(np.ravel(errors)[:count]):
        rvec, tvec = cv2.solvePnPRefineLM(objects, flat, np.eye(3), None, rvecs[i], tvecs[i])
        # The corners seen must lie in front; the board's origin may be far outside the picture.
        if (points[sound] @ cv2.Rodrigues(rvec)[0][2] + tvec[2, 0] > 0).all():
            return cv2.Rodrigues(turn @ cv2.Rodrigues(rvec)[0])[0].ravel(), turn @ tvec.ravel()
    return None


def _towards(direction: np.ndarray) -> np.ndarray:
    """(3, 3) rotation whose z axis points along `direction`."""
    z = direction / np.linalg.norm(direction)
    x = np.cross((0.0, 1.0, 0.0), z)
    x = x / np.linalg.norm(x) if np.linalg.norm(x) > 1e-6 else np.array((1.0, 0.0, 0.0))
    return np.column_stack([x, np.cross(z, x), z])


def transform(rvec: np.ndarray, tvec: np.ndarray) -> np.ndarray:
    """(4, 4) pose of a rotation vector [rad] and a translation [m]."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(np.asarray(rvec, np.float64))[0], np.ravel(tvec)
    return T
