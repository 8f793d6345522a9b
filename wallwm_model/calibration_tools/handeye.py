"""Where a camera sits on its link, from views of a board and the robot's own poses.

One formulation serves every set-up: the camera rides on one link (or is fixed in `world`), the board on
another (or is fixed in `world`). M_i = T_cameralink_boardlink comes from forward kinematics, X =
T_cameralink_optical and Z = T_boardlink_board are wanted. Three closed-form solutions are compared; a joint
refinement of X and Z starts from the best of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from wallwm_model.calibration_tools import lens
from wallwm_model.calibration_tools.board import Board
from wallwm_model.calibration_tools.detect import View
from wallwm_model.calibration_tools.handeye_checks import check_motion, check_result
from wallwm_model.calibration_tools.handeye_solvers import METHODS
from wallwm_model.calibration_tools.mount_fit import MountFit, fit_mount, pose_covariance
from wallwm_model.transforms import angle_between, inverse

BAD_VIEW = 4.0


@dataclass(frozen=True)
class Sample:
    """The board in one picture, and the robot at that moment.

    Attributes:
        view: corners.
        M: (4, 4) T_cameralink_boardlink by forward kinematics [m].
    """

    view: View
    M: np.ndarray


@dataclass(frozen=True)
class Agreement:
    """One method's X, its distance [m] and angle [rad] from the result, and its reprojection RMS [px]."""

    method: str
    X: np.ndarray
    distance_m: float
    angle_rad: float
    rms_px: float


@dataclass(frozen=True)
class HandEye:
    """Result for one camera.

    Attributes:
        samples: those used; dropped: names of those left out because they contradict the others.
        fit: X, Z and their uncertainty.
        residuals: per view (N, 2) found minus predicted through the robot [px].
        agreement: the closed-form methods against the result.
        scale: square size over the told one, as the robot's motion shows it; scale_deviation: its
            uncertainty.
    """

    samples: tuple[Sample, ...]
    dropped: tuple[str, ...]
    fit: MountFit
    residuals: list[np.ndarray]
    agreement: tuple[Agreement, ...]
    scale: float
    scale_deviation: float

    @property
    def X(self) -> np.ndarray:
        """(4, 4) T_cameralink_optical [m]."""
        return self.fit.X

    @property
    def Z(self) -> np.ndarray:
        """(4, 4) T_boardlink_board [m]."""
        return self.fit.Z

    @property
    def deviation_m(self) -> float:
        """Standard deviation of X's position, its worst axis [m]."""
        return float(self.fit.deviation[3:6].max())

    @property
    def deviation_rad(self) -> float:
        """Standard deviation of X's orientation, its worst axis [rad]."""
        return float(self.fit.deviation[:3].max())

    @property
    def rms_px(self) -> float:
        """Root mean square distance of corners from where robot and calibration put them [px]."""
        return _rms(self.residuals)


def calibrate_handeye(
    board: Board,
    samples: Sequence[Sample],
    K: np.ndarray,
    model: str,
    D: Sequence[float],
    camera_moves: bool = True,
) -> HandEye:
    """Mount of the camera that saw the samples.

    Args:
        board: what was shown.
        samples: views with robot poses.
        K, model, D: the camera's lens.
        camera_moves: the camera rides on the robot; else the board does, before a fixed camera.

    Raises:
        CalibrationError: too few poses, motion that cannot determine a mount (translation only, all turns
            about one axis), methods that disagree, or a result that contradicts the data; says what was
            found.
    """
    problem = _Problem(board, samples, K, model, D, camera_moves)
    check_motion(problem.M, problem.B)
    forms = problem.closed_forms()
    fit = problem.fit(forms[0][1:3])
    bad = _contradicting(problem.residuals(fit.X, fit.Z))
    dropped = tuple(s.view.source for s, b in zip(problem.samples, bad) if b)
    if dropped:
        kept = [s for s, b in zip(problem.samples, bad) if not b]
        problem = _Problem(board, kept, K, model, D, camera_moves)
        check_motion(problem.M, problem.B, f" after leaving out {len(dropped)} that contradict the others")
        forms = problem.closed_forms()
        fit = problem.fit(forms[0][1:3])
    scaled = problem.fit((fit.X, fit.Z), scaled=True)
    agreement = tuple(
        Agreement(
            name,
            X,
            float(np.linalg.norm(X[:3, 3] - fit.X[:3, 3])),
            angle_between(X[:3, :3], fit.X[:3, :3]),
            rms,
        )
        for name, X, _, rms in forms
    )
    residuals = problem.residuals(fit.X, fit.Z)
    result = HandEye(
        problem.samples, dropped, fit, residuals, agreement, scaled.scale, float(scaled.deviation[12])
    )
    check_result(result)
    return result


def _contradicting(residuals: list[np.ndarray]) -> np.ndarray:
    """(V,) bool: views that fit far worse than the others."""
    rms = np.array([np.sqrt((r**2).sum(1).mean()) for r in residuals])
    return rms > max(BAD_VIEW * float(np.median(rms)), 1.0)


class _Problem:
    """Samples with their board poses, and the functions of X and Z over them."""

    def __init__(self, board: Board, samples: Sequence[Sample], K, model: str, D, at_camera: bool) -> None:
        self.board, self.K, self.model, self.at_camera = board, np.asarray(K, np.float64), model, at_camera
        self.D = np.asarray(D, np.float64)
        pairs = [(s, self._board_pose(s.view)) for s in samples]
        self.samples = tuple(sample for sample, pose in pairs if pose is not None)
        poses = [pose for _, pose in pairs if pose is not None]
        self.M = np.array([s.M for s in self.samples]).reshape(-1, 4, 4)
        self.B = np.array([lens.transform(*pose) for pose in poses]).reshape(-1, 4, 4)
        own = [self._pixels(s.view, b) - s.view.pixels for s, b in zip(self.samples, self.B)]
        sigma = max(float(np.sqrt(np.median([(e**2).mean() for e in own]))), 0.02) if own else 1.0
        self.C = np.array([
            pose_covariance(board, s.view, *pose, self.K, model, self.D, sigma)
            for s, pose in zip(self.samples, poses)
        ])  # fmt: skip

    def closed_forms(self) -> list[tuple[str, np.ndarray, np.ndarray, float]]:
        """Each method's X, Z and reprojection RMS [px], the best first."""
        each = []
        for name, solve in METHODS.items():
            X, Z = solve(self.M, self.B)
            each.append((name, X, Z, _rms(self.residuals(X, Z))))
        return sorted(each, key=lambda entry: entry[3])

    def residuals(self, X: np.ndarray, Z: np.ndarray) -> list[np.ndarray]:
        """Per view (N, 2) found minus predicted through the robot [px]."""
        X_inverse = inverse(X)
        return [s.view.pixels - self._pixels(s.view, X_inverse @ M @ Z) for s, M in zip(self.samples, self.M)]

    def fit(self, start: tuple[np.ndarray, np.ndarray], scaled: bool = False) -> MountFit:
        """The joint refinement."""
        return fit_mount(self.M, self.B, self.C, start, self.at_camera, scaled)

    def _board_pose(self, view: View) -> tuple[np.ndarray, np.ndarray] | None:
        return lens.board_pose(self.board.corners[view.ids], view.pixels, self.K, self.model, self.D)

    def _pixels(self, view: View, T: np.ndarray) -> np.ndarray:
        """(N, 2) where a board at T_optical_board shows its corners; far off if it lies behind the lens."""
        corners = self.board.corners[view.ids]
        if (corners @ T[2, :3] + T[2, 3]).min() <= 0:
            return np.full((len(view.ids), 2), 1e4)
        rvec, tvec = cv2.Rodrigues(T[:3, :3])[0], T[:3, 3].copy()
        return lens.project(corners, rvec, tvec, self.K, self.model, self.D)[0]


def _rms(residuals: list[np.ndarray]) -> float:
    return float(np.sqrt(2 * np.mean(np.concatenate(residuals) ** 2)))
