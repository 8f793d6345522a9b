"""Calibrated cameras: intrinsics, distortion, where the camera sits on the robot, and how that was found.

Pixel coordinates, everywhere in this project, are those of ROS and OpenCV: **a whole number is the centre of
a pixel**. Pixel (0, 0) is centred on (0.0, 0.0), the picture's top left corner is (-0.5, -0.5) and its bottom
right corner (width - 0.5, height - 0.5); a symmetric camera has its principal point at ((width - 1) / 2,
(height - 1) / 2). K and P go to OpenCV and to sensor_msgs/CameraInfo as they are. Where a picture is
resized, or something is a fraction of it (patches, the intrinsics that a model pins), coordinates are counted
from the corner: `corner_from_pixel`, `pixel_from_corner` and `CameraCalibration.resized` are the only places
that know the half pixel.
"""

from wallwm_model.calibration.camera import (
    ALIASES,
    DISTORTION,
    Calibration,
    CameraCalibration,
    corner_from_pixel,
    pixel_from_corner,
)
from wallwm_model.calibration.files import load_calibration, parse_calibration, save_calibration
from wallwm_model.calibration.provenance import Provenance

__all__ = [
    "ALIASES",
    "DISTORTION",
    "Calibration",
    "CameraCalibration",
    "Provenance",
    "corner_from_pixel",
    "load_calibration",
    "parse_calibration",
    "pixel_from_corner",
    "save_calibration",
]
