"""Overlays: what is drawn lies where the calibration says, and tints say what the mask says."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mujoco")

from wallwm_model.calibration import load_calibration  # noqa: E402
from wallwm_model.calibration_check.overlay import overlay, skeleton, tint  # noqa: E402
from wallwm_model.calibration_check.snapshot import Claims, Snapshot  # noqa: E402
from wallwm_model.errors import ObservationError  # noqa: E402
from wallwm_model.forward_kinematics import MujocoKinematics  # noqa: E402
from wallwm_model.geometry import project  # noqa: E402
from wallwm_model.sim.robot import HOME, JOINTS  # noqa: E402
from wallwm_model.transforms import inverse  # noqa: E402
from wallwm_ros.core.paths import data_path  # noqa: E402

GREY = np.full((480, 480, 3), 120, np.uint8)


@pytest.fixture(scope="module")
def claims():
    cameras = load_calibration(data_path("calibration/sim.yaml")).cameras
    return Claims(cameras, MujocoKinematics(), (4, 4), surface_m=0.0)


def over_the_table() -> dict[str, float]:
    """The left gripper in the head camera's picture."""
    joints = HOME.copy()
    joints[:6] = (0.0, 0.2, 0.4, 0.0, 0.9, 0.0)
    return dict(zip(JOINTS, joints.tolist(), strict=True))


@pytest.fixture(scope="module")
def moment(claims):
    return claims.moment(Snapshot({name: GREY for name in claims.calibrations}, over_the_table()))


def near(picture: np.ndarray, pixel: np.ndarray, colour, radius: int = 3) -> bool:
    """Whether a colour shows around a pixel."""
    x, y = np.rint(pixel).astype(int)
    patch = picture[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1].astype(int)
    return bool((np.abs(patch - np.array(colour)).max(axis=-1) < 60).any())


def seen_from(moment, view, point):
    """Pixel of a world point (3,) in a view."""
    T = inverse(moment.poses[view])
    return project(moment.calibrations[view], (T[:3, :3] @ point + T[:3, 3])[None])[0]


def test_joints_are_drawn_where_forward_kinematics_and_the_camera_put_them(claims, moment):
    picture = overlay(moment, "head_cam", GREY)
    drawn = 0
    for link in ("left_gripper", "left_wrist_link", "left_forearm_roll_link"):
        pixel = seen_from(moment, "head_cam", claims.kinematics.pose(link, over_the_table())[:3, 3])
        if ((pixel > 4) & (pixel < 475)).all():
            assert near(picture, pixel, (255, 255, 255)), link
            drawn += 1
    assert drawn >= 2


def test_what_hangs_on_a_joint_that_nobody_measures_is_not_drawn(claims):
    """A wheel or a lift in the robot description; here it is the right elbow."""
    joints = over_the_table()
    whole = skeleton(claims.kinematics, joints)
    del joints["right_elbow"]
    part = skeleton(claims.kinematics, joints)
    assert 0 < len(part) < len(whole)
    assert {pair.tobytes() for pair in part} < {pair.tobytes() for pair in whole}


def test_a_frustum_starts_at_its_camera(moment):
    picture = overlay(moment, "head_cam", GREY)
    apex = seen_from(moment, "head_cam", moment.poses["wrist_cam_left"][:3, 3])
    assert ((apex > 0) & (apex < 480)).all()
    assert near(picture, apex, moment.colour("wrist_cam_left"))
    assert not near(picture, apex, moment.colour("wrist_cam_right"))


def test_a_frustum_ends_on_the_surface(moment):
    camera, pose = moment.calibrations["wrist_cam_left"], moment.poses["wrist_cam_left"]
    middle = np.array([(camera.width - 1) / 2, -0.5])  # of the picture's upper border
    ray = pose[:3, :3] @ np.append((middle - camera.K[:2, 2]) / camera.K[[0, 1], [0, 1]], 1.0)
    foot = pose[:3, 3] - ray * pose[2, 3] / ray[2]
    pixel = seen_from(moment, "head_cam", foot)
    assert foot[2] == pytest.approx(0.0, abs=1e-9)
    assert ((pixel > 4) & (pixel < 475)).all()
    assert near(overlay(moment, "head_cam", GREY), pixel, moment.colour("wrist_cam_left"))


def test_corners_of_a_board_are_dotted(moment):
    corner = np.array([0.3, 0.0, 0.0])
    pixel = seen_from(moment, "head_cam", corner)
    green = (90, 255, 90)
    assert near(overlay(moment, "head_cam", GREY, corners=corner[None]), pixel, green)
    assert not near(overlay(moment, "head_cam", GREY), pixel, green)


def test_who_sees_a_patch_is_what_the_mask_says(moment):
    mask = moment.mask.reshape(3, 16, 3, 16)
    for index, view in enumerate(moment.views):
        seen = moment.seen_by(view)
        assert set(seen) == set(moment.views) - {view}
        for other, patches in seen.items():
            assert (patches.ravel() == mask[index, :, moment.views.index(other)].any(axis=1)).all()
    assert moment.seen_by("head_cam")["wrist_cam_left"].any()


def test_patches_that_others_see_are_tinted_and_the_rest_dimmed():
    red, blue = (255, 0, 0), (0, 0, 255)
    seen = {red: np.zeros((2, 2), bool), blue: np.zeros((2, 2), bool)}
    seen[red][0, 0] = seen[red][0, 1] = seen[blue][0, 1] = True
    out = tint(GREY, seen).astype(int)
    middle = {(r, c): out[120 + 240 * r - 40 : 120 + 240 * r + 40, 120 + 240 * c - 40 : 120 + 240 * c + 40]
              for r in (0, 1) for c in (0, 1)}  # fmt: skip
    assert (middle[0, 0][..., 0] > 130).all() and (middle[0, 0][..., 2] < 110).all()
    stripes = middle[0, 1].reshape(-1, 3)
    assert (stripes[:, 0] > stripes[:, 2]).any() and (stripes[:, 2] > stripes[:, 0]).any()
    assert (middle[1, 0] < 100).all() and (middle[1, 1] < 100).all()


def test_a_picture_of_another_shape_is_refused_and_a_larger_one_scaled(claims):
    large = np.zeros((384, 384, 3), np.uint8)
    moment = claims.moment(Snapshot({"head_cam": large}, over_the_table()))
    assert moment.calibrations["head_cam"].size == (384, 384)
    assert overlay(moment, "head_cam", large, side=480).shape == (768, 768, 3)
    with pytest.raises(
        ObservationError, match="head_cam must have the calibrated shape 192x192; found 640x480"
    ):
        claims.moment(Snapshot({"head_cam": np.zeros((480, 640, 3), np.uint8)}, over_the_table()))
