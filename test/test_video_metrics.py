"""Metrics of predicted video: known values, and the right order of good and bad predictions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from wallwm_model.errors import ConfigError
from wallwm_model.eval.video_metrics import PSNR_CAP, Clip, compare, lpips, psnr, ssim, write_strip

needs_torch = pytest.mark.train


def scene(frames: int = 5, size: int = 64) -> np.ndarray:
    """A bright square that moves over a shaded ground."""
    ground = np.linspace(40, 120, size, dtype=np.uint8)[None, :, None].repeat(size, 0).repeat(3, 2)
    video = ground[None].repeat(frames, 0)
    for frame, picture in enumerate(video):
        picture[20:36, 8 + 6 * frame : 24 + 6 * frame] = (220, 60, 40)
    return video


def noisy(video: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, deviation, video.shape)
    return np.clip(video + noise, 0, 255).astype(np.uint8)


def test_psnr_of_a_known_error():
    truth = np.full((2, 16, 16, 3), 100, np.uint8)
    other = truth.copy()
    other[1] += 10
    np.testing.assert_allclose(psnr(other, truth), [PSNR_CAP, 20 * np.log10(25.5)], rtol=1e-12)


def test_ssim_follows_its_definition():
    """Flat pictures have no variance: only the luminance term is left."""
    truth, other = np.full((1, 16, 16, 3), 100, np.uint8), np.full((1, 16, 16, 3), 150, np.uint8)
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    np.testing.assert_allclose(ssim(other, truth), expected, rtol=1e-9)
    assert ssim(scene(), scene()) == pytest.approx(1)


@needs_torch
def test_lpips_is_the_published_network():
    """Zero for equal pictures; beside it the value that the float32 weights give for a fixed pair."""
    pytest.importorskip("torch")
    truth = scene(1)
    assert lpips(truth, truth)[0] == 0
    assert lpips(cv2.GaussianBlur(truth[0], (9, 9), 2)[None], truth)[0] == pytest.approx(0.1327, rel=5e-3)


@needs_torch
def test_every_metric_prefers_less_noise():
    pytest.importorskip("torch")
    truth = scene()
    little, much = noisy(truth, 4), noisy(truth, 40)
    assert psnr(little, truth).min() > psnr(much, truth).max()
    assert ssim(little, truth).min() > ssim(much, truth).max()
    assert lpips(little, truth).max() < lpips(much, truth).min()


@needs_torch
def test_a_good_prediction_beats_copying_the_last_picture():
    pytest.importorskip("torch")
    video = scene(6)
    good = compare([Clip("head_cam", video[0], video[1:], noisy(video[1:], 2))])
    assert good["better"] == {"psnr": 1, "ssim": 1, "lpips": 1}
    assert good["predicted"]["psnr"] > good["copy"]["psnr"]
    copied = compare([Clip("head_cam", video[0], video[1:], video[:1].repeat(5, 0))])
    assert copied["predicted"] == copied["copy"] and set(copied["better"].values()) == {0}


@needs_torch
def test_small_pictures_are_enlarged_for_lpips_only():
    pytest.importorskip("torch")
    small = scene(2, size=32)
    assert np.isfinite(lpips(noisy(small, 10), small)).all()


def test_a_strip_shows_truth_above_prediction(tmp_path):
    video = scene(9)
    clip = Clip("head_cam", video[0], video[1:], np.zeros_like(video[1:]))
    write_strip(clip, tmp_path / "new" / "strip.png", columns=4, scale=2)
    picture = cv2.imread(str(tmp_path / "new" / "strip.png"))[..., ::-1]
    assert picture.shape == (2 * (22 + 128), 5 * 128 + 8 + 4 * 2, 3)
    np.testing.assert_array_equal(picture[22:150:2, :128:2], video[0])
    np.testing.assert_array_equal(picture[22:150:2, -130:-2:2], video[-1])
    assert not picture[172:, -130:-2].any()


@pytest.mark.parametrize(
    "predicted, said",
    [
        (np.zeros((2, 16, 16, 3), np.float32), r"\(F, H, W, 3\) uint8; found \(2, 16, 16, 3\), float32"),
        (np.zeros((3, 16, 16, 3), np.uint8), "must have one shape"),
        (np.zeros((0, 16, 16, 3), np.uint8), r"found \(0, 16, 16, 3\)"),
    ],
)
def test_other_arrays_are_refused(predicted, said):
    with pytest.raises(ConfigError, match=said):
        psnr(predicted, np.zeros((2, 16, 16, 3), np.uint8))


def test_nothing_to_compare_is_an_error():
    with pytest.raises(ConfigError, match="found none"):
        compare([])
