"""Checks that keep a model off a robot that it was not trained for."""

from __future__ import annotations

import dataclasses
import math

import pytest

from wallwm_model.errors import CaptionError, ConfigError, SpecError
from wallwm_model.spec import CameraSpec, ModelSpec, Normalisation
from wallwm_ros.core.admission import check_goal
from wallwm_ros.core.calibration import load_calibrations
from wallwm_ros.core.compatibility import check_compatible, check_mode
from wallwm_ros.core.config import load_robot
from wallwm_ros.core.events import EventGoal
from wallwm_ros.core.paths import data_path

SIM = "calibration/sim.yaml"


@pytest.fixture
def robot():
    """The simulated robot, every camera calibrated."""
    profile = load_robot("sim")
    cameras = tuple(dataclasses.replace(camera, calibration="sim.yaml") for camera in profile.cameras)
    return dataclasses.replace(profile, cameras=cameras)


@pytest.fixture
def spec(robot):
    """A model that fits the simulated robot."""
    cameras = tuple(CameraSpec.of(camera, 64, 64) for camera in load_calibrations(robot).values())
    middle = tuple((joint.low + joint.high) / 2 for joint in robot.joints)
    normalisation = Normalisation(middle, (0.5,) * len(middle))
    return ModelSpec(
        "nano", "sim", cameras, robot.joint_names, 20.0, 64, 16, normalisation, ("<pad>", "reach")
    )


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
        (
            lambda s: {
                "action_space": "end_effector_pose",
                "joints": ("hand_qx", "hand_qy", "hand_qz", "hand_qw", *s.joints[4:]),
            },
            "takes actions as joint_position",
        ),
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
            "link must be left_gripper, as in training; found world",
        ),
        (
            lambda s: {"cameras": (s.cameras[1], s.cameras[0], s.cameras[2])},
            "view 0 is wrist_cam_left in model nano and head_cam in robot sim",
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
