"""Random but sound calibrations, shared by the calibration tests."""

from __future__ import annotations

import numpy as np

from wallwm_model.calibration import DISTORTION, Calibration, CameraCalibration, Provenance
from wallwm_model.transforms import from_quaternion


def random_camera(
    seed: int, name: str = "head_cam", model: str = "plumb_bob", **changes
) -> CameraCalibration:
    """A camera whose every number is used: distorted, turned, rectification included."""
    rng = np.random.default_rng(seed)
    width, height = int(rng.integers(64, 4000)), int(rng.integers(64, 4000))
    K = np.diag([width * rng.uniform(0.4, 3), height * rng.uniform(0.4, 3), 1.0])
    K[:2, 2] = rng.uniform(0.3, 0.7, 2) * (width, height)
    P = np.zeros((3, 4))
    P[:, :3] = K * [[0.9, 1, 1.01], [1, 0.9, 0.99], [1, 1, 1]]
    P[0, 3] = rng.normal()
    values = {
        "name": name,
        "width": width,
        "height": height,
        "K": K,
        "distortion_model": model,
        "D": tuple(rng.normal(0, 0.02, DISTORTION[model])),
        "link": "left_gripper",
        "T_link_camera_optical": random_pose(rng),
        "R": random_pose(rng)[:3, :3],
        "P": P,
        "depth_band_m": (0.03 + rng.uniform(0, 0.1), 0.5 + rng.uniform()),
        "provenance": Provenance("2026-11-23", "ChArUco board: 24 views", {"reprojection_px": rng.uniform()}),
        "rectified": bool(rng.integers(2)),
        "frame": f"{name}_optical_frame",
    }
    return CameraCalibration(**values | changes)


def random_pose(rng: np.random.Generator) -> np.ndarray:
    """(4, 4) anywhere within a metre or so."""
    quaternion = rng.normal(size=4)
    return from_quaternion(rng.normal(0, 0.5, 3), quaternion / np.linalg.norm(quaternion))


def random_calibration(seed: int) -> Calibration:
    """One camera of each distortion model."""
    cameras = [random_camera(seed + i, f"cam_{i}", model) for i, model in enumerate(DISTORTION)]
    return Calibration("sim", {camera.name: camera for camera in cameras})
