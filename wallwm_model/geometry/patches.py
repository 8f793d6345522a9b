"""A camera's picture cut into patches, as viewing pyramids: what each patch can see between two depths.

Coordinates: the *ray plane* is z = 1 of the optical frame, without distortion; the *patch grid* is the picture
with one unit per patch, columns to the right and rows down, so that patch (i, j) spans i ... i + 1, j ... j + 1.
A lens that bends lines gives patches with curved sides in the ray plane. They are held in quadrilaterals from
outside, so a pyramid is never smaller than what the patch sees.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wallwm_model.calibration import CameraCalibration, pixel_from_corner
from wallwm_model.errors import GeometryError
from wallwm_model.geometry.cameras import UNSEEN_COSINE, directions, lens_of
from wallwm_model.geometry.lens import Lens

UNSEEN_TANGENT = np.sqrt(1 - UNSEEN_COSINE**2) / UNSEEN_COSINE
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
        affine: (2, 3) distorted plane at unit focal length -> patch grid.
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
    affine: np.ndarray
    lens: Lens
    reach: float

    @property
    def count(self) -> int:
        """Number of patches."""
        return self.rows * self.cols

    def to_grid(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ray plane -> patch grid; one to one also beyond the picture, where the lens goes on in a straight line."""
        (a, b, c), (_, d, e) = self.affine
        if not self.lens.straight:
            x, y = self._bend(x, y)
        return a * x + b * y + c, d * y + e

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
        """Distorted over undistorted radius, times `unit`; beyond `reach` the radius grows in a straight line."""
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
        """How far a bent line may run from the chord that stands for it [patches]; many patches make it costly."""
        return 0.02 if self.count <= 256 else 0.05

    @cached_property
    def blocks(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The quadrilaterals' corners as rays x/z, y/z, 1 (3, 4 q), and their patches (q,), some at a time."""
        count = len(self.owner)
        parts = np.array_split(np.arange(count), -(-count // BLOCK))
        rays = np.concatenate([self.quads, np.ones_like(self.quads[..., :1])], axis=2)
        return [(rays[:, part].reshape(-1, 3).T.copy(), self.owner[part]) for part in parts]

    @cached_property
    def spans(self) -> np.ndarray:
        """((cols + 1)^2, cols) bool: for `first * (cols + 1) + end`, which columns lie in first ... end - 1."""
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
        """Angle between rays [rad] over which a straight line in space stays within `slack` of a chord in the grid."""
        left, right, top, bottom = self.box
        angles = np.meshgrid(*(np.linspace(np.arctan(a), np.arctan(b), 33) for a, b in ((left, right), (top, bottom))))
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
            before, here, after = (np.stack(self.to_grid(p[:, 0] / p[:, 2], p[:, 1] / p[:, 2]), 1) for p in lines)
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
            f"camera {calibration.name}: sight masks need a calibration of the pictures as they are published "
            "(`as_published()`); found one of raw pictures marked as rectified"
        )
    rows, cols = patches
    lens = lens_of(calibration)
    size = np.array([calibration.width, calibration.height])
    to_grid = np.array([cols, rows]) / size
    affine = np.hstack([calibration.K[:2, :2], calibration.K[:2, 2:] + 0.5]) * to_grid[:, None]
    fine = 1 if lens.straight else _FINE
    for split in range(1, 2 if lens.straight else _MAX_SPLIT + 1):
        rays = _sample(calibration, rows * split * fine, cols * split * fine)
        quads, owner, excess = _quads(rays, split, fine)
        if excess <= _EXCESS:
            break
    if not len(owner):
        raise GeometryError(f"camera {calibration.name}: expected a picture that looks forward; found none of it does")
    flat = _flatten(rays.reshape(-1, 3))[rays.reshape(-1, 3)[:, 2] > UNSEEN_COSINE]
    radius = float(np.linalg.norm(flat, axis=1).max())
    reach = np.arctan(radius) if lens.fisheye else radius
    order = np.argsort(owner, kind="stable")
    made = Patches(
        calibration.name, rows, cols, tuple(calibration.depth_band_m), quads[:, order], owner[order],
        _padded(flat, 0.01), affine, lens, reach,
    )  # fmt: skip
    for pad in (0.03, 0.1, 0.3):
        if made.surrounded:
            break
        made = dataclasses.replace(made, box=_padded(flat, pad))
    return made


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
            f"camera {calibration.name}: {calibration.distortion_model} coefficients must cover the whole picture; "
            f"found no ray that leads to pixel ({x:.1f}, {y:.1f}), where the lens model folds back"
        )
    return rays.reshape(rows + 1, cols + 1, 3)


def _flatten(rays: np.ndarray) -> np.ndarray:
    """(..., 3) unit directions -> (..., 2) in the ray plane; those too far off the axis at its rim."""
    across = np.linalg.norm(rays[..., :2], axis=-1)
    tangent = np.where(rays[..., 2] > UNSEEN_COSINE, across / np.maximum(rays[..., 2], 1e-9), UNSEEN_TANGENT)
    return rays[..., :2] * (tangent / np.maximum(across, 1e-300))[..., None]


def _quads(rays: np.ndarray, split: int, fine: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Outer quadrilaterals of all cells of `fine` samples, their patches, and the share of area they add."""
    flat, ahead = _flatten(rays), rays[..., 2] > UNSEEN_COSINE
    height, width = ((n - 1) // fine for n in rays.shape[:2])
    cells = _cells(flat, fine)  # (height * width, fine + 1, fine + 1, 2)
    seen = _cells(ahead[..., None], fine).reshape(len(cells), -1)
    row, col = np.divmod(np.arange(len(cells)), width)
    owner = row // split * (width // split) + col // split
    corners = cells[:, [0, 0, -1, -1], [0, -1, -1, 0]]
    excess = 0.0
    if fine > 1:
        border = np.concatenate([cells[:, 0, :-1], cells[:, :-1, -1], cells[:, -1, :0:-1], cells[:, :0:-1, 0]], 1)
        outer, whole = _outer(corners, border, fine), seen.all(axis=1)
        area, added = _area(border), _area(np.nan_to_num(outer, posinf=0.0, neginf=0.0))
        loose = ~whole | ~np.isfinite(outer).all(axis=(1, 2)) | (added > 3 * area) | (added < area)
        corners = np.where(loose[:, None, None], _bounds(cells.reshape(len(cells), -1, 2)), outer)
        excess = float(np.mean(_area(corners)[whole] / area[whole] - 1)) if whole.any() else 0.0
    keep = seen.any(axis=1)
    return np.ascontiguousarray(corners[keep].transpose(1, 0, 2)), owner[keep], excess


def _cells(values: np.ndarray, fine: int) -> np.ndarray:
    """(rows + 1, cols + 1, C) samples -> (cells, fine + 1, fine + 1, C), neighbours sharing their borders."""
    windows = np.lib.stride_tricks.sliding_window_view(values, (fine + 1, fine + 1), axis=(0, 1))
    windows = windows[::fine, ::fine].transpose(0, 1, 3, 4, 2)
    return windows.reshape(-1, fine + 1, fine + 1, values.shape[-1])


def _outer(corners: np.ndarray, border: np.ndarray, fine: int) -> np.ndarray:
    """Each side's chord pushed out until the whole border (N, 4 fine, 2) lies inside; (N, 4, 2) corners."""
    side = np.roll(corners, -1, axis=1) - corners
    length = np.linalg.norm(side, axis=2, keepdims=True)
    normal = np.stack([side[..., 1], -side[..., 0]], axis=2) / np.maximum(length, 1e-12)
    chord = np.einsum("nsc,nsc->ns", normal, corners)
    farthest = np.einsum("nsc,npc->nsp", normal, border).max(axis=2)
    bulge = farthest - chord
    offset = farthest + 2 * bulge / fine**2  # between samples a bow rises by 1 / fine^2 of itself
    before, behind = np.roll(normal, 1, axis=1), np.roll(offset, 1, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        det = before[..., 0] * normal[..., 1] - before[..., 1] * normal[..., 0]
        x = (behind * normal[..., 1] - offset * before[..., 1]) / det
        y = (offset * before[..., 0] - behind * normal[..., 0]) / det
    return np.stack([x, y], axis=2)


def _bounds(points: np.ndarray) -> np.ndarray:
    """(N, P, 2) -> (N, 4, 2) corners of the upright rectangle around them, with a margin."""
    low, high = points.min(axis=1), points.max(axis=1)
    pad = 0.05 * (high - low)
    (left, top), (right, bottom) = (low - pad).T, (high + pad).T
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return np.stack([np.stack(corner, axis=1) for corner in corners], axis=1)


def _area(polygon: np.ndarray) -> np.ndarray:
    """(N, P, 2) -> (N,) areas; positive when right turns into down."""
    x, y = polygon[..., 0], polygon[..., 1]
    return 0.5 * (x * np.roll(y, -1, axis=1) - np.roll(x, -1, axis=1) * y).sum(axis=1)
