"""What makes masks complete with bending lenses: quadrilaterals hold their patches, chords follow curves."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from wallwm_model.geometry import camera_rays, rigs, truth
from wallwm_model.geometry.bending import Lines, bend
from wallwm_model.geometry.patches import Patches, make_patches

GRIDS = ((1, 1), (4, 4), (12, 20))


def made(lens: str, seed: int, grid: tuple[int, int]) -> tuple[Patches, object]:
    camera = rigs.random_camera(np.random.default_rng(seed), "cam", lens)
    return make_patches(camera, grid), camera


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("lens", rigs.LENSES[:4])
def test_quadrilaterals_hold_every_ray_of_their_patches(lens, grid):
    for seed in range(4):
        patches, camera = made(lens, seed, grid)
        rng = np.random.default_rng(seed)
        pixels = rng.uniform(-0.5, 0.5, (3000, 2)) * (camera.width, camera.height)
        pixels += np.array([camera.width - 1, camera.height - 1]) / 2
        rays, owner = camera_rays(camera, pixels)[:, :2], truth.patch_of(camera, pixels, grid)
        held = np.zeros(len(rays), bool)
        for quad, patch in zip(patches.quads.transpose(1, 0, 2), patches.owner):
            corners = quad.astype(np.float32).reshape(-1, 1, 2)
            for i in np.flatnonzero((owner == patch) & ~held):
                held[i] = cv2.pointPolygonTest(corners, rays[i].tolist(), True) > -1e-6
        assert held.all()


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("lens", rigs.LENSES[1:4])
def test_chords_stay_within_slack_of_the_curves(lens, grid):
    for seed in range(4):
        patches, _ = made(lens, seed, grid)
        rng = np.random.default_rng(seed)
        left, right, top, bottom = patches.box
        ends = rng.uniform((left, top), (right, bottom), (40, 2, 2))
        lines = Lines(*ends.reshape(40, 4).T, np.arange(40))
        chords = bend(patches, lines)
        for line, (start, stop) in enumerate(ends):
            true = start + np.linspace(0, 1, 400)[:, None] * (stop - start)
            curve = np.stack(patches.to_grid(*true.T), axis=1)
            mine = chords.owner == line
            a = np.stack([chords.x0[mine], chords.y0[mine]], axis=1)
            b = np.stack([chords.x1[mine], chords.y1[mine]], axis=1)
            assert distance(curve, a, b).max() < patches.slack


def distance(points: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """From each point (N, 2) to the nearest of the segments a-b (S, 2)."""
    step = b - a
    square = np.maximum((step * step).sum(axis=1), 1e-30)
    t = np.clip(((points[:, None] - a) * step).sum(axis=2) / square, 0, 1)
    return np.linalg.norm(points[:, None] - a - t[..., None] * step, axis=2).min(axis=1)


@pytest.mark.parametrize("lens", rigs.LENSES[:4])
def test_the_patch_grid_is_the_pictures(lens):
    patches, camera = made(lens, 1, (4, 6))
    pixels = np.random.default_rng(0).uniform(-0.5, (camera.width - 0.5, camera.height - 0.5), (500, 2))
    rays = camera_rays(camera, pixels)
    u, v = patches.to_grid(rays[:, 0], rays[:, 1])
    assert u == pytest.approx((pixels[:, 0] + 0.5) / camera.width * 6, abs=1e-9)
    assert v == pytest.approx((pixels[:, 1] + 0.5) / camera.height * 4, abs=1e-9)
