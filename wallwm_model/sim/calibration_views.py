"""Pictures that a person takes to calibrate a rig: a board before the camera, the robot in many postures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from wallwm_model.errors import SimulationError
from wallwm_model.sim import ik
from wallwm_model.sim.board import Conditions
from wallwm_model.sim.calibration_rig import Rig, turn
from wallwm_model.sim.robot import ARM_JOINTS, HOME, JOINTS, LOWER, UPPER, arm_slice
from wallwm_model.transforms import inverse

ENCODER_RAD = 2 * np.pi / 4096
_ATTEMPTS = 4000
_PINCH = np.array((0.13, 0.0, 0.0))  # in the gripper's frame [m]


def board_views(
    rig: Rig, count: int, rng: np.random.Generator, conditions: Conditions | None = None
) -> Iterator:
    """Pictures of a board held before the camera, spread and tilted as the guidance asks.

    Yields:
        (H, W) uint8 grey pictures and (4, 4) T_optical_board.
    """
    for number in range(count):
        pose = _held(rig, number, rng)
        yield rig.picture(pose, rng, conditions or _typical(rng)), pose


def robot_views(
    rig: Rig, count: int, rng: np.random.Generator, conditions: Conditions | None = None
) -> Iterator:
    """Pictures taken with the robot in `count` postures, the board in sight.

    Yields:
        (H, W) uint8 grey pictures and measured joints, name -> position [rad, m].

    Raises:
        SimulationError: the robot reaches too few postures.
    """
    made = 0
    for _ in range(_ATTEMPTS):
        posture = _posture(rig, rng)
        if posture is None:
            continue
        joints, T_optical_board = posture
        yield rig.picture(T_optical_board, rng, conditions or _typical(rng)), measured(joints)
        made += 1
        if made == count:
            return
    raise SimulationError(f"the robot must reach {count} postures that show the board; found {made}")


def measured(joints: np.ndarray) -> dict[str, float]:
    """(14,) true positions -> what encoders report."""
    return {name: float(np.rint(q / ENCODER_RAD) * ENCODER_RAD) for name, q in zip(JOINTS, joints)}


def _typical(rng: np.random.Generator) -> Conditions:
    return Conditions(blur_px=rng.uniform(0.5, 1.0), noise=rng.uniform(1.5, 4.0), shade=rng.uniform(0, 0.4))


def _held(rig: Rig, number: int, rng: np.random.Generator) -> np.ndarray:
    """Board centre at a random place of the picture, tilted towards all sides in turn."""
    width, height = rig.lens.size
    columns, rows = 4, 3  # regions in turn, so that no corner of the picture is forgotten
    cell = rng.permutation(columns * rows)[0] if number >= columns * rows else number
    place = np.array((cell % columns + rng.uniform(), cell // columns + rng.uniform())) / (columns, rows)
    pixel = (0.12 + 0.76 * place) * (width, height)
    ray = rig.lens.unproject(pixel)
    share = rng.uniform(0.40, 0.85)
    distance = rig.lens.K[0, 0] * rig.board.size_m[0] / (width * share)
    azimuth, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 0.8)
    tilted = turn(np.array((np.cos(azimuth), np.sin(azimuth), 0)) * tilt) @ turn(
        (0, 0, rng.uniform(-0.6, 0.6))
    )
    R = _facing(ray) @ tilted
    return _at(ray * distance, R, rig.board.centre)


def _posture(rig: Rig, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """Joints (14,) and T_optical_board of a random view, or None where the robot does not get there."""
    width, height = rig.lens.size
    fixed = rig.camera_link == "world"
    pixel = np.array((rng.uniform(0.3, 0.7) * width, rng.uniform(0.3, 0.7) * height))
    ray = rig.lens.unproject(pixel)
    share = rng.uniform(0.25, 0.45) if fixed else rng.uniform(0.45, 0.80)
    distance = np.clip(rig.lens.K[0, 0] * rig.board.size_m[0] / (width * share), 0.15, 0.70)
    azimuth, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.7)
    tilted = turn(np.array((np.cos(azimuth), np.sin(azimuth), 0)) * tilt) @ turn(
        (0, 0, rng.uniform(-np.pi, np.pi))
    )
    T_optical_board = _at(ray * distance, _facing(ray) @ tilted, rig.board.centre)
    if fixed:
        gripper, T_world_gripper = rig.board_link, rig.X @ T_optical_board @ inverse(rig.Z)
    else:
        gripper, T_world_gripper = rig.camera_link, rig.Z @ inverse(T_optical_board) @ inverse(rig.X)
    joints = _reach(gripper.removesuffix("_gripper"), T_world_gripper, rng)
    if joints is None:
        return None
    by_name = dict(zip(JOINTS, joints))
    pose = rig.kinematics.pose
    T_optical_board = inverse(pose(rig.camera_link, by_name) @ rig.X) @ pose(rig.board_link, by_name) @ rig.Z
    return joints, T_optical_board


def _reach(arm: str, T_world_gripper: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """(14,) joints with this arm's gripper at the pose, the other arm at home; None: out of reach."""
    own = arm_slice(arm)
    position = T_world_gripper[:3, 3] + T_world_gripper[:3, :3] @ _PINCH
    if position[2] < 0.02:
        return None
    place = ik.to_base(0 if arm == "left" else 1, position, T_world_gripper[:3, :3])
    seed = HOME[own][:6] + rng.normal(0, 0.3, 6)
    low, high = LOWER[own][:6], UPPER[own][:6]
    try:
        values = ik.solve(*place, np.clip(seed, low + 1e-3, high - 1e-3))
    except SimulationError:
        return None
    joints = HOME.copy()
    joints[own][: len(ARM_JOINTS)] = values
    return joints


def _at(centre: np.ndarray, R: np.ndarray, board_centre: np.ndarray) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, centre - R @ board_centre
    return T


def _facing(ray: np.ndarray) -> np.ndarray:
    """(3, 3) of a board square to the line of sight, upright in the picture."""
    x = np.cross((0.0, 1.0, 0.0), ray)
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(ray, x), ray])
