"""Pictures and joints of one moment, and what the calibration claims about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from wallwm_model.calibration import CameraCalibration
from wallwm_model.calibration_check.overlay import Moment, skeleton
from wallwm_model.errors import ObservationError
from wallwm_model.forward_kinematics import ForwardKinematics
from wallwm_model.geometry import SightMasks


@dataclass(frozen=True)
class Snapshot:
    """What the robot showed at one moment.

    Attributes:
        pictures: camera -> (H, W, 3) uint8 RGB; cameras may be missing.
        joints: joint name -> position [rad, m].
    """

    pictures: Mapping[str, np.ndarray]
    joints: Mapping[str, float]


class Claims:
    """Where cameras are and what they see, as the calibration and forward kinematics have it.

    Args:
        calibrations: camera -> calibration, in view order.
        kinematics: of the robot.
        patches: (rows, columns) of the sight mask.
        method: of the sight mask, `frustum` or `cone`.
        surface_m: height of a level surface that frustums are drawn onto [m]; None: their depth band.
    """

    def __init__(
        self,
        calibrations: Mapping[str, CameraCalibration],
        kinematics: ForwardKinematics,
        patches: tuple[int, int],
        method: str = "frustum",
        surface_m: float | None = None,
    ) -> None:
        self.calibrations = {name: camera.as_published() for name, camera in calibrations.items()}
        self.kinematics, self._patches, self._surface_m = kinematics, patches, surface_m
        self._masks = SightMasks(list(self.calibrations.values()), patches, method)

    def poses(self, joints: Mapping[str, float]) -> dict[str, np.ndarray]:
        """Camera -> T_world_optical (4, 4)."""
        return {
            name: self.kinematics.pose(camera.link, joints) @ camera.T_link_camera_optical
            for name, camera in self.calibrations.items()
        }

    def moment(self, snapshot: Snapshot) -> Moment:
        """What can be drawn on the snapshot's pictures.

        Raises:
            ObservationError: a picture's shape is not the calibrated one, up to its scale.
        """
        calibrations, poses = self.sized(snapshot), self.poses(snapshot.joints)
        mask = self._masks.update(list(poses.values()))
        bones = skeleton(self.kinematics, snapshot.joints)
        return Moment(calibrations, poses, mask, self._patches, bones, self._surface_m)

    def sized(self, snapshot: Snapshot) -> dict[str, CameraCalibration]:
        """Camera -> calibration of the pictures as they came, which may be scaled. Raises as `moment`."""
        return {name: self._sized(name, snapshot) for name in self.calibrations}

    def _sized(self, name: str, snapshot: Snapshot) -> CameraCalibration:
        camera, picture = self.calibrations[name], snapshot.pictures.get(name)
        if picture is None or picture.shape[:2] == camera.size:
            return camera
        height, width = picture.shape[:2]
        if abs(width * camera.height - height * camera.width) > max(width, height):
            raise ObservationError(
                f"pictures of {name} must have the calibrated shape {camera.width}x{camera.height}; "
                f"found {width}x{height}"
            )
        return camera.resized(width, height)
