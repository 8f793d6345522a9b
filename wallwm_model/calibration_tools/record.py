"""Measured values into a calibration: only what was measured changes, and the provenance says how."""

from __future__ import annotations

import dataclasses
import datetime

import numpy as np

from wallwm_model.calibration import CameraCalibration
from wallwm_model.calibration.provenance import renewed
from wallwm_model.calibration_tools.handeye import HandEye
from wallwm_model.calibration_tools.intrinsics import Intrinsics
from wallwm_model.errors import CalibrationError


def with_intrinsics(camera: CameraCalibration, result: Intrinsics, date: datetime.date) -> CameraCalibration:
    """The camera with size, K, D and lens model as measured; R and P become those of an unrectified camera.

    Raises:
        CalibrationError: the camera publishes rectified pictures, whose lens is not to be seen in them.
    """
    if camera.rectified:
        raise CalibrationError(
            f"camera {camera.name}: its pictures are published rectified (rectified: true), so its lens must "
            "come from whoever rectifies them: ./wallwm calibrate import"
        )
    squares = f"{result.board.columns}x{result.board.rows}"
    text = f"from a ChArUco board ({squares}), {len(result.views)} views, {result.model}"
    residuals = {"reprojection_px": round(result.rms_px, 4)}
    return dataclasses.replace(
        camera,
        width=result.size[0],
        height=result.size[1],
        K=result.fit.K,
        distortion_model=result.model,
        D=tuple(float(d) for d in result.fit.D),
        R=None,
        P=None,
        provenance=renewed(camera.provenance, {"intrinsics": text}, date.isoformat(), residuals),
    )


def with_handeye(
    camera: CameraCalibration, link: str, result: HandEye, date: datetime.date
) -> CameraCalibration:
    """The camera with link and T_link_camera_optical as measured (on the pictures as they are published)."""
    residuals = {
        "handeye_mm": round(result.deviation_m * 1e3, 4),
        "handeye_deg": round(float(np.degrees(result.deviation_rad)), 5),
        "handeye_px": round(result.rms_px, 4),
    }
    methods = ", ".join(a.method for a in result.agreement)
    text = f"by hand-eye, {len(result.samples)} poses, joint refinement after {methods}"
    return dataclasses.replace(
        camera,
        link=link,
        T_link_camera_optical=camera.mounted(result.X),
        provenance=renewed(camera.provenance, {"mount": text}, date.isoformat(), residuals),
    )


def new_camera(name: str, size: tuple[int, int], link: str) -> CameraCalibration:
    """A camera of which nothing is known but its name, so that what is measured can be filled in."""
    K = np.array([[size[0], 0, (size[0] - 1) / 2], [0, size[0], (size[1] - 1) / 2], [0, 0, 1]], float)
    return CameraCalibration(name, size[0], size[1], K, "plumb_bob", (0.0,) * 5, link, np.eye(4))
