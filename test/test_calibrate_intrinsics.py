"""Fitting a lens: exact where it can be, refused where it cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from calibration_fixtures import BOARD, exact_views, held_pictures, rig

from wallwm_model.calibration_tools import adjustment
from wallwm_model.calibration_tools.coverage import Coverage
from wallwm_model.calibration_tools.detect import Detector, View
from wallwm_model.calibration_tools.intrinsics import calibrate_intrinsics
from wallwm_model.calibration_tools.report import report_intrinsics
from wallwm_model.errors import CalibrationError

MODELS = ("plumb_bob", "rational_polynomial", "equidistant")


@pytest.mark.parametrize("model", MODELS)
def test_a_lens_is_found_and_its_uncertainty_is_honest(model):
    lens, views = exact_views(model)
    result = calibrate_intrinsics(BOARD, views, model)
    K, places = result.fit.K, ((0, 0), (1, 1), (0, 2), (1, 2))
    off = np.array([K[at] - lens.K[at] for at in places])
    assert (np.abs(off) < 0.005 * np.array([lens.K[at] for at in places])).all()
    assert (np.abs(off) < 5 * result.deviation[:4]).all()
    assert result.rms_px == pytest.approx(0.05 * np.sqrt(2), rel=0.15)
    assert result.outliers < 5 and not result.dropped


@pytest.mark.parametrize("model", MODELS)
def test_corners_in_wrong_places_do_not_bend_the_lens(model):
    lens, views = exact_views(model)
    clean = calibrate_intrinsics(BOARD, views, model)
    spoilt = []
    for number, view in enumerate(views):
        pixels = view.pixels.copy()
        pixels[number % len(pixels)] += (6.0, -4.0)
        spoilt.append(replace(view, pixels=pixels))
    result = calibrate_intrinsics(BOARD, spoilt, model)
    assert np.abs(result.fit.K - clean.fit.K).max() < 1.0
    assert len(views) <= result.outliers <= len(views) + 5


def test_a_view_that_fits_badly_is_left_out_by_name():
    _, views = exact_views("plumb_bob")
    twisted = replace(
        views[3], source="twisted", pixels=views[3].pixels + 4 * np.sin(views[3].pixels[:, ::-1] / 9)
    )
    result = calibrate_intrinsics(BOARD, [*views[:3], twisted, *views[4:]], "plumb_bob")
    assert result.dropped == ("twisted",) and len(result.views) == len(views) - 1
    assert result.rms_px < 0.1


@pytest.mark.parametrize("model", ["plumb_bob", "equidistant"])
def test_a_view_of_one_row_or_without_a_pose_is_left_out_and_the_others_count(model, monkeypatch):
    lens, views = exact_views(model, 24)
    whole = views[3]
    rows = {v.source: v.ids // (BOARD.columns - 1) for v in views}
    number = next(r for r in range(BOARD.rows - 1) if (rows[whole.source] == r).sum() >= 6)
    row = rows[whole.source] == number
    views[3] = replace(whole, ids=whole.ids[row], pixels=whole.pixels[row])
    posed, behind = adjustment.lens.board_pose, views[5].pixels
    monkeypatch.setattr(
        adjustment.lens,
        "board_pose",
        lambda points, pixels, *more: None if pixels is behind else posed(points, pixels, *more),
    )
    result = calibrate_intrinsics(BOARD, views, model)
    assert result.dropped == (whole.source, views[5].source) and len(result.views) == 22
    assert abs(result.fit.K[0, 0] / lens.K[0, 0] - 1) < 0.005


def test_pictures_give_the_lens_that_drew_them():
    detector = Detector(BOARD)
    views = [detector.find(picture) for picture in held_pictures()]
    result = calibrate_intrinsics(BOARD, [v for v in views if isinstance(v, View)], "plumb_bob")
    assert abs(result.fit.K[0, 0] / rig().lens.K[0, 0] - 1) < 0.005
    assert np.abs(result.fit.K[:2, 2] - rig().lens.K[:2, 2]).max() < 0.005 * 320
    assert result.rms_px < 0.3


def few():
    return exact_views("plumb_bob", count=6)[1]


def one_half():
    left = [(view, view.pixels[:, 0] < 300) for view in exact_views("plumb_bob")[1]]
    return [replace(v, ids=v.ids[near], pixels=v.pixels[near]) for v, near in left if near.sum() >= 8]


def flat():
    return exact_views("plumb_bob", count=24, tilt=0.002)[1]


def hardly_tilted():
    return exact_views("plumb_bob", count=24, tilt=0.07)[1]


def two_sizes():
    views = exact_views("plumb_bob")[1]
    return [*views[:-1], replace(views[-1], size=(320, 240))]


def noisy():
    views, rng = exact_views("plumb_bob")[1], np.random.default_rng(0)
    return [replace(v, pixels=v.pixels + rng.normal(0, 1.5, v.pixels.shape)) for v in views]


@pytest.mark.parametrize(
    ("views", "words"),
    [
        (few, "too few views: at least 10 must show the board; found 6"),
        (one_half, "too little of the picture is covered"),
        (flat, "too little tilt"),
        (hardly_tilted, "too little tilt: views must differ by 20 degrees"),
        (two_sizes, "same size; found 320x240, 640x480"),
        (noisy, "the board does not fit the pictures: corners must lie within 1 px RMS"),
    ],
)
def test_poor_views_are_refused_with_the_reason(views, words):
    with pytest.raises(CalibrationError) as refused:
        calibrate_intrinsics(BOARD, views(), "plumb_bob")
    assert words in str(refused.value)


def test_the_wrong_lens_model_shows_in_the_residuals():
    _, views = exact_views("equidistant")
    wrong, right = (calibrate_intrinsics(BOARD, views, model) for model in ("plumb_bob", "equidistant"))
    assert wrong.rms_px > 2 * right.rms_px


def test_an_unknown_model_is_refused():
    with pytest.raises(
        CalibrationError, match="plumb_bob, rational_polynomial, equidistant; found 'pinhole'"
    ):
        calibrate_intrinsics(BOARD, few(), "pinhole")


def test_guidance_asks_for_what_lacks_and_then_is_content():
    lens, views = exact_views("plumb_bob", count=40)
    coverage = Coverage.guessed(BOARD, lens.size, "plumb_bob", 30)
    first = {need.what: need for need in coverage.needs()}
    assert all(not need.met and need.hint for need in first.values())
    for view in views:
        coverage.add(view)
    assert all(need.met for need in coverage.needs())
    assert coverage.grid().sum() == sum(len(view.ids) for view in views)


@pytest.mark.parametrize(
    ("turn", "name"),
    [
        ((0, 0.4, 0), "right side nearer"),
        ((0, -0.4, 0), "left side nearer"),
        ((0.4, 0, 0), "top nearer"),
        ((-0.4, 0, 0), "bottom nearer"),
    ],
)
def test_tilts_are_called_by_the_side_that_is_nearer(turn, name):
    import cv2
    from calibration_fixtures import make_lens, see

    R = cv2.Rodrigues(np.array(turn, float))[0]
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = R, (0, 0, 0.35) - R @ BOARD.centre
    corners = BOARD.corners @ R.T + pose[:3, 3]
    nearest = corners[corners[:, 2].argmin()] - corners.mean(0)
    side = {"right side nearer": nearest[0] > 0, "left side nearer": nearest[0] < 0,
            "bottom nearer": nearest[1] > 0, "top nearer": nearest[1] < 0}  # fmt: skip
    assert side[name], "the test's own geometry"
    lens = make_lens("plumb_bob")
    coverage = Coverage(BOARD, lens.size, lens.K, lens.model, lens.D, 1)
    coverage.add(see(lens, pose, np.random.default_rng(0)))
    found = {need.what: need.found for need in coverage.needs()}
    assert [
        side
        for side in ("left side nearer", "right side nearer", "top nearer", "bottom nearer")
        if found[side]
    ] == [name]


def test_a_view_like_one_that_is_kept_is_not_new():
    lens, views = exact_views("plumb_bob", count=3)
    coverage = Coverage(BOARD, lens.size, lens.K, lens.model, lens.D, 30)
    coverage.add(views[0])
    assert not coverage.is_new(replace(views[0], pixels=views[0].pixels + 2))
    assert coverage.is_new(views[1])


def test_the_report_is_a_picture_and_a_page_of_its_own(tmp_path):
    _, views = exact_views("equidistant")
    views[0] = replace(views[0], source="<b>odd</b>")
    result = calibrate_intrinsics(BOARD, views, "equidistant")
    picture, page = report_intrinsics(tmp_path / "new", "cam", result, ["24 of 25 pictures used; 1 blurred"])
    assert picture.stat().st_size > 20_000
    text = page.read_text()
    assert "data:image/png;base64," in text and "1 blurred" in text and f"{result.rms_px:.3f} px" in text
    assert "http" not in text, "a page of its own needs no network"
