"""One camera sees the board once: where the board is in front of it, and how well the picture tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from wallwm_model.calibration import CameraCalibration
from wallwm_model.calibration_check import twists
from wallwm_model.errors import ObservationError
from wallwm_model.forward_kinematics import ForwardKinematics
from wallwm_model.geometry import camera_rays
from wallwm_model.transforms import inverse

MIN_CORNERS = 6
BUMP, FAR = np.radians(4.0), np.radians(30.0)  # how far a bump turns a board, and a wrong tilt [rad]
_ITERATIONS = 12


@dataclass(frozen=True)
class Sighting:
    """Where one camera saw the board, at one posture of the robot.

    Attributes:
        camera: its name.
        posture: number of the posture, the same for cameras that looked at the same moment.
        T_camera_board: (4, 4) board in the optical frame [m].
        information: (6, 6) inverse covariance of its left twist in the optical frame, for corners to 1 px.
        focal: (6,) by how much that twist changes per unit of relative error in the focal length.
        T_world_link: (4, 4) link that carries the camera, from forward kinematics [m].
        joint_jacobian: (6, J) twist of that link, in its own frame, per radian or metre of each joint.
        square_sum: sum of squared reprojection errors [px^2], of `corners` corners.
    """

    camera: str
    posture: int
    T_camera_board: np.ndarray
    information: np.ndarray
    focal: np.ndarray
    T_world_link: np.ndarray
    joint_jacobian: np.ndarray
    square_sum: float
    corners: int


def sight(
    calibration: CameraCalibration,
    posture: int,
    points: np.ndarray,
    pixels: np.ndarray,
    kinematics: ForwardKinematics,
    joints: Mapping[str, float],
) -> tuple[Sighting, ...]:
    """What one picture's corners say; two candidates, because a board seen from afar may tilt either way.

    Args:
        calibration: of the camera.
        posture: number of the posture.
        points: (N, 3) corners in the board's frame [m].
        pixels: (N, 2) where they were seen [px], in the calibration's convention.
        kinematics: of the robot.
        joints: joint name -> measured value [rad, m].

    Raises:
        ObservationError: fewer than `MIN_CORNERS` corners.
    """
    around = _around(calibration, pixels)
    known = np.isfinite(around).all(axis=(1, 2))  # not where a fisheye looks backwards
    points, around = points[known], around[known]
    if len(points) < MIN_CORNERS:
        raise ObservationError(
            f"{calibration.name} must see at least {MIN_CORNERS} corners of the board; found {len(points)}"
        )
    rays = np.ascontiguousarray(around[:, 0])
    scale = np.linalg.inv(np.stack([around[:, 1] - around[:, 2], around[:, 3] - around[:, 4]], axis=-1))
    T_world_link = kinematics.pose(calibration.link, joints)
    jacobian = link_jacobian(kinematics, calibration.link, joints)
    found = []
    for guess in _guesses(points, rays):
        pose, J, focal, residual = _refine(points, rays, scale, guess)
        information = J.T @ J
        found.append(
            Sighting(
                calibration.name,
                posture,
                pose,
                information,
                np.linalg.solve(information, J.T @ focal),
                T_world_link,
                jacobian,
                float(residual @ residual),
                len(points),
            )
        )
    return tuple(found)


def _around(calibration: CameraCalibration, pixels: np.ndarray) -> np.ndarray:
    """(N, 2) pixels -> (N, 5, 2) on the plane z = 1: the pixel, and half a pixel right, left, down, up."""
    half = np.array([(0.0, 0.0), (0.5, 0.0), (-0.5, 0.0), (0.0, 0.5), (0.0, -0.5)])
    rays = camera_rays(calibration, (pixels[:, None] + half).reshape(-1, 2))
    return rays[:, :2].reshape(-1, 5, 2)


def _guesses(points: np.ndarray, rays: np.ndarray) -> list[np.ndarray]:
    """The one or two poses (4, 4) in which a flat board looks as it was seen."""
    import cv2

    count, turns, shifts, _ = cv2.solvePnPGeneric(
        np.ascontiguousarray(points), np.ascontiguousarray(rays), np.eye(3), None, flags=cv2.SOLVEPNP_IPPE
    )
    poses = []
    for turn, shift in zip(turns[:count], shifts[:count], strict=True):
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(turn)[0], np.ravel(shift)
        if pose[2, 3] > 0:
            poses.append(pose)
    if not poses:
        raise ObservationError("the board's corners must lie in front of the camera; found no such pose")
    return poses


def _refine(
    points: np.ndarray, rays: np.ndarray, scale: np.ndarray, pose: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Least squares over the pose -> pose, Jacobian (2N, 6) [px], focal effect (2N,), residual (2N,)."""
    damping = 1e-6
    residual, J = _project(points, rays, scale, pose)
    for _ in range(_ITERATIONS):
        A = J.T @ J
        step = np.linalg.solve(A + damping * np.diag(np.diag(A)), J.T @ residual)
        trial = twists.exp(step) @ pose
        new, new_J = _project(points, rays, scale, trial)
        if new @ new > residual @ residual:
            damping *= 100
            continue
        pose, residual, J = trial, new, new_J
        if np.abs(step).max() < 1e-9:
            break
    # A focal length that is off by a share s moves every corner by s times its distance from the axis.
    focal = np.einsum("nij,nj->ni", scale, rays).ravel()
    return pose, J, focal, residual


def _project(
    points: np.ndarray, rays: np.ndarray, scale: np.ndarray, pose: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Observed minus predicted (2N,) [px], and the derivative (2N, 6) of the prediction by a left twist."""
    x, y, z = (points @ pose[:3, :3].T + pose[:3, 3]).T
    u, v, nil = x / z, y / z, np.zeros_like(z)
    flat = np.stack(
        [
            np.stack([1 / z, nil, -u / z, -u * v, 1 + u * u, -v], axis=-1),
            np.stack([nil, 1 / z, -v / z, -1 - v * v, u * v, u], axis=-1),
        ],
        axis=1,
    )  # (N, 2, 6)
    residual = np.einsum("nij,nj->ni", scale, rays - np.stack([u, v], axis=-1))
    return residual.ravel(), np.einsum("nij,njk->nik", scale, flat).reshape(-1, 6)


def link_jacobian(
    kinematics: ForwardKinematics, link: str, joints: Mapping[str, float], step: float = 1e-5
) -> np.ndarray:
    """(6, J) twist of a link in its own frame per unit of each joint, in the order of `joints`."""
    start = kinematics.pose(link, joints)
    back = inverse(start)
    columns = []
    for name, value in joints.items():
        moved = kinematics.pose(link, {**joints, name: value + step})
        columns.append(twists.log(back @ moved) / step)
    return np.stack(columns, axis=1) if columns else np.zeros((6, 0))


def choose_tilts(candidates: list[tuple[Sighting, ...]], mounts: Mapping[str, np.ndarray]) -> list[Sighting]:
    """Of every picture's candidates the one that agrees best with what all pictures say of the board.

    Args:
        candidates: per picture, one or two sightings.
        mounts: camera -> T_link_camera_optical (4, 4), as calibrated.
    """

    def board(sighting: Sighting) -> np.ndarray:
        return sighting.T_world_link @ mounts[sighting.camera] @ sighting.T_camera_board

    normals = [np.stack([board(s)[:3, 2] for s in group]) for group in candidates]
    everything = np.concatenate(normals)
    # A bump turns a normal by degrees; the wrong tilt turns it by tens of degrees, each time another way.
    angles = [np.arccos(np.clip(group @ everything.T, -1, 1)) for group in normals]
    votes = np.sum([np.minimum(angle.min(axis=0), FAR) for angle in angles], axis=0)
    best = int(votes.argmin())
    return [_tilt(group, angle[:, best]) for group, angle in zip(candidates, angles, strict=True)]


def _tilt(group: tuple[Sighting, ...], angles: np.ndarray) -> Sighting:
    """The candidate that fits both its picture and the others' normal (`angles` to it [rad])."""
    sums = np.array([sighting.square_sum for sighting in group])
    variance = max(sums.min() / (2 * group[0].corners - 6), 1e-6)
    return group[int((sums / variance + (angles / BUMP) ** 2).argmin())]
