"""Sight masks: complete, exact where lenses bend nothing, and the same however they are come by."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from wallwm_model.calibration import CameraCalibration
from wallwm_model.errors import GeometryError
from wallwm_model.geometry import SightMasks, rigs, truth
from wallwm_model.transforms import inverse

PATCHES = (4, 4)
PAIRS = ((0, 1), (0, 2), (1, 2))


def rig(seed: int, lens: str = "none", place: str = "robot") -> rigs.Rig:
    return rigs.random_rig(np.random.default_rng(seed), lens, place)


def mask_of(r: rigs.Rig, patches: tuple[int, int] = PATCHES, **options) -> np.ndarray:
    return SightMasks(r.cameras, patches, **options).update(r.poses)


def block(mask: np.ndarray, i: int, j: int, count: int = 16) -> np.ndarray:
    return mask[i * count : (i + 1) * count, j * count : (j + 1) * count]


def pinhole(name: str, band: tuple[float, float] = (0.05, 1.5)) -> CameraCalibration:
    """60 degrees wide."""
    focal = 96 / np.tan(np.radians(30))
    K = np.array([(focal, 0, 95.5), (0, focal, 95.5), (0, 0, 1)])
    return CameraCalibration(
        name, 192, 192, K, "plumb_bob", (0.0,) * 5, "world", np.eye(4), depth_band_m=band
    )


def pair(T_a_b: np.ndarray, **bands) -> np.ndarray:
    """(16, 16) mask of two like cameras."""
    cameras = [pinhole("a", bands.get("a", (0.05, 1.5))), pinhole("b", bands.get("b", (0.05, 1.5)))]
    return block(SightMasks(cameras, PATCHES).update([np.eye(4), T_a_b]), 0, 1)


def pose(x: float = 0.0, y: float = 0.0, z: float = 0.0, turn: float = 0.0) -> np.ndarray:
    """Turned about the vertical [rad], moved [m]."""
    T = np.eye(4)
    T[:3, :3] = [(np.cos(turn), 0, np.sin(turn)), (0, 1, 0), (-np.sin(turn), 0, np.cos(turn))]
    T[:3, 3] = x, y, z
    return T


@pytest.mark.parametrize("place", rigs.PLACES)
@pytest.mark.parametrize("lens", rigs.LENSES)
def test_every_pair_that_shares_a_point_is_allowed(lens, place):
    r, rng, seen = rig(hash_of(lens, place), lens, place), np.random.default_rng(0), 0
    for patches in (PATCHES, (7, 9)):
        count, mask = patches[0] * patches[1], mask_of(r, patches)
        for i, j in PAIRS:
            T_b_a = inverse(r.poses[j]) @ r.poses[i]
            found = truth.sampled(r.cameras[i], r.cameras[j], T_b_a, patches, rng, rays=800, depths=25) > 0
            assert not (found & ~block(mask, i, j, count)).any()
            seen += found.sum()
    assert seen > 100 or place == "anyhow"


def hash_of(*words: str) -> int:
    return sum(map(ord, "".join(words)))


def test_without_distortion_masks_are_exact_in_both_directions():
    rng, decided = np.random.default_rng(3), {True: 0, False: 0}
    for seed in range(6):
        r = rig(seed, place=rigs.PLACES[seed % 4])
        mask = mask_of(r)
        for i, j in PAIRS:
            T_b_a = inverse(r.poses[j]) @ r.poses[i]
            for a, b in rng.integers(0, 16, (8, 2)).tolist():
                depth = truth.meet(r.cameras[i], r.cameras[j], T_b_a, PATCHES, (a, b))
                assert block(mask, i, j)[a, b] == (depth > 1e-6)
                decided[depth > 1e-6] += 1
    assert min(decided.values()) > 20


def test_the_exact_yardstick_agrees_with_linear_programming():
    optimize = pytest.importorskip("scipy.optimize")
    r, rng = rig(5), np.random.default_rng(5)
    T_b_a = inverse(r.poses[1]) @ r.poses[0]
    for a, b in rng.integers(0, 16, (12, 2)).tolist():
        planes = truth.planes_of(r.cameras[0], r.cameras[1], T_b_a, PATCHES, (a, b))
        # The largest ball inside all faces, its radius free to be negative.
        A = np.column_stack([-planes[:, :3], np.ones(12)])
        found = optimize.linprog((0, 0, 0, -1), A, planes[:, 3], bounds=[(None, None)] * 4)
        depth = truth.meet(r.cameras[0], r.cameras[1], T_b_a, PATCHES, (a, b))
        assert depth == pytest.approx(-found.fun, abs=1e-6)


@pytest.mark.parametrize("lens", ["plumb_bob", "equidistant"])
def test_bending_lenses_allow_little_beyond_what_is_shared(lens):
    r, rng, allowed, shared = rig(11, lens), np.random.default_rng(0), 0, 0
    mask = mask_of(r)
    for i, j in PAIRS:
        T_b_a, seen = inverse(r.poses[j]) @ r.poses[i], block(mask, i, j)
        found = truth.sampled(r.cameras[i], r.cameras[j], T_b_a, PATCHES, rng, rays=1500) > 0
        for a, b in np.argwhere(seen & ~found).tolist():
            found[a, b] = truth.search(r.cameras[i], r.cameras[j], T_b_a, PATCHES, (a, b), rng)
        allowed, shared = allowed + seen.sum(), shared + (seen & found).sum()
    assert shared >= 0.9 * allowed > 50


@pytest.mark.parametrize("method", ["frustum", "cone"])
@pytest.mark.parametrize("lens", ["none", "mixed"])
def test_masks_are_symmetric_and_views_see_themselves(lens, method):
    mask = mask_of(rig(2, lens), method=method)
    assert mask.dtype == bool and mask.shape == (48, 48) and not mask.flags.writeable
    assert np.array_equal(mask, mask.T)
    assert all(block(mask, view, view).all() for view in range(3))


@pytest.mark.parametrize("method", ["frustum", "cone"])
@pytest.mark.parametrize("lens", ["none", "plumb_bob", "mixed"])
def test_reordering_cameras_reorders_the_mask(lens, method):
    r, order = rig(4, lens), [2, 0, 1]
    other = dataclasses.replace(r, cameras=[r.cameras[i] for i in order], poses=[r.poses[i] for i in order])
    tokens = np.arange(48).reshape(3, 16)[order].ravel()
    assert np.array_equal(mask_of(other, method=method), mask_of(r, method=method)[np.ix_(tokens, tokens)])


@pytest.mark.parametrize("lens", ["none", "equidistant"])
def test_updates_give_what_a_new_start_gives_and_leave_old_masks_alone(lens):
    r, rng = rig(6, lens), np.random.default_rng(6)
    masks, given = SightMasks(r.cameras, PATCHES), []
    for step in range(12):
        moving = rng.integers(0, 2, 3).astype(bool)
        for view in np.flatnonzero(moving):
            r.poses[view] = r.poses[view] @ pose(*rng.normal(0, 0.03, 3), rng.normal(0, 0.1))
        mask = masks.update(r.poses)
        assert np.array_equal(mask, mask_of(r))
        if moving.any():
            assert not any(np.shares_memory(mask, before) for before, _ in given)
        given.append((mask[step:] if step % 2 else mask, mask[step:].copy() if step % 2 else mask.copy()))
    assert all(np.array_equal(mask, as_given) for mask, as_given in given)


def test_a_single_camera_sees_all_of_itself_and_its_mask_is_read_only_too():
    mask = SightMasks([pinhole("a")], PATCHES).update([pose()])
    assert mask.all() and not mask.flags.writeable


def test_only_pairs_that_moved_are_worked_out():
    r = rig(7)
    masks, worked = SightMasks(r.cameras, PATCHES), []
    first = masks.update(r.poses)
    meet = masks._meet
    masks._meet = lambda a, b, T: worked.append({a.name, b.name}) or meet(a, b, T)
    assert masks.update([p.copy() for p in r.poses]) is first
    elsewhere = pose(1.0, -2.0, 0.5, 0.7)
    assert masks.update([elsewhere @ p for p in r.poses]) is first  # the whole robot drove on
    assert worked == []
    masks.update([elsewhere @ p for p in (r.poses[0], r.poses[1] @ pose(x=0.01), r.poses[2])])
    assert sorted(map(sorted, worked)) == [
        ["head_cam", "wrist_cam_left"],
        ["wrist_cam_left", "wrist_cam_right"],
    ]


def test_the_pictures_size_does_not_matter_only_what_it_shows():
    r = rig(8, "plumb_bob")
    small = dataclasses.replace(r, cameras=[c.resized(c.width // 2, c.height // 2) for c in r.cameras])
    assert np.array_equal(mask_of(r), mask_of(small))


def test_cameras_in_one_place_share_each_patch_with_itself():
    assert np.array_equal(pair(pose()), np.eye(16, dtype=bool))


def test_level_stereo_cameras_share_rows():
    seen = pair(pose(x=0.06)).reshape(4, 4, 4, 4)
    assert all(seen[i, :, j].any() == (i == j) for i in range(4) for j in range(4))


def test_cameras_back_to_back_share_nothing():
    assert not pair(pose(z=-0.1, turn=np.pi)).any()


def test_cameras_face_to_face_share_what_lies_between_their_near_planes():
    seen = pair(pose(z=1.0, turn=np.pi)).reshape(4, 4, 4, 4)
    assert seen.any(axis=(2, 3)).all()
    assert not seen[:2, :, 2:].any()  # what one has above its axis, so has the other
    assert not seen[:, :2, :, :2].any()  # and what one has on its left, the other has on its right
    assert not pair(pose(z=0.09, turn=np.pi)).any()  # less than both near distances
    assert not pair(pose(z=3.1, turn=np.pi)).any()  # more than both far distances


def test_depth_bands_that_do_not_meet_share_nothing():
    assert not pair(pose(x=0.01), a=(0.1, 0.5), b=(0.6, 2.0)).any()
    assert pair(pose(x=0.01), a=(0.1, 0.5), b=(0.4, 2.0)).any()


def test_a_fisheye_that_sees_behind_itself_is_masked_by_what_lies_ahead():
    K = np.array([(52.0, 0, 95.5), (0, 52.0, 95.5), (0, 0, 1)])  # 212 degrees wide
    wide = CameraCalibration("wide", 192, 192, K, "equidistant", (0.0,) * 4, "world", np.eye(4))
    rng = np.random.default_rng(0)
    for patches in ((1, 1), (4, 4)):
        for T_a_b in (pose(x=0.2, z=0.3, turn=2.5), pose(x=-0.3, turn=0.6)):
            for other in (pinhole("narrow"), dataclasses.replace(wide, name="other")):
                count = patches[0] * patches[1]
                mask = block(SightMasks([wide, other], patches).update([np.eye(4), T_a_b]), 0, 1, count)
                found = truth.sampled(wide, other, inverse(T_a_b), patches, rng, rays=2000) > 0
                assert found.any() and not (found & ~mask).any()


def test_the_cone_is_the_reports_formula():
    r = rig(9)
    mask = mask_of(r, method="cone", margin=1.2)
    cones = [reports_cones(c, p, 1.2) for c, p in zip(r.cameras, r.poses)]
    for i, j in PAIRS:
        for a in range(16):
            for b in range(16):
                assert block(mask, i, j)[a, b] == reports_test(cones[i], cones[j], a, b)


def reports_cones(camera: CameraCalibration, T: np.ndarray, margin: float) -> tuple:
    """Apex, axes (16, 3) and half-angles (16,) in the world, and the depth band."""
    from wallwm_model.geometry import camera_rays

    size = np.array([camera.width, camera.height]) / 4
    axes, angles = [], []
    for row in range(4):
        for col in range(4):
            at = [(col + u, row + v) for u, v in ((0.5, 0.5), (0, 0), (1, 0), (0, 1), (1, 1))]
            rays = camera_rays(camera, np.array(at) * size - 0.5)
            rays /= np.linalg.norm(rays, axis=1, keepdims=True)
            axes.append(T[:3, :3] @ rays[0])
            angles.append(margin * np.arccos(min(rays[1:] @ rays[0])))
    return T[:3, 3], axes, angles, camera.depth_band_m


def reports_test(cone_a: tuple, cone_b: tuple, a: int, b: int) -> bool:
    (p, axes, angle_p, band_p), (q, others, angle_q, band_q) = cone_a, cone_b
    v, w = axes[a], others[b]
    t1 = np.linalg.lstsq(np.column_stack([v, -w]), q - p, rcond=None)[0][0]
    t1 = np.clip(t1, *band_p)
    t2 = np.clip((p + t1 * v - q) @ w, *band_q)
    return bool(np.linalg.norm(p + t1 * v - q - t2 * w) <= t1 * angle_p[a] + t2 * angle_q[b])


def test_a_wider_margin_allows_more():
    r = rig(10)
    tight, wide = mask_of(r, method="cone"), mask_of(r, method="cone", margin=1.5)
    assert wide[tight].all() and wide.sum() > tight.sum()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "sphere"}, "method must be one of frustum, cone; found 'sphere'"),
        ({"margin": 0.5}, "margin must be 1 or more; found 0.5"),
        ({"calibrations": []}, "one camera or more; found none"),
        ({"patches": (4, 0)}, r"patches must be \(rows, columns\), whole numbers"),
        ({"patches": 4}, r"patches must be \(rows, columns\), whole numbers"),
    ],
)
def test_bad_masks_are_refused(change, message):
    with pytest.raises(GeometryError, match=message):
        SightMasks(**({"calibrations": [pinhole("a")], "patches": PATCHES} | change))


def test_a_lens_that_folds_back_inside_the_picture_is_refused():
    bent = dataclasses.replace(pinhole("bent"), D=(-1.2, 0.0, 0.0, 0.0, 0.0))
    with pytest.raises(
        GeometryError, match="camera bent: plumb_bob coefficients must cover the whole picture"
    ):
        SightMasks([bent], PATCHES)


def test_raw_calibrations_of_rectified_pictures_are_refused():
    with pytest.raises(GeometryError, match="camera a: .*as published"):
        SightMasks([dataclasses.replace(pinhole("a"), rectified=True)], PATCHES)


@pytest.mark.parametrize("bad", [np.eye(3), np.diag([1.0, 1, -1, 1]), np.eye(4) * np.nan, "here", None])
def test_bad_poses_are_refused(bad):
    masks = SightMasks([pinhole("a"), pinhole("b")], PATCHES)
    with pytest.raises(GeometryError, match=r"the pose of camera b must be a rigid transform \(4, 4\)"):
        masks.update([np.eye(4), bad])
    with pytest.raises(GeometryError, match="poses must be one per camera, 2; found 1 for a, b"):
        masks.update([np.eye(4)])
