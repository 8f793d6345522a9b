"""Joint refinement of hand-eye and board pose, with the errors of robot and pictures weighed against each
other.

Reprojection error alone would blame every pixel on the camera. In truth a view's error is mostly the robot's:
its pose is off by some tenths of a millimetre and a milliradian, in six degrees of freedom that all corners
of the view share. So each view gives one six-vector, what robot and picture disagree about, with the
covariance of both: the picture's from its own corners' reprojection error, the robot's estimated from the
    data (two variance
components, for turn and shift).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.optimize import least_squares

from wallwm_model.calibration_tools import lens
from wallwm_model.calibration_tools.board import Board
from wallwm_model.calibration_tools.detect import View
from wallwm_model.transforms import inverse

_ROUNDS = 8
_LEAST = (2e-5, 1e-5)  # robot's standard deviations never fall below these [rad, m]
_STEP = 1e-6
_MOST_ROBUST = 2.0  # standard deviations beyond which a view counts less


@dataclass(frozen=True)
class MountFit:
    """Refined X and Z.

    Attributes:
        X, Z: (4, 4) T_cameralink_optical and T_boardlink_board [m].
        scale: of the board's lengths; 1 unless it was fitted.
        deviation: standard deviations: X turn (3) [rad], X shift (3) [m], Z turn, Z shift, and scale if
            fitted.
        robot_rad, robot_m: the robot's own standard deviation per axis.
        errors: (V,) each view's disagreement [standard deviations].
    """

    X: np.ndarray
    Z: np.ndarray
    scale: float
    deviation: np.ndarray
    robot_rad: float
    robot_m: float
    errors: np.ndarray


def fit_mount(
    M: np.ndarray,
    B: np.ndarray,
    C: np.ndarray,
    start: tuple[np.ndarray, np.ndarray],
    at_camera: bool,
    scaled: bool,
) -> MountFit:
    """Refine a closed-form solution of X B_i = M_i Z.

    Args:
        M: (V, 4, 4) T_cameralink_boardlink by the robot.
        B: (V, 4, 4) T_optical_board by the pictures.
        C: (V, 6, 6) covariance of B: turn in the optical frame [rad], shift [m].
        start: X and Z.
        at_camera: the camera rides on the robot (else the board does): where the robot's errors act.
        scaled: also fit the scale of the board's lengths.
    """
    X0, Z0 = start
    robot = np.array([1e-3, 5e-4])
    theta = np.zeros(12 + scaled)

    def unpack(t: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        return X0 @ _offset(t[:6]), Z0 @ _offset(t[6:12]), 1 + t[12] if scaled else 1.0

    for _ in range(_ROUNDS):
        picture = _picture_covariance(*unpack(theta), M, B, C, at_camera)
        both = picture + np.diag(np.repeat(robot**2, 3))
        whiten = np.linalg.inv(np.linalg.cholesky(both))

        def cost(t: np.ndarray, whiten=whiten) -> np.ndarray:
            return (whiten @ _disagreement(*unpack(t), M, B, at_camera)[..., None]).ravel()

        found = least_squares(cost, theta, loss="soft_l1", f_scale=_MOST_ROBUST, x_scale="jac")
        theta = found.x
        raw = _disagreement(*unpack(theta), M, B, at_camera)
        new = _robot_deviation(raw, picture, len(theta))
        if np.allclose(new, robot, rtol=0.02):
            break
        robot = new
    X, Z, scale = unpack(theta)
    N = np.linalg.pinv(found.jac.T @ found.jac)
    errors = np.linalg.norm(cost(theta).reshape(-1, 6), axis=1) / np.sqrt(6)
    return MountFit(X, Z, scale, np.sqrt(np.diag(N)), *map(float, robot), errors)


def pose_covariance(board: Board, view: View, rvec, tvec, K, model: str, D: Sequence[float], sigma_px: float):
    """(6, 6) covariance of a board pose from its corners: turn in the optical frame [rad], shift [m]."""
    J = lens.project(board.corners[view.ids], rvec, tvec, K, model, D)[2].copy()
    # From the rotation vector's own derivative to a turn in the optical frame.
    R, by_vector = cv2.Rodrigues(np.asarray(rvec, np.float64))
    turns = np.column_stack([_vee(np.reshape(by_vector[i], (3, 3)) @ R.T) for i in range(3)])
    J[:, :3] = J[:, :3] @ np.linalg.inv(turns)
    return sigma_px**2 * np.linalg.inv(J.T @ J)


def _disagreement(X, Z, scale: float, M: np.ndarray, B: np.ndarray, at_camera: bool) -> np.ndarray:
    """(V, 6) turn [rad] and shift [m] by which the robot's link is off, in that link's frame."""
    seen = B.copy()
    seen[:, :3, 3] *= scale
    Z_inverse, out = inverse(Z), np.empty((len(M), 6))
    for i, (m, b) in enumerate(zip(M, seen)):
        E = X @ b @ Z_inverse @ inverse(m) if at_camera else inverse(m) @ X @ b @ Z_inverse
        out[i, :3], out[i, 3:] = cv2.Rodrigues(E[:3, :3])[0].ravel(), E[:3, 3]
    return out


def _picture_covariance(X, Z, scale: float, M, B, C, at_camera: bool) -> np.ndarray:
    """(V, 6, 6) what the pictures' uncertainty makes of the disagreement."""
    base = _disagreement(X, Z, scale, M, B, at_camera)
    J = np.empty((len(M), 6, 6))
    for k in range(6):
        moved = B.copy()
        if k < 3:
            moved[:, :3, :3] = cv2.Rodrigues(np.eye(3)[k] * _STEP)[0] @ moved[:, :3, :3]
        else:
            moved[:, k - 3, 3] += _STEP
        J[:, :, k] = (_disagreement(X, Z, scale, M, moved, at_camera) - base) / _STEP
    return J @ C @ J.transpose(0, 2, 1)


def _robot_deviation(raw: np.ndarray, picture: np.ndarray, parameters: int) -> np.ndarray:
    """(2,) standard deviation of turn [rad] and shift [m] beyond what pictures explain; deaf to outliers."""
    free = max(6 * len(raw) - parameters, 1) / (6 * len(raw))
    out = []
    for part in (slice(0, 3), slice(3, 6)):
        total = (1.4826 * np.median(np.abs(raw[:, part]))) ** 2 / free
        seen = np.median(np.diagonal(picture[:, part, part], axis1=1, axis2=2))
        out.append(np.sqrt(max(total - seen, _LEAST[len(out)] ** 2)))
    return np.array(out)


def _offset(theta: np.ndarray) -> np.ndarray:
    """(6,) rotation vector [rad] and translation [m] -> (4, 4)."""
    return lens.transform(theta[:3], theta[3:6])


def _vee(skew: np.ndarray) -> np.ndarray:
    return np.array((skew[2, 1] - skew[1, 2], skew[0, 2] - skew[2, 0], skew[1, 0] - skew[0, 1])) / 2
