"""Random rigs around the simulated robot whose cameras look at a board on the table, and mounts that get bumped.

Each rig has its own lenses, mounts, board place and postures, and errors that nobody knows of: what calibration
leaves over in mounts and focal lengths, and what joint encoders get wrong.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from wallwm_model.calibration import CameraCalibration
from wallwm_model.calibration_check import twists
from wallwm_model.calibration_check.noise import NoiseModel
from wallwm_model.calibration_check.snapshot import Snapshot
from wallwm_model.calibration_tools.board import MARGIN, Board
from wallwm_model.errors import SimulationError
from wallwm_model.forward_kinematics import MujocoKinematics
from wallwm_model.geometry import project
from wallwm_model.sim import ik
from wallwm_model.sim.board import SQUARE_PX, Conditions, Lens, draw
from wallwm_model.sim.robot import HOME, JOINTS
from wallwm_model.transforms import inverse

SIZE = (640, 480)  # pictures [px]
BOARD = Board()
SEEN_MIN = 12  # corners: fewer in a posture, and another posture is drawn
_ATTEMPTS = 400
_PINCH = np.array((0.13, 0.0, 0.0))  # in the gripper's frame [m]
_ANGLES = np.array([not name.endswith("gripper") for name in JOINTS], dtype=float)


@dataclass(frozen=True)
class Trial:
    """A rig as it really is, and as its calibration file says.

    Attributes:
        believed, true: calibrations.
        T_world_board: (4, 4).
        postures: joint values (14,) as they really were [rad, m].
    """

    believed: dict[str, CameraCalibration]
    true: dict[str, CameraCalibration]
    T_world_board: np.ndarray
    postures: list[np.ndarray]

    def off(self, camera: str) -> np.ndarray:
        """(6,) twist from where the calibration says the mount is to where it is."""
        return twists.log(
            inverse(self.believed[camera].T_link_camera_optical) @ self.true[camera].T_link_camera_optical
        )


def sample(
    cameras: Mapping[str, CameraCalibration],
    kinematics: MujocoKinematics,
    noise: NoiseModel,
    postures: int,
    rng: np.random.Generator,
) -> Trial:
    """A rig that nobody has touched: its calibration is off by what calibration leaves over, and no more."""
    true, believed = {}, {}
    for name, camera in cameras.items():
        K = camera.K.copy()
        K[:2, :2] *= SIZE[1] / camera.height * rng.uniform(0.9, 1.1)
        K[:2, 2] = (np.array(SIZE) - 1) / 2 + rng.uniform(-5, 5, 2)
        about = twists.exp(np.concatenate([_ball(0.02, rng), _ball(np.radians(5), rng)]))
        width, height = SIZE
        true[name] = dataclasses.replace(
            camera, width=width, height=height, K=K, P=None,
            T_link_camera_optical=_exact(camera.T_link_camera_optical @ about),
        )  # fmt: skip
        residue = twists.exp(
            np.concatenate([_ball(noise.mount_mm * 1e-3, rng), _ball(np.radians(noise.mount_deg), rng)])
        )
        off = K.copy()
        off[:2, :2] *= 1 + 1e-2 * noise.focal_pct * rng.uniform(-1, 1)
        believed[name] = dataclasses.replace(
            true[name], K=off, P=None, T_link_camera_optical=_exact(true[name].T_link_camera_optical @ residue)
        )
    return look_anew(Trial(believed, true, np.eye(4), []), kinematics, postures, rng)


def bump(trial: Trial, camera: str, move: float, turn: float, rng: np.random.Generator) -> Trial:
    """The rig after one camera's mount was moved [m] and turned [rad], each in a random direction."""
    shift = twists.exp(np.concatenate([move * _direction(rng), turn * _direction(rng)]))
    mount = _exact(trial.true[camera].T_link_camera_optical @ shift)
    moved = dataclasses.replace(trial.true[camera], T_link_camera_optical=mount)
    return dataclasses.replace(trial, true={**trial.true, camera: moved})


def look_anew(trial: Trial, kinematics: MujocoKinematics, postures: int, rng: np.random.Generator) -> Trial:
    """The same rig another day: the board lies elsewhere, the arms take other postures."""
    board = _place(rng)
    taken = [_posture(trial.true, kinematics, board, rng) for _ in range(postures)]
    return dataclasses.replace(trial, T_world_board=board, postures=taken)


def measured(joints: np.ndarray, noise: NoiseModel, rng: np.random.Generator) -> dict[str, float]:
    """(14,) true joint values -> what the encoders say."""
    values = joints + np.radians(noise.joint_deg) * rng.normal(size=joints.shape) * _ANGLES
    return dict(zip(JOINTS, values.tolist(), strict=True))


def pictures(
    trial: Trial, kinematics: MujocoKinematics, noise: NoiseModel, rng: np.random.Generator
) -> Iterator[Snapshot]:
    """The trial's postures as rendered pictures with blur and noise, and measured joints."""
    printed = BOARD.picture(SQUARE_PX)
    for truth in trial.postures:
        seen: dict[str, np.ndarray] = {}
        for name, camera in trial.true.items():
            lens = Lens(camera.K, camera.distortion_model, camera.D, (camera.width, camera.height))
            pose = board_in_camera(camera, kinematics, truth, trial.T_world_board)
            conditions = Conditions(blur_px=rng.uniform(0.5, 1.0), noise=rng.uniform(1.5, 4.0))
            grey = draw(lens, printed, BOARD.square_m, MARGIN * SQUARE_PX, pose, rng, conditions)
            seen[name] = np.repeat(grey[..., None], 3, axis=2)
        yield Snapshot(seen, measured(truth, noise, rng))


def board_in_camera(
    camera: CameraCalibration, kinematics: MujocoKinematics, joints: np.ndarray, T_world_board: np.ndarray
) -> np.ndarray:
    """(4, 4) T_optical_board."""
    link = kinematics.pose(camera.link, dict(zip(JOINTS, joints.tolist(), strict=True)))
    return inverse(link @ camera.T_link_camera_optical) @ T_world_board


def corners(
    camera: CameraCalibration, kinematics: MujocoKinematics, joints: np.ndarray, T_world_board: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ids (N,) and pixels (N, 2) of the board's corners in a camera's picture."""
    T = board_in_camera(camera, kinematics, joints, T_world_board)
    points = BOARD.corners @ T[:3, :3].T + T[:3, 3]
    ahead = points[:, 2] > 0.02
    ids, pixels = np.flatnonzero(ahead), project(camera, points[ahead])
    inside = ((pixels > 4) & (pixels < np.array([camera.width, camera.height]) - 5)).all(axis=1)
    return ids[inside], pixels[inside]


def _direction(rng: np.random.Generator) -> np.ndarray:
    v = rng.normal(size=3)
    return v / np.linalg.norm(v)


def _ball(radius: float, rng: np.random.Generator) -> np.ndarray:
    """A vector (3,) in a random direction, its length spread evenly up to `radius`."""
    return rng.uniform(0, radius) * _direction(rng)


def _exact(T: np.ndarray) -> np.ndarray:
    """Rounding taken out of a product of rotations."""
    u, _, v = np.linalg.svd(T[:3, :3])
    out = T.copy()
    out[:3, :3] = u @ v
    return out


def _place(rng: np.random.Generator) -> np.ndarray:
    """A board that lies on the table, face up (its z points down), somewhere in the middle."""
    yaw = rng.uniform(-np.pi, np.pi)
    T = np.eye(4)
    T[:3, :3] = np.array([(np.cos(yaw), np.sin(yaw), 0), (np.sin(yaw), -np.cos(yaw), 0), (0, 0, -1)])
    T[:3, 3] = np.array((0.31, 0.0, 0.002)) + np.append(rng.uniform(-0.03, 0.03, 2), 0) - T[:3, :3] @ BOARD.centre
    return T


def _posture(
    cameras: Mapping[str, CameraCalibration],
    kinematics: MujocoKinematics,
    board: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Joint values (14,) in which both wrist cameras look at the board."""
    joints = HOME.copy()
    for arm, camera in enumerate((cameras["wrist_cam_left"], cameras["wrist_cam_right"])):
        for _ in range(_ATTEMPTS):
            try:
                joints[7 * arm : 7 * arm + 6] = _look(camera, arm, board, rng)
            except SimulationError:
                continue
            if len(corners(camera, kinematics, joints, board)[0]) >= SEEN_MIN:
                break
        else:
            raise SimulationError(f"{camera.name} must be able to see the board; found no posture")
    return joints


def _look(camera: CameraCalibration, arm: int, board: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Joint values (6,) that make a wrist camera look at a point of the board from a random side.

    Raises:
        SimulationError: out of reach.
    """
    target = board[:3, 3] + board[:3, :3] @ (BOARD.centre * rng.uniform(0.5, 1.5, 3))
    side = np.array((0.0, 1.0 - 2 * arm, 0.0))
    tilt = rng.uniform(0.0, np.radians(40))
    swing = rng.uniform(-np.pi, np.pi)
    from_target = np.array((np.sin(tilt) * np.cos(swing), np.sin(tilt) * np.sin(swing), np.cos(tilt)))
    eye = target + rng.uniform(0.16, 0.34) * from_target
    z = -from_target
    x = np.cross(z, side)  # the gripper points away from its own base
    x /= np.linalg.norm(x)
    optical = np.eye(4)
    optical[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    roll = twists.exp(np.array([0, 0, 0, 0, 0, rng.uniform(-0.9, 0.9)]))
    optical[:3, 3] = eye
    gripper = optical @ roll @ inverse(camera.T_link_camera_optical)
    pinch = gripper[:3, 3] + gripper[:3, :3] @ _PINCH
    if pinch[2] < 0.02:
        raise SimulationError("the fingers must stay above the table")
    return ik.solve(*ik.to_base(arm, pinch, gripper[:3, :3]), HOME[:6])

