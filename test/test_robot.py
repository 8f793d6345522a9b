"""Robot profiles: the shipped ones are sound, and every mistake in a file is named."""

import copy

import numpy as np
import pytest
import yaml

from wallwm_model.errors import ConfigError
from wallwm_ros.core.config import load_robot
from wallwm_ros.core.paths import data_path
from wallwm_ros.core.robot_file import available_robots, parse_robot

SIM = yaml.safe_load(data_path("config/robots/sim.yaml").read_text())
X1 = yaml.safe_load(data_path("config/robots/quanta_x1.yaml").read_text())


BOX = {"link": "left_gripper", "x": [0.0, 0.5], "y": [-0.4, 0.4], "z": [0.02, 0.6]}


def _change(body, path, value):
    """A copy of `body` with the entry at `path` replaced, or taken away (None)."""
    body = copy.deepcopy(body)
    inner = body
    for key in path[:-1]:
        inner = inner[key]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return body


@pytest.mark.parametrize("name", available_robots())
def test_every_shipped_profile_is_sound(name):
    profile = load_robot(name)
    assert profile.name == name
    assert np.all(profile.limit("low") < profile.limit("high"))
    assert profile.outputs()


def test_the_simulated_robot_agrees_with_the_simulation():
    robot = pytest.importorskip("wallwm_model.sim.robot")
    profile = load_robot("sim")
    assert profile.joint_names == robot.JOINTS
    assert profile.camera_names == robot.CAMERAS
    np.testing.assert_allclose(profile.limit("low"), robot.LOWER)
    np.testing.assert_allclose(profile.limit("high"), robot.UPPER)
    assert profile.action_space == "joint_position"


def test_quanta_x1_has_the_topics_of_its_sdk():
    profile = load_robot("quanta_x1")
    assert len(profile.joints) == 16
    assert profile.quaternions == (3, 11)
    assert profile.action_space == "end_effector_pose"
    assert [camera.topic for camera in profile.cameras] == [
        "/camera_head_front/color/image_raw/compressed",
        "/camera1/usb_cam1/image_raw/image_compressed",
        "/camera3/usb_cam3/image_raw/image_compressed",
    ]
    assert [source.topic for source in profile.states] == [
        "/left_arm/end_pose",
        "/right_arm/end_pose",
        "/left_gripper/joint_states",
        "/right_gripper/joint_states",
    ]
    assert {output.interface for output in profile.outputs()} == {"pose", "forward"}


def test_every_shipped_camera_names_its_camera_info_and_real_ones_have_noise():
    for name in available_robots():
        for camera in load_robot(name).cameras:
            assert camera.info_topic, f"{name}: {camera.name}"
            assert camera.noise == (name != "sim")


def test_columns_and_outputs():
    profile = load_robot("sim")
    assert profile.columns(("left_gripper", "right_waist")) == [6, 7]
    assert profile.outputs("trajectory")[0].interface == "trajectory"
    with pytest.raises(ConfigError, match="pose.*valid: forward, trajectory"):
        profile.outputs("pose")


def test_a_wrong_name_lists_the_robots():
    with pytest.raises(ConfigError, match="quanta_x2.*did you mean quanta_x1.*sim"):
        load_robot("quanta_x2")
    with pytest.raises(ConfigError, match="no/such.yaml"):
        load_robot("no/such.yaml")


def test_a_profile_can_be_any_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(SIM, sort_keys=False))
    assert load_robot(path).joint_names == load_robot("sim").joint_names


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (_change(SIM, ["colour"], "red"), ["unknown key 'colour'", "joints"]),
        (_change(SIM, ["joints"], None), ["joints must be"]),
        (_change(SIM, ["joints", "left_waist", "kind"], "leg"), ["joints.left_waist", "arm, gripper", "leg"]),
        (
            _change(SIM, ["joints", "left_waist", "position"], [1, -1]),
            ["left_waist", "low < high", "[1, -1]"],
        ),
        (_change(SIM, ["limits", "arm", "jerk"], 0), ["limits.arm", "jerk", "greater than 0"]),
        (_change(SIM, ["limits", "arm", "jerk"], float("inf")), ["limits.arm", "jerk", "finite"]),
        (_change(SIM, ["limits", "arm", "unit"], "deg"), ["unit", "rad, m, quaternion", "deg"]),
        (_change(SIM, ["cameras", 1, "name"], "head_cam"), ["cameras", "more than once", "head_cam"]),
        (_change(SIM, ["cameras", 0, "transport"], "h264"), ["cameras[0]", "raw, compressed", "h264"]),
        (_change(SIM, ["cameras", 0, "noise"], "no"), ["cameras[0]", "noise", "true or false"]),
        (_change(SIM, ["cameras", 0, "topic"], "image"), ["topic", "starts with /", "image"]),
        (_change(SIM, ["states", 0, "columns"], ["left_waist"]), ["states", "missing", "right_gripper"]),
        (_change(SIM, ["states", 0, "columns"], ["left_wrist"]), ["left_wrist", "did you mean"]),
        (_change(SIM, ["states", 0, "message"], "Odometry"), ["JointState, PoseStamped", "Odometry"]),
        (_change(SIM, ["command", "interface"], "torque"), ["interface", "forward, trajectory", "torque"]),
        (_change(SIM, ["command"], None), ["command", "mapping"]),
        (
            _change(SIM, ["limits", "gripper", "lead_s"], 0.6),
            ["limits.gripper", "lead_s", "0 to 0.5 s", "0.6"],
        ),
        (_change(SIM, ["joints", "left_gripper", "lead_s"], -0.1), ["joints.left_gripper", "lead_s", "-0.1"]),
        (_change(X1, ["limits", "rotation", "lead_s"], 0.1), ["limits.rotation", "0 for a quaternion"]),
        (_change(SIM, ["workspace"], []), ["workspace", "at least one entry"]),
        (_change(SIM, ["workspace"], [BOX | {"z": [1, 0]}]), ["workspace[0]", "z must be", "low < high"]),
        (_change(SIM, ["workspace"], [BOX | {"w": [0, 1]}]), ["workspace[0]", "unknown key 'w'"]),
        (_change(SIM, ["workspace"], [BOX, BOX]), ["workspace", "more than once: left_gripper"]),
        (_change(X1, ["workspace"], [BOX]), ["workspace must be left out", "end-effector"]),
        (_change(_change(SIM, ["workspace"], [BOX]), ["description"], None), ["description", "workspace"]),
        (_change(X1, ["joints", "left_qw"], None), ["quaternion", "left_qx"]),
        (_change(X1, ["command", "pose", 0, "frame"], None), ["command.pose[0]", "frame"]),
        (_change(X1, ["command", "pose", 0, "columns"], ["left_x"]), ["seven"]),
    ],
)
def test_a_mistake_is_named(tmp_path, body, words):
    path = tmp_path / "robot.yaml"
    with pytest.raises(ConfigError) as error:
        parse_robot(body, path)
    assert all(word in str(error.value) for word in [str(path), *words]), str(error.value)


def test_leads_and_boxes_are_read(tmp_path):
    body = _change(_change(SIM, ["limits", "gripper", "lead_s"], 0.1), ["workspace"], [BOX])
    body = _change(body, ["joints", "right_gripper", "lead_s"], 0.2)
    profile = parse_robot(body, tmp_path / "robot.yaml")
    assert {j.name: j.lead for j in profile.joints if j.lead} == {"left_gripper": 0.1, "right_gripper": 0.2}
    (box,) = profile.workspace
    assert (box.link, box.low, box.high) == ("left_gripper", (0.0, -0.4, 0.02), (0.5, 0.4, 0.6))
    assert load_robot("sim").workspace == ()


def test_a_joint_given_twice_is_refused(tmp_path):
    text = data_path("config/robots/sim.yaml").read_text()
    path = tmp_path / "robot.yaml"
    path.write_text(text.replace("  left_shoulder: ", "  left_waist: "))
    with pytest.raises(ConfigError, match="left_waist.*twice"):
        load_robot(path)
