"""A small rig with its pictures, and exact views without pictures, for the calibration tests."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from wallwm_model.calibration_tools.board import Board
from wallwm_model.calibration_tools.detect import View
from wallwm_model.calibration_tools.handeye import Sample
from wallwm_model.calibration_tools.lens import transform
from wallwm_model.sim.board import Lens
from wallwm_model.sim.calibration_rig import Rig, random_rig
from wallwm_model.sim.calibration_views import board_views, robot_views
from wallwm_model.transforms import inverse

SIZE = (640, 480)
BOARD = Board()
LENSES = {
    "plumb_bob": ((500.0, 505.0, 322.0, 236.0), (-0.25, 0.08, 0.0007, -0.0005, -0.01)),
    "rational_polynomial": (
        (510.0, 507.0, 315.0, 243.0),
        (-0.2, 0.07, 0.0005, -0.0004, 0.01, 0.02, 0.005, 0.0),
    ),
    "equidistant": ((260.0, 262.0, 318.0, 240.0), (0.02, -0.01, 0.004, -0.001)),
}


def make_lens(model: str) -> Lens:
    """A lens of a kind."""
    (fx, fy, cx, cy), D = LENSES[model]
    return Lens(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), model, D, SIZE)


def see(
    lens: Lens, pose: np.ndarray, rng: np.random.Generator, noise_px: float = 0.05, name: str = "view"
) -> View:
    """The view that a perfect detector would give, with noise; corners outside the picture are missing."""
    pixels = lens.project(BOARD.corners @ pose[:3, :3].T + pose[:3, 3]) + rng.normal(
        0, noise_px, (len(BOARD.corners), 2)
    )
    ids = np.flatnonzero(((pixels > 0) & (pixels < np.array(lens.size) - 1)).all(1))
    return View(name, ids, pixels[ids], lens.size, 2.0)


def before(rng: np.random.Generator, focal: float, tilt: float = 0.6, spread: float = 0.32) -> np.ndarray:
    """(4, 4) T_optical_board of a board held before the camera, tilted by up to `tilt` rad per axis."""
    z = rng.uniform(0.26, 0.5) * focal / 500
    pose = transform(rng.uniform(-tilt, tilt, 3), np.zeros(3))
    # A fisheye of half the focal length sees the same board at half the distance under the same size.
    pose[:3, 3] = (*(rng.uniform(-spread, spread, 2) * z * (1.4, 1.0) * 500 / focal), z)
    pose[:3, 3] -= pose[:3, :3] @ BOARD.centre
    return pose


def exact_views(model: str, count: int = 24, seed: int = 0, **options: float) -> tuple[Lens, list[View]]:
    """A lens and views of a board through it, spread and tilted."""
    rng, lens = np.random.default_rng(seed), make_lens(model)
    views = []
    while len(views) < count:
        view = see(lens, before(rng, lens.K[0, 0], **options), rng, name=f"view {len(views)}")
        if len(view.ids) >= 12:
            views.append(view)
    return lens, views


X = transform((0.3, -0.2, 0.5), (0.03, -0.05, 0.08))
Z = transform((2.9, 0.2, -0.3), (0.4, 0.1, 0.02))


def exact_samples(
    lens: Lens, turns: np.ndarray, seed: int = 0, robot_m: float = 2e-4, robot_rad: float = 5e-4
):
    """Samples of a camera on a robot; `turns` (V, 3): rotation vectors of the board before it [rad]."""
    rng, samples = np.random.default_rng(seed), []
    for number, turn in enumerate(turns):
        pose = before(rng, lens.K[0, 0], tilt=0.0, spread=0.1)
        pose[:3, :3] = cv2.Rodrigues(np.asarray(turn, float))[0]
        pose[:3, 3] = (0, 0, 0.35) + rng.uniform(-0.05, 0.05, 3) - pose[:3, :3] @ BOARD.centre
        M = X @ pose @ inverse(Z)
        error = transform(rng.normal(0, robot_rad, 3), rng.normal(0, robot_m, 3))
        samples.append(Sample(see(lens, pose, rng, name=f"pose {number}"), error @ M))
    return samples


@lru_cache(maxsize=1)
def rig() -> Rig:
    """A wrist camera of the simulated robot."""
    return random_rig(0, "plumb_bob", "wrist_cam_left")


@lru_cache(maxsize=1)
def held_pictures() -> list[np.ndarray]:
    """Pictures for intrinsics."""
    return [picture for picture, _ in board_views(rig(), 14, np.random.default_rng(5))]


@lru_cache(maxsize=1)
def robot_pictures() -> list[tuple[np.ndarray, dict[str, float]]]:
    """Pictures for hand-eye, with joints."""
    return list(robot_views(rig(), 12, np.random.default_rng(6)))
