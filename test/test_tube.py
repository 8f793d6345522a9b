"""Tubes lie inside what another view sees."""

from __future__ import annotations

import numpy as np
import pytest

from wallwm_model.errors import GeometryError
from wallwm_model.geometry import SightMasks, rigs, shared_region, tube_region

PATCHES = (4, 6)
TOKENS = 24


def mask_with(regions: dict[tuple[int, int], np.ndarray]) -> np.ndarray:
    """Three views; of each pair, the patches of the one that share a point with the other's last patch."""
    mask = np.kron(np.eye(3, dtype=bool), np.ones((TOKENS, TOKENS), bool))
    for (view, partner), region in regions.items():
        last = (partner + 1) * TOKENS - 1
        mask[view * TOKENS : (view + 1) * TOKENS, last] = region.ravel()
        mask[last, view * TOKENS : (view + 1) * TOKENS] = region.ravel()
    return mask


def test_a_tube_lies_where_its_partner_sees():
    rng, drawn = np.random.default_rng(0), set()
    r = rigs.random_rig(rng, "plumb_bob")
    mask = SightMasks(r.cameras, PATCHES).update(r.poses)
    for _ in range(100):
        tube = tube_region(mask, 3, PATCHES, rng, (1, 3))
        assert tube.view != tube.partner
        window = shared_region(mask, tube.view, tube.partner, PATCHES)[tube.rows, tube.columns]
        assert window.all() and window.shape[0] == window.shape[1] and 1 <= len(window) <= 3
        drawn.add((tube.view, tube.partner, tube.rows.start, tube.columns.start, len(window)))
    assert len(drawn) > 20


def test_a_shared_region_is_what_any_patch_of_the_partner_sees():
    region = np.zeros(PATCHES, bool)
    region[1:3, 2:5] = True
    mask = mask_with({(0, 2): region})
    assert np.array_equal(shared_region(mask, 0, 2, PATCHES), region)
    assert not shared_region(mask, 0, 1, PATCHES).any()


def test_the_only_window_there_is_is_found():
    region = np.zeros(PATCHES, bool)
    region[1:4, 3:6] = True
    region[0, 0] = True
    mask = mask_with({(1, 2): region})
    for seed in range(20):
        tube = tube_region(mask, 3, PATCHES, np.random.default_rng(seed), (3, 4))
        assert (tube.view, tube.partner, tube.rows, tube.columns) == (1, 2, slice(1, 4), slice(3, 6))


def test_none_where_no_window_fits():
    rng = np.random.default_rng(0)
    assert tube_region(mask_with({}), 3, PATCHES, rng) is None
    cross = np.zeros(PATCHES, bool)
    cross[1], cross[:, 2] = True, True
    assert tube_region(mask_with({(0, 1): cross}), 3, PATCHES, rng, (2, 4)) is None
    assert tube_region(mask_with({(0, 1): cross}), 3, PATCHES, rng, (5, 9)) is None
    assert tube_region(np.ones((TOKENS, TOKENS), bool), 1, PATCHES, rng) is None


def test_the_same_seed_draws_the_same_tube():
    mask = np.ones((3 * TOKENS, 3 * TOKENS), bool)
    draws = [tube_region(mask, 3, PATCHES, np.random.default_rng(7)) for _ in range(2)]
    assert draws[0] == draws[1]


@pytest.mark.parametrize("bad", [np.ones((72, 71), bool), np.ones((72, 72)), np.ones((48, 48), bool), None])
def test_what_is_no_mask_of_these_views_is_refused(bad):
    with pytest.raises(
        GeometryError, match=r"mask must be bool of shape \(72, 72\) for 3 views of 4 x 6 patches"
    ):
        tube_region(bad, 3, PATCHES, np.random.default_rng(0))


@pytest.mark.parametrize("sizes", [(0, 2), (3, 2)])
def test_sizes_that_no_window_has_are_refused(sizes):
    with pytest.raises(GeometryError, match=r"sizes must be \(l_min, l_max\)"):
        tube_region(np.ones((72, 72), bool), 3, PATCHES, np.random.default_rng(0), sizes)
