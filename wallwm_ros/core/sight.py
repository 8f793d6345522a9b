"""Live sight-cone masks: which patches can see a common point, at an observation's own posture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np

from wallwm_model.calibration import CameraCalibration
from wallwm_model.errors import ConfigError
from wallwm_model.forward_kinematics import ForwardKinematics
from wallwm_model.geometry import SightMasks
from wallwm_model.spec import ModelSpec
from wallwm_ros.core.config import PolicyConfig

WORLD = "world"
ALWAYS = "always"  # of the parameter frustum_mask
Show = Callable[[Mapping[str, np.ndarray], np.ndarray, int], None]  # camera -> picture, mask, stamp [ns]


class SharedKinematics:
    """Kinematics for several threads: one pose at a time, since a robot description keeps its last posture.

    Args:
        kinematics: what computes the poses; nobody else may use it.
    """

    def __init__(self, kinematics: ForwardKinematics) -> None:
        self._kinematics, self._lock = kinematics, Lock()

    def pose(self, link: str, joints: Mapping[str, float]) -> np.ndarray:
        """See `ForwardKinematics.pose`."""
        with self._lock:
            return self._kinematics.pose(link, joints)


class Sight:
    """Masks that follow the arms; any thread may ask.

    Args:
        calibrations: in the order of the model's views.
        kinematics: where each camera's link is; not asked if every camera is fixed to the world. Shared by
            several `Sight`s, it has to be a `SharedKinematics`.
        joints: names of the columns of a state.
        patches: (rows, columns) of each picture.
        method: `frustum`, or the report's `cone`.

    Raises:
        ConfigError: a camera's link that the robot description does not have.
    """

    def __init__(
        self,
        calibrations: Sequence[CameraCalibration],
        kinematics: ForwardKinematics | SharedKinematics | None,
        joints: Sequence[str],
        patches: tuple[int, int],
        method: str,
    ) -> None:
        self._cameras = [calibration.as_published() for calibration in calibrations]
        self._kinematics, self._joints = kinematics, tuple(joints)
        self._masks, self._lock = SightMasks(self._cameras, patches, method), Lock()

    def poses(self, state: np.ndarray) -> list[np.ndarray]:
        """State (D,) [rad, m] -> (4, 4) pose of every camera's optical frame in the world [m]."""
        joints = dict(zip(self._joints, np.asarray(state, dtype=float).tolist(), strict=True))
        return [self._link(camera.link, joints) @ camera.T_link_camera_optical for camera in self._cameras]

    def mask(self, state: np.ndarray) -> np.ndarray:
        """State (D,) [rad, m] -> (V*P, V*P) bool, True where one patch may attend to another."""
        poses = self.poses(state)
        with self._lock:
            return self._masks.update(poses)

    def _link(self, link: str, joints: Mapping[str, float]) -> np.ndarray:
        if link == WORLD or self._kinematics is None:
            return np.eye(4)
        return self._kinematics.pose(link, joints)


@dataclass(frozen=True)
class SightUse:
    """What the masks are for.

    Attributes:
        sight: makes them.
        attend: hand them to the model.
        show: also give them, with the pictures they belong to, to somebody who looks on.
    """

    sight: Sight
    attend: bool
    show: Show | None = None


class SightMaker:
    """Makes `Sight`s for one model on one robot, or says what is missing for that.

    What it has made it keeps: the same wish gets the same `Sight` again, which has been tried out.

    Args:
        spec: of the model.
        calibrations: camera name -> calibration, for the cameras that have one.
        kinematics: loads the robot's kinematics; called once, if a camera rides an arm.
    """

    def __init__(
        self,
        spec: ModelSpec,
        calibrations: Mapping[str, CameraCalibration],
        kinematics: Callable[[], ForwardKinematics],
    ) -> None:
        self._spec, self._calibrations, self._load = spec, calibrations, kinematics
        self._kinematics: SharedKinematics | None = None
        self._obstacle: str | None = None  # why there are no kinematics; None: not tried yet
        self._made: dict[str, Sight] = {}

    def prepare(self) -> str:
        """Load the kinematics if masks could need them, so that `make` never waits for a description.

        Returns:
            Why there are none, which matters only when masks are wanted; empty: nothing is missing.
        """
        names = [camera.name for camera in self._spec.cameras]
        cameras = [self._calibrations[name] for name in names if name in self._calibrations]
        if len(cameras) < len(names) or all(camera.link == WORLD for camera in cameras):
            return ""
        if self._obstacle is None:
            try:
                self._kinematics, self._obstacle = SharedKinematics(self._load()), ""
            except (ConfigError, ImportError) as error:
                self._obstacle = str(error)
        return self._obstacle

    def make(self, config: PolicyConfig) -> Sight | None:
        """What makes the masks that the parameters ask for; None: they ask for none.

        Raises:
            ConfigError: the model was not trained with masks, a camera is not calibrated, or its link is not
                known.
            GeometryError: a camera that no mask can be made for.
        """
        spec, attend = self._spec, config.frustum_mask == ALWAYS
        if not attend and not config.publish_sight:
            return None
        option = "frustum_mask: always" if attend else "publish_sight"
        if attend and not spec.takes_mask:
            raise ConfigError(f"{option} needs a bundle that was trained with masks; {spec.name} was not")
        names = [camera.name for camera in spec.cameras]
        missing = [name for name in names if name not in self._calibrations]
        if missing:
            found = f"the robot profile names none for {', '.join(missing)}"
            raise ConfigError(f"{option} needs the calibration of every camera; {found}")
        obstacle = self.prepare()
        if obstacle:
            raise ConfigError(f"{option} needs the robot's kinematics; {obstacle}")
        if config.mask_method not in self._made:
            cameras = [self._calibrations[name] for name in names]
            sight = Sight(cameras, self._kinematics, spec.joints, spec.patches, config.mask_method)
            # A link that the robot does not have shows here, and the first mask is as fast as the rest.
            sight.mask(np.asarray(spec.normalisation.mean))
            self._made[config.mask_method] = sight
        return self._made[config.mask_method]
