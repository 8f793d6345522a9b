"""Where the links are: hand-computed answers, MuJoCo against URDF, and refusals in words."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from wallwm_model.errors import ConfigError
from wallwm_model.forward_kinematics import MujocoKinematics, UrdfKinematics, load_kinematics
from wallwm_model.transforms import from_quaternion
from wallwm_ros.core.config import load_robot

pytest.importorskip("pinocchio")

LIMIT = '<limit lower="-3" upper="3" effort="1" velocity="1"/>'
URDF = f"""<?xml version="1.0"?>
<robot name="small">
  <link name="base_link"/> <link name="upper"/> <link name="fore"/> <link name="camera_optical"/>
  <link name="finger_l"/> <link name="finger_r"/>
  <joint name="turn" type="continuous">
    <parent link="base_link"/> <child link="upper"/> <origin xyz="0 0 1"/> <axis xyz="0 0 1"/>
  </joint>
  <joint name="bend" type="revolute">
    <parent link="upper"/> <child link="fore"/> <origin xyz="1 0 0"/> <axis xyz="0 1 0"/> {LIMIT}
  </joint>
  <joint name="mount" type="fixed">
    <parent link="fore"/> <child link="camera_optical"/> <origin xyz="0.5 0 0" rpy="-1.5707963267948966 0 0"/>
  </joint>
  <joint name="slide" type="prismatic">
    <parent link="fore"/> <child link="finger_l"/> <axis xyz="0 1 0"/> {LIMIT}
  </joint>
  <joint name="slide_too" type="prismatic">
    <parent link="fore"/> <child link="finger_r"/> <axis xyz="0 1 0"/> {LIMIT}
    <mimic joint="slide" multiplier="-2" offset="0.1"/>
  </joint>
</robot>"""


@pytest.fixture
def small():
    return UrdfKinematics(URDF)


def pose(R, t):
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, t
    return T


def test_names_are_those_of_the_description(small):
    assert small.joints == ("turn", "bend", "slide")
    assert set(small.links) == {"base_link", "upper", "fore", "camera_optical", "finger_l", "finger_r"}


def test_poses_are_the_hand_computed_ones(small):
    quarter = np.pi / 2
    # Turned left by a quarter, then bent upward by a quarter: the forearm points up.
    joints = {"turn": quarter, "bend": -quarter}
    up = np.array([(0, -1, 0), (0, 0, -1), (1, 0, 0)])
    assert small.pose("fore", joints) == pytest.approx(pose(up, (0, 1, 1)), abs=1e-12)
    optical = up @ np.array([(1, 0, 0), (0, 0, 1), (0, -1, 0)])
    assert small.pose("camera_optical", joints) == pytest.approx(pose(optical, (0, 1, 1.5)), abs=1e-12)
    assert small.pose("base_link", {}) == pytest.approx(np.eye(4))
    assert small.pose("world", {}) == pytest.approx(np.eye(4))
    assert small.pose("upper", {"turn": 7 * np.pi}) == pytest.approx(
        pose(np.diag([-1, -1, 1]), (0, 0, 1)), abs=1e-12
    )


def test_a_mimic_joint_follows_its_master(small):
    joints = {"turn": 0.0, "bend": 0.0, "slide": 0.02}
    assert small.pose("finger_l", joints)[:3, 3] == pytest.approx([1, 0.02, 1])
    assert small.pose("finger_r", joints)[:3, 3] == pytest.approx([1, 0.06, 1])


def test_only_the_joints_on_the_way_are_asked_for_and_others_do_no_harm(small):
    assert small.pose("upper", {"turn": 0.0, "elsewhere": 3.0})[2, 3] == 1.0
    with pytest.raises(ConfigError, match="pose of fore needs the joints bend; found positions of turn"):
        small.pose("fore", {"turn": 0.0})
    with pytest.raises(
        ConfigError, match="pose of finger_r needs the joints slide; found positions of turn, bend"
    ):
        small.pose("finger_r", {"turn": 0.0, "bend": 0.0})


def test_a_pose_is_the_callers_own(small):
    joints = {"turn": 0.3, "bend": 0.2}
    first = small.pose("fore", joints)
    kept = first.copy()
    small.pose("fore", {"turn": 1.3, "bend": 0.2})
    assert np.array_equal(first, kept)
    first[:] = 0
    assert np.array_equal(small.pose("fore", joints), kept)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_position_that_is_not_finite_is_refused(small, value):
    with pytest.raises(ConfigError, match="joint bend must have a finite position; found"):
        small.pose("fore", {"turn": 0.0, "bend": value})


def test_an_unknown_link_is_named_with_the_nearest(small):
    with pytest.raises(
        ConfigError, match=r"must have the link 'finger_l2' \(did you mean finger_l\?\); found base_link"
    ):
        small.pose("finger_l2", {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be a URDF; found no XML"),
        ("<robot", "must be a URDF; found no XML"),
        ("<mujoco/>", "must be a URDF with <robot>; found <mujoco>"),
        ('<robot name="r"><link name="a"/><link name="a"/></robot>', "must be a URDF; "),
        ('<robot name="r"/>', "must be a URDF; "),
    ],
)
def test_what_is_no_urdf_is_refused(text, words, tmp_path):
    path = tmp_path / "robot.urdf"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"{path} {words}") as refused:
        load_kinematics(path)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_kinematics(tmp_path / "none.urdf")


def test_mujoco_and_urdf_agree_on_the_simulated_robot():
    pytest.importorskip("mujoco")
    from sim_urdf import sim_urdf

    from wallwm_model.sim.robot import JOINTS, LOWER, UPPER

    mujoco, urdf = MujocoKinematics(), UrdfKinematics(sim_urdf())
    assert set(mujoco.joints) == set(urdf.joints) == set(JOINTS)
    links = [link for link in mujoco.links if link.startswith(("left_", "right_"))]
    assert len(links) == 18
    rng = np.random.default_rng(0)
    worst = 0.0
    for _ in range(100):
        joints = dict(zip(JOINTS, rng.uniform(LOWER, UPPER).tolist(), strict=True))
        worst = max(worst, *(np.abs(mujoco.pose(n, joints) - urdf.pose(n, joints)).max() for n in links))
    assert worst < 1e-9


def test_mujoco_agrees_with_the_simulators_own_cameras():
    """The calibration's mount and the kinematics together give the camera pose that MuJoCo renders from."""
    mujoco = pytest.importorskip("mujoco")
    from wallwm_model.sim.calibration import sim_calibration
    from wallwm_model.sim.robot import JOINTS, MODEL_CAMERA
    from wallwm_model.sim.scene import sample_scene
    from wallwm_model.sim.simulation import Simulation

    simulation, kinematics = Simulation(64, "rays"), MujocoKinematics()
    simulation.reset(sample_scene("pick_place", 3))
    mujoco.mj_forward(simulation.model, simulation.data)
    joints = dict(zip(JOINTS, simulation.state().tolist(), strict=True))
    for name, camera in sim_calibration().cameras.items():
        T = kinematics.pose(camera.link, joints) @ camera.T_link_camera_optical
        real = simulation.data.camera(MODEL_CAMERA[name])
        assert T[:3, 3] == pytest.approx(real.xpos, abs=1e-9)
        assert T[:3, :3] == pytest.approx(real.xmat.reshape(3, 3) * (1, -1, -1), abs=1e-9)


def test_the_simulated_robot_refuses_in_the_same_words():
    pytest.importorskip("mujoco")
    kinematics = MujocoKinematics()
    assert kinematics.pose("world", {}) == pytest.approx(np.eye(4))
    base = from_quaternion((0.3, 0.45, 0.0), (0, 0, -np.sqrt(0.5), np.sqrt(0.5)))
    assert kinematics.pose("left_base", {}) == pytest.approx(base, abs=1e-12)
    with pytest.raises(ConfigError, match="must have the link 'left_griper'.*did you mean left_gripper"):
        kinematics.pose("left_griper", {})
    with pytest.raises(
        ConfigError, match="pose of left_upper_arm needs the joints left_shoulder; found .*left_waist"
    ):
        kinematics.pose("left_upper_arm", {"left_waist": 0.0})
    with pytest.raises(ConfigError, match="needs the joints left_gripper"):
        names = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
        kinematics.pose("left_finger_l", {f"left_{name}": 0.0 for name in names})


def test_a_profile_says_where_its_description_is(tmp_path):
    robot = load_robot("sim")
    assert robot.description == "mujoco"
    path = tmp_path / "arm.urdf"
    path.write_text(URDF)
    assert load_kinematics(dataclasses.replace(robot, description=str(path))).joints == (
        "turn",
        "bend",
        "slide",
    )
    topic = dataclasses.replace(robot, description="topic")
    assert load_kinematics(topic, URDF).joints == ("turn", "bend", "slide")
    with pytest.raises(ConfigError, match="'topic' needs a URDF that was received"):
        load_kinematics(topic)
    with pytest.raises(ConfigError, match="robot sim: the profile's description must be mujoco, topic, or"):
        load_kinematics(dataclasses.replace(robot, description=""))


def test_a_profiles_urdf_is_found_beside_it_or_refused(tmp_path):
    from wallwm_ros.core.paths import data_path

    text = data_path("config/robots/sim.yaml").read_text()
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("description: mujoco", "description: arm.urdf"))
    with pytest.raises(
        ConfigError, match="description must be mujoco, topic, or the path of a URDF file; found 'arm.urdf'"
    ):
        load_robot(path)
    (tmp_path / "arm.urdf").write_text(URDF)
    assert load_robot(path).description == str((tmp_path / "arm.urdf").resolve())


def mimic_robot(*mimics: str) -> str:
    """Three sliders side by side, the first of which, by its name, comes before its master."""
    parts = []
    for name, mimic in zip("abc", mimics, strict=True):
        parts.append(
            f'<link name="{name}"/><joint name="joint_{name}" type="prismatic"><parent link="base"/>'
            f'<child link="{name}"/><axis xyz="1 0 0"/>{LIMIT}{mimic}</joint>'
        )
    return f'<robot name="r"><link name="base"/>{"".join(parts)}</robot>'


def test_mimic_joints_may_come_before_their_masters_and_in_chains():
    robot = UrdfKinematics(
        mimic_robot(
            '<mimic joint="joint_b" multiplier="2" offset="0.5"/>',
            '<mimic joint="joint_c" offset="-0.1"/>',
            "",
        )
    )
    assert robot.joints == ("joint_c",)
    assert robot.pose("b", {"joint_c": 0.3})[0, 3] == pytest.approx(0.2)
    assert robot.pose("a", {"joint_c": 0.3})[0, 3] == pytest.approx(2 * 0.2 + 0.5)


@pytest.mark.parametrize(
    ("mimics", "words"),
    [
        (
            ('<mimic joint="joint_x"/>', "", ""),
            "joint joint_a must mimic a joint that moves by itself; found 'joint_x'",
        ),
        (
            ('<mimic joint="joint_b"/>', '<mimic joint="joint_a"/>', ""),
            "joint joint_a must mimic a joint that moves",
        ),
        (('<mimic joint="joint_b" multiplier="two"/>', "", ""), "must be a URDF; "),
    ],
)
def test_a_mimic_joint_without_a_master_is_refused(mimics, words):
    with pytest.raises(ConfigError, match=words):
        UrdfKinematics(mimic_robot(*mimics))


def test_the_links_hang_on_each_other_as_described(small):
    assert small.parents == {
        "upper": "base_link",
        "fore": "upper",
        "camera_optical": "fore",
        "finger_l": "fore",
        "finger_r": "fore",
    }
    pytest.importorskip("mujoco")
    assert MujocoKinematics().parents["left_finger_l"] == "left_gripper"
