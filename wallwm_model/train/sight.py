"""Sight masks for training: what every patch could see of the others' views at any moment of the data."""

from __future__ import annotations

import numpy as np

from wallwm_model.data.samples import SampleSet
from wallwm_model.forward_kinematics import MujocoKinematics
from wallwm_model.geometry import SightMasks
from wallwm_model.sim.calibration import sim_calibration
from wallwm_model.sim.robot import JOINTS
from wallwm_model.spec import ModelSpec

_VIEWS = [0, 2, 1]  # the mirrored robot's head, left wrist and right wrist camera


class SightTable:
    """Masks at the moments of a data folder, computed when asked for."""

    def __init__(self, samples: SampleSet, spec: ModelSpec):
        self._states, self._joints = samples.moments["state"], JOINTS
        cameras = sim_calibration().cameras
        self._cameras = [cameras[camera.name] for camera in spec.cameras]
        self._kinematics = MujocoKinematics()
        self._masks = SightMasks(self._cameras, spec.patches)
        patch = np.arange(len(spec.cameras) * np.prod(spec.patches)).reshape(-1, *spec.patches)
        self._mirror = patch[_VIEWS][:, :, ::-1].ravel()

    def masks(self, moments: np.ndarray, flip: np.ndarray) -> np.ndarray:
        """Moments (B, F) -> (B, F, V*P, V*P) bool; those of rows where `flip` (B,) are mirrored left-right."""
        found = np.stack([[self._mask(m) for m in row] for row in moments])
        mirrored = found[..., self._mirror, :][..., self._mirror]
        return np.where(flip[:, None, None, None], mirrored, found)

    def _mask(self, moment: int) -> np.ndarray:
        joints = dict(zip(self._joints, self._states[moment].tolist()))
        poses = [self._kinematics.pose(c.link, joints) @ c.T_link_camera_optical for c in self._cameras]
        return self._masks.update(poses).copy()
