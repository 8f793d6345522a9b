"""Calibration files, and the checks that keep a model off a robot that it was not trained for."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import pytest

from wallwm_model.calibration import parse_calibration
from wallwm_model.errors import CaptionError, ConfigError, SpecError
from wallwm_model.spec import CameraSpec, ModelSpec, Normalisation
from wallwm_ros.core.admission import check_goal
from wallwm_ros.core.calibration import load_calibrations
from wallwm_ros.core.compatibility import check_compatible, check_mode
from wallwm_ros.core.config import load_robot
from wallwm_ros.core.events import EventGoal
from wallwm_ros.core.paths import data_path
from wallwm_ros.core.yaml_files import read_yaml

SIM = "calibration/sim.yaml"


@pytest.fixture
def body():
    return read_yaml(data_path(SIM))


@pytest.fixture
def robot():
    """The simulated robot, every camera calibrated."""
    profile = load_robot("sim")
    cameras = tuple(dataclasses.replace(camera, calibration="sim.yaml") for camera in profile.cameras)
    return dataclasses.replace(profile, cameras=cameras)


@pytest.fixture
def spec(robot):
    """A model that fits the simulated robot."""
    cameras = tuple(CameraSpec(name, 64, 64, c.link, c.fovy) for name, c in load_calibrations(robot).items())
    middle = tuple((joint.low + joint.high) / 2 for joint in robot.joints)
    normalisation = Normalisation(middle, (0.5,) * len(middle))
    return ModelSpec(
        "nano", "sim", cameras, robot.joint_names, 20.0, 64, 16, normalisation, ("<pad>", "reach")
    )


def test_the_simulated_robots_cameras_are_those_of_its_model(body):
    simulation = pytest.importorskip("wallwm_model.sim.robot")
    pytest.importorskip("mujoco")
    model = simulation.build_model()
    names = {"head_cam": "head_cam", "wrist_cam_left": "left_wrist_cam", "wrist_cam_right": "right_wrist_cam"}
    found = parse_calibration(body, SIM)
    assert tuple(found) == simulation.CAMERAS
    for name, camera in found.items():
        real = model.camera(names[name])
        assert camera.link == model.body(real.bodyid[0]).name
        assert math.degrees(camera.fovy) == pytest.approx(float(real.fovy[0]), abs=0.01)
        # MuJoCo looks along -z with y up; the optical frame looks along z with y down.
        w, x, y, z = real.quat
        rotation = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        ) * (1, -1, -1)
        assert camera.T_link_camera_optical[:3, :3] == pytest.approx(rotation, abs=1e-5)
        assert camera.T_link_camera_optical[:3, 3] == pytest.approx(real.pos, abs=1e-6)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("K", [1.0] * 8, "K must be 9 finite numbers"),
        ("K", [100, 0, 96, 0, -100, 96, 0, 0, 1], "fx, fy > 0"),
        ("D", [0.0], "D must be 5 finite numbers"),
        ("distortion_model", "fisheye", "plumb_bob, rational_polynomial, equidistant"),
        ("width", 192.5, "width must be a positive whole number"),
        ("link", "", "link must be the name of a link"),
        ("T_link_camera_optical", {"translation": [0, 0, 0], "quaternion": [0, 0, 0, 2]}, "length 1"),
        ("colour", "red", "unknown colour"),
    ],
)
def test_an_unsound_calibration_is_refused_by_key(body, key, value, words):
    wrong = copy.deepcopy(body)
    wrong["cameras"]["head_cam"][key] = value
    with pytest.raises(ConfigError, match="cameras.head_cam") as refused:
        parse_calibration(wrong, SIM)
    assert words in str(refused.value)


def test_a_missing_key_is_named(body):
    del body["cameras"]["head_cam"]["D"]
    with pytest.raises(ConfigError, match="missing D"):
        parse_calibration(body, SIM)


def test_a_calibration_of_another_robot_or_without_the_camera_is_refused(robot, tmp_path):
    path = tmp_path / "other.yaml"
    text = data_path(SIM).read_text()
    camera = dataclasses.replace(robot.cameras[0], calibration=str(path))
    profile = dataclasses.replace(robot, cameras=(camera,))
    path.write_text(text.replace("robot: sim", "robot: quanta_x1"))
    with pytest.raises(ConfigError, match="'sim'; found 'quanta_x1'"):
        load_calibrations(profile)
    path.write_text(text.replace("head_cam:", "chest_cam:"))
    with pytest.raises(ConfigError, match="unknown camera 'head_cam'.*chest_cam"):
        load_calibrations(profile)


def test_a_model_made_for_the_robot_is_accepted(spec, robot):
    check_compatible(spec, robot, load_calibrations(robot), "event")


def _swap(names):
    return (names[1], names[0], *names[2:])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: {"robot": "quanta_x1"}, "trained for robot 'quanta_x1'; found robot 'sim'"),
        (lambda s: {"action_space": "end_effector_pose"}, "takes actions as joint_position"),
        (lambda s: {"joints": _swap(s.joints)}, "column 0 is left_shoulder in model nano and left_waist"),
        (
            lambda s: {"joints": ("left_hip", *s.joints[1:])},
            "robot sim lacks left_hip; the model does not know left_waist",
        ),
        (lambda s: {"rate_hz": 2000.0}, "rate must be 1 to 200 Hz; found 2000 Hz"),
        (lambda s: {"cameras": s.cameras[:2]}, "cameras must be the 2 of model nano; found 3"),
        (
            lambda s: {"cameras": (dataclasses.replace(s.cameras[0], name="chest_cam"), *s.cameras[1:])},
            "lacks chest_cam",
        ),
        (
            lambda s: {"cameras": (dataclasses.replace(s.cameras[0], width=128), *s.cameras[1:])},
            "aspect ratio",
        ),
        (
            lambda s: {"cameras": (dataclasses.replace(s.cameras[0], mount="left_gripper"), *s.cameras[1:])},
            "says world",
        ),
        (
            lambda s: {"cameras": (dataclasses.replace(s.cameras[0], fovy=1.2), *s.cameras[1:])},
            "68.8 degrees",
        ),
        (
            lambda s: {
                "normalisation": Normalisation((90.0, *s.normalisation.mean[1:]), s.normalisation.std)
            },
            "mean of left_waist",
        ),
    ],
)
def test_a_model_of_another_kind_is_refused_with_the_difference(spec, robot, change, words):
    other = dataclasses.replace(spec, **change(spec))
    with pytest.raises(SpecError) as refused:
        check_compatible(other, robot, load_calibrations(robot), "event")
    assert words in str(refused.value)


def test_a_mode_that_the_bundle_lacks_is_refused(spec):
    with pytest.raises(ConfigError, match="'unified' needs a bundle with unified mode; this one has: event"):
        check_mode(spec, "unified")


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        ({"caption": "  "}, "found an empty one"),
        ({"caption": "reech"}, "did you mean reach"),
        ({"caption": "reach", "duration_s": -1.0}, "duration_s must be 0 to 3.2 s; found -1"),
        ({"caption": "reach", "duration_s": 4.0}, "duration_s must be 0 to 3.2 s; found 4"),
        ({"caption": "reach", "duration_s": math.nan}, "duration_s"),
        ({"caption": "reach", "timeout_s": -0.5}, "timeout_s must be 0 to 3600 s"),
    ],
)
def test_an_unsound_goal_is_refused(spec, goal, words):
    with pytest.raises((CaptionError, ConfigError), match=words):
        check_goal(EventGoal(b"a", **goal), spec)


def test_a_sound_goal_passes(spec):
    check_goal(EventGoal(b"a", "reach", duration_s=3.2, timeout_s=10.0), spec)
