"""Sight masks: which patches of which views may attend to each other, kept up to date while cameras move."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import cv2
import numpy as np

from wallwm_model.calibration import CameraCalibration
from wallwm_model.errors import GeometryError
from wallwm_model.geometry.cones import cones_meet, make_cones
from wallwm_model.geometry.frustums import covisible
from wallwm_model.geometry.patches import make_patches
from wallwm_model.transforms import inverse, is_transform

METHODS = ("frustum", "cone")
_STILL = 1e-9  # change of a relative pose that is rounding only [m, or of a direction]


class SightMasks:
    """The mask of one set of cameras, for any poses of theirs.

    Tokens are view-major in the order of `calibrations`, then row-major patches. Patches of one view may
    always attend to each other; patches of two views if they see a common point inside both depth bands.

    Args:
        calibrations: of the pictures as published, whatever size the network reads.
        patches: (rows, columns) of each picture.
        method: `frustum` (exact, or too generous where a lens bends lines), or the report's `cone`.
        margin: widens the cones; `frustum` needs none.

    Raises:
        GeometryError: no camera, no patch, an unknown method, a margin below 1, or a camera whose lens model
            does not cover its picture.
    """

    def __init__(
        self,
        calibrations: Sequence[CameraCalibration],
        patches: tuple[int, int],
        method: str = "frustum",
        margin: float = 1.0,
    ) -> None:
        if method not in METHODS:
            raise GeometryError(f"method must be one of {', '.join(METHODS)}; found {method!r}")
        if not margin >= 1:
            raise GeometryError(f"margin must be 1 or more; found {margin!r}")
        if not calibrations:
            raise GeometryError("a sight mask needs one camera or more; found none")
        rows, cols = _grid(patches)
        self.names = tuple(calibration.name for calibration in calibrations)
        self.patches = (rows, cols)
        if method == "frustum":
            self._sights, self._meet = [make_patches(c, (rows, cols)) for c in calibrations], covisible
            # A picture with straight lines is the better one to draw into; the name decides between equals,
            # so that the order of the cameras changes nothing.
            keys = [(sight.lens.straight, sight.name) for sight in self._sights]
        else:
            self._sights, self._meet = [make_cones(c, (rows, cols), margin) for c in calibrations], cones_meet
            keys = [(False, name) for name in self.names]
        pairs = combinations(range(len(keys)), 2)
        self._pairs = [tuple(sorted(pair, key=keys.__getitem__)) for pair in pairs]
        self._relative: dict[tuple[int, int], np.ndarray] = {}
        self._mask = self._new()  # no pair is known yet, so the first update works out all of them
        self._mask.flags.writeable = False

    def update(self, poses: Sequence[np.ndarray]) -> np.ndarray:
        """The mask (V*P, V*P) bool, True where one patch may attend to another, for the cameras' poses.

        Only pairs of views whose relative pose has changed since the last call are worked out. The result is
        read-only, symmetric, and stays as it is: a later call gives another array, or this one if all stood
        still.

        Args:
            poses: (4, 4) world <- optical frame [m], one per camera.

        Raises:
            GeometryError: a pose missing, or no rigid transform.
        """
        poses = self._checked(poses)
        moved = {}
        for a, b in self._pairs:
            T_b_a = inverse(poses[b]) @ poses[a]
            before = self._relative.get((a, b))
            if before is None or np.abs(T_b_a - before).max() > _STILL:
                moved[a, b] = T_b_a
        if moved:
            mask = self._new()
            for a, b in self._pairs:
                rows, cols = self._block(a), self._block(b)
                if (a, b) in moved:
                    seen = self._meet(self._sights[a], self._sights[b], moved[a, b])
                    mask[rows, cols] = seen
                    mask[cols, rows] = _transposed(seen)
                else:
                    mask[rows, cols] = self._mask[rows, cols]
                    mask[cols, rows] = self._mask[cols, rows]
            mask.flags.writeable = False
            self._mask = mask
            self._relative |= moved
        return self._mask

    def _block(self, view: int) -> slice:
        count = self.patches[0] * self.patches[1]
        return slice(view * count, (view + 1) * count)

    def _new(self) -> np.ndarray:
        """Every view sees itself; what views see of each other is to be filled in."""
        tokens = self._block(len(self.names)).start
        mask = np.empty((tokens, tokens), dtype=bool)
        for view in range(len(self.names)):
            mask[self._block(view), self._block(view)] = True
        return mask

    def _checked(self, poses: Sequence[np.ndarray]) -> list[np.ndarray]:
        if len(poses) != len(self.names):
            found = f"{len(poses)} for {', '.join(self.names)}"
            raise GeometryError(f"poses must be one per camera, {len(self.names)}; found {found}")
        checked = []
        for name, pose in zip(self.names, poses):
            try:
                pose = np.asarray(pose, dtype=np.float64)
            except (TypeError, ValueError):
                pose = np.empty(0)
            if pose.shape != (4, 4) or not np.isfinite(pose).all() or not is_transform(pose):
                raise GeometryError(
                    f"the pose of camera {name} must be a rigid transform (4, 4), world <- optical frame; "
                    f"found {pose.tolist() if pose.shape == (4, 4) else f'shape {pose.shape}'}"
                )
            checked.append(pose)
        return checked


def _grid(patches: tuple[int, int]) -> tuple[int, int]:
    whole = isinstance(patches, Sequence) and len(patches) == 2
    if not whole or not all(isinstance(n, int | np.integer) and 0 < n < 1000 for n in patches):
        raise GeometryError(
            f"patches must be (rows, columns), whole numbers from 1 to 999; found {patches!r}"
        )
    return int(patches[0]), int(patches[1])


def _transposed(seen: np.ndarray) -> np.ndarray:
    """(P, Q) bool -> (Q, P): OpenCV's transpose goes by tiles, several times faster than a strided copy."""
    return cv2.transpose(seen.view(np.uint8)).view(bool).reshape(seen.shape[::-1])
