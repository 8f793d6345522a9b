"""Other tools' files: what is sound is taken over exactly, what is wrong or contradictory is refused."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import yaml
from random_cameras import random_camera, random_pose
from typer.testing import CliRunner

from wallwm_model.calibration import DISTORTION, load_calibration, save_calibration
from wallwm_model.calibration.camera_info_yaml import format_camera_info_yaml, read_camera_info_yaml
from wallwm_model.calibration.easy_handeye import read_easy_handeye
from wallwm_model.errors import ConfigError
from wallwm_model.transforms import from_quaternion, pose_numbers
from wallwm_ros.calibrate.files import Import, export_camera, import_camera
from wallwm_ros.calibrate.results import Place
from wallwm_ros.core.config import load_robot
from wallwm_ros.core.paths import data_path

# As ROS's camera_calibration writes it.
OST = """\
image_width: 640
image_height: 480
camera_name: narrow_stereo
camera_matrix:
  rows: 3
  cols: 3
  data: [525.12345,   0.     , 318.70312,
           0.     , 524.89013, 241.11002,
           0.     ,   0.     ,   1.     ]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [0.061203, -0.134502, 0.000871, -0.001203, 0.000000]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1., 0., 0.,
         0., 1., 0.,
         0., 0., 1.]
projection_matrix:
  rows: 3
  cols: 4
  data: [527.30011,   0.     , 317.90222,   0.     ,
           0.     , 527.98802, 241.60101,   0.     ,
           0.     ,   0.     ,   1.     ,   0.     ]
"""
# As easy_handeye (ROS 1) writes it.
HANDEYE = """\
parameters:
  eye_on_hand: true
  freehand_robot_movement: false
  move_group: manipulator
  move_group_namespace: /
  namespace: /wrist_eye_on_hand/
  robot_base_frame: base_link
  robot_effector_frame: tool0
  tracking_base_frame: camera_color_optical_frame
  tracking_marker_frame: aruco_marker_frame
transformation:
  qw: 0.5
  qx: -0.5
  qy: 0.5
  qz: -0.5
  x: 0.0
  y: 0.1
  z: 0.02
"""
# As easy_handeye2 (ROS 2) writes it.
HANDEYE2 = """\
parameters:
  name: head
  calibration_type: eye_on_base
  robot_base_frame: world
  robot_effector_frame: tool0
  tracking_base_frame: head_cam_optical_frame
  tracking_marker_frame: charuco_board
  freehand_robot_movement: true
  move_group_namespace: /
  move_group: manipulator
transform:
  translation: {x: 0.04, y: 0.0, z: 0.8}
  rotation: {x: -0.698397108, y: 0.698397108, z: -0.110641218, w: 0.110641218}
"""


def test_what_camera_calibration_writes_is_taken_over_exactly():
    found = read_camera_info_yaml(OST, "ost.yaml")
    assert (found.width, found.height, found.camera_name) == (640, 480, "narrow_stereo")
    assert found.K == (525.12345, 0, 318.70312, 0, 524.89013, 241.11002, 0, 0, 1)
    assert found.D == (0.061203, -0.134502, 0.000871, -0.001203, 0.0)
    assert found.P[5] == 527.98802 and found.distortion_model == "plumb_bob"


@pytest.mark.parametrize("model", DISTORTION)
@pytest.mark.parametrize("seed", range(20))
def test_camera_info_files_round_trip_to_the_last_bit(model, seed):
    camera = random_camera(seed, model=model)
    text = format_camera_info_yaml(camera)
    found = read_camera_info_yaml(text, "file")
    for name in ("K", "R", "P", "D"):
        assert np.array_equal(np.ravel(getattr(camera, name)), getattr(found, name))
    fields = {f.name: getattr(found, f.name) for f in dataclasses.fields(found)}
    assert fields.pop("camera_name") == camera.name
    assert dataclasses.replace(camera, **fields) == camera
    assert format_camera_info_yaml(dataclasses.replace(camera, **fields)) == text


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("image_width", None, "found missing image_width"),
        ("image_width", "640", r"width must be a positive whole number \[px\]; found '640'"),
        ("image_height", 120, "principal point within the 640x120 picture; found 318.703, 241.11"),
        ("camera_name", None, "found missing camera_name"),
        ("camera_model", "plumb_bob", "found unknown camera_model"),
        ("distortion_model", None, "found missing distortion_model"),
        ("distortion_model", "rational_polynomial", "distortion_coefficients must be 1 x 8; found 1 x 5"),
        (
            "distortion_model",
            "thin_prism",
            "distortion_model must be one of plumb_bob, .*; found 'thin_prism'",
        ),
        ("distortion_model", ["a"], "distortion_model must be one of"),
        ("camera_matrix", [1.0] * 9, "camera_matrix must be a mapping with rows, cols and data"),
        ("camera_matrix.rows", 4, "camera_matrix must be 3 x 3; found 4 x 3"),
        ("camera_matrix.data", [1.0] * 8, "camera_matrix.data must be 9 finite numbers"),
        ("camera_matrix.data", [float("nan")] * 9, "camera_matrix.data must be 9 finite numbers"),
        ("camera_matrix.data", [0.0] * 9, "K must be"),
        ("rectification_matrix.data", [2.0, 0, 0, 0, 1, 0, 0, 0, 1], "R must be a rotation matrix"),
        ("projection_matrix.cols", 3, "projection_matrix must be 3 x 4; found 3 x 3"),
        ("projection_matrix.data", [0.0] * 12, "P must be"),
        ("distortion_coefficients.data", ["a"] * 5, "distortion_coefficients.data must be 5 finite numbers"),
    ],
)
def test_an_unsound_camera_info_file_is_refused(key, value, words):
    body = yaml.safe_load(OST)
    change(body, key, value)
    with pytest.raises(ConfigError, match=f"^ost.yaml.*{words}") as refused:
        read_camera_info_yaml(yaml.safe_dump(body), "ost.yaml")
    assert "found " in str(refused.value) and "\n" not in str(refused.value)


def change(body, key, value):
    """Set `outer.inner`; None deletes it."""
    *outer, inner = key.split(".")
    for name in outer:
        body = body[name]
    if value is None:
        del body[inner]
    else:
        body[inner] = value


def test_both_generations_of_easy_handeye_are_read():
    old = read_easy_handeye(HANDEYE, "h.yaml")
    assert (old.link, old.frame, old.in_hand) == ("tool0", "camera_color_optical_frame", True)
    assert old.T_link_camera == pytest.approx(from_quaternion((0, 0.1, 0.02), (-0.5, 0.5, -0.5, 0.5)))
    new = read_easy_handeye(HANDEYE2, "h.calib")
    assert (new.link, new.frame, new.in_hand) == ("world", "head_cam_optical_frame", False)
    assert new.T_link_camera[:3, 3] == pytest.approx([0.04, 0, 0.8])
    body = yaml.safe_load(HANDEYE)
    oldest = body.pop("parameters") | body
    assert read_easy_handeye(yaml.safe_dump(oldest), "h.yaml").link == "tool0"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("parameters", [1], "parameters must be a mapping"),
        ("parameters.eye_on_hand", None, "must have eye_on_hand or calibration_type; found neither"),
        ("parameters.eye_on_hand", "yes", "eye_on_hand must be true or false; found 'yes'"),
        ("parameters.calibration_type", "eye_on_base", "must say the same; found a contradiction"),
        ("parameters.calibration_type", "eye_on_hand", "must be one of eye_in_hand, eye_on_base; found"),
        (
            "parameters.robot_effector_frame",
            None,
            "robot_effector_frame must be the name of a frame; found None",
        ),
        ("parameters.robot_effector_frame", "camera_color_optical_frame", "must be different frames"),
        ("parameters.tracking_base_frame", "", "tracking_base_frame must be the name of a frame; found ''"),
        ("transformation", None, "must have one of transform and transformation; found neither"),
        ("transform", {}, "found transform and transformation"),
        ("transformation.qw", None, "transformation must have the finite numbers x, y, z, qx, qy, qz, qw"),
        ("transformation.x", "0.1", "transformation must have the finite numbers"),
        ("transformation.x", float("nan"), "transformation must have the finite numbers"),
        ("transformation.qw", 0.9, "length 1; found"),
        (
            "transformation",
            dict(x=0, y=0, z=0, qx=0, qy=0, qz=0, qw=1),
            "found no translation and no rotation",
        ),
    ],
)
def test_an_unsound_hand_eye_file_is_refused(key, value, words):
    body = yaml.safe_load(HANDEYE)
    change(body, key, value)
    with pytest.raises(ConfigError, match=f"^h.yaml.*{words}") as refused:
        read_easy_handeye(yaml.safe_dump(body), "h.yaml")
    assert "found " in str(refused.value) and "\n" not in str(refused.value)


@pytest.fixture
def folder(tmp_path):
    """The simulated robot's calibration and files to import, in a folder of their own."""
    (tmp_path / "sim.yaml").write_text(data_path("calibration/sim.yaml").read_text())
    (tmp_path / "ost.yaml").write_text(OST)
    (tmp_path / "wrist.yaml").write_text(HANDEYE)
    (tmp_path / "head.calib").write_text(HANDEYE2)
    return tmp_path


def run(folder, **values) -> list[str]:
    said = []
    defaults = {"robot": "sim", "camera": "head_cam", "file": folder / "sim.yaml", "date": "2026-11-20"}
    defaults["write"] = True
    import_camera(Import(**defaults | values), said.append)
    return said


def test_intrinsics_are_imported_and_the_mount_stays(folder):
    before = load_calibration(folder / "sim.yaml")
    said = run(folder, intrinsics=folder / "ost.yaml")
    after = load_calibration(folder / "sim.yaml")
    camera, old = after.cameras["head_cam"], before.cameras["head_cam"]
    assert camera.K[0, 0] == 525.12345 and camera.size == (480, 640)
    assert (
        np.array_equal(camera.T_link_camera_optical, old.T_link_camera_optical) and camera.frame == old.frame
    )
    assert camera.provenance.date == "2026-11-20"
    assert camera.provenance.method.startswith("intrinsics imported from ost.yaml; mount exact values")
    assert {n: c for n, c in after.cameras.items() if n != "head_cam"} == {
        n: c for n, c in before.cameras.items() if n != "head_cam"
    }
    assert list(after.cameras) == list(before.cameras)
    assert "mount 0.0 mm and 0.00 degrees away" in said[1] and "written to" in said[2]


def test_a_mount_is_imported_and_the_intrinsics_stay(folder):
    said = run(folder, intrinsics=folder / "ost.yaml")
    said = run(folder, handeye=folder / "head.calib", date="2026-11-21")
    camera = load_calibration(folder / "sim.yaml").cameras["head_cam"]
    assert camera.T_link_camera_optical[0, 3] == 0.04 and camera.K[0, 0] == 525.12345
    method = camera.provenance.method
    assert method == "mount imported from head.calib; intrinsics imported from ost.yaml (2026-11-20)"
    assert "mount 5.0 mm and 0.00 degrees away" in said[1]
    run(folder, intrinsics=folder / "ost.yaml", date="2026-11-22")
    method = load_calibration(folder / "sim.yaml").cameras["head_cam"].provenance.method
    assert method == "intrinsics imported from ost.yaml; mount imported from head.calib (2026-11-21)"


def test_residuals_stay_with_the_part_that_stays(folder):
    calibration = load_calibration(folder / "sim.yaml")
    camera = calibration.cameras["head_cam"]
    origin = dataclasses.replace(camera.provenance, residuals={"reprojection_px": 0.2, "handeye_mm": 0.7})
    save_calibration(
        folder / "sim.yaml", calibration.replaced(dataclasses.replace(camera, provenance=origin))
    )
    run(folder, intrinsics=folder / "ost.yaml")
    assert load_calibration(folder / "sim.yaml").cameras["head_cam"].provenance.residuals == {
        "handeye_mm": 0.7
    }


def test_an_import_writes_a_draft_beside_the_file_unless_told_otherwise(folder):
    before = (folder / "sim.yaml").read_bytes()
    said = run(folder, intrinsics=folder / "ost.yaml", write=False)
    said += run(folder, handeye=folder / "head.calib", write=False)
    assert (folder / "sim.yaml").read_bytes() == before
    camera = load_calibration(folder / "sim.new.yaml").cameras["head_cam"]
    assert camera.K[0, 0] == 525.12345 and camera.T_link_camera_optical[0, 3] == 0.04
    assert any(f"mv {folder / 'sim.new.yaml'} {folder / 'sim.yaml'}" in line for line in said)
    with pytest.raises(ConfigError, match="found no folder"):
        run(folder, intrinsics=folder / "ost.yaml", file=folder / "no" / "sim.yaml")


def test_taking_one_camera_over_leaves_the_draft_of_another_a_draft(folder):
    before = load_calibration(folder / "sim.yaml").cameras
    run(folder, camera="head_cam", intrinsics=folder / "ost.yaml", write=False)
    said = run(folder, camera="wrist_cam_left", intrinsics=folder / "ost.yaml", write=True)
    used = load_calibration(folder / "sim.yaml").cameras
    assert used["head_cam"] == before["head_cam"] and used["wrist_cam_left"].width == 640
    # What nobody has accepted is neither taken over nor lost, and the draft has what was taken over.
    draft = load_calibration(folder / "sim.new.yaml").cameras
    assert draft["head_cam"].width == 640 and draft["wrist_cam_left"] == used["wrist_cam_left"]
    assert "new values of head_cam" in said[-1]
    run(folder, camera="head_cam", intrinsics=folder / "ost.yaml", write=True)
    assert load_calibration(folder / "sim.yaml").cameras["head_cam"].width == 640


def test_a_mount_of_rectified_pictures_becomes_that_of_the_raw_frame(folder):
    turn = random_pose(np.random.default_rng(3))[:3, :3]
    known = load_calibration(folder / "sim.yaml")
    camera = dataclasses.replace(known.cameras["head_cam"], R=turn, rectified=True)
    save_calibration(folder / "sim.yaml", known.replaced(camera))
    run(folder, handeye=folder / "head.calib")
    found = load_calibration(folder / "sim.yaml").cameras["head_cam"]
    T = read_easy_handeye(HANDEYE2, "head.calib").T_link_camera
    assert found.as_published().T_link_camera_optical == pytest.approx(T, abs=1e-9)
    assert found.T_link_camera_optical[:3, :3] == pytest.approx(T[:3, :3] @ turn, abs=1e-9)
    assert found.T_link_camera_optical[:3, 3] == pytest.approx(T[:3, 3], abs=1e-9)


def test_the_first_calibration_of_a_robot_may_be_written_where_its_profile_says(folder):
    profile = load_robot("sim")
    cameras = tuple(dataclasses.replace(c, calibration=str(folder / "first.yaml")) for c in profile.cameras)
    place = Place.of(dataclasses.replace(profile, cameras=cameras), "head_cam", None, False)
    assert place.file == folder / "first.yaml" and place.read("sim").cameras == {}
    relative = tuple(dataclasses.replace(c, calibration="not_yet.yaml") for c in profile.cameras)
    place = Place.of(dataclasses.replace(profile, cameras=relative), "head_cam", None, False)
    assert place.file == data_path("calibration") / "not_yet.yaml"


def test_a_new_robot_is_made_of_three_things(folder):
    file = folder / "new.yaml"
    with pytest.raises(
        ConfigError, match="camera head_cam is new and needs .*; missing --handeye, --depth-band"
    ):
        run(folder, intrinsics=folder / "ost.yaml", file=file)
    assert not file.exists()
    run(
        folder,
        intrinsics=folder / "ost.yaml",
        handeye=folder / "head.calib",
        depth_band_m=(0.2, 2.0),
        file=file,
    )
    camera = load_calibration(file).cameras["head_cam"]
    assert (camera.link, camera.frame, camera.rectified) == ("world", "head_cam_optical_frame", False)
    assert camera.depth_band_m == (0.2, 2.0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "import needs --intrinsics FILE or --handeye FILE; found neither"),
        ({"camera": "head"}, "unknown camera 'head' .did you mean head_cam"),
        ({"robot": "simm", "handeye": "head.calib"}, "unknown robot 'simm'"),
        ({"intrinsics": "none.yaml"}, "none.yaml: cannot be read"),
        (
            {"camera": "wrist_cam_left", "handeye": "wrist.yaml"},
            "camera wrist_cam_left: link must be left_gripper, as in the calibration file; found tool0 in",
        ),
        (
            {"camera": "wrist_cam_left", "handeye": "wrist.yaml", "link": "left_gripper"},
            "frame must be wrist_cam_left_optical_frame; found camera_color_optical_frame",
        ),
        ({"camera": "wrist_cam_left", "handeye": "head.calib"}, "link must be left_gripper.*found world"),
        ({"intrinsics": "ost.yaml", "date": "yesterday"}, "provenance.date must be a day"),
        ({"intrinsics": "ost.yaml", "depth_band_m": (2.0, 1.0)}, "depth_band_m must be"),
        ({"intrinsics": "sim.yaml"}, "sim.yaml must have image_width"),
        ({"handeye": "ost.yaml"}, "must have eye_on_hand or calibration_type"),
    ],
)
def test_what_contradicts_is_refused_and_nothing_is_written(folder, values, words):
    before = (folder / "sim.yaml").read_text()
    values = {k: folder / v if k in ("intrinsics", "handeye") else v for k, v in copy.copy(values).items()}
    with pytest.raises(ConfigError, match=words):
        run(folder, **values)
    assert (folder / "sim.yaml").read_text() == before


def test_a_frame_that_may_not_be_the_optical_one_must_be_named(folder):
    (folder / "head.calib").write_text(HANDEYE2.replace("head_cam_optical_frame", "kinect_link"))
    new = {"intrinsics": folder / "ost.yaml", "handeye": folder / "head.calib", "depth_band_m": (0.2, 2.0)}
    with pytest.raises(
        ConfigError, match="tracking_base_frame must be the camera's optical frame; found kinect_link"
    ):
        run(folder, file=folder / "new.yaml", **new)
    run(folder, file=folder / "new.yaml", frame="kinect_link", **new)
    assert load_calibration(folder / "new.yaml").cameras["head_cam"].frame == "kinect_link"


def test_a_link_may_be_called_otherwise(folder):
    text = HANDEYE.replace("camera_color_optical_frame", "wrist_cam_left_optical_frame")
    (folder / "wrist.yaml").write_text(text)
    run(folder, camera="wrist_cam_left", handeye=folder / "wrist.yaml", link="left_gripper")
    camera = load_calibration(folder / "sim.yaml").cameras["wrist_cam_left"]
    assert camera.link == "left_gripper" and camera.T_link_camera_optical[1, 3] == 0.1


def test_what_is_exported_can_be_imported_again(folder):
    said = []
    export_camera("sim", "wrist_cam_left", folder / "out.yaml", folder / "sim.yaml", said.append)
    before = load_calibration(folder / "sim.yaml").cameras["wrist_cam_left"]
    run(folder, camera="wrist_cam_left", intrinsics=folder / "out.yaml")
    after = load_calibration(folder / "sim.yaml").cameras["wrist_cam_left"]
    assert dataclasses.replace(after, provenance=before.provenance) == before
    with pytest.raises(ConfigError, match="unknown camera"):
        export_camera("sim", "chest", folder / "out.yaml", folder / "sim.yaml", said.append)
    with pytest.raises(ConfigError, match="cannot be written"):
        export_camera("sim", "head_cam", folder / "no" / "out.yaml", folder / "sim.yaml", said.append)


def test_the_commands_do_the_same(folder):
    from wallwm_ros.cli.calibrate import app

    file = ["--camera", "head_cam", "--file", str(folder / "sim.yaml")]
    done = CliRunner().invoke(app, ["import", *file, "--intrinsics", str(folder / "ost.yaml"), "--write"])
    assert done.exit_code == 0 and "640x480" in done.output
    assert load_calibration(folder / "sim.yaml").cameras["head_cam"].width == 640
    done = CliRunner().invoke(app, ["export", *file, "--out", str(folder / "out.yaml")])
    assert (
        done.exit_code == 0 and read_camera_info_yaml((folder / "out.yaml").read_text(), "out").width == 640
    )


def test_a_random_mount_survives_easy_handeyes_format():
    rng = np.random.default_rng(2)
    for _ in range(50):
        T = random_pose(rng)
        body = yaml.safe_load(HANDEYE)
        names = ("x", "y", "z", "qx", "qy", "qz", "qw")
        body["transformation"] = dict(zip(names, pose_numbers(T).tolist(), strict=True))
        assert read_easy_handeye(yaml.safe_dump(body), "h").T_link_camera == pytest.approx(T, abs=1e-12)
