"""Pictures of a flat calibration board through a real lens: exact ray geometry, shading, blur and noise.

A board is a plane, so each sub-pixel's ray is intersected with it: lens distortion is exact, edges are
anti-aliased, and no graphics library is needed. A GL renderer would add its own texture filtering and a
resampling step for the distortion, each a bias of some hundredths of a pixel, the size of what is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

_STEEPEST = np.radians(86.0)  # rays farther from the optical axis are dark [rad]
SQUARE_PX = 96  # resolution of the board's own picture


@dataclass(frozen=True)
class Lens:
    """An ideal sensor behind a distorting lens.

    Attributes:
        K: (3, 3) intrinsics [px], centre of the top left pixel is (0, 0).
        model: `plumb_bob`, `rational_polynomial` or `equidistant`.
        D: distortion coefficients of that model.
        size: (width, height) [px].
        samples: sub-pixels per pixel side.
    """

    K: np.ndarray
    model: str
    D: tuple[float, ...]
    size: tuple[int, int]
    samples: int = 3

    @cached_property
    def rays(self) -> np.ndarray:
        """(H s, W s, 2) float32 x/z and y/z of every sub-pixel's ray; NaN beyond the lens's range."""
        (width, height), s = self.size, self.samples
        u = (np.arange(width * s) + 0.5) / s - 0.5
        v = (np.arange(height * s) + 0.5) / s - 0.5
        pixels = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 1, 2)
        rays = unproject(pixels, self.K, self.model, self.D)
        steep = np.hypot(rays[:, 0], rays[:, 1]) > np.tan(_STEEPEST)
        rays[steep] = np.nan
        return rays.reshape(height * s, width * s, 2).astype(np.float32)

    def unproject(self, pixel: np.ndarray) -> np.ndarray:
        """(2,) pixel -> (3,) unit direction of its ray in the optical frame."""
        ray = np.append(
            unproject(np.reshape(pixel, (1, 1, 2)).astype(float), self.K, self.model, self.D)[0], 1.0
        )
        return ray / np.linalg.norm(ray)

    def project(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) points in the optical frame [m] -> (N, 2) pixels."""
        zero = np.zeros(3)
        points = np.asarray(points, np.float64).reshape(-1, 1, 3)
        call = cv2.fisheye.projectPoints if self.model == "equidistant" else cv2.projectPoints
        return call(points, zero, zero, self.K, np.array(self.D))[0].reshape(-1, 2)


def unproject(pixels: np.ndarray, K: np.ndarray, model: str, D: tuple[float, ...]) -> np.ndarray:
    """(N, 1, 2) pixels -> (N, 2) x/z and y/z of their rays, iterated to far below a thousandth of a pixel."""
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 60, 1e-10)
    if model == "equidistant":
        rays = cv2.fisheye.undistortPoints(pixels, K, np.array(D), criteria=criteria)
    else:
        rays = cv2.undistortPoints(pixels, K, np.array(D), criteria=criteria)
    return rays.reshape(-1, 2)


@dataclass(frozen=True)
class Conditions:
    """What a real picture suffers from.

    Attributes:
        blur_px: standard deviation of the lens's and sensor's point spread [px].
        motion_px: length of a smear, for a camera that moved during the exposure [px].
        noise: standard deviation of read noise [grey levels of 255]; shot noise comes on top.
        shade: difference in brightness across the picture (share).
    """

    blur_px: float = 0.7
    motion_px: float = 0.0
    noise: float = 2.5
    shade: float = 0.25


def draw(
    lens: Lens,
    board: np.ndarray,
    square_m: float,
    origin_px: float,
    pose: np.ndarray,
    rng: np.random.Generator,
    conditions: Conditions = Conditions(),
) -> np.ndarray:
    """One picture of the board before a cluttered background.

    Args:
        lens: the camera.
        board: (h, w) uint8 the board's own picture with squares of `SQUARE_PX` pixels.
        square_m: side of a square [m].
        origin_px: where the board frame's origin lies in that picture, from its corner, in x and y [px].
        pose: (4, 4) T_optical_board.
        rng: source of clutter and noise.
        conditions: blur, noise and light.

    Returns:
        (H, W) uint8 grey.
    """
    width, height = lens.size
    scene = _background(height * lens.samples, width * lens.samples, rng)
    x, y = _board_pixels(lens.rays, pose, SQUARE_PX / square_m)
    u, v = x + np.float32(origin_px - 0.5), y + np.float32(origin_px - 0.5)
    on = (u > -0.5) & (v > -0.5) & (u < board.shape[1] - 0.5) & (v < board.shape[0] - 0.5)
    # Printed black is not black, paper is not white.
    seen = cv2.remap(board, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) * 0.70 + 28.0
    np.copyto(scene, seen.astype(np.float32), where=on)
    picture = cv2.resize(scene, (width, height), interpolation=cv2.INTER_AREA)
    return _expose(picture, rng, conditions)


def _board_pixels(rays: np.ndarray, pose: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Where rays meet the board plane, in the board frame times `scale`; far outside where they do not."""
    normal, origin = pose[:3, 2], pose[:3, 3]
    x, y = rays[..., 0], rays[..., 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.float32(normal @ origin) / (
            np.float32(normal[0]) * x + np.float32(normal[1]) * y + np.float32(normal[2])
        )
        coordinates = []
        for axis in (pose[:3, 0], pose[:3, 1]):
            a = (axis * scale).astype(np.float32)
            coordinates.append(depth * (a[0] * x + a[1] * y + a[2]) - np.float32(axis @ origin * scale))
    wrong = ~(depth > 0)
    for c in coordinates:
        c[wrong] = -1e6
    return coordinates[0], coordinates[1]


def _background(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """(height, width) float32 soft clutter around middle grey."""
    coarse = rng.uniform(60, 190, (12, 16)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _expose(picture: np.ndarray, rng: np.random.Generator, conditions: Conditions) -> np.ndarray:
    height, width = picture.shape
    angle = rng.uniform(0, 2 * np.pi)
    ramp = (
        np.cos(angle) * np.linspace(-0.5, 0.5, width)
        + np.sin(angle) * np.linspace(-0.5, 0.5, height)[:, None]
    )
    picture = picture * (1 + conditions.shade * ramp).astype(np.float32)
    if conditions.motion_px > 0:
        picture = _smear(picture, conditions.motion_px, angle)
    if conditions.blur_px > 0:
        picture = cv2.GaussianBlur(picture, (0, 0), conditions.blur_px)
    deviation = np.sqrt(conditions.noise**2 + 0.02 * np.clip(picture, 0, None))
    picture = picture + deviation * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _smear(picture: np.ndarray, length_px: float, angle: float) -> np.ndarray:
    size = int(np.ceil(length_px)) | 1
    kernel = np.zeros((size, size), np.float32)
    half = length_px / 2 * np.array((np.cos(angle), np.sin(angle)))
    for t in np.linspace(-1, 1, 4 * size):
        x, y = np.rint(size // 2 + t * half).astype(int).clip(0, size - 1)
        kernel[y, x] += 1
    return cv2.filter2D(picture, -1, kernel / kernel.sum())
