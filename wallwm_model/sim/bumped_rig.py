"""Random rigs around the simulated robot: cameras look at a board on the table, and mounts get bumped.

Each rig has its own lenses, mounts, board place and postures, and errors that nobody knows of: what
calibration leaves over in mounts and focal lengths, and what joint encoders get wrong.
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
from wallwm_model.sim.board import SQUARE_PX, Conditions, Lens, draw
from wallwm_model.sim.kinematics import BASE_POSITION, BASE_ROTATION, PINCH_OFFSET, arm_forward
from wallwm_model.sim.robot import HOME, JOINTS
from wallwm_model.transforms import inverse

SIZE = (640, 480)  # pictures [px]
BOARD = Board()
SEEN_MIN = 12  # corners: fewer in a posture, and another posture is drawn
# Postures are drawn from these ranges and kept if the wrist camera looks at the board [rad].
_LOW, _HIGH = np.array((-1.2, -1.3, -0.6, -1.4, -0.8, -1.6)), np.array((1.2, 0.9, 1.7, 1.4, 2.2, 1.6))
_BATCH, _ATTEMPTS = 4000, 100
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
            true[name],
            K=off,
            P=None,
            T_link_camera_optical=_exact(true[name].T_link_camera_optical @ residue),
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
    taken = _postures(trial.true, kinematics, board, postures, rng)
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
    centre = np.array((0.31, 0.0, 0.002)) + np.append(rng.uniform(-0.03, 0.03, 2), 0)
    T[:3, 3] = centre - T[:3, :3] @ BOARD.centre
    return T


def _postures(
    cameras: Mapping[str, CameraCalibration],
    kinematics: MujocoKinematics,
    board: np.ndarray,
    count: int,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Joint values (14,) in which both wrist cameras look at the board.

    Raises:
        SimulationError: a wrist camera that hardly ever sees it.
    """
    found = np.tile(HOME, (count, 1))
    for arm, camera in enumerate((cameras["wrist_cam_left"], cameras["wrist_cam_right"])):
        own, done = slice(7 * arm, 7 * arm + 6), 0
        for _ in range(_ATTEMPTS):
            for values in _looks(camera, arm, board, rng):
                found[done, own] = values
                done += len(corners(camera, kinematics, found[done], board)[0]) >= SEEN_MIN
                if done == count:
                    break
            if done == count:
                break
        else:
            raise SimulationError(f"{camera.name} must see the board at {count} postures; found {done}")
    return list(found)


def _looks(camera: CameraCalibration, arm: int, board: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(M, 6) joint values out of many random ones: a wrist camera is near, above and turned to the board."""
    joints = rng.uniform(_LOW, _HIGH, (_BATCH, 6))
    pinch, R = arm_forward(joints)
    gripper = pinch - R @ PINCH_OFFSET
    turn = BASE_ROTATION[arm]
    eye = BASE_POSITION[arm] + (gripper + R @ camera.T_link_camera_optical[:3, 3]) @ turn.T
    axis = (turn @ R @ camera.T_link_camera_optical[:3, 2, None])[..., 0]
    height = BASE_POSITION[arm][2] + pinch[:, 2]
    way = board[:3, 3] + board[:3, :3] @ BOARD.centre - eye
    distance = np.linalg.norm(way, axis=1)
    aimed = (way * axis).sum(axis=1) / distance > np.cos(np.radians(22))
    above = -way[:, 2] / distance > np.cos(np.radians(50))
    return joints[aimed & above & (distance > 0.15) & (distance < 0.36) & (height > 0.02)]
