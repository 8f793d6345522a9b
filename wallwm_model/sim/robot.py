"""The simulated two-arm robot: joint names, limits, home posture and its MuJoCo model."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from wallwm_model.captions import ARMS

ARM_JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
JOINTS = tuple(f"{arm}_{joint}" for arm in ARMS for joint in (*ARM_JOINTS, "gripper"))
CAMERAS = ("head_cam", "wrist_cam_left", "wrist_cam_right")
# What the MuJoCo model calls them: the arm is attached twice, with a prefix.
MODEL_CAMERA = dict(zip(CAMERAS, ("head_cam", "left_wrist_cam", "right_wrist_cam")))

# Base frame in the world: the arms stand at the table's sides and face each other.
BASE_XYZ = {"left": (0.30, 0.45, 0.0), "right": (0.30, -0.45, 0.0)}  # [m]
BASE_YAW = {"left": -np.pi / 2, "right": np.pi / 2}  # [rad]

GRIPPER_OPEN = 0.084  # distance between the finger pads [m]
GRIPPER_CLOSED = 0.010  # commanded when holding: narrower than any cube, so that the pads press [m]
TIMESTEP = 0.005  # physics [s]

_ARM_HOME = (0.0, -1.10, 1.20, 0.0, 1.10, 0.0, GRIPPER_OPEN)
HOME = np.array(_ARM_HOME * 2)  # (14,) [rad, m]
_LOWER = (-1.9, -1.85, -1.75, -2.6, -1.9, -3.0, 0.0)
_UPPER = (1.9, 1.25, 1.75, 2.6, 2.2, 3.0, 0.088)
LOWER = np.array(_LOWER * 2)  # (14,) joint limits [rad, m]
UPPER = np.array(_UPPER * 2)

# Mirroring a posture about the world's y = 0 plane: swap the arms, then negate waist and the two rolls.
MIRROR_SIGN = np.array((-1.0, 1.0, 1.0, -1.0, 1.0, -1.0, 1.0) * 2)

_FOLDER = Path(__file__).parent


def arm_slice(arm: str) -> slice:
    """Where one arm's seven values lie in a state or action vector."""
    return slice(0, 7) if arm == "left" else slice(7, 14)


def mirror_joints(joints: np.ndarray) -> np.ndarray:
    """(..., 14) joint values [rad, m] -> the posture mirrored left-right."""
    return np.concatenate([joints[..., 7:], joints[..., :7]], axis=-1) * MIRROR_SIGN.astype(joints.dtype)


def build_spec():
    """The whole scene as an `mujoco.MjSpec`: table, pads, cubes, and the one arm attached twice."""
    import mujoco

    spec = mujoco.MjSpec.from_file(str(_FOLDER / "scene.xml"))
    for arm in ARMS:
        yaw = BASE_YAW[arm] / 2
        frame = spec.worldbody.add_frame(pos=BASE_XYZ[arm], quat=[np.cos(yaw), 0.0, 0.0, np.sin(yaw)])
        child = mujoco.MjSpec.from_file(str(_FOLDER / "arm.xml"))
        spec.attach(child, prefix=f"{arm}_", frame=frame)
    return spec


def build_model():
    """Compile the whole scene to an `mujoco.MjModel`."""
    return build_spec().compile()


@lru_cache(maxsize=1)
def arm_model():
    """One arm alone, in its own base frame: what inverse kinematics works on."""
    import mujoco

    return mujoco.MjModel.from_xml_path(str(_FOLDER / "arm.xml"))
