"""The YAML of ROS's camera_calibration and camera_info_manager (`ost.yaml`), both ways.

Format: `camera_calibration_parsers` of image_common. Its file says nothing of where the camera is mounted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from wallwm_model.calibration.camera import ALIASES, DISTORTION, CameraCalibration
from wallwm_model.calibration.files import number_text, plain_text
from wallwm_model.errors import ConfigError
from wallwm_model.yaml_files import parse_yaml

# Matrix -> rows and columns; None: as many as the distortion model has.
_MATRICES = {
    "camera_matrix": (3, 3),
    "distortion_coefficients": (1, None),
    "rectification_matrix": (3, 3),
    "projection_matrix": (3, 4),
}
_KEYS = ("image_width", "image_height", "camera_name", "distortion_model", *_MATRICES)


@dataclass(frozen=True)
class Intrinsics:
    """What such a file says; fields as in `CameraCalibration`, `camera_name` as the driver knows it."""

    camera_name: str
    width: int
    height: int
    K: tuple[float, ...]
    distortion_model: str
    D: tuple[float, ...]
    R: tuple[float, ...]
    P: tuple[float, ...]


def read_camera_info_yaml(text: str, where: str) -> Intrinsics:
    """The text of such a file -> its content; `where` names it in messages.

    Raises:
        ConfigError: a field missing, unknown, of the wrong shape, or in contradiction to another.
    """
    body = parse_yaml(text, where)
    faults = [f"missing {key}" for key in _KEYS if key not in body]
    faults += [f"unknown {key}" for key in body if key not in _KEYS]
    if faults:
        raise ConfigError(f"{where} must have {', '.join(_KEYS)}; found {', '.join(faults)}")
    model = body["distortion_model"]
    model = ALIASES.get(model, model) if isinstance(model, str) else model
    if not isinstance(model, str) or model not in DISTORTION:
        valid = ", ".join((*DISTORTION, *ALIASES))
        raise ConfigError(f"{where}: distortion_model must be one of {valid}; found {model!r}")
    data = {
        key: _data(body[key], shape, DISTORTION[model], f"{where}: {key}") for key, shape in _MATRICES.items()
    }
    found = Intrinsics(
        str(body["camera_name"]),
        body["image_width"],
        body["image_height"],
        data["camera_matrix"],
        model,
        data["distortion_coefficients"],
        data["rectification_matrix"],
        data["projection_matrix"],
    )
    _check(found, where)
    return found


def format_camera_info_yaml(camera: CameraCalibration) -> str:
    """The file that camera_info_manager loads for this camera; every number reads back to the last bit."""
    matrices = {
        "camera_matrix": camera.K,
        "distortion_coefficients": np.array([camera.D]),
        "rectification_matrix": camera.R,
        "projection_matrix": camera.P,
    }
    lines = [f"image_width: {camera.width}", f"image_height: {camera.height}"]
    lines += [f"camera_name: {plain_text(camera.name)}"]
    for key, matrix in matrices.items():
        if key == "distortion_coefficients":
            lines.append(f"distortion_model: {camera.distortion_model}")
        rows, cols = matrix.shape
        data = ", ".join(map(number_text, matrix.ravel().tolist()))
        lines += [f"{key}:", f"  rows: {rows}", f"  cols: {cols}", f"  data: [{data}]"]
    return "\n".join(lines) + "\n"


def _data(entry: Any, shape: tuple[int, int | None], coefficients: int, where: str) -> tuple[float, ...]:
    rows, cols = shape[0], shape[1] or coefficients
    if not isinstance(entry, dict) or set(entry) != {"rows", "cols", "data"}:
        raise ConfigError(f"{where} must be a mapping with rows, cols and data; found {entry!r}")
    if (entry["rows"], entry["cols"]) != (rows, cols):
        raise ConfigError(f"{where} must be {rows} x {cols}; found {entry['rows']} x {entry['cols']}")
    data = entry["data"]
    sound = isinstance(data, list) and all(type(v) in (int, float) and abs(v) < 1e12 for v in data)
    if not sound or len(data) != rows * cols:
        raise ConfigError(f"{where}.data must be {rows * cols} finite numbers; found {data!r}")
    return tuple(float(v) for v in data)


def _check(found: Intrinsics, where: str) -> None:
    """What no camera can have, and a K that cannot belong to this picture size."""
    try:
        camera = CameraCalibration(
            "camera",
            found.width,
            found.height,
            np.array(found.K),
            found.distortion_model,
            found.D,
            "world",
            np.eye(4),
            np.array(found.R),
            np.array(found.P),
        )
    except ConfigError as error:
        raise ConfigError(f"{where}: {str(error).removeprefix('camera camera: ')}") from None
    cx, cy = camera.K[:2, 2]
    if not (0 <= cx < found.width and 0 <= cy < found.height):
        raise ConfigError(
            f"{where}: camera_matrix must have its principal point within the "
            f"{found.width}x{found.height} picture; found {cx:g}, {cy:g}: a K of another resolution"
        )
