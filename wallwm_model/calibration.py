"""Calibrated cameras: intrinsics, distortion and where the camera sits on the robot.

Used to check that a robot's cameras are those of the training, and wherever sight cones are computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from wallwm_model.errors import ConfigError

DISTORTION = {"plumb_bob": 5, "rational_polynomial": 8, "equidistant": 4}  # model -> coefficients
_KEYS = ("width", "height", "K", "distortion_model", "D", "link", "T_link_camera_optical")


@dataclass(frozen=True)
class CameraCalibration:
    """One camera.

    Attributes:
        name: camera name, e.g. `head_cam`.
        width, height: size of the calibrated picture [px].
        K: (3, 3) intrinsics [px]; the picture's top left corner is (0, 0).
        distortion_model: one of `DISTORTION`, as in sensor_msgs/CameraInfo.
        D: distortion coefficients.
        link: link that carries the camera; `world` for a fixed one.
        T_link_camera_optical: (4, 4) pose of the optical frame (x right, y down, z forward) in `link` [m].
    """

    name: str
    width: int
    height: int
    K: np.ndarray
    distortion_model: str
    D: tuple[float, ...]
    link: str
    T_link_camera_optical: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) [px]."""
        return self.height, self.width

    @property
    def fovy(self) -> float:
        """Vertical field of view without distortion [rad]."""
        return 2 * math.atan(self.height / (2 * self.K[1, 1]))


def parse_calibration(body: dict[str, Any], where: str) -> dict[str, CameraCalibration]:
    """A calibration file's content -> camera name -> calibration; `where` names the file in messages.

    Raises:
        ConfigError: a key missing, unknown, or of the wrong shape.
    """
    _keys(body, ("robot", "cameras"), where)
    cameras = body["cameras"]
    if not isinstance(cameras, dict) or not cameras:
        raise ConfigError(f"{where}: cameras must be a mapping from names to calibrations; found {cameras!r}")
    return {
        str(name): _camera(str(name), entry, f"{where}: cameras.{name}") for name, entry in cameras.items()
    }


def _camera(name: str, body: Any, where: str) -> CameraCalibration:
    _keys(body, _KEYS, where)
    model = body["distortion_model"]
    if model not in DISTORTION:
        raise ConfigError(
            f"{where}: distortion_model must be one of {', '.join(DISTORTION)}; found {model!r}"
        )
    for key in ("width", "height"):
        if type(body[key]) is not int or body[key] <= 0:
            raise ConfigError(f"{where}: {key} must be a positive whole number [px]; found {body[key]!r}")
    if not isinstance(body["link"], str) or not body["link"]:
        raise ConfigError(f"{where}: link must be the name of a link, or world; found {body['link']!r}")
    K = _numbers(body["K"], 9, "K", where).reshape(3, 3)
    if K[0, 0] <= 0 or K[1, 1] <= 0 or not np.array_equal(K[2], (0, 0, 1)):
        raise ConfigError(
            f"{where}: K must be [fx, s, cx, 0, fy, cy, 0, 0, 1] with fx, fy > 0; found {body['K']}"
        )
    D = tuple(_numbers(body["D"], DISTORTION[model], "D", where).tolist())
    pose = _transform(body["T_link_camera_optical"], f"{where}: T_link_camera_optical")
    return CameraCalibration(name, body["width"], body["height"], K, model, D, body["link"], pose)


def _transform(body: Any, where: str) -> np.ndarray:
    """Translation [m] and quaternion x y z w -> (4, 4)."""
    _keys(body, ("translation", "quaternion"), where)
    x, y, z, w = q = _numbers(body["quaternion"], 4, "quaternion", where)
    if abs(np.linalg.norm(q) - 1) > 1e-3:
        raise ConfigError(f"{where}: quaternion (x y z w) must have length 1; found {np.linalg.norm(q):.4f}")
    pose = np.eye(4)
    pose[:3, :3] = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    pose[:3, 3] = _numbers(body["translation"], 3, "translation", where)
    return pose


def _numbers(value: Any, count: int, key: str, where: str) -> np.ndarray:
    sound = isinstance(value, list) and len(value) == count and all(type(v) in (int, float) for v in value)
    if not sound or not all(math.isfinite(v) for v in value):
        raise ConfigError(f"{where}: {key} must be {count} finite numbers; found {value!r}")
    return np.array(value, dtype=np.float64)


def _keys(body: Any, keys: tuple[str, ...], where: str) -> None:
    if not isinstance(body, dict):
        raise ConfigError(f"{where}: must be a mapping with {', '.join(keys)}; found {body!r}")
    missing, unknown = [k for k in keys if k not in body], [k for k in body if k not in keys]
    if missing or unknown:
        text = ", ".join([f"missing {k}" for k in missing] + [f"unknown {k}" for k in unknown])
        raise ConfigError(f"{where}: must have exactly {', '.join(keys)}; found {text}")
