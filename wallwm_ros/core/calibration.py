"""Calibration files of a robot's cameras."""

from __future__ import annotations

from pathlib import Path

from wallwm_model.calibration import CameraCalibration, parse_calibration
from wallwm_model.errors import ConfigError
from wallwm_ros.core.options import unknown
from wallwm_ros.core.paths import data_path
from wallwm_ros.core.robot import Camera, RobotProfile
from wallwm_ros.core.yaml_files import read_yaml


def load_calibrations(profile: RobotProfile) -> dict[str, CameraCalibration]:
    """Camera name -> calibration, for every camera whose profile entry names a file.

    A file is looked for in the package's calibration directory, or taken as it is if it is an absolute path.

    Raises:
        ConfigError: no such file, not sound, of another robot, or without the camera.
    """
    return {camera.name: _load(camera, profile) for camera in profile.cameras if camera.calibration}


def _load(camera: Camera, profile: RobotProfile) -> CameraCalibration:
    given = Path(camera.calibration)
    path = given if given.is_absolute() else data_path(f"calibration/{given}")
    body = read_yaml(path)
    cameras = parse_calibration(body, str(path))
    if body["robot"] != profile.name:
        raise ConfigError(f"{path}: must be for robot {profile.name!r}; found {body['robot']!r}")
    if camera.name not in cameras:
        raise ConfigError(f"{path}: {unknown('camera', camera.name, cameras)}")
    return cameras[camera.name]
