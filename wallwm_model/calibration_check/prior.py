"""What is known of a rig before anybody looks: what calibration leaves over, or an earlier check's outcome.

Unknowns, in this order: the board's twist (6) in its own frame, then for each camera the twist of its mount
(6) in its own optical frame and the relative error of its focal length (1). Twists count from the calibrated
place.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wallwm_model.calibration import CameraCalibration
from wallwm_model.calibration_check.noise import NoiseModel
from wallwm_model.errors import ConfigError

BOARD = "board"  # stands beside camera names for "the board is not where it was"
PER_CAMERA = 7
_FREE = 1e-9  # weight left on something released [1/m^2, 1/rad^2]: keeps what nobody saw solvable
# What an untouched mount and lens may change by until the next check [mm], [degrees], [share].
_SETTLING = np.array([2e-4] * 3 + [np.radians(0.02)] * 3 + [2e-4])


@dataclass(frozen=True)
class Prior:
    """A Gaussian over the unknowns.

    Attributes:
        cameras: names, in the order of the unknowns.
        mean: (7 C,) of mounts and focal lengths.
        covariance: (6 + 7 C, 6 + 7 C).
        board: T_world_board (4, 4) when the rig was known to be good; None: not known.
    """

    cameras: tuple[str, ...]
    mean: np.ndarray
    covariance: np.ndarray
    board: np.ndarray | None = None

    @classmethod
    def of_calibration(cls, cameras: Sequence[str], noise: NoiseModel) -> Prior:
        """Nothing but a calibration that is as good as its noise model says."""
        each = np.append(noise.mount_sigma, noise.focal_sigma)
        sigma = np.concatenate([np.ones(6), np.tile(each, len(cameras))])
        return cls(tuple(cameras), np.zeros(PER_CAMERA * len(cameras)), np.diag(sigma**2))

    @property
    def parts(self) -> tuple[str, ...]:
        """What may be found off: the cameras, and the board if its place is known."""
        return self.cameras + ((BOARD,) if self.board is not None else ())

    def reduced(self, cameras: Sequence[str]) -> Prior:
        """The same for some of the cameras."""
        if set(cameras) - set(self.cameras):
            missing = ", ".join(sorted(set(cameras) - set(self.cameras)))
            raise ConfigError(f"the baseline must cover every camera that saw the board; {missing} missing")
        index = [6 + PER_CAMERA * self.cameras.index(name) + k for name in cameras for k in range(PER_CAMERA)]
        keep = [*range(6), *index]
        mean = self.mean[np.array(index, dtype=int) - 6]
        return Prior(tuple(cameras), mean, self.covariance[np.ix_(keep, keep)], self.board)

    def information(self, released: Collection[str]) -> np.ndarray:
        """(6 + 7 C, 6 + 7 C) inverse covariance of what is held; what is released is left free."""
        held = [] if self.board is None or BOARD in released else list(range(6))
        for index, name in enumerate(self.cameras):
            start = 6 + PER_CAMERA * index
            held += range(start + 6 if name in released else start, start + PER_CAMERA)
        out = np.zeros_like(self.covariance)
        out[np.ix_(held, held)] = np.linalg.inv(self.covariance[np.ix_(held, held)])
        free = np.setdiff1d(np.arange(len(out)), held)
        out[free, free] = _FREE
        return out

    def settled(self) -> Prior:
        """The same some time later."""
        more = np.concatenate([np.zeros(6), np.tile(_SETTLING, len(self.cameras))])
        return Prior(self.cameras, self.mean, self.covariance + np.diag(more**2), self.board)


def save_baseline(path: Path, prior: Prior, calibrations: Mapping[str, CameraCalibration]) -> None:
    """Keep the outcome of a check of a good rig.

    Raises:
        ConfigError: the file cannot be written.
    """
    body = {
        "cameras": list(prior.cameras),
        "calibration": _fingerprint(prior.cameras, calibrations),
        "mean": prior.mean.tolist(),
        "covariance": prior.covariance.tolist(),
        "T_world_board": prior.board.tolist(),
    }
    try:
        path.write_text(json.dumps(body) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"baseline {path} cannot be written: {error.strerror}") from None


def load_baseline(path: Path, calibrations: Mapping[str, CameraCalibration]) -> Prior:
    """What `save_baseline` wrote, some time later.

    Raises:
        ConfigError: no such file, not a baseline, or one of another calibration.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        cameras = tuple(body["cameras"])
        size = PER_CAMERA * len(cameras)
        mean = np.array(body["mean"], dtype=np.float64).reshape(size)
        covariance = np.array(body["covariance"], dtype=np.float64).reshape(6 + size, 6 + size)
        board = np.array(body["T_world_board"], dtype=np.float64).reshape(4, 4)
        fingerprint = body["calibration"]
    except OSError as error:
        raise ConfigError(f"baseline {path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        wanted = "a baseline that calibrate check --save wrote"
        raise ConfigError(f"{path} must be {wanted}; found something else") from None
    if not set(cameras) <= set(calibrations) or fingerprint != _fingerprint(cameras, calibrations):
        raise ConfigError(
            f"baseline {path} must belong to this calibration; found that of another: save a new one"
        )
    return Prior(cameras, mean, covariance, board).settled()


def _fingerprint(
    cameras: Sequence[str], calibrations: Mapping[str, CameraCalibration]
) -> dict[str, list[float]]:
    """What a baseline counts from: intrinsics and mounts."""
    return {
        name: [*camera.K.ravel(), *camera.D, *camera.T_link_camera_optical.ravel()]
        for name, camera in ((name, calibrations[name]) for name in cameras)
    }
