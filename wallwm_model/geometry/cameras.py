"""Pixels to rays and points to pixels, for every lens model of a calibration.

Pixel coordinates are those of `wallwm_model.calibration`: a whole number is the centre of a pixel, the
picture spans -0.5 ... width - 0.5. Rays and points are in the optical frame: x right, y down, z forward [m].
"""

from __future__ import annotations

import numpy as np

from wallwm_model.calibration import CameraCalibration
from wallwm_model.errors import GeometryError
from wallwm_model.geometry.lens import Lens, make_lens

UNSEEN_COSINE = np.cos(np.radians(89.0))  # rays farther from the axis reach no z-depth worth a name


def lens_of(calibration: CameraCalibration) -> Lens:
    """The lens of the raw picture."""
    return make_lens(calibration.distortion_model, tuple(calibration.D))


def directions(calibration: CameraCalibration, pixels: np.ndarray) -> np.ndarray:
    """(N, 2) pixels -> (N, 3) unit directions; NaN where the lens model reaches no such pixel.

    Raises:
        GeometryError: `pixels` is not (N, 2).
    """
    pixels = _columns(pixels, 2, "pixels")
    K = calibration.K
    return lens_of(calibration).undistort((pixels - K[:2, 2]) / (K[0, 0], K[1, 1]))


def camera_rays(calibration: CameraCalibration, pixels: np.ndarray) -> np.ndarray:
    """(N, 2) pixels -> (N, 3) rays x/z, y/z, 1 without distortion.

    NaN for pixels of a fisheye that look 89 degrees or more off the axis, and where no ray leads to the
    pixel.

    Raises:
        GeometryError: `pixels` is not (N, 2).
    """
    rays = directions(calibration, pixels)
    with np.errstate(invalid="ignore"):
        rays[~(rays[:, 2] > UNSEEN_COSINE)] = np.nan
    return rays / rays[:, 2:]


def project(calibration: CameraCalibration, points: np.ndarray) -> np.ndarray:
    """(N, 3) points in the optical frame [m] -> (N, 2) pixels, inside the picture or not.

    NaN for points behind the camera, or so far off the axis that the lens model no longer holds.

    Raises:
        GeometryError: `points` is not (N, 3).
    """
    flat = lens_of(calibration).distort(_columns(points, 3, "points"))
    return flat * (calibration.K[0, 0], calibration.K[1, 1]) + calibration.K[:2, 2]


def _columns(values: np.ndarray, count: int, name: str) -> np.ndarray:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 2 or array.shape[1] != count:
        raise GeometryError(f"{name} must be numbers of shape (N, {count}); found {np.shape(values)}")
    return array
