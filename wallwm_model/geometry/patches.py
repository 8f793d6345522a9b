"""A camera's picture cut into patches, as viewing pyramids: what each patch can see between two depths.

Coordinates: the *ray plane* is z = 1 of the optical frame, without distortion; the *patch grid* is the
picture with one unit per patch, columns to the right and rows down. A lens that bends lines gives patches
with curved sides in the ray plane. They are held in quadrilaterals from outside (`quads`), so that a pyramid
is never smaller than what the patch sees.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wallwm_model.calibration import CameraCalibration, corner_from_pixel, pixel_from_corner
from wallwm_model.errors import GeometryError
from wallwm_model.geometry.cameras import UNSEEN_COSINE, directions, lens_of
from wallwm_model.geometry.lens import Lens
from wallwm_model.geometry.quads import flatten, outer_quads

BLOCK = 400  # quadrilaterals at a time
_FINE = 6  # samples per side of a patch
_EXCESS = 0.03  # area that outer quadrilaterals may add on average
_MAX_SPLIT = 4


@dataclass(frozen=True)
class Patches:
    """One camera's pyramids.

    Attributes:
        name: of the camera.
        rows, cols: of the patch grid.
        band: (near, far) z-depth [m].
        quads: (4, Q, 2) corners in the ray plane: top left, top right, bottom right, bottom left.
        owner: (Q,) row-major patch that each quadrilateral belongs to; a patch may have several.
        box: (left, right, top, bottom) of the picture in the ray plane.
        scale, origin: (columns, rows) distorted plane at unit focal length -> patch grid: times and plus.
        lens: of the picture.
        reach: lens radius (`Lens.radial`) of the picture's farthest corner.
    """

    name: str
    rows: int
    cols: int
    band: tuple[float, float]
    quads: np.ndarray
    owner: np.ndarray
    box: tuple[float, float, float, float]
    scale: tuple[float, float]
    origin: tuple[float, float]
    lens: Lens
    reach: float

    @property
    def count(self) -> int:
        """Number of patches."""
        return self.rows * self.cols

    def to_grid(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ray plane -> patch grid; one to one beyond the picture too, where the lens is made up."""
        if not self.lens.straight:
            x, y = self._bend(x, y)
        return self.scale[0] * x + self.origin[0], self.scale[1] * y + self.origin[1]

    def _bend(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        q = x * x + y * y
        if self.lens.fisheye:
            r = np.sqrt(np.maximum(q, 1e-24))
            s = np.arctan(r)
            scale = self._scale(s, s / r)
        else:
            scale = self._scale(np.sqrt(q), 1.0)
        if self.lens.fisheye or not any(self.lens.D[2:4]):
            return x * scale, y * scale
        dx, dy = self.lens.tangential(x, y)
        return x * scale + dx, y * scale + dy

    def _scale(self, s: np.ndarray, unit: np.ndarray | float) -> np.ndarray:
        """Distorted over undistorted radius, times `unit`; beyond `reach` the radius grows evenly."""
        scale = self.lens.stretch(s) * unit
        beyond = np.flatnonzero(s > self.reach)
        if len(beyond):
            edge, slope = self._edge
            far = s.take(beyond)
            scale[beyond] = (edge + slope * (far - self.reach)) / far
            if self.lens.fisheye:
                scale[beyond] *= unit.take(beyond)
        return scale

    @cached_property
    def _edge(self) -> tuple[float, float]:
        """Distorted radius at `reach`, and its slope there."""
        step = 1e-6 * self.reach
        inner, edge = self.lens.radial(np.array([self.reach - step, self.reach]))
        return float(edge), float(edge - inner) / step

    @property
    def slack(self) -> float:
        """How far a bent line may run from its chord [patches]; with many patches, little is costly."""
        return 0.02 if self.count <= 256 else 0.05

    @cached_property
    def blocks(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The quadrilaterals' corners as rays x/z, y/z, 1 (3, 4 q), and their patches (q,)."""
        count = len(self.owner)
        parts = np.array_split(np.arange(count), -(-count // BLOCK))
        rays = np.concatenate([self.quads, np.ones_like(self.quads[..., :1])], axis=2)
        return [(rays[:, part].reshape(-1, 3).T.copy(), self.owner[part]) for part in parts]

    @cached_property
    def spans(self) -> np.ndarray:
        """((cols + 1)^2, cols) bool: for `first * (cols + 1) + end`, columns first ... end - 1."""
        first, end, column = np.ogrid[: self.cols + 1, : self.cols + 1, : self.cols]
        return ((column >= first) & (column < end)).reshape(-1, self.cols)

    @cached_property
    def surrounded(self) -> bool:
        """Whether the border of `box` lies outside the picture all around."""
        left, right, top, bottom = self.box
        x, y = np.linspace(left, right, 65), np.linspace(top, bottom, 65)
        outside = [
            self.to_grid(np.full(65, left), y)[0].max() < -self.slack,
            self.to_grid(np.full(65, right), y)[0].min() > self.cols + self.slack,
            self.to_grid(x, np.full(65, top))[1].max() < -self.slack,
            self.to_grid(x, np.full(65, bottom))[1].min() > self.rows + self.slack,
        ]
        return all(outside)

    @cached_property
    def stride(self) -> float:
        """Angle between rays [rad] over which a straight line stays within `slack` of its chord."""
        left, right, top, bottom = self.box
        angles = np.meshgrid(
            *(np.linspace(np.arctan(a), np.arctan(b), 33) for a, b in ((left, right), (top, bottom)))
        )
        x, y = (np.tan(angle).ravel() for angle in angles)
        ray = np.stack([x, y, np.ones_like(x)], axis=1)
        ray /= np.linalg.norm(ray, axis=1, keepdims=True)
        side = np.stack([ray[:, 2], 0 * x, -ray[:, 0]], axis=1)
        side /= np.linalg.norm(side, axis=1, keepdims=True)
        other = np.cross(ray, side)
        step, worst = 1e-3, 1e-9
        for turn in np.arange(8) * np.pi / 8:
            tangent = np.cos(turn) * side + np.sin(turn) * other
            lines = [ray * np.cos(t) + tangent * np.sin(t) for t in (-step, 0.0, step)]
            before, here, after = (
                np.stack(self.to_grid(p[:, 0] / p[:, 2], p[:, 1] / p[:, 2]), 1) for p in lines
            )
            along, bend = (after - before) / (2 * step), (after - 2 * here + before) / step**2
            across = along[:, 0] * bend[:, 1] - along[:, 1] * bend[:, 0]
            worst = max(worst, float(np.max(np.abs(across) / np.linalg.norm(along, axis=1))))
        # A chord's distance from a curve is at most stride^2 / 8 times the second derivative across it; the
        # factor covers what lies between the samples.
        return float(min(np.sqrt(8 * self.slack / (1.25 * worst)), 0.5))


def make_patches(calibration: CameraCalibration, patches: tuple[int, int]) -> Patches:
    """Cut a camera's picture into patches (rows, columns), as fractions of the picture, whatever its size.

    Raises:
        GeometryError: rectified pictures (give `calibration.as_published()`), a lens that does not cover the
            picture, or one that looks nowhere forward.
    """
    if calibration.rectified:
        raise GeometryError(
            f"camera {calibration.name}: sight masks need a calibration of the pictures as published "
            "(`as_published()`); found one of raw pictures marked as rectified"
        )
    rows, cols = patches
    lens = lens_of(calibration)
    fine = 1 if lens.straight else _FINE
    for split in range(1, 2 if lens.straight else _MAX_SPLIT + 1):
        rays = _sample(calibration, rows * split * fine, cols * split * fine)
        quads, owner, excess = outer_quads(rays, split, fine)
        if excess <= _EXCESS:
            break
    if not len(owner):
        raise GeometryError(
            f"camera {calibration.name}: expected a picture that looks forward; found none of it does"
        )
    flat = flatten(rays.reshape(-1, 3))[rays.reshape(-1, 3)[:, 2] > UNSEEN_COSINE]
    radius = float(np.linalg.norm(flat, axis=1).max())
    reach = np.arctan(radius) if lens.fisheye else radius
    order = np.argsort(owner, kind="stable")
    made = Patches(
        calibration.name, rows, cols, tuple(calibration.depth_band_m), quads[:, order], owner[order],
        _padded(flat, 0.01), *_grid(calibration, patches), lens, float(reach),
    )  # fmt: skip
    for pad in (0.03, 0.1, 0.3):
        if made.surrounded:
            break
        made = dataclasses.replace(made, box=_padded(flat, pad))
    return made


def _grid(calibration: CameraCalibration, patches: tuple[int, int]) -> tuple[tuple, tuple]:
    """(columns, rows) of the patch grid per unit of the distorted plane, and where its middle lies."""
    per_pixel = np.array(patches)[::-1] / (calibration.width, calibration.height)
    focal, centre = calibration.K[[0, 1], [0, 1]], corner_from_pixel(calibration.K[:2, 2])
    return tuple((per_pixel * focal).tolist()), tuple((per_pixel * centre).tolist())


def _padded(flat: np.ndarray, pad: float) -> tuple[float, float, float, float]:
    """(left, right, top, bottom) of points (N, 2), wider by a share of their extent."""
    low, high = flat.min(axis=0), flat.max(axis=0)
    more = pad * (high - low).max()
    return low[0] - more, high[0] + more, low[1] - more, high[1] + more


def _sample(calibration: CameraCalibration, rows: int, cols: int) -> np.ndarray:
    """(rows + 1, cols + 1, 3) unit directions over the whole picture, borders included."""
    u = np.linspace(0.0, calibration.width, cols + 1)
    v = np.linspace(0.0, calibration.height, rows + 1)
    pixels = pixel_from_corner(np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2))
    rays = directions(calibration, pixels)
    if np.isnan(rays).any():
        x, y = pixels[np.isnan(rays).any(axis=1)][0]
        raise GeometryError(
            f"camera {calibration.name}: {calibration.distortion_model} coefficients must cover the "
            f"whole picture; found no ray to pixel ({x:.1f}, {y:.1f}), where the lens model folds back"
        )
    return rays.reshape(rows + 1, cols + 1, 3)
