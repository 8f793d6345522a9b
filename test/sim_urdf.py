"""The simulated robot's kinematics as a URDF, written from its MuJoCo model: to compare both readers."""

from __future__ import annotations

import numpy as np

from wallwm_model.transforms import from_quaternion


def sim_urdf() -> str:
    """Links and joints of both arms; `*_gripper` is a prismatic joint that both fingers follow by half."""
    import mujoco

    from wallwm_model.sim.robot import build_model

    model = build_model()
    parts = ['<robot name="sim">', '<link name="world"/>']
    for body in range(1, model.nbody):
        name, parent = model.body(body).name, model.body(model.body_parentid[body]).name
        if not name.startswith(("left_", "right_")):
            continue
        arm = name.split("_")[0]
        parts.append(f'<link name="{name}"/>')
        if "finger" in name:
            kind, mimic = "prismatic", f'<mimic joint="{arm}_gripper" multiplier="0.5"/>'
        else:
            kind, mimic = ("revolute" if model.body_jntnum[body] else "fixed"), ""
        joint = model.joint(model.body_jntadr[body]) if model.body_jntnum[body] else None
        assert joint is None or not joint.pos.any()
        assert joint is None or kind != "revolute" or model.jnt_type[joint.id] == mujoco.mjtJoint.mjJNT_HINGE
        axis = _numbers(joint.axis) if joint else "0 0 1"
        parts += [
            f'<joint name="{joint.name if joint else name + "_mount"}" type="{kind}">',
            f'<parent link="{parent}"/><child link="{name}"/><axis xyz="{axis}"/>{mimic}',
            f'<origin xyz="{_numbers(model.body_pos[body])}" rpy="{_numbers(_rpy(model.body_quat[body]))}"/>',
            '<limit lower="-4" upper="4" effort="1" velocity="1"/></joint>',
        ]
    for arm in ("left", "right"):
        parts += [
            f'<link name="{arm}_opening"/><joint name="{arm}_gripper" type="prismatic">',
            f'<parent link="{arm}_gripper"/><child link="{arm}_opening"/><axis xyz="0 1 0"/>',
            '<limit lower="0" upper="1" effort="1" velocity="1"/></joint>',
        ]
    return "\n".join([*parts, "</robot>"])


def _rpy(wxyz: np.ndarray) -> np.ndarray:
    R = from_quaternion(np.zeros(3), np.roll(wxyz, -1))[:3, :3]
    roll, yaw = np.arctan2(R[2, 1], R[2, 2]), np.arctan2(R[1, 0], R[0, 0])
    return np.array([roll, np.arctan2(-R[2, 0], np.hypot(R[2, 1], R[2, 2])), yaw])


def _numbers(values: np.ndarray) -> str:
    return " ".join(repr(float(v)) for v in values)
