"""Bundle, calibration file and live camera_info: each field altered, one at a time, is refused in words.

The rig is one that uses every field: distorted, turned, set off, of each lens model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re

import numpy as np
import pytest
from random_cameras import random_camera

from wallwm_model.calibration import Calibration, CameraCalibration, load_calibration
from wallwm_model.calibration.files import format_calibration, read_calibration
from wallwm_model.camera_spec import CameraSpec
from wallwm_model.errors import SpecError, WallWMError
from wallwm_model.spec import ModelSpec, Normalisation
from wallwm_model.transforms import from_quaternion
from wallwm_ros.core.camera_contract import POSITION_TOLERANCE_M, TURN_TOLERANCE_DEG
from wallwm_ros.core.compatibility import (
    CameraInfo,
    check_camera,
    check_camera_info,
    check_compatible,
    uncalibrated,
)
from wallwm_ros.core.config import load_robot

NAME = "wrist_cam_left"
LENSES = {
    "plumb_bob": (0.05, -0.02, 0.001, -0.002, 0.01),
    "rational_polynomial": (0.3, 0.1, 0.001, -0.001, 0.02, 0.35, 0.05, 0.03),
    "equidistant": (0.02, -0.01, 0.005, -0.002),
}


def rig(model: str = "plumb_bob", **changes) -> CameraCalibration:
    """A 640x480 wrist camera whose K, D, R and P are all of use."""
    K = np.array([(520.0, 0, 322.0), (0, 515.0, 236.0), (0, 0, 1)])
    P = np.array([(500.0, 0, 318.0, -25.0), (0, 505.0, 240.0, 3.0), (0, 0, 1, 0)])
    R = from_quaternion(np.zeros(3), np.array([0.01, -0.02, 0.005, 1.0]) / math.hypot(0.01, 0.02, 0.005, 1))[
        :3, :3
    ]
    values = {"width": 640, "height": 480, "K": K, "D": LENSES[model], "R": R, "P": P, "rectified": False}
    return random_camera(11, NAME, model, **values | changes)


def info_of(camera: CameraCalibration) -> CameraInfo:
    """What the driver of this very camera publishes."""
    K, R, P = (tuple(m.ravel().tolist()) for m in (camera.K, camera.R, camera.P))
    size = (camera.width, camera.height)
    return CameraInfo(*size, camera.distortion_model, camera.D, K, R, P, camera.frame, (1, 1), (0, 0, *size))


def spec_of(camera: CameraCalibration) -> CameraSpec:
    return CameraSpec.of(camera, height=48, width=64)


def check_all(spec: CameraSpec, camera: CameraCalibration, info: CameraInfo) -> None:
    check_camera(spec, camera)
    check_camera_info(spec, camera, info)


def refused(action, *words: str) -> str:
    """The sentence with which `action` refuses; it names camera, field, what is expected and found."""
    with pytest.raises(WallWMError) as error:
        action()
    message = str(error.value)
    for word in (NAME, "must ", "found ", *words):
        assert word in message, message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("model", LENSES)
@pytest.mark.parametrize("rectified", [False, True])
def test_a_camera_that_is_the_same_everywhere_is_accepted(model, rectified):
    camera = rig(model, rectified=rectified)
    check_all(spec_of(camera), camera, info_of(camera))


@pytest.mark.parametrize("model", LENSES)
def test_the_same_camera_at_another_resolution_is_accepted_by_the_model(model):
    camera = rig(model)
    half = camera.resized(320, 240)
    check_all(spec_of(camera), half, info_of(half))


# --- calibration file: one number or word altered at a time -------------------------------------------------

CALIBRATION = [
    ("width", 1280, "width"),
    ("height", 481, "height"),
    ("link", "right_gripper", "link must be left_gripper"),
    ("frame", "other_frame", "frame_id must be other_frame"),
    ("rectified", True, "rectified must be false"),
    ("distortion_model", "equidistant", "D must be 4"),
    ("depth_band_m", (0.5, 0.2), "depth_band_m"),
    ("depth_band_m", (-0.1, 0.2), "depth_band_m"),
    ("depth_band_m", (0.01, 9.0), "depth_band_m must be"),
    ("provenance.date", "2026-02-30", "provenance.date"),
    ("provenance.method", " ", "provenance.method"),
    ("provenance.residuals", {"reprojection_px": -1.0}, "provenance.residuals"),
]


@pytest.mark.parametrize("model", LENSES)
@pytest.mark.parametrize(("field", "value", "word"), CALIBRATION, ids=[f"{c[0]}={c[1]}" for c in CALIBRATION])
def test_each_altered_word_of_the_calibration_is_refused(model, field, value, word):
    camera = rig(model)
    if field == "distortion_model":  # another model of the same length does not exist
        value = "plumb_bob" if model != "plumb_bob" else "rational_polynomial"
        word = "D must be"
    refused(lambda: altered_calibration(camera, field, value), word)


@pytest.mark.parametrize("model", LENSES)
@pytest.mark.parametrize("field", ["K", "D", "R", "P", "T_link_camera_optical"])
def test_each_altered_number_of_the_calibration_is_refused(model, field):
    camera = rig(model)
    flat = np.ravel(getattr(camera, field))
    for index in range(flat.size):
        value = flat.copy()
        value[index] += max(0.2, 0.1 * abs(value[index]))
        refused(lambda: altered_calibration(camera, field, value), field)  # noqa: B023


def altered_calibration(camera: CameraCalibration, field: str, value) -> None:
    """Write the calibration, alter one field of the file, and start a robot with it."""
    import yaml

    body = yaml.safe_load(format_calibration(Calibration("sim", {NAME: camera})))
    place, key = body["cameras"][NAME], field
    if "." in field:
        outer, key = field.split(".")
        place = place[outer]
    place[key] = (
        value.tolist()
        if isinstance(value, np.ndarray)
        else list(value)
        if isinstance(value, tuple)
        else value
    )
    found = read_calibration(yaml.safe_dump(body), "robot.yaml").cameras[NAME]
    check_all(spec_of(camera), found, info_of(camera))


def test_a_mount_is_refused_where_it_is_another_one_and_accepted_where_it_was_measured_again():
    camera = rig()
    rng = np.random.default_rng(0)
    for _ in range(50):
        for metres, degrees, fits in (
            (0.9 * POSITION_TOLERANCE_M, 0.9 * TURN_TOLERANCE_DEG, True),
            (1.1 * POSITION_TOLERANCE_M, 0.0, False),
            (0.0, 1.1 * TURN_TOLERANCE_DEG, False),
        ):
            moved = dataclasses.replace(
                camera, T_link_camera_optical=camera.T_link_camera_optical @ nudge(rng, metres, degrees)
            )
            if fits:
                check_camera(spec_of(camera), moved)
            else:
                refused(lambda: check_camera(spec_of(camera), moved), "T_link_camera_optical")  # noqa: B023


def nudge(rng: np.random.Generator, metres: float, degrees: float) -> np.ndarray:
    """A small (4, 4) transform in a random direction."""
    way, axis = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    half = math.radians(degrees) / 2
    return from_quaternion(way * metres, np.append(axis * math.sin(half), math.cos(half)))


# --- camera_info: one field altered at a time ---------------------------------------------------------------

INFO = [
    ("width", 641, "width must be 640"),
    ("height", 240, "height must be 480"),
    ("distortion_model", "", "distortion_model"),
    ("distortion_model", "thin_prism", "distortion_model"),
    ("frame", "camera_link", "frame_id must be wrist_cam_left_optical_frame"),
    ("binning", (2, 1), "binning_x must be 0 or 1"),
    ("binning", (1, 4), "binning_y must be 0 or 1"),
    ("roi", (8, 0, 640, 480), "roi.x_offset must be 0"),
    ("roi", (0, 8, 640, 480), "roi.y_offset must be 0"),
    ("roi", (0, 0, 320, 480), "roi.width must be 0 or 640"),
    ("roi", (0, 0, 640, 240), "roi.height must be 0 or 480"),
    ("do_rectify", True, "roi.do_rectify must be false"),
    ("K", (0.0,) * 9, "K must be calibrated"),
    ("D", (), "D must be"),
    ("K", (1.0,) * 4, "K must be"),
]


@pytest.mark.parametrize("model", LENSES)
@pytest.mark.parametrize(("field", "value", "word"), INFO, ids=[f"{c[0]}={c[1]}" for c in INFO])
def test_each_altered_word_of_camera_info_is_refused(model, field, value, word):
    camera = rig(model)
    info = dataclasses.replace(info_of(camera), **{field: value})
    message = refused(lambda: check_camera_info(spec_of(camera), camera, info), word)
    assert "camera_info" in message


@pytest.mark.parametrize("model", LENSES)
@pytest.mark.parametrize("pinned", [True, False], ids=["with the model", "without a model"])
@pytest.mark.parametrize("field", ["K", "D", "R", "P"])
def test_each_altered_number_of_camera_info_is_refused(model, field, pinned):
    camera = rig(model)
    info = info_of(camera)
    for index, number in enumerate(getattr(info, field)):
        for change in (0.02, float("nan")):
            values = list(getattr(info, field))
            values[index] = number + change
            other = dataclasses.replace(info, **{field: tuple(values)})
            spec = spec_of(camera) if pinned else None
            refused(lambda: check_camera_info(spec, camera, other), field)  # noqa: B023


def test_numbers_written_with_fewer_digits_are_the_same_camera():
    camera = rig()
    info = info_of(camera)
    short = {name: tuple(float(f"{v:.5f}") for v in getattr(info, name)) for name in ("K", "P", "D", "R")}
    check_camera_info(spec_of(camera), camera, dataclasses.replace(info, **short))


@pytest.mark.parametrize("model", LENSES)
def test_without_a_calibration_the_model_still_judges_the_intrinsics(model):
    camera = rig(model)
    spec, info = spec_of(camera), info_of(camera)
    check_camera_info(spec, None, info)
    K = list(info.K)
    K[0] *= 1.1
    wide = dataclasses.replace(info, K=tuple(K))
    message = refused(
        lambda: check_camera_info(spec, None, wide), "fx must be 0.8125 of the width", "found 0.8938"
    )
    assert "as in training" in message and "camera_info" in message


# --- bundle: one field altered at a time --------------------------------------------------------------------

BUNDLE = [
    ("name", "chest_cam", ["chest_cam"]),
    ("height", 64, ["width x height must be at least 64x64"]),
    ("width", 48, ["width x height must be at least 48x48"]),
    ("height", 4800, ["width x height"]),
    ("mount", "right_gripper", ["link must be right_gripper, as in training; found left_gripper"]),
    ("fx", 1.1, ["fx must be 1.1000 of the width"]),
    ("fy", 0.5, ["fy must be 0.5000 of the height"]),
    ("cx", 0.46, ["cx must be 0.4600 of the width"]),
    ("cy", 0.53, ["cy must be 0.5300 of the height"]),
    ("fx", -1.0, ["fx must be more than 0; found -1.0"]),
    ("fy", "0.5", ["fy must be more than 0"]),
    ("cx", 1.5, ["cx must be within the picture"]),
    ("cy", float("nan"), ["cy must be within the picture"]),
    ("distortion_model", "brown", ["distortion_model must be one of plumb_bob"]),
    ("D", [0.0], ["D must be", "finite numbers"]),
    ("rectified", True, ["rectified must be true, as in training; found false"]),
    ("rectified", 1, ["rectified must be true or false"]),
    ("pose", [0.0] * 6, ["pose must be x, y, z and a quaternion"]),
    ("pose", [0, 0, 0, 1, 1, 1, 1], ["pose must be x, y, z and a quaternion"]),
    ("tolerance", 0.0, ["tolerance must be more than 0, at most 0.2; found 0.0"]),
    ("tolerance", 0.5, ["tolerance must be more than 0, at most 0.2; found 0.5"]),
    ("depth_band_m", [0.01, 1.0], ["depth_band_m must be [0.01, 1] m (to 20 %), as in training; found ["]),
    ("depth_band_m", [0.5], ["depth_band_m must be near and far"]),
    ("depth_band_m", [0.5, 0.2], ["depth_band_m must be near and far"]),
    ("depth_band_m", [0.0, 0.2], ["depth_band_m must be near and far"]),
    ("depth_band_m", [0.1, "far"], ["depth_band_m must be near and far"]),
    ("colour", "red", ["unknown colour"]),
]


@pytest.mark.parametrize("model", LENSES)
@pytest.mark.parametrize(("field", "value", "words"), BUNDLE, ids=[f"{c[0]}={c[1]}" for c in BUNDLE])
def test_each_altered_field_of_the_bundles_camera_is_refused(model, field, value, words):
    camera = rig(model)
    body = json.loads(json.dumps(dataclasses.asdict(spec_of(camera))))
    body[field] = value
    refused(lambda: check_all(CameraSpec.from_body(body), camera, info_of(camera)), *words)


@pytest.mark.parametrize("model", LENSES)
def test_each_altered_coefficient_and_pose_number_of_the_bundle_is_refused(model):
    camera = rig(model)
    spec = spec_of(camera)
    for index in range(len(spec.D)):
        values = list(spec.D)
        values[index] += 0.5
        other = dataclasses.replace(spec, D=tuple(values))
        refused(lambda: check_camera(other, camera), "D must be", "% of the picture")  # noqa: B023
    for index in range(7):
        values = list(spec.pose)
        values[index] += 0.2
        with_norm = np.array(values)
        with_norm[3:] /= np.linalg.norm(with_norm[3:])
        other = dataclasses.replace(spec, pose=tuple(with_norm.tolist()))
        refused(lambda: check_camera(other, camera), "T_link_camera_optical")  # noqa: B023


@pytest.mark.parametrize("side", [0, 1])
def test_the_depth_band_may_differ_by_a_fifth_at_either_end(side):
    camera = rig(depth_band_m=(0.1, 1.0))
    for factor, fits in ((0.75, False), (0.85, True), (1.15, True), (1.25, False)):
        band = list(camera.depth_band_m)
        band[side] *= factor
        other = dataclasses.replace(camera, depth_band_m=tuple(band))
        if fits:
            check_camera(spec_of(camera), other)
        else:
            refused(lambda: check_camera(spec_of(camera), other), "depth_band_m")  # noqa: B023


def test_a_depth_band_that_the_bundle_does_not_pin_is_free():
    camera = rig(depth_band_m=(0.1, 1.0))
    body = json.loads(json.dumps(dataclasses.asdict(spec_of(camera))))
    assert body.pop("depth_band_m") == [0.1, 1.0]  # what training writes
    loose = CameraSpec.from_body(body)
    check_camera(loose, dataclasses.replace(camera, depth_band_m=(0.5, 9.0)))
    assert loose == dataclasses.replace(spec_of(camera), depth_band_m=())


PINNED = [f.name for f in dataclasses.fields(CameraSpec) if f.name != "depth_band_m"]


@pytest.mark.parametrize("field", PINNED)
def test_a_field_that_the_bundle_lacks_is_named(field):
    body = json.loads(json.dumps(dataclasses.asdict(spec_of(rig()))))
    del body[field]
    with pytest.raises(SpecError, match=f"found missing {field}"):
        CameraSpec.from_body(body)


@pytest.mark.parametrize("model", LENSES)
def test_how_far_a_lens_may_differ_is_measured_in_the_picture(model):
    """Tolerance is a share of the picture: a coefficient is refused for what it moves, not for its size."""
    camera = rig(model)
    spec = spec_of(camera)
    last = len(spec.D) - 1
    accepted = []
    for change in np.geomspace(1e-4, 10, 26):
        D = list(camera.D)
        D[last] += change
        try:
            check_camera(spec, dataclasses.replace(camera, D=tuple(D)))
            accepted.append(change)
        except SpecError as error:
            moved = float(re.search(r"moves points by ([\d.infa]+) %", str(error)).group(1))
            assert moved >= 99 * spec.tolerance
    assert accepted and accepted == sorted(accepted) and max(accepted) < 1.5
    assert len(accepted) == np.searchsorted(np.geomspace(1e-4, 10, 26), max(accepted)) + 1


# --- the whole robot ----------------------------------------------------------------------------------------


@pytest.fixture
def robot():
    return load_robot("sim")


def model_of(robot) -> tuple[ModelSpec, dict[str, CameraCalibration]]:
    from wallwm_ros.core.calibration import load_calibrations

    calibrations = load_calibrations(robot)
    middle = tuple((joint.low + joint.high) / 2 for joint in robot.joints)
    cameras = tuple(CameraSpec.of(camera, 64, 64) for camera in calibrations.values())
    normalisation = Normalisation(middle, (0.5,) * len(middle))
    spec = ModelSpec(
        "nano", "sim", cameras, robot.joint_names, 20.0, 64, 16, normalisation, ("<pad>", "reach")
    )
    return spec, calibrations


def test_cameras_in_another_order_are_refused(robot):
    spec, calibrations = model_of(robot)
    swapped = dataclasses.replace(robot, cameras=(*robot.cameras[1:], robot.cameras[0]))
    with pytest.raises(SpecError, match="view 0 is head_cam in model nano and wrist_cam_left in robot sim"):
        check_compatible(spec, swapped, calibrations, "event")


def test_a_camera_without_calibration_is_refused_unless_it_may_be_without(robot):
    spec, calibrations = model_of(robot)
    for name in list(calibrations):
        fewer = {other: found for other, found in calibrations.items() if other != name}
        with pytest.raises(SpecError) as error:
            check_compatible(spec, robot, fewer, "event")
        assert f"found none for {name} (allow_uncalibrated" in str(error.value)
        check_compatible(spec, robot, fewer, "event", allow_uncalibrated=True)
    assert uncalibrated(spec, {}) == [camera.name for camera in spec.cameras]
    assert uncalibrated(spec, calibrations) == []


def test_the_shipped_bundle_fits_the_shipped_calibration(robot):
    from wallwm_model.bundle import verify
    from wallwm_ros.core.calibration import load_calibrations
    from wallwm_ros.core.paths import data_path

    check_compatible(verify(data_path("models/nano")), robot, load_calibrations(robot), "event")


def test_any_altered_byte_of_a_bundles_specification_is_refused(tmp_path):
    from wallwm_model.bundle import REQUIRED, verify, write_manifest

    for name in REQUIRED:
        (tmp_path / name).write_text(name)
    (tmp_path / "spec.json").write_text('{"tolerance": 0.02}')
    write_manifest(tmp_path)
    (tmp_path / "spec.json").write_text('{"tolerance": 0.03}')
    found = hashlib.sha256((tmp_path / "spec.json").read_bytes()).hexdigest()
    with pytest.raises(WallWMError, match=rf"spec.json must have SHA-256 .*found {found[:12]}"):
        verify(tmp_path)


def test_the_simulators_camera_info_is_that_of_its_calibration(robot):
    pytest.importorskip("mujoco")
    from wallwm_model.sim.simulation import Simulation

    simulation = Simulation(image_size=192, renderer="rays")
    spec, calibrations = model_of(robot)
    for camera in spec.cameras:
        facts = simulation.camera_info(camera.name)
        K = facts["K"]
        P = np.hstack([K, np.zeros((3, 1))])
        rows = (tuple(m.ravel().tolist()) for m in (K, np.eye(3), P))
        K, R, P = rows
        info = CameraInfo(192, 192, "plumb_bob", (0.0,) * 5, K, R, P, f"{camera.name}_optical_frame")
        check_camera_info(camera, calibrations[camera.name], info)
        assert facts["mount"] == calibrations[camera.name].link
    assert load_calibration("calibration/sim.yaml").robot == robot.name
