"""What patches truly share, by brute force: the yardstick that fast masks are held against. Slow on purpose.

Points prove that a pair of patches shares a view (one of the one pyramid was found in the other), but never
that it shares none. Where lenses bend nothing, pyramids are bounded by planes, and `meet` decides both ways.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from wallwm_model.calibration import CameraCalibration, corner_from_pixel, pixel_from_corner
from wallwm_model.geometry.cameras import camera_rays, project

_BLOCK = 200_000  # points at a time


def patch_of(calibration: CameraCalibration, pixels: np.ndarray, patches: tuple[int, int]) -> np.ndarray:
    """(N, 2) pixels -> (N,) row-major patch, -1 outside the picture and for NaN."""
    rows, cols = patches
    u, v = corner_from_pixel(pixels).T / np.array([[calibration.width], [calibration.height]])
    with np.errstate(invalid="ignore"):
        inside = (u >= 0) & (u < 1) & (v >= 0) & (v < 1)
    col, row = (np.where(inside, share, 0.0) * count for share, count in ((u, cols), (v, rows)))
    return np.where(inside, row.astype(np.intp) * cols + col.astype(np.intp), -1)


def sampled(
    a: CameraCalibration,
    b: CameraCalibration,
    T_b_a: np.ndarray,
    patches: tuple[int, int],
    rng: np.random.Generator,
    rays: int = 8000,
    depths: int = 50,
) -> np.ndarray:
    """(P, P) number of points of a's pyramid (row) found in b's (column), of `rays` x `depths` points.

    Depths are drawn evenly in z and evenly in 1/z, half of them each, inside a's depth band.
    """
    corner = rng.uniform(0.0, 1.0, (rays, 2)) * (a.width, a.height)
    pixels = pixel_from_corner(corner)
    return _count(a, b, T_b_a, patches, pixels, rng, depths)


def search(
    a: CameraCalibration,
    b: CameraCalibration,
    T_b_a: np.ndarray,
    patches: tuple[int, int],
    pair: tuple[int, int],
    rng: np.random.Generator,
    points: int = 1500,
    rounds: int = 10,
) -> bool:
    """Whether a point of one patch's pyramid can be driven into another's, where `sampled` missed it.

    Each round draws around the points that came closest in the last one, ever more tightly. True proves that
    the patches share a view; False does not prove that they share none.
    """
    (row, col), (to_row, to_col) = (divmod(patch, patches[1]) for patch in pair)
    near, far = a.depth_band_m
    low, high = b.depth_band_m
    size_a, size_b = ((c.width / patches[1], c.height / patches[0]) for c in (a, b))
    tries = rng.uniform(0.0, 1.0, (points, 3))
    for spread in 0.3 * 0.6 ** np.arange(rounds):
        rays = camera_rays(a, pixel_from_corner((tries[:, :2] + (col, row)) * size_a))
        z = 1 / (1 / far + tries[:, 2:] * (1 / near - 1 / far))
        at = rays * z @ T_b_a[:3, :3].T + T_b_a[:3, 3]
        u, v = (corner_from_pixel(project(b, at)) / size_b).T
        off = np.maximum(np.abs(u - to_col - 0.5), np.abs(v - to_row - 0.5)) - 0.5
        depth = np.maximum(low - at[:, 2], at[:, 2] - high) / low
        off = np.nan_to_num(np.maximum(off, depth), nan=1e6)
        if off.min() <= 0:
            return True
        best = tries[np.argsort(off)[: points // 50]]
        tries = np.repeat(best, 50, axis=0)
        tries = np.clip(tries + rng.normal(0.0, spread, tries.shape), 0.0, 1.0)
    return False


def _count(
    a: CameraCalibration,
    b: CameraCalibration,
    T_b_a: np.ndarray,
    patches: tuple[int, int],
    pixels: np.ndarray,
    rng: np.random.Generator,
    depths: int,
) -> np.ndarray:
    count = patches[0] * patches[1]
    start = patch_of(a, pixels, patches)
    rays = camera_rays(a, pixels)
    near, far = a.depth_band_m
    found = np.zeros(count * count, np.int64)
    known = np.flatnonzero(~np.isnan(rays[:, 0]) & (start >= 0))
    for block in np.array_split(known, max(1, len(known) * depths // _BLOCK)):
        share = rng.uniform(0.0, 1.0, (len(block), depths))
        z = near + share * (far - near)
        z[:, ::2] = 1 / (1 / far + share[:, ::2] * (1 / near - 1 / far))
        points = (rays[block, None] * z[..., None]).reshape(-1, 3) @ T_b_a[:3, :3].T + T_b_a[:3, 3]
        origin = np.repeat(start[block], depths)
        deep = (points[:, 2] >= b.depth_band_m[0]) & (points[:, 2] <= b.depth_band_m[1])
        end = patch_of(b, project(b, points[deep]), patches)
        pairs = origin[deep][end >= 0] * count + end[end >= 0]
        found += np.bincount(pairs, minlength=count * count)
    return found.reshape(count, count)


def meet(
    a: CameraCalibration,
    b: CameraCalibration,
    T_b_a: np.ndarray,
    patches: tuple[int, int],
    pair: tuple[int, int],
) -> float:
    """How deep two patches' hexahedra reach into each other [m], exactly; below 0 if they are apart.

    The largest distance by which all twelve faces can move inwards before nothing is common; found among the
    points where the planes of a body in four dimensions (place and distance) cross. Lenses must bend nothing.
    """
    planes = planes_of(a, b, T_b_a, patches, pair)
    system, bound = np.column_stack([planes[:, :3], -np.ones(12)]), -planes[:, 3]  # n x - distance >= bound
    some = np.array(list(combinations(range(12), 4)))
    matrices = system[some]
    sound = np.abs(np.linalg.det(matrices)) > 1e-9
    corners = np.linalg.solve(matrices[sound], bound[some[sound]][..., None])[..., 0]
    inside = (corners @ system.T - bound > -1e-9).all(axis=1)
    return float(corners[inside, 3].max(initial=-np.inf))


def planes_of(
    a: CameraCalibration,
    b: CameraCalibration,
    T_b_a: np.ndarray,
    patches: tuple[int, int],
    pair: tuple[int, int],
) -> np.ndarray:
    """(12, 4) faces n x + d >= 0 of two patches' hexahedra in a's frame, n of length 1 [m]."""
    planes = np.concatenate([_planes(a, pair[0], patches), _planes(b, pair[1], patches) @ T_b_a])
    return planes / np.linalg.norm(planes[:, :3], axis=1, keepdims=True)


def _planes(calibration: CameraCalibration, patch: int, patches: tuple[int, int]) -> np.ndarray:
    """(6, 4) planes n x + d >= 0 of one patch's hexahedron in the camera's own frame."""
    rows, cols = patches
    row, col = divmod(patch, cols)
    share = np.array([(col, row), (col + 1, row), (col + 1, row + 1), (col, row + 1)]) / (cols, rows)
    rays = camera_rays(calibration, pixel_from_corner(share * (calibration.width, calibration.height)))
    sides = np.cross(rays, np.roll(rays, -1, axis=0))
    near, far = calibration.depth_band_m
    return np.vstack([np.column_stack([sides, np.zeros(4)]), (0, 0, 1, -near), (0, 0, -1, far)])
