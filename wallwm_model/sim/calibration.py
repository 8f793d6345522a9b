"""The simulated robot's camera calibration, read off its MuJoCo model: exact, nothing is measured."""

from __future__ import annotations

import numpy as np

from wallwm_model.calibration import Calibration, CameraCalibration, Provenance
from wallwm_model.sim.robot import CAMERAS, MODEL_CAMERA, build_model

ROBOT = "sim"
MADE = "2026-11-23"  # when calibration/sim.yaml was written from it
METHOD = "exact values of the simulator's MuJoCo model, not measured"
# From the nearest thing that a camera can see (a lifted cube, the finger pads) to the table's far end [m].
DEPTH_BAND_M = {"head_cam": (0.25, 1.1), "wrist_cam_left": (0.04, 1.3), "wrist_cam_right": (0.04, 1.3)}
_FLIP = np.diag(
    (1.0, -1.0, -1.0)
)  # MuJoCo's cameras look along -z with y up, optical frames along z with y down


def intrinsics(fovy: float, size: int) -> np.ndarray:
    """(3, 3) K [px] of a square, symmetric pinhole picture; whole numbers are pixel centres."""
    focal, centre = size / 2 / np.tan(fovy / 2), (size - 1) / 2
    return np.array([(focal, 0.0, centre), (0.0, focal, centre), (0.0, 0.0, 1.0)])


def sim_calibration(image_size: int = 192) -> Calibration:
    """All cameras of the simulated robot, for square pictures of `image_size` [px]."""
    model = build_model()
    return Calibration(ROBOT, {name: _camera(model, name, image_size) for name in CAMERAS})


def _camera(model, name: str, size: int) -> CameraCalibration:
    import mujoco

    camera = model.camera(MODEL_CAMERA[name])
    rotation = np.empty(9)
    mujoco.mju_quat2Mat(rotation, camera.quat)
    pose = np.eye(4)
    turned = np.round(rotation.reshape(3, 3) @ _FLIP, 15) + 0.0  # the 1e-16 and -0.0 of a quaternion's detour
    pose[:3, :3], pose[:3, 3] = turned, camera.pos
    return CameraCalibration(
        name=name,
        width=size,
        height=size,
        K=intrinsics(float(np.radians(camera.fovy[0])), size),
        distortion_model="plumb_bob",
        D=(0.0,) * 5,
        link=model.body(camera.bodyid[0]).name,
        T_link_camera_optical=pose,
        depth_band_m=DEPTH_BAND_M[name],
        provenance=Provenance(MADE, METHOD),
        frame=f"{name}_optical_frame",
    )
