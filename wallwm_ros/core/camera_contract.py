"""Bundle, calibration file and live camera_info must mean the same cameras; every difference is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wallwm_model.calibration import CameraCalibration
from wallwm_model.camera_spec import CameraSpec
from wallwm_model.errors import ConfigError, SpecError
from wallwm_model.geometry.lens import make_lens
from wallwm_model.transforms import angle_between, from_quaternion

# Driver and calibration file hold the same numbers, written with more or fewer digits.
ROUNDING = {"K": 0.01, "P": 0.01, "D": 1e-5, "R": 1e-5}  # [px, px, -, -]
# A camera mounted farther than this from where it was in training shows the network another world.
POSITION_TOLERANCE_M = 0.05
TURN_TOLERANCE_DEG = 5.0
# Masks look as deep as the depth band; one that ends a little elsewhere allows about the same patches.
DEPTH_BAND_TOLERANCE = 0.2  # relative


@dataclass(frozen=True)
class CameraInfo:
    """What a camera says of itself: sensor_msgs/CameraInfo without its stamp.

    Attributes:
        width, height: of its pictures [px].
        distortion_model, D, K, R, P: as in the message, row by row.
        frame: frame_id of its pictures.
        binning: pixels merged in x and y; 0 means 1.
        roi: x offset, y offset, width, height of the part read out [px]; all 0: everything.
        do_rectify: whether a rectified part should be computed from the raw one.
    """

    width: int
    height: int
    distortion_model: str
    D: tuple[float, ...]
    K: tuple[float, ...]
    R: tuple[float, ...]
    P: tuple[float, ...]
    frame: str = ""
    binning: tuple[int, int] = (0, 0)
    roi: tuple[int, int, int, int] = (0, 0, 0, 0)
    do_rectify: bool = False


def check_camera(camera: CameraSpec, calibration: CameraCalibration) -> None:
    """Refuse a calibrated camera that is not the one a model was trained with.

    Raises:
        SpecError: names camera, field, what the model expects and what the calibration says.
    """
    _agree(camera.name, "name", camera.name, calibration.name, _TRAINED, _FILED)
    _agree(camera.name, "link", camera.mount, calibration.link, _TRAINED, _FILED)
    _check_pictures(camera, calibration, _FILED)
    _check_pose(camera, calibration.as_published())
    _check_depth_band(camera, calibration)


def check_camera_info(
    camera: CameraSpec | None, calibration: CameraCalibration | None, info: CameraInfo, name: str = ""
) -> None:
    """Refuse a live camera that is not the calibrated one, or not the one a model was trained with.

    Args:
        camera: what the model pins; None: only calibration and camera_info are compared.
        calibration: of the robot's calibration file; None: the camera has none, and only its intrinsics are
            compared with the model's.
        info: what the camera publishes.
        name: of the camera, where both are None.

    Raises:
        SpecError: names camera, field, what is expected and what was found.
    """
    name = camera.name if camera else calibration.name if calibration else name
    if not any(info.K):  # what ROS publishes for a driver without a calibration
        raise _refuse(name, "K", "calibrated", "zeros", "or nothing can be compared", _LIVE)
    if calibration is not None:
        _check_same(calibration, info)
    _check_readout(name, info)
    seen = _calibration_of(name, camera, info)
    if camera is not None:
        _check_pictures(camera, calibration or seen, _FILED if calibration else _LIVE)


_TRAINED, _FILED, _LIVE = "as in training", "the calibration file", "camera_info"


def _refuse(name: str, field: str, expected: Any, found: Any, why: str, where: str) -> SpecError:
    return SpecError(f"camera {name}: {field} must be {expected}, {why}; found {found} in {where}")


def _agree(name: str, field: str, expected: Any, found: Any, why: str, where: str) -> None:
    if expected != found:
        raise _refuse(name, field, expected, found, why, where)


def _check_readout(name: str, info: CameraInfo) -> None:
    """Binning, a region of interest or rectification on the way change the picture behind K's back."""
    why = "since K is of the whole picture"
    for field, value in zip(("binning_x", "binning_y"), info.binning, strict=True):
        if value not in (0, 1):
            raise _refuse(name, field, "0 or 1", value, why, _LIVE)
    fields = ("roi.x_offset", "roi.y_offset", "roi.width", "roi.height")
    for field, value, whole in zip(fields, info.roi, (0, 0, info.width, info.height), strict=True):
        if value not in (0, whole):
            raise _refuse(name, field, " or ".join(map(str, sorted({0, whole}))), value, why, _LIVE)
    if info.do_rectify:
        raise _refuse(name, "roi.do_rectify", "false", "true", why, _LIVE)


def _calibration_of(name: str, camera: CameraSpec | None, info: CameraInfo) -> CameraCalibration:
    """A camera_info's intrinsics."""
    try:
        return CameraCalibration(
            name=name or "camera",
            width=info.width,
            height=info.height,
            K=info.K,
            distortion_model=info.distortion_model,
            D=info.D,
            link="world",
            T_link_camera_optical=np.eye(4),
            R=info.R,
            P=info.P,
            rectified=camera.rectified if camera else False,
        )
    except ConfigError as error:
        raise SpecError(f"{error} in {_LIVE}") from None


def _check_same(calibration: CameraCalibration, info: CameraInfo) -> None:
    name, why = calibration.name, "as in its calibration file"
    for field in ("width", "height", "distortion_model"):
        found = getattr(info, field)
        found = "equidistant" if found == "fisheye" else found
        _agree(name, field, getattr(calibration, field), found, why, _LIVE)
    if calibration.frame:
        _agree(name, "frame_id", calibration.frame, info.frame, why, _LIVE)
    for field, rounding in ROUNDING.items():
        expected, found = np.ravel(getattr(calibration, field)), np.ravel(getattr(info, field))
        if expected.size != found.size or not np.abs(expected - found).max() <= rounding:  # refuses NaN too
            raise _refuse(name, field, _numbers(expected), _numbers(found), why, _LIVE)


def _check_pictures(camera: CameraSpec, calibration: CameraCalibration, where: str) -> None:
    """Size, rectification, distortion and intrinsics of the pictures that the model gets to see."""
    width, height = calibration.width, calibration.height
    small = width < camera.width or height < camera.height
    if small or width * camera.height != height * camera.width:
        expected = f"at least {camera.width}x{camera.height}, of that aspect ratio"
        raise _refuse(camera.name, "width x height", expected, f"{width}x{height}", _TRAINED, where)
    if calibration.rectified != camera.rectified:
        words = {True: "true", False: "false"}
        expected, found = words[camera.rectified], words[calibration.rectified]
        raise _refuse(camera.name, "rectified", expected, found, _TRAINED, where)
    seen = calibration.as_published()
    _agree(camera.name, "distortion_model", camera.distortion_model, seen.distortion_model, _TRAINED, where)
    for field, found in zip(("fx", "fy", "cx", "cy"), seen.fractions, strict=True):
        expected = getattr(camera, field)
        limit = camera.tolerance * (expected if field.startswith("f") else 1.0)
        if abs(found - expected) > limit:
            size = "width" if field.endswith("x") else "height"
            slack = f"{expected:.4f} of the {size} (to {limit:.4f})"
            raise _refuse(camera.name, f"K's {field}", slack, f"{found:.4f}", _TRAINED, where)
    shift = _largest_shift(camera, seen.D)
    if shift > camera.tolerance:
        found = f"{_numbers(seen.D)}, which moves points by {100 * shift:.1f} % of the picture,"
        slack = f"{_numbers(camera.D)} (to {100 * camera.tolerance:.1f} %)"
        raise _refuse(camera.name, "D", slack, found, _TRAINED, where)


def _largest_shift(camera: CameraSpec, D: tuple[float, ...]) -> float:
    """How far other coefficients move what a pixel sees, at worst, as a fraction of the picture."""
    u, v = np.meshgrid(np.linspace(0.0, 1.0, 9), np.linspace(0.0, 1.0, 9))
    flat = np.stack([(u.ravel() - camera.cx) / camera.fx, (v.ravel() - camera.cy) / camera.fy], axis=1)
    trained, found = (make_lens(camera.distortion_model, tuple(d)).undistort(flat) for d in (camera.D, D))
    seen = ~np.isnan(trained[:, 0])  # a fisheye's corners may see nothing
    turned = np.linalg.norm(trained[seen] - found[seen], axis=1) * max(camera.fx, camera.fy)
    return float(np.nan_to_num(turned, nan=np.inf, posinf=np.inf).max(initial=0.0))


def _check_pose(camera: CameraSpec, calibration: CameraCalibration) -> None:
    """A camera must sit about where it sat in training; how exactly is for the calibration to say."""
    if not camera.pose:
        return
    T = calibration.T_link_camera_optical
    trained = from_quaternion(camera.pose[:3], camera.pose[3:])
    off_m = float(np.linalg.norm(T[:3, 3] - trained[:3, 3]))
    turn_deg = float(np.degrees(angle_between(trained[:3, :3], T[:3, :3])))
    for off, limit, unit, values in (
        (off_m, POSITION_TOLERANCE_M, "m", (trained[:3, 3], T[:3, 3])),
        (turn_deg, TURN_TOLERANCE_DEG, "degrees", (trained[:3, :3], T[:3, :3])),
    ):
        if off > limit:
            what = "translation" if unit == "m" else "rotation"
            expected = f"{_numbers(np.ravel(values[0]))} in {camera.mount} (to {limit:g} {unit})"
            found = f"{_numbers(np.ravel(values[1]))}, {off:.3g} {unit} away,"
            raise _refuse(camera.name, f"T_link_camera_optical's {what}", expected, found, _TRAINED, _FILED)


def _check_depth_band(camera: CameraSpec, calibration: CameraCalibration) -> None:
    """Sight masks must be made of the same depths as in training."""
    for expected, found in zip(camera.depth_band_m, calibration.depth_band_m):
        if abs(found - expected) > DEPTH_BAND_TOLERANCE * expected:
            slack = f"{_numbers(camera.depth_band_m)} m (to {100 * DEPTH_BAND_TOLERANCE:g} %)"
            raise _refuse(
                camera.name, "depth_band_m", slack, _numbers(calibration.depth_band_m), _TRAINED, _FILED
            )


def _numbers(values: Sequence[float] | np.ndarray) -> str:
    return f"[{', '.join(f'{value:.6g}' for value in values)}]"
