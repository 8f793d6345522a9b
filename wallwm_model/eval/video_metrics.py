"""How good is a predicted video? PSNR, SSIM and LPIPS against what happened, beside copying the last frame.

Videos are (F, H, W, 3) uint8 RGB. Every figure is the mean over pictures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from wallwm_model.errors import ConfigError

PSNR_CAP = 60.0  # [dB], for pictures that are equal: their PSNR is infinite and would swallow a mean
WINDOW, SIGMA = 11, 1.5  # of SSIM's Gaussian [px], as published
LPIPS_SIZE = 64  # px; smaller pictures are enlarged for LPIPS


def psnr(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio (F,) [dB] of two videos (F, H, W, 3) uint8, at most `PSNR_CAP`."""
    _check(predicted, truth)
    error = np.square(predicted.astype(np.float64) - truth).mean((1, 2, 3))
    return np.minimum(10 * np.log10(255.0**2 / np.maximum(error, 1e-12)), PSNR_CAP)


def ssim(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Structural similarity (F,) of two videos (F, H, W, 3) uint8; 1 is equal.

    Wang et al., 2004: Gaussian windows, mean over pixels and channels; borders are left out as published.
    """
    _check(predicted, truth)
    if min(predicted.shape[1:3]) < WINDOW:
        raise ConfigError(f"SSIM needs pictures of {WINDOW} px or more; found {predicted.shape[1:3]}")
    return np.array([_ssim(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(predicted, truth)])


def _ssim(a: np.ndarray, b: np.ndarray) -> float:
    c1, c2, edge = (0.01 * 255) ** 2, (0.03 * 255) ** 2, WINDOW // 2

    def blur(picture: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(picture, (WINDOW, WINDOW), SIGMA)[edge:-edge, edge:-edge]

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    shared = blur(a * b) - mean_a * mean_b
    above = (2 * mean_a * mean_b + c1) * (2 * shared + c2)
    return float((above / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())


def lpips(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """LPIPS 0.1 (AlexNet) (F,) of two videos (F, H, W, 3) uint8; 0 is alike. Needs torch.

    Pictures below `LPIPS_SIZE` are enlarged to it (bilinear), both alike.
    """
    import torch

    from wallwm_model.eval.lpips import lpips as network

    _check(predicted, truth)
    one, other = (
        torch.from_numpy(np.stack([_enlarged(x) for x in video])).movedim(-1, 1).float() / 127.5 - 1
        for video in (predicted, truth)
    )
    with torch.no_grad():
        return network()(one, other).numpy()


def _enlarged(picture: np.ndarray) -> np.ndarray:
    factor = LPIPS_SIZE / min(picture.shape[:2])
    if factor <= 1:
        return picture
    return cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)


METRICS = {"psnr": psnr, "ssim": ssim, "lpips": lpips}


@dataclass(frozen=True)
class Clip:
    """One prediction, all pictures uint8 RGB.

    Attributes:
        name: says which camera or event it is.
        last: (H, W, 3), the last picture that was seen.
        truth, predicted: (F, H, W, 3), what followed and what the model said would follow.
    """

    name: str
    last: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray


def compare(clips: Iterable[Clip]) -> dict[str, dict[str, float]]:
    """Mean of each metric over all pictures of all clips, of the prediction and of copying the last picture.

    Returns:
        {"predicted": {"psnr", "ssim", "lpips"}, "copy": {...}, "better": {...}}; `better` is the share of the
        pictures in which the prediction beats the copy.

    Raises:
        ConfigError: no clip, or pictures that do not fit each other.
    """
    scores: dict[str, dict[str, list[np.ndarray]]] = {m: {"predicted": [], "copy": []} for m in METRICS}
    for clip in clips:
        copy = np.broadcast_to(clip.last, clip.truth.shape)
        for name, metric in METRICS.items():
            scores[name]["predicted"].append(metric(clip.predicted, clip.truth))
            scores[name]["copy"].append(metric(copy, clip.truth))
    if not scores["psnr"]["copy"]:
        raise ConfigError("expected predicted clips to compare; found none")
    found: dict[str, dict[str, float]] = {"predicted": {}, "copy": {}, "better": {}}
    for name, rows in scores.items():
        model, copy = np.concatenate(rows["predicted"]), np.concatenate(rows["copy"])
        found["predicted"][name], found["copy"][name] = float(model.mean()), float(copy.mean())
        found["better"][name] = float(((model < copy) if name == "lpips" else (model > copy)).mean())
    return found


def write_strip(clip: Clip, path: Path, *, columns: int = 6, scale: int = 2) -> None:
    """A PNG of the clip: what happened above what was predicted, each after the last picture that was seen.

    Args:
        columns: pictures in a row at most, spread evenly over the clip.
        scale: enlargement of the pictures.

    Raises:
        ConfigError: `path` cannot be written.
    """
    _check(clip.predicted, clip.truth)
    chosen = np.unique(np.linspace(0, len(clip.truth) - 1, min(columns, len(clip.truth))).round().astype(int))
    rows = [_row([clip.last, *video[chosen]], scale) for video in (clip.truth, clip.predicted)]
    labels = [_label(text, rows[0].shape[1]) for text in (f"{clip.name}: what happened", "predicted")]
    picture = np.vstack([labels[0], rows[0], labels[1], rows[1]])
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), picture[..., ::-1]):
        raise ConfigError(f"a strip must be written to a .png in a folder that can be written; found {path}")


def _row(pictures: list[np.ndarray], scale: int) -> np.ndarray:
    """Pictures side by side with white gaps; the first one, which was seen, stands apart."""
    large = [np.repeat(np.repeat(picture, scale, 0), scale, 1) for picture in pictures]
    parts = [large[0], np.full((large[0].shape[0], 8, 3), 255, np.uint8)]
    for picture in large[1:]:
        parts += [picture, np.full((picture.shape[0], 2, 3), 255, np.uint8)]
    return np.hstack(parts)


def _label(text: str, width: int) -> np.ndarray:
    line = np.full((22, width, 3), 255, np.uint8)
    return cv2.putText(line, text, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)


def _check(predicted: np.ndarray, truth: np.ndarray) -> None:
    for video in (predicted, truth):
        if video.ndim != 4 or video.shape[-1] != 3 or video.dtype != np.uint8 or not len(video):
            raise ConfigError(f"a video must be (F, H, W, 3) uint8; found {video.shape}, {video.dtype}")
    if predicted.shape != truth.shape:
        found = f"{predicted.shape} and {truth.shape}"
        raise ConfigError(f"predicted and true video must have one shape; found {found}")
