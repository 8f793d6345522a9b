"""Random cameras on the simulated robot, and the pictures that a person calibrating them would take.

A rig is a lens, a mount and a board. The robot moves by inverse kinematics and reports joints as 12-bit encoders
do. Not simulated: joint zero errors, links that bend, a board that is not flat.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

from wallwm_model.calibration_tools.board import MARGIN, Board
from wallwm_model.errors import SimulationError
from wallwm_model.forward_kinematics import MujocoKinematics
from wallwm_model.sim import ik
from wallwm_model.sim.board import SQUARE_PX, Conditions, Lens, draw
from wallwm_model.sim.robot import ARM_JOINTS, HOME, JOINTS, LOWER, UPPER, arm_slice
from wallwm_model.transforms import inverse

SIZE = (640, 480)
ENCODER_RAD = 2 * np.pi / 4096
_ATTEMPTS = 4000
_PINCH = np.array((0.13, 0.0, 0.0))  # in the gripper's frame [m]


@dataclass(frozen=True)
class Rig:
    """One camera to be calibrated, with the truth about it.

    Attributes:
        camera: name of a camera of the robot `sim`.
        lens: intrinsics.
        camera_link, board_link: what carries camera and board; `world` for what is fixed.
        X: (4, 4) T_cameralink_optical [m].
        Z: (4, 4) T_boardlink_board [m].
        board: what is shown.
        seed: of everything random.
    """

    camera: str
    lens: Lens
    camera_link: str
    board_link: str
    X: np.ndarray
    Z: np.ndarray
    board: Board = field(default_factory=Board)
    seed: int = 0

    @cached_property
    def kinematics(self) -> MujocoKinematics:
        """Of the simulated robot."""
        return MujocoKinematics()

    @cached_property
    def printed(self) -> np.ndarray:
        """(h, w) uint8 the board's own picture."""
        return self.board.picture(SQUARE_PX)

    def picture(self, T_optical_board: np.ndarray, rng: np.random.Generator, conditions: Conditions) -> np.ndarray:
        """(H, W) uint8 grey picture of the board."""
        square, margin = self.board.square_m, MARGIN * SQUARE_PX
        return draw(self.lens, self.printed, square, margin, T_optical_board, rng, conditions)


def random_rig(
    seed: int, model: str | None = None, camera: str | None = None, board: Board | None = None
) -> Rig:
    """A rig; lens model and camera follow from the seed unless they are given."""
    board = board or Board()
    rng = np.random.default_rng(seed)
    model = model or ("plumb_bob", "equidistant", "plumb_bob", "equidistant", "rational_polynomial")[seed % 5]
    camera = camera or ("wrist_cam_left", "wrist_cam_right", "head_cam")[seed % 3]
    lens = random_lens(model, rng)
    if camera == "head_cam":
        X = _pose((0.045, 0, 0.80), _looking((0.045, 0, 0.80), (0.30, 0, 0.20)), rng, 0.02, 0.05)
        hold = np.array([(0, -1, 0), (-1, 0, 0), (0, 0, -1)], float)  # lies flat in the jaws, print upwards
        Z = _pose((0.12, 0.0, 0.0), hold, rng, 0.01, 0.10)
        Z[:3, 3] -= Z[:3, :3] @ (board.centre + (0, board.size_m[1] / 2, 0))  # held by the middle of its lower edge
        return Rig(camera, lens, "world", "left_gripper", X, Z, board, seed)
    arm = camera.removeprefix("wrist_cam_")
    tilt = _axes(np.array((0, -1, 0)), np.array((-0.39, 0, -0.92)))
    X = _pose((0.026, 0, 0.076), tilt, rng, 0.02, 0.08)
    side = 1 if arm == "left" else -1
    flat = np.array([(0, -1, 0), (-1, 0, 0), (0, 0, -1)], float)
    Z = _pose((0.30, side * 0.02, 0.0), flat, rng, 0.0, 0.0)
    Z[:3, 3] -= Z[:3, :3] @ board.centre
    return Rig(camera, lens, f"{arm}_gripper", "world", X, Z, board, seed)


def random_lens(model: str, rng: np.random.Generator) -> Lens:
    """A lens as cameras of this kind have: 50 to 80 degrees across, a fisheye 110 to 160."""
    width, height = SIZE
    f = rng.uniform(220, 300) if model == "equidistant" else rng.uniform(380, 680)
    centre = np.array(((width - 1) / 2, (height - 1) / 2)) + rng.uniform(-12, 12, 2)
    K = np.array([[f, 0, centre[0]], [0, f * rng.uniform(0.99, 1.01), centre[1]], [0, 0, 1]])
    if model == "equidistant":
        D = rng.uniform(-1, 1, 4) * (0.04, 0.02, 0.01, 0.004)
    else:
        D = np.array([rng.uniform(-0.35, 0.05), rng.uniform(0, 0.12), *rng.uniform(-1, 1, 2) * 1e-3, 0.0])
        D[4] = rng.uniform(-0.02, 0.02)
        if model == "rational_polynomial":
            D = np.concatenate([D, rng.uniform(-0.05, 0.05, 1), rng.uniform(0, 0.01, 1), (0.0,)])
    return Lens(K, model, tuple(D.tolist()), SIZE)


def board_views(rig: Rig, count: int, rng: np.random.Generator, conditions: Conditions | None = None) -> Iterator:
    """Pictures of a board held before the camera, spread and tilted as the guidance asks.

    Yields:
        (H, W) uint8 grey pictures and (4, 4) T_optical_board.
    """
    for number in range(count):
        pose = _held(rig, number, rng)
        yield rig.picture(pose, rng, conditions or _typical(rng)), pose


def robot_views(rig: Rig, count: int, rng: np.random.Generator, conditions: Conditions | None = None) -> Iterator:
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
    turn = _turn(np.array((np.cos(azimuth), np.sin(azimuth), 0)) * tilt) @ _turn((0, 0, rng.uniform(-0.6, 0.6)))
    R = _facing(ray) @ turn
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
    turn = _turn(np.array((np.cos(azimuth), np.sin(azimuth), 0)) * tilt) @ _turn((0, 0, rng.uniform(-np.pi, np.pi)))
    T_optical_board = _at(ray * distance, _facing(ray) @ turn, rig.board.centre)
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


def _pose(position, R: np.ndarray, rng: np.random.Generator, off_m: float, off_rad: float) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = R @ _turn(rng.uniform(-off_rad, off_rad, 3))
    T[:3, 3] = np.asarray(position) + rng.uniform(-off_m, off_m, 3)
    return T


def _at(centre: np.ndarray, R: np.ndarray, board_centre: np.ndarray) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, centre - R @ board_centre
    return T


def _turn(vector) -> np.ndarray:
    return cv2.Rodrigues(np.asarray(vector, np.float64))[0]


def _facing(ray: np.ndarray) -> np.ndarray:
    """(3, 3) of a board square to the line of sight, upright in the picture."""
    x = np.cross((0.0, 1.0, 0.0), ray)
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(ray, x), ray])


def _looking(eye, target) -> np.ndarray:
    """(3, 3) of an optical frame at `eye` that looks at `target`, its x axis to the robot's right."""
    z = np.subtract(target, eye)
    z = z / np.linalg.norm(z)
    x = np.cross(z, (0, 0, 1))
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(z, x), z])


def _axes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(3, 3) from the optical frame's x and y axes."""
    y = y / np.linalg.norm(y)
    return np.column_stack([x, y, np.cross(x, y)])
