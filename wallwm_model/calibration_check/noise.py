"""How far off an untouched rig may be: what a bump has to stand out from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# An error whose length is spread evenly from nothing to a limit, in any direction, has this share of the
# limit as its standard deviation along each of three axes.
AXIS_SHARE = 1 / 3


@dataclass(frozen=True)
class NoiseModel:
    """Errors of a rig that nobody has touched.

    Attributes:
        mount_mm, mount_deg: how far off a calibrated mount may be, at most [mm], [degrees].
        focal_pct: how far off a calibrated focal length may be, at most [%].
        joint_deg: standard deviation of a joint's measured angle [degrees].
        joint_mm: the same of a sliding joint's measured position [mm].
        pixel_floor: corners are never believed more precise than this standard deviation [px].
        false_alarms: accepted share of untouched rigs that are called bumped.
    """

    mount_mm: float = 1.5
    mount_deg: float = 0.15
    focal_pct: float = 0.5
    joint_deg: float = 0.05
    joint_mm: float = 0.1
    pixel_floor: float = 0.03
    false_alarms: float = 1e-3

    @property
    def mount_sigma(self) -> np.ndarray:
        """(6,) standard deviations of a mount's twist [m, rad]."""
        return AXIS_SHARE * np.repeat([self.mount_mm * 1e-3, np.radians(self.mount_deg)], 3)

    def joint_sigma(self, jacobian: np.ndarray) -> np.ndarray:
        """(6, J) twists of a link per unit of each joint -> (J,) standard deviations [rad, m].

        A joint that does not turn the link slides it.
        """
        turns = np.linalg.norm(jacobian[3:], axis=0) > 1e-6
        return np.where(turns, np.radians(self.joint_deg), 1e-3 * self.joint_mm)

    @property
    def focal_sigma(self) -> float:
        """Standard deviation of the relative error of a focal length, spread evenly up to its limit."""
        return self.focal_pct * 1e-2 / np.sqrt(3)
