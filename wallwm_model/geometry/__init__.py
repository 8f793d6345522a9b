"""Who sees what: cameras, patches' viewing pyramids, sight masks and tubes. numpy and OpenCV only.

Pixel coordinates and frames are those of `wallwm_model.calibration`; a mask's tokens are view-major, then
row-major patches.
"""

from wallwm_model.geometry.cameras import camera_rays, directions, project
from wallwm_model.geometry.masks import METHODS, SightMasks
from wallwm_model.geometry.tube import TubeRegion, shared_region, tube_region

__all__ = [
    "METHODS",
    "SightMasks",
    "TubeRegion",
    "camera_rays",
    "directions",
    "project",
    "shared_region",
    "tube_region",
]
