"""Calibration files of a robot's cameras."""

from __future__ import annotations

from pathlib import Path

from wallwm_model.calibration import CameraCalibration, load_calibration
from wallwm_model.errors import ConfigError
from wallwm_ros.core.options import unknown
from wallwm_ros.core.paths import data_path
from wallwm_ros.core.robot import Camera, RobotProfile


def load_calibrations(profile: RobotProfile) -> dict[str, CameraCalibration]:
    """Camera name -> calibration, for every camera whose profile entry names a file.

    A file is looked for in the package's calibration directory, or taken as it is if it is an absolute path.

    Raises:
        ConfigError: no such file, not sound, of another robot, or without the camera.
    """
    return {camera.name: _load(camera, profile) for camera in profile.cameras if camera.calibration}


def calibration_path(camera: Camera) -> Path:
    """Where the calibration file is that a camera's profile entry names.

    Raises:
        ConfigError: the calibration directory has no such file.
    """
    given = Path(camera.calibration)
    return given if given.is_absolute() else data_path(f"calibration/{given}")


def _load(camera: Camera, profile: RobotProfile) -> CameraCalibration:
    path = calibration_path(camera)
    calibration = load_calibration(path)
    if calibration.robot != profile.name:
        raise ConfigError(f"{path}: robot must be {profile.name!r}; found {calibration.robot!r}")
    if camera.name not in calibration.cameras:
        raise ConfigError(f"{path}: {unknown('camera', camera.name, calibration.cameras)}")
    return calibration.cameras[camera.name]
