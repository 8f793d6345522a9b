"""Least squares over everything that may be off at once: the board, the mounts, the focal lengths."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wallwm_model.calibration_check import twists
from wallwm_model.calibration_check.noise import NoiseModel
from wallwm_model.calibration_check.prior import PER_CAMERA, Prior
from wallwm_model.calibration_check.sighting import Sighting
from wallwm_model.transforms import inverse

_ITERATIONS = 8
_CONVERGED = 1e-7  # step [m, rad]


@dataclass(frozen=True)
class Adjustment:
    """The most likely state of the rig, given which parts may have moved.

    Attributes:
        released: cameras whose mounts may be anywhere, and `BOARD` if it may have moved.
        square_sum: what remains unexplained, in squared standard deviations; chi-square if `released` is
            right.
        T_world_board: (4, 4).
        unknowns: (7 C,) mounts and focal lengths, as in `prior`.
        covariance: (6 + 7 C, 6 + 7 C) of board, mounts and focal lengths.
        data: (6 + 7 C, 6 + 7 C) information that the sightings alone carry.
    """

    released: frozenset[str]
    square_sum: float
    T_world_board: np.ndarray
    unknowns: np.ndarray
    covariance: np.ndarray
    data: np.ndarray


class Rig:
    """Calibrated mounts, and what was seen.

    Args:
        mounts: camera -> T_link_camera_optical (4, 4), as calibrated.
        sightings: at least one.
        noise: of a rig that nobody has touched.
        prior: what was known before; None: what the noise model leaves of the calibration.
    """

    def __init__(
        self,
        mounts: Mapping[str, np.ndarray],
        sightings: Sequence[Sighting],
        noise: NoiseModel,
        prior: Prior | None = None,
    ) -> None:
        self.sightings, self.noise = tuple(sightings), noise
        seen = {sighting.camera for sighting in sightings}
        self.cameras = tuple(name for name in mounts if name in seen)
        self.prior = prior.reduced(self.cameras) if prior else Prior.of_calibration(self.cameras, noise)
        self._mounts = {name: mounts[name] for name in self.cameras}
        self.pixel = {name: self._pixel_sigma(name) for name in self.cameras}
        self._start = self._first_board()
        self._weights = [np.linalg.inv(self._covariance(sighting)) for sighting in self.sightings]

    def _pixel_sigma(self, camera: str) -> float:
        """Standard deviation of a camera's corners [px], from how well they fit a flat board at all."""
        own = [sighting for sighting in self.sightings if sighting.camera == camera]
        freedom = sum(2 * sighting.corners - 6 for sighting in own)
        square = sum(sighting.square_sum for sighting in own) / freedom
        return max(float(np.sqrt(square)), self.noise.pixel_floor)

    def _first_board(self) -> np.ndarray:
        sighting = max(self.sightings, key=lambda one: np.linalg.det(one.information))
        return sighting.T_world_link @ self._mounts[sighting.camera] @ sighting.T_camera_board

    def columns(self, camera: str) -> slice:
        """Where a camera's mount stands among all unknowns."""
        start = 6 + PER_CAMERA * self.cameras.index(camera)
        return slice(start, start + 6)

    def adjust(self, released: Collection[str] = ()) -> Adjustment:
        """Solve with some parts set free. All mounts free at once would leave nothing to measure against."""
        released = frozenset(released)
        information = self.prior.information(released)
        board, unknowns = self._start, self.prior.mean.copy()
        for _ in range(_ITERATIONS):
            data, b, _ = self._equations(board, unknowns)
            off = self._off(board, unknowns)
            step = np.linalg.solve(data + information, b - information @ off)
            board, unknowns = board @ twists.exp(step[:6]), self._moved(unknowns, step[6:])
            if np.abs(step).max() < _CONVERGED:
                break
        data, _, square = self._equations(board, unknowns)
        off = self._off(board, unknowns)
        square += float(off @ information @ off)
        return Adjustment(released, square, board, unknowns, np.linalg.inv(data + information), data)

    def _off(self, board: np.ndarray, unknowns: np.ndarray) -> np.ndarray:
        """(6 + 7 C,) from what the prior expects."""
        place = self.prior.board
        twist = np.zeros(6) if place is None else twists.log(inverse(place) @ board)
        return np.concatenate([twist, unknowns - self.prior.mean])

    def _moved(self, unknowns: np.ndarray, step: np.ndarray) -> np.ndarray:
        out = unknowns + step
        for start in range(0, len(out), PER_CAMERA):
            own = slice(start, start + 6)
            out[own] = twists.log(twists.exp(unknowns[own]) @ twists.exp(step[own]))
        return out

    def _equations(self, board: np.ndarray, unknowns: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Normal matrix, right-hand side and weighted sum of squares of the sightings at a state."""
        size = 6 + len(unknowns)
        A, b, square = np.zeros((size, size)), np.zeros(size), 0.0
        moved = unknowns.reshape(-1, PER_CAMERA)
        mounts = {
            name: self._mounts[name] @ twists.exp(own[:6])
            for name, own in zip(self.cameras, moved, strict=True)
        }
        for sighting, weight in zip(self.sightings, self._weights, strict=True):
            at = self.columns(sighting.camera)
            focal = unknowns[at.stop - 6]
            expected = inverse(sighting.T_world_link @ mounts[sighting.camera]) @ board
            error = twists.log(sighting.T_camera_board @ inverse(expected)) - sighting.focal * focal
            J = np.zeros((6, size))
            J[:, :6], J[:, at], J[:, at.stop] = twists.adjoint(expected), -np.eye(6), sighting.focal
            A += J.T @ weight @ J
            b += J.T @ weight @ error
            square += float(error @ weight @ error)
        return A, b, square

    def _covariance(self, sighting: Sighting) -> np.ndarray:
        """(6, 6) of a sighting's twist in the optical frame: corner noise, and joints as measured."""
        mount = self._mounts[sighting.camera]
        corners = self.pixel[sighting.camera] ** 2 * np.linalg.inv(sighting.information)
        joints = sighting.joint_jacobian * self.noise.joint_sigma(sighting.joint_jacobian)
        J = twists.adjoint(inverse(mount)) @ joints
        return corners + J @ J.T

    def shift(self, state: Adjustment, camera: str) -> tuple[np.ndarray, np.ndarray]:
        """Twist (6,) of a mount since the prior, in the optical frame, and its covariance (6, 6)."""
        at = self.columns(camera)
        own = slice(at.start - 6, at.stop - 6)
        moved = inverse(twists.exp(self.prior.mean[own])) @ twists.exp(state.unknowns[own])
        return twists.log(moved), state.covariance[at, at]

    def board_shift(self, state: Adjustment) -> tuple[np.ndarray, np.ndarray]:
        """Twist (6,) of the board from its stored place, in the board's frame, and its covariance (6, 6)."""
        twist = twists.log(inverse(self.prior.board) @ state.T_world_board)
        return twist, state.covariance[:6, :6] + self.prior.covariance[:6, :6]

    def sensitivity(self, state: Adjustment, camera: str) -> np.ndarray:
        """(6, 6) S: a shift d of this mount raises the unexplained sum by d' S d, if it is held."""
        information = self.prior.information(state.released - {camera})
        response = state.data @ np.linalg.solve(state.data + information, information)
        at = self.columns(camera)
        return (response[at, at] + response[at, at].T) / 2

    def baseline(self, state: Adjustment) -> Prior:
        """What is known now, for a later check."""
        return Prior(self.cameras, state.unknowns, state.covariance, state.T_world_board)
