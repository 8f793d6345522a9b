"""Random cameras on the simulated robot, to be calibrated; `calibration_views` takes the pictures.

A rig is a lens, a mount and a board. The robot moves by inverse kinematics and reports joints as 12-bit
encoders do. Not simulated: joint zero errors, links that bend, a board that is not flat.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

from wallwm_model.calibration_tools.board import MARGIN, Board
from wallwm_model.forward_kinematics import MujocoKinematics
from wallwm_model.sim.board import SQUARE_PX, Conditions, Lens, draw

SIZE = (640, 480)


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

    def picture(
        self, T_optical_board: np.ndarray, rng: np.random.Generator, conditions: Conditions
    ) -> np.ndarray:
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
        Z[:3, 3] -= Z[:3, :3] @ (
            board.centre + (0, board.size_m[1] / 2, 0)
        )  # held by the middle of its lower edge
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


def _pose(position, R: np.ndarray, rng: np.random.Generator, off_m: float, off_rad: float) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = R @ turn(rng.uniform(-off_rad, off_rad, 3))
    T[:3, 3] = np.asarray(position) + rng.uniform(-off_m, off_m, 3)
    return T


def turn(vector) -> np.ndarray:
    """(3, 3) of a rotation vector [rad]."""
    return cv2.Rodrigues(np.asarray(vector, np.float64))[0]


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
