"""Rays and projection for every lens model, against OpenCV and against themselves."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from wallwm_model.calibration import CameraCalibration
from wallwm_model.errors import GeometryError
from wallwm_model.geometry import camera_rays, directions, project
from wallwm_model.geometry.truth import patch_of

K = np.array([(150.0, 0.0, 95.0), (0.0, 152.0, 97.0), (0.0, 0.0, 1.0)])
LENSES = {
    "none": ("plumb_bob", (0.0,) * 5),
    "plumb_bob": ("plumb_bob", (-0.25, 0.08, 0.001, -0.002, 0.01)),
    "rational_polynomial": ("rational_polynomial", (0.4, 0.02, 0.001, -0.0005, 0.002, 0.6, 0.03, 0.003)),
    "equidistant": ("equidistant", (-0.02, 0.005, -0.001, 0.0001)),
}


def camera(model: str, D: tuple[float, ...], K: np.ndarray = K, size: int = 192) -> CameraCalibration:
    return CameraCalibration("cam", size, size, K, model, D, "world", np.eye(4))


def pixels(count: int = 500, size: int = 192) -> np.ndarray:
    """Anywhere in the picture, its very corners too."""
    drawn = np.random.default_rng(0).uniform(-0.5, size - 0.5, (count, 2))
    return np.vstack([drawn, [(u, v) for u in (-0.5, size - 0.5) for v in (-0.5, size - 0.5)]])


@pytest.mark.parametrize("lens", LENSES)
def test_a_ray_is_projected_back_to_its_pixel(lens):
    cam = camera(*LENSES[lens])
    rays = camera_rays(cam, pixels())
    assert np.array_equal(rays[:, 2], np.ones(len(rays)))
    depth = np.random.default_rng(1).uniform(0.1, 5.0, (len(rays), 1))
    assert project(cam, rays * depth) == pytest.approx(pixels(), abs=1e-9)


@pytest.mark.parametrize("lens", LENSES)
def test_projection_is_opencvs(lens):
    model, D = LENSES[lens]
    points = camera_rays(camera(model, D), pixels()).reshape(-1, 1, 3)
    call = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    theirs = call(points, np.zeros(3), np.zeros(3), K, np.array(D))[0].reshape(-1, 2)
    assert theirs == pytest.approx(pixels(), abs=1e-9)


def test_a_whole_number_is_the_centre_of_a_pixel():
    cam = camera("plumb_bob", (0.0,) * 5, np.array([(4.0, 0, 3.5), (0, 4.0, 3.5), (0, 0, 1)]), 8)
    assert camera_rays(cam, np.array([(3.5, 3.5)])) == pytest.approx(np.array([(0, 0, 1)]))
    edges = camera_rays(cam, np.array([(-0.5, -0.5), (7.5, 7.5)]))
    assert edges == pytest.approx(np.array([(-1, -1, 1), (1, 1, 1)]))
    places = [(-0.5, -0.5), (3.49, 0.0), (3.5, 0.0), (7.49, 7.49), (7.5, 0.0), (-0.51, 0.0), (np.nan, 0.0)]
    assert patch_of(cam, np.array(places), (2, 2)).tolist() == [0, 0, 1, 3, -1, -1, -1]


def test_nothing_behind_or_beyond_the_lens_comes_into_the_picture():
    cam = camera("plumb_bob", (-0.3, 0.0, 0.0, 0.0, 0.0))
    # r (1 - 0.3 r^2) falls from r = 1.05 on: at 1.9 it would be back at the picture's centre.
    assert np.isfinite(project(cam, np.array([(1.0, 0, 1)]))).all()
    assert np.isnan(project(cam, np.array([(1.9, 0, 1), (0.1, 0, -1), (0.1, 0.1, 0)]))).all()


def test_a_fisheye_sees_sideways_but_has_no_ray_with_a_depth_there():
    cam = camera("equidistant", (0.0,) * 4, np.array([(50.0, 0, 95.5), (0, 50.0, 95.5), (0, 0, 1)]))
    beside = np.array([(95.5 + 50 * np.radians(100), 95.5)])
    direction = directions(cam, beside)
    assert direction == pytest.approx(np.array([(np.sin(np.radians(100)), 0, np.cos(np.radians(100)))]))
    assert project(cam, 3 * direction) == pytest.approx(beside)
    assert np.isnan(camera_rays(cam, beside)).all()


@pytest.mark.parametrize("bad", [np.zeros(2), np.zeros((3, 4)), "far", None])
def test_what_is_no_list_of_points_is_refused(bad):
    cam = camera(*LENSES["none"])
    with pytest.raises(GeometryError, match=r"pixels must be numbers of shape \(N, 2\); found"):
        camera_rays(cam, bad)
    with pytest.raises(GeometryError, match=r"points must be numbers of shape \(N, 3\); found"):
        project(cam, bad)
