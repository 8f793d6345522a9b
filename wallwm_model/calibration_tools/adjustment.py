"""Bundle adjustment of one camera: intrinsics and all board poses together, robust, for every lens model.

Levenberg-Marquardt on reweighted residuals (Cauchy weights, scale from the median): a corner that was found
in the wrong place, as happens at a fisheye's rim, loses its weight instead of bending the lens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from wallwm_model.calibration_tools import lens
from wallwm_model.calibration_tools.detect import View
from wallwm_model.errors import CalibrationError

_ROUNDS = 60
_CAUCHY = 2.385  # standard deviations: 95 % efficient on clean data
_FLOOR_PX = 0.02  # least scale of residuals [px]
_FOCAL_GUESSES = (0.30, 0.40, 0.55, 0.75, 1.0)  # shares of the picture's width


@dataclass
class Fit:
    """State of the adjustment.

    Attributes:
        K: (3, 3) [px].
        D: coefficients.
        poses: (V, 6) rotation vector [rad] and translation [m] of T_optical_board.
        residuals: per view (N, 2) found minus projected [px].
        weights: per view (N,) between 0 and 1.
        covariance: (4 + d, 4 + d) of fx, fy, cx, cy, D.
    """

    K: np.ndarray
    D: np.ndarray
    poses: np.ndarray
    residuals: list[np.ndarray]
    weights: list[np.ndarray]
    covariance: np.ndarray

    @property
    def rms(self) -> float:
        """Root mean square distance of all corners [px], outliers included."""
        return float(np.sqrt(np.mean(np.concatenate(self.residuals) ** 2) * 2))


def adjust(points: np.ndarray, views: Sequence[View], model: str) -> tuple[Fit, list[View]]:
    """Fit a lens to views of a board.

    Args:
        points: (N, 3) corners in the board frame [m], by id.
        views: what was found.
        model: one of `lens.MODELS`.

    Returns:
        The fit, and the views that it is of: those in which the board has a pose in front of the lens.

    Raises:
        CalibrationError: no lens fits.
    """
    K, D = _start(points, views, model)
    found = [(view, lens.board_pose(points[view.ids], view.pixels, K, model, D)) for view in views]
    views = [view for view, pose in found if pose is not None]
    poses = [np.concatenate(pose) for _, pose in found if pose is not None]
    if not views:
        raise CalibrationError("the board must lie in front of the lens; found no such pose in any view")
    fit = _minimise(points, views, model, K, np.asarray(D, np.float64), np.array(poses))
    if _pose_again(points, views, model, fit):
        fit = _minimise(points, views, model, fit.K, fit.D, fit.poses)
    return fit, views


def _pose_again(points: np.ndarray, views: Sequence[View], model: str, fit: Fit) -> bool:
    """Views whose pose was led astray by the first lens get a new one; whether there were any."""
    error = np.array([np.median(np.abs(r)) for r in fit.residuals])
    lost = np.flatnonzero(error > max(5 * float(np.median(error)), 0.5))
    for i in lost:
        pose = lens.board_pose(points[views[i].ids], views[i].pixels, fit.K, model, fit.D)
        if pose is not None:
            fit.poses[i] = np.concatenate(pose)
    return len(lost) > 0


def _start(points: np.ndarray, views: Sequence[View], model: str) -> tuple[np.ndarray, np.ndarray]:
    """First intrinsics: OpenCV's closed form and fit; for a fisheye the best of several focal lengths."""
    size = views[0].size
    if model == "equidistant":
        return _fisheye_start(points, views)
    objects = [points[v.ids].astype(np.float32) for v in views]
    pixels = [v.pixels.astype(np.float32) for v in views]
    # Further coefficients start from zero: the closed form knows none, and few views cannot tell them apart.
    flags = cv2.CALIB_FIX_K3 | cv2.CALIB_ZERO_TANGENT_DIST
    try:
        _, K, D, _, _ = cv2.calibrateCamera(objects, pixels, size, None, None, flags=flags)
    except cv2.error:
        raise CalibrationError(
            "views must show the board tilted in different ways; found no lens that fits"
        ) from None
    start = np.zeros(lens.MODELS[model])
    start[:5] = D.ravel()[:5]
    return K, start


def _fisheye_start(points: np.ndarray, views: Sequence[View]) -> tuple[np.ndarray, np.ndarray]:
    width, height = views[0].size
    best, chosen = np.inf, None
    for share in _FOCAL_GUESSES:
        f = share * width
        K, D = np.array([[f, 0, width / 2 - 0.5], [0, f, height / 2 - 0.5], [0, 0, 1]]), np.zeros(4)
        cost = []
        for view in views:
            pose = lens.board_pose(points[view.ids], view.pixels, K, "equidistant", D)
            if pose is not None:
                found = lens.project(points[view.ids], *pose, K, "equidistant", D)[0]
                cost.append(np.median(np.linalg.norm(found - view.pixels, axis=1)))
            else:
                cost.append(1e3)
        if np.median(cost) < best:
            best, chosen = np.median(cost), (K, D)
    return chosen


def _minimise(points, views, model, K, D, poses) -> Fit:
    theta = np.concatenate([[K[0, 0], K[1, 1], K[0, 2], K[1, 2]], D])
    damping, weights = 1e-3, None
    residuals, J = _linearise(points, views, model, theta, poses)
    for _ in range(_ROUNDS):
        scale = _scale(residuals)
        weights = [_weigh(r, scale) for r in residuals]
        N, g = _normal(J, residuals, weights)
        cost = _cost(residuals, scale)
        while damping < 1e8:
            step = np.linalg.solve(N + damping * np.diag(np.diag(N) + 1e-12), g)
            new_theta, new_poses = theta + step[: len(theta)], poses + step[len(theta) :].reshape(-1, 6)
            if new_theta[0] > 1 and new_theta[1] > 1:
                new_residuals, new_J = _linearise(points, views, model, new_theta, new_poses)
                new_cost = _cost(new_residuals, scale)
                if np.isfinite(new_cost) and new_cost <= cost:
                    break
            damping *= 10
        else:
            break
        theta, poses, residuals, J = new_theta, new_poses, new_residuals, new_J
        damping = max(damping / 10, 1e-9)
        if cost - new_cost < 1e-10 * cost:
            break
    scale = _scale(residuals)
    weights = [_weigh(r, scale) for r in residuals]
    N, _ = _normal(J, residuals, weights)
    K = np.array([[theta[0], 0, theta[2]], [0, theta[1], theta[3]], [0, 0, 1]])
    covariance = _covariance(N, residuals, weights)[: len(theta), : len(theta)]
    return Fit(K, theta[4:], poses, residuals, weights, covariance)


def _linearise(points, views, model, theta, poses):
    K = np.array([[theta[0], 0, theta[2]], [0, theta[1], theta[3]], [0, 0, 1]])
    residuals, J = [], []
    for view, pose in zip(views, poses):
        found, by_lens, by_pose = lens.project(points[view.ids], pose[:3], pose[3:], K, model, theta[4:])
        residuals.append(view.pixels - found)
        J.append((by_lens, by_pose))
    return residuals, J


def _scale(residuals: list[np.ndarray]) -> float:
    """Standard deviation of one coordinate from the median, deaf to outliers [px]."""
    return max(1.4826 * float(np.median(np.abs(np.concatenate(residuals)))), _FLOOR_PX)


def _weigh(residual: np.ndarray, scale: float) -> np.ndarray:
    return 1 / (1 + (residual**2).sum(1) / (_CAUCHY * scale) ** 2)


def _cost(residuals: list[np.ndarray], scale: float) -> float:
    c = (_CAUCHY * scale) ** 2
    return float(sum(c / 2 * np.log1p((r**2).sum(1) / c).sum() for r in residuals))


def _normal(J, residuals, weights) -> tuple[np.ndarray, np.ndarray]:
    """Normal equations of all parameters: the lens, then six per view."""
    d, count = J[0][0].shape[1], len(J)
    N, g = np.zeros((d + 6 * count,) * 2), np.zeros(d + 6 * count)
    for i, ((A, B), residual, weight) in enumerate(zip(J, residuals, weights)):
        w, own = np.repeat(weight, 2), slice(d + 6 * i, d + 6 * i + 6)
        A_w, B_w, e = A * w[:, None], B * w[:, None], residual.ravel()
        N[:d, :d] += A.T @ A_w
        N[:d, own] = A.T @ B_w
        N[own, :d] = N[:d, own].T
        N[own, own] = B.T @ B_w
        g[:d] += A_w.T @ e
        g[own] = B_w.T @ e
    return N, g


def _covariance(N: np.ndarray, residuals, weights) -> np.ndarray:
    """Covariance of all parameters from the scatter of residuals; infinite where nothing determines them."""
    e, w = np.concatenate(residuals), np.concatenate(weights)
    variance = (w[:, None] * e**2).sum() / max(2 * w.sum() - len(N), 1)
    scale = 1 / np.sqrt(np.maximum(np.diag(N), 1e-30))
    try:
        inverse = np.linalg.inv(N * np.outer(scale, scale))
    except np.linalg.LinAlgError:
        return np.full_like(N, np.inf)
    return variance * inverse * np.outer(scale, scale)
