"""The robot's constants say the same as its MuJoCo model."""

import mujoco
import numpy as np
import pytest

from wallwm_model.captions import ARMS
from wallwm_model.errors import SimulationError
from wallwm_model.sim import ik, kinematics, robot


@pytest.fixture(scope="module")
def model():
    return robot.build_model()


def test_actuators_follow_the_joint_order(model):
    assert tuple(model.actuator(i).name for i in range(model.nu)) == robot.JOINTS


def test_limits_match_the_model(model):
    for index, name in enumerate(robot.JOINTS):
        arm = name.split("_")[0]
        if name.endswith("gripper"):
            both = [model.joint(f"{arm}_finger_{side}").range for side in "lr"]
            low, high = np.sum(both, axis=0)
        else:
            low, high = model.joint(name).range
        assert (robot.LOWER[index], robot.UPPER[index]) == pytest.approx((low, high))
    assert ((robot.HOME > robot.LOWER) & (robot.HOME < robot.UPPER)).all()


def test_forward_kinematics_equals_mujoco(model):
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    joints = rng.uniform(robot.LOWER, robot.UPPER, (20, 14))
    position, rotation = kinematics.forward(joints)
    assert position.shape == (20, 2, 3) and rotation.shape == (20, 2, 3, 3)
    for row in range(20):
        for index, name in enumerate(robot.JOINTS):
            if not name.endswith("gripper"):
                data.joint(name).qpos = joints[row, index]
        mujoco.mj_kinematics(model, data)
        for side, arm in enumerate(ARMS):
            site = data.site(f"{arm}_pinch")
            np.testing.assert_allclose(position[row, side], site.xpos, atol=1e-9)
            np.testing.assert_allclose(rotation[row, side].ravel(), site.xmat, atol=1e-9)


def test_forward_kinematics_takes_one_posture():
    position, rotation = kinematics.forward(robot.HOME)
    assert position.shape == (2, 3) and rotation.shape == (2, 3, 3)
    assert position[0] == pytest.approx(position[1] * (1, -1, 1))


def test_mirroring_a_posture_mirrors_the_hands():
    joints = np.random.default_rng(1).uniform(robot.LOWER, robot.UPPER)
    there = kinematics.forward(joints)[0]
    mirrored = kinematics.forward(robot.mirror_joints(joints))[0]
    np.testing.assert_allclose(mirrored, there[::-1] * (1, -1, 1), atol=1e-12)
    np.testing.assert_allclose(robot.mirror_joints(robot.mirror_joints(joints)), joints)


@pytest.mark.parametrize("arm", ARMS)
def test_inverse_kinematics_comes_back_to_the_pose(arm):
    side, joints = ARMS.index(arm), np.array((0.2, -0.3, 0.6, 0.1, 1.1, -0.4))
    position, rotation = kinematics.arm_forward(joints)
    found = ik.solve(position, rotation, joints + 0.2)
    np.testing.assert_allclose(kinematics.arm_forward(found)[0], position, atol=3e-4)
    world = kinematics.BASE_POSITION[side] + kinematics.BASE_ROTATION[side] @ position
    back, _ = ik.to_base(side, world, rotation)
    np.testing.assert_allclose(back, position, atol=1e-12)


def test_inverse_kinematics_refuses_what_is_out_of_reach():
    with pytest.raises(SimulationError, match="within the arm's reach"):
        ik.solve(np.array((2.0, 0.0, 0.1)), np.eye(3), robot.HOME[:6])
