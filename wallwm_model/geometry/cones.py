"""The report's sight test: two patches share a view if their viewing cones meet at closest approach.

A patch's cone has its apex in the camera, its axis through the patch's centre, and the half-angle that just
holds the patch. Each cone is judged at one point of its axis only, so pairs that meet elsewhere are lost,
and cones that pass each other may still count. Kept for comparison; `frustums` is what this project uses.

Source: WALL-WM technical report, arXiv 2606.01955, section on the sight-cone mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wallwm_model.calibration import CameraCalibration, pixel_from_corner
from wallwm_model.geometry.cameras import directions

_PARALLEL = 1e-9  # 1 - cos^2 of the axes' angle


@dataclass(frozen=True)
class Cones:
    """One camera's cones.

    Attributes:
        axes: (P, 3) unit axes in the optical frame, row-major patches.
        angles: (P,) half-angles [rad], times the margin.
        band: (d_min, d_max), along the axis [m].
    """

    axes: np.ndarray
    angles: np.ndarray
    band: tuple[float, float]


def make_cones(calibration: CameraCalibration, patches: tuple[int, int], margin: float = 1.0) -> Cones:
    """Cones of all patches (rows, columns); `margin` (l >= 1 in the report) widens them."""
    rows, cols = patches
    row, col = (index.reshape(-1, 1) for index in np.indices((rows, cols)))
    side = np.linspace(0.0, 1.0, 5)
    edge = np.concatenate([np.stack([side, 0 * side]), np.stack([side, 0 * side + 1]),
                           np.stack([0 * side, side]), np.stack([0 * side + 1, side])], axis=1)  # fmt: skip

    def rays(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        corner = np.stack(
            [(col + u) / cols * calibration.width, (row + v) / rows * calibration.height], axis=-1
        )
        return directions(calibration, pixel_from_corner(corner.reshape(-1, 2))).reshape(*corner.shape[:2], 3)

    axes = rays(np.array([0.5]), np.array([0.5]))
    cosine = np.clip((axes * rays(edge[0], edge[1])).sum(axis=-1), -1.0, 1.0)
    return Cones(axes[:, 0], np.arccos(cosine.min(axis=1)) * margin, tuple(calibration.depth_band_m))


def cones_meet(a: Cones, b: Cones, T_b_a: np.ndarray) -> np.ndarray:
    """(P_a, P_b) bool: the report's test for every pair of patches.

    Args:
        T_b_a: (4, 4) pose of camera a's optical frame in camera b's [m].
    """
    axes, apex = a.axes @ T_b_a[:3, :3].T, T_b_a[:3, 3]
    cosine = axes @ b.axes.T
    ahead_a, ahead_b = (axes @ apex)[:, None], (b.axes @ apex)[None]
    sine = 1 - cosine * cosine
    # Parallel axes are equally far apart everywhere; farther out the cones are wider.
    t_a = np.where(sine > _PARALLEL, (cosine * ahead_b - ahead_a) / np.maximum(sine, _PARALLEL), a.band[1])
    t_a = np.clip(t_a, *a.band)
    t_b = np.clip(ahead_b + cosine * t_a, *b.band)
    # |apex + t_a axis_a - t_b axis_b|^2, multiplied out.
    square = apex @ apex + t_a * (t_a + 2 * ahead_a) + t_b * (t_b - 2 * ahead_b) - 2 * t_a * t_b * cosine
    reach = t_a * a.angles[:, None] + t_b * b.angles
    return square <= reach * reach
