"""Random camera rigs for trials: a head and two wrists around a table, every lens model, and hard poses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wallwm_model.calibration import CameraCalibration
from wallwm_model.geometry.cameras import directions

LENSES = ("none", "plumb_bob", "rational_polynomial", "equidistant", "mixed")
PLACES = ("robot", "close", "opposite", "anyhow")
_NAMES = ("head_cam", "wrist_cam_left", "wrist_cam_right")
_SIZES = ((192, 192), (640, 480), (320, 240))  # (width, height) [px]
_BANDS = ((0.05, 1.5), (0.1, 1.2), (0.15, 3.0))  # [m]


@dataclass(frozen=True)
class Rig:
    """Cameras, and the pose (4, 4) world <- optical frame [m] of each."""

    cameras: list[CameraCalibration]
    poses: list[np.ndarray]
    lens: str
    place: str


def random_rig(rng: np.random.Generator, lens: str = "none", place: str = "robot") -> Rig:
    """Draw a rig.

    Args:
        lens: one of `LENSES`; `none` bends nothing, `mixed` draws one per camera.
        place: `robot` (all look at a table), `close` (the wrists a few centimetres apart), `opposite` (the
            wrists face each other) or `anyhow`.
    """
    cameras = [random_camera(rng, name, lens) for name in _NAMES]
    table = np.array([0.35, 0.0, 0.0])
    places = [np.array([0.0, 0.0, 0.75]), np.array([0.3, 0.25, 0.3]), np.array([0.3, -0.25, 0.3])]
    spots = [spot + rng.normal(0.0, 0.1, 3) for spot in places]
    targets = [table + rng.normal(0.0, 0.12, 3) for _ in places]
    if place == "close":
        spots[2], targets[2] = spots[1] + rng.normal(0.0, 0.02, 3), targets[1] + rng.normal(0.0, 0.05, 3)
    elif place == "opposite":
        targets[1], targets[2] = spots[2] + rng.normal(0.0, 0.05, 3), spots[1] + rng.normal(0.0, 0.05, 3)
    elif place == "anyhow":
        targets = [spot + rng.normal(0.0, 1.0, 3) for spot in spots]
    rolls = (rng.normal(0.0, 0.1), *rng.uniform(-np.pi, np.pi, 2))
    poses = [look_at(*view) for view in zip(spots, targets, rolls)]
    return Rig(cameras, poses, lens, place)


def random_camera(rng: np.random.Generator, name: str, lens: str) -> CameraCalibration:
    """A camera whose lens model covers its whole picture."""
    while True:
        model = str(rng.choice(LENSES[:4])) if lens == "mixed" else lens
        camera = _camera(rng, name, model)
        corners = [(u, v) for u in (-0.5, camera.width - 0.5) for v in (-0.5, camera.height - 0.5)]
        if np.isfinite(directions(camera, np.array(corners))).all():
            return camera


def _camera(rng: np.random.Generator, name: str, lens: str) -> CameraCalibration:
    width, height = _SIZES[rng.integers(len(_SIZES))]
    half = np.radians(rng.uniform(20.0, 45.0))  # of the field of view
    focal, corner = width / 2 / np.tan(half), (np.tan(half) * np.hypot(1, height / width)) ** 2
    small = rng.uniform(-0.002, 0.002, 2)
    model, D = "plumb_bob", (0.0,) * 5
    if lens == "plumb_bob":
        D = (rng.uniform(-0.12, 0.15) / corner, rng.uniform(0.0, 0.03) / corner**2, *small, 0.0)
    elif lens == "rational_polynomial":
        k1 = rng.uniform(0.0, 0.4) / corner
        D = (k1, 0.02, *small, 0.001, k1 + rng.uniform(-0.1, 0.2) / corner, 0.03, 0.002)
        model = lens
    elif lens == "equidistant":
        half = np.radians(rng.uniform(40.0, 80.0))
        focal = width / 2 / half
        D, model = (rng.uniform(-0.03, 0.03), rng.uniform(-0.01, 0.01), 0.0, 0.0), lens
    centre = np.array([width - 1, height - 1]) / 2 + rng.uniform(-0.04, 0.04, 2) * width
    K = np.array(
        [(focal, 0.0, centre[0]), (0.0, focal * rng.uniform(0.98, 1.02), centre[1]), (0.0, 0.0, 1.0)]
    )
    band = _BANDS[rng.integers(len(_BANDS))]
    return CameraCalibration(name, width, height, K, model, D, "world", np.eye(4), depth_band_m=band)


def look_at(place: np.ndarray, target: np.ndarray, roll: float = 0.0) -> np.ndarray:
    """(4, 4) world <- optical frame of a camera at `place` that looks at `target` [m], turned by `roll`."""
    z = np.asarray(target, float) - place
    z /= np.linalg.norm(z)
    x = np.cross(z, (0.0, 0.0, 1.0))
    if np.linalg.norm(x) < 1e-6:
        x = np.array((0.0, -1.0, 0.0))
    x /= np.linalg.norm(x)
    y = np.cross(z, x)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1] = np.cos(roll) * x + np.sin(roll) * y, np.cos(roll) * y - np.sin(roll) * x
    pose[:3, 2], pose[:3, 3] = z, place
    return pose
