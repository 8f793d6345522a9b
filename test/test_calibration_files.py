"""Calibration files: what is written comes back to the last bit, what is unsound is refused by field."""

from __future__ import annotations

import copy
import dataclasses
import json
import re

import jsonschema
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from random_cameras import random_calibration, random_camera

from wallwm_model.calibration import (
    CameraCalibration,
    DISTORTION,
    Calibration,
    Provenance,
    corner_from_pixel,
    load_calibration,
    parse_calibration,
    pixel_from_corner,
    save_calibration,
)
from wallwm_model.calibration.files import format_calibration, read_calibration
from wallwm_model.calibration.schema import SCHEMA
from wallwm_model.errors import ConfigError
from wallwm_model.transforms import from_quaternion, pose_numbers
from wallwm_ros.core.paths import data_path

SIM = "calibration/sim.yaml"


@pytest.fixture
def body():
    return yaml.safe_load(data_path(SIM).read_text())


def test_the_simulators_file_is_what_its_mujoco_model_says():
    pytest.importorskip("mujoco")
    from wallwm_model.sim.calibration import sim_calibration

    assert load_calibration(data_path(SIM)) == sim_calibration()
    assert data_path(SIM).read_text() == format_calibration(sim_calibration())


def test_the_schema_is_a_schema_and_accepts_the_simulators_file(body):
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(body, schema, jsonschema.Draft202012Validator)


@pytest.mark.parametrize("seed", range(15))
def test_random_calibrations_round_trip_to_the_last_bit(seed, tmp_path):
    calibration = random_calibration(1000 * seed)
    save_calibration(tmp_path / "a.yaml", calibration)
    found = load_calibration(tmp_path / "a.yaml")
    assert found == calibration and list(found.cameras) == list(calibration.cameras)
    save_calibration(tmp_path / "b.yaml", found)
    assert (tmp_path / "a.yaml").read_text() == (tmp_path / "b.yaml").read_text()


number = st.floats(-1e11, 1e11, allow_subnormal=True)
text = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    model=st.sampled_from(tuple(DISTORTION)),
    translation=st.lists(number, min_size=3, max_size=3),
    D=st.lists(number, min_size=8, max_size=8),
    link=text,
    frame=text,
    method=st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1).filter(str.strip),
    residuals=st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), st.floats(0, 1e9), max_size=3
    ),
    date=st.dates().map(str),
)
def test_any_sound_value_survives_writing(seed, model, translation, D, link, frame, method, residuals, date):
    camera = random_camera(seed, model=model)
    pose = camera.T_link_camera_optical.copy()
    pose[:3, 3] = translation
    camera = dataclasses.replace(
        camera,
        T_link_camera_optical=pose,
        D=tuple(D[: DISTORTION[model]]),
        link=link,
        frame=frame,
        provenance=Provenance(date, method, residuals),
    )
    calibration = Calibration("sim", {camera.name: camera})
    assert read_calibration(format_calibration(calibration), "text") == calibration


def test_a_comment_at_the_top_is_kept_and_the_order_of_fields_never_changes(tmp_path):
    path = tmp_path / "robot.yaml"
    save_calibration(path, random_calibration(1))
    assert path.read_text().startswith("# Cameras of robot sim")
    path.write_text("# Measured in the lab.\n# Board 3.\n" + path.read_text().split("in the link.\n")[1])
    calibration = load_calibration(path)
    reordered = Calibration("sim", dict(reversed(calibration.cameras.items())))
    save_calibration(path, reordered)
    lines = path.read_text().splitlines()
    assert lines[:2] == ["# Measured in the lab.", "# Board 3."]
    keys = [
        line.split(":")[0].strip()
        for line in lines
        if line.startswith("    ") and not line.startswith("     ")
    ]
    fields = [key for key in keys if key not in ("]", "")]
    third = len(fields) // 3
    assert fields[:third] == fields[third : 2 * third] == fields[2 * third :]
    assert fields[0] == "width" and fields[third - 1] == "provenance"


def test_nothing_is_written_without_provenance_and_the_old_file_stays(tmp_path):
    path = tmp_path / "robot.yaml"
    save_calibration(path, random_calibration(1))
    before = path.read_text()
    camera = dataclasses.replace(random_camera(3), provenance=None)
    with pytest.raises(ConfigError, match="camera head_cam: provenance must say date and method"):
        save_calibration(path, Calibration("sim", {"head_cam": camera}))
    assert path.read_text() == before and [p.name for p in tmp_path.iterdir()] == ["robot.yaml"]


def test_a_pose_may_be_given_as_translation_and_quaternion(body):
    wanted = parse_calibration(body, SIM)["wrist_cam_left"]
    numbers = pose_numbers(wanted.T_link_camera_optical).tolist()
    body["cameras"]["wrist_cam_left"]["T_link_camera_optical"] = {
        "translation": numbers[:3],
        "quaternion": numbers[3:],
    }
    found = parse_calibration(body, SIM)["wrist_cam_left"].T_link_camera_optical
    assert found == pytest.approx(wanted.T_link_camera_optical, abs=1e-15)


def test_opencvs_name_for_the_fisheye_model_is_understood(body):
    body["cameras"]["head_cam"] |= {"distortion_model": "fisheye", "D": [0.1, 0.0, 0.0, 0.0]}
    assert parse_calibration(body, SIM)["head_cam"].distortion_model == "equidistant"


HEAD = "camera head_cam: "


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("K", [1.0] * 8, HEAD + "K must be 9 finite numbers, row by row"),
        ("K", [100, 0, 96, 0, -100, 96, 0, 0, 1], HEAD + r"K must be \[fx, 0, cx, 0, fy, cy, 0, 0, 1\]"),
        ("K", [100, 1, 96, 0, 100, 96, 0, 0, 1], HEAD + r"K must be .*; found \[100.0, 1.0"),
        ("K", [100, 0, 96, 0, float("nan"), 96, 0, 0, 1], HEAD + "K must be 9 finite numbers"),
        ("K", [100, 0, 96, 0, "100", 96, 0, 0, 1], HEAD + "K must be 9 finite numbers.*'100'"),
        ("K", [100, 0, 96, 0, 10**400, 96, 0, 0, 1], HEAD + "K must be 9 finite numbers"),
        ("K", [100, 0, 96, 0, True, 96, 0, 0, 1], HEAD + "K must be 9 finite numbers.*True"),
        ("D", [0.0], HEAD + r"D must be a list of 5 \(plumb_bob\).*; found \[0.0\]"),
        ("D", [0.0] * 8, HEAD + r"D must be 5 finite numbers for plumb_bob; found \[0.0, 0.0"),
        ("R", [1, 0, 0, 0, 1, 0, 0, 0, -1], HEAD + r"R must be a rotation matrix \(right-handed"),
        ("R", [1, 0.1, 0, 0, 1, 0, 0, 0, 1], HEAD + r"R must be a rotation matrix \(rows of length 1"),
        ("P", [0.0] * 12, HEAD + r"P must be \[fx', 0, cx', Tx"),
        ("P", [0.0] * 9, HEAD + "P must be 12 finite numbers"),
        ("distortion_model", "brown", HEAD + "distortion_model must be one of plumb_bob.*found 'brown'"),
        ("width", 192.5, HEAD + r"width must be a positive whole number \[px\]; found 192.5"),
        ("width", 192.0, HEAD + "width must be a positive whole number"),
        ("height", 0, HEAD + "height must be a positive whole number"),
        ("height", True, HEAD + "height must be a positive whole number"),
        ("link", "", HEAD + "link must be the name of a link, or world; found ''"),
        ("link", "left gripper", HEAD + "link must be the name of a link"),
        ("frame", 3, HEAD + "frame must be the frame_id of the camera's pictures; found 3"),
        ("rectified", "no", HEAD + "rectified must be true .* found 'no'"),
        ("depth_band_m", [1.0, 0.5], HEAD + "depth_band_m must be .*near < far.*found"),
        ("depth_band_m", [0.0, 0.5], HEAD + r"depth_band_m must be .* found \[0.0, 0.5\]"),
        ("depth_band_m", [0.1], HEAD + "depth_band_m must be"),
        ("T_link_camera_optical", [1.0] * 16, HEAD + "T_link_camera_optical must be a rigid transform"),
        ("T_link_camera_optical", [1.0] * 12, HEAD + "T_link_camera_optical must be 16 finite numbers"),
        (
            "T_link_camera_optical",
            {"translation": [0, 0, 0], "quaternion": [0, 0, 0, 2]},
            r"T_link_camera_optical: quaternion \(x y z w\) must have length 1; found 2",
        ),
        ("T_link_camera_optical", {"translation": [0, 0, 0]}, "missing quaternion"),
        ("provenance", None, HEAD + "provenance must be a mapping with date"),
        (
            "provenance",
            {"date": "2026-11-23", "method": "x"},
            HEAD + "provenance must have .*missing residuals",
        ),
        (
            "provenance",
            {"date": "2026-13-01", "method": "x", "residuals": {}},
            HEAD + "provenance.date must be a day, YYYY-MM-DD; found '2026-13-01'",
        ),
        (
            "provenance",
            {"date": "2026-11-23", "method": "", "residuals": {}},
            HEAD + "provenance.method must be one line of text",
        ),
        (
            "provenance",
            {"date": "2026-11-23", "method": "x", "residuals": {"reprojection_px": -1}},
            HEAD + "provenance.residuals must be .*found {'reprojection_px': -1}",
        ),
        ("colour", "red", HEAD + "?must have .*found unknown colour"),
    ],
)
def test_an_unsound_field_is_refused_with_camera_field_expected_and_found(body, key, value, words):
    wrong = copy.deepcopy(body)
    wrong["cameras"]["head_cam"][key] = value
    with pytest.raises(ConfigError, match=words.replace(HEAD + "?", "camera head_cam ")) as refused:
        parse_calibration(wrong, SIM)
    message = str(refused.value)
    assert message.startswith(f"{SIM}: camera head_cam") and "; found " in message and "\n" not in message


@pytest.mark.parametrize("key", sorted(set(json.loads(SCHEMA.read_text())["$defs"]["camera"]["required"])))
def test_a_missing_field_is_named(body, key):
    del body["cameras"]["wrist_cam_left"][key]
    with pytest.raises(ConfigError, match=f"camera wrist_cam_left must have .*; found missing {key}$"):
        parse_calibration(body, SIM)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({}, "the file must have robot, cameras; found missing robot, missing cameras"),
        ([], "the file must be a mapping"),
        ({"robot": "sim", "cameras": {}}, "cameras must be a mapping from camera names"),
        ({"robot": "sim", "cameras": {"head cam": {}}}, "cameras must be .*; found 'head cam'"),
        ({"robot": "", "cameras": {}}, "robot must be the name of a robot profile; found ''"),
        (
            {"robot": "sim", "cameras": {"head_cam": 3}},
            "camera head_cam must be a mapping of fields; found 3",
        ),
    ],
)
def test_an_unsound_file_is_refused(wrong, words):
    with pytest.raises(ConfigError, match=words):
        parse_calibration(wrong, SIM)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe\x00", "must be YAML"),
        (b"a: [", "must be YAML"),
        (b"robot: a\nrobot: b\n", "given twice"),
        (None, "cannot be read"),
    ],
)
def test_an_unreadable_file_is_refused(content, words, tmp_path):
    path = tmp_path / "x.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        load_calibration(path)


def test_the_half_pixel_is_in_one_place():
    camera = random_camera(5)
    assert pixel_from_corner([0, 0]).tolist() == [-0.5, -0.5]
    assert pixel_from_corner(corner_from_pixel([3.25, 7])).tolist() == [3.25, 7]
    half = camera.resized(camera.width // 2 * 2, camera.height // 2 * 2).resized(
        camera.width // 2, camera.height // 2
    )
    assert half.fractions == pytest.approx(camera.fractions, rel=1e-12)


def test_opencv_takes_k_as_it_is_and_a_pixels_centre_is_a_whole_number():
    """The ray through the middle of an even picture is seen between its two middle pixels."""
    cv2 = pytest.importorskip("cv2")
    from wallwm_model.sim.calibration import sim_calibration

    camera = sim_calibration(64).cameras["head_cam"]
    seen, _ = cv2.projectPoints(
        np.array([[0.0, 0.0, 1.0]]), np.zeros(3), np.zeros(3), camera.K, np.array(camera.D)
    )
    assert seen.ravel() == pytest.approx([31.5, 31.5])


@pytest.mark.parametrize("model", DISTORTION)
def test_published_pictures_that_were_rectified_are_described_by_r_and_p(model):
    raw = random_camera(7, model=model, rectified=False)
    assert raw.as_published() is raw
    seen = dataclasses.replace(raw, rectified=True).as_published()
    # A point in the link's frame, by hand: raw optical frame, then R, then P without its last column.
    point = raw.T_link_camera_optical @ (0.1, -0.2, 1.3, 1.0)
    image = raw.P[:, :3] @ raw.R @ (0.1, -0.2, 1.3)
    mine = seen.K @ (np.linalg.inv(seen.T_link_camera_optical) @ point)[:3]
    assert mine[:2] / mine[2] == pytest.approx(image[:2] / image[2], rel=1e-9)
    assert not any(seen.D) and not seen.rectified


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('date: "2026-', "date: 2026-13-45 #", "must hold values that exist; found one with month must be"),
        ("  head_cam:", "  1:", "keys must be text; found 1"),
        ("  head_cam:", "  ? [1, 2]\n  :", "keys must be text; found a list or mapping as a key in line"),
        ("residuals: {", "residuals: {1: 0.5, ", "keys must be text; found 1"),
    ],
)
def test_keys_and_values_that_cannot_be_are_refused_with_the_file(tmp_path, old, new, words):
    text = format_calibration(random_calibration(5))
    text = text.replace(f"  {next(iter(read_calibration(text, 'x').cameras))}:", "  head_cam:", 1)
    text = re.sub(r'date: "\d+-', 'date: "2026-', text)
    assert old in text
    path = tmp_path / "bad.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=f"bad.yaml: {words}") as refused:
        load_calibration(path)
    assert "\n" not in str(refused.value)


def test_a_residual_must_have_a_name():
    with pytest.raises(ConfigError, match="residuals must have names in text; found 1"):
        Provenance("2026-11-23", "by hand", {1: 0.5})


def test_the_second_camera_of_a_stereo_pair_stays_where_its_own_mount_is():
    """ROS: P's last column takes points from the first camera's frame; both see a point in the same place."""
    baseline, K = 0.12, np.array([(400.0, 0, 159.5), (0, 400.0, 119.5), (0, 0, 1)])
    P = np.column_stack([K, (-400.0 * baseline, 0, 0)])
    T = np.eye(4)
    T[0, 3] = baseline  # the link is the first camera's rectified frame
    pair = dict(width=320, height=240, K=K, distortion_model="plumb_bob", D=(0.0,) * 5, link="head")
    second = CameraCalibration("right", **pair, T_link_camera_optical=T, P=P, rectified=True)
    seen = second.as_published()
    assert np.array_equal(seen.T_link_camera_optical, T)
    point = np.array((0.3, -0.1, 1.1))  # in the first camera's frame
    by_ros = P @ np.append(point, 1.0)
    mine = seen.K @ (np.linalg.inv(seen.T_link_camera_optical) @ np.append(point, 1.0))[:3]
    assert mine / mine[2] == pytest.approx(by_ros / by_ros[2])


def test_poses_and_quaternions_agree():
    rng = np.random.default_rng(0)
    for _ in range(500):
        quaternion = rng.normal(size=4) * rng.choice([0, 1], size=4, p=[0.2, 0.8])
        if not quaternion.any():
            continue
        T = from_quaternion(rng.normal(size=3), quaternion / np.linalg.norm(quaternion))
        numbers = pose_numbers(T)
        assert from_quaternion(numbers[:3], numbers[3:]) == pytest.approx(T, abs=1e-12)
