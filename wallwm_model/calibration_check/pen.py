"""Draws lines and dots of the world into one camera's picture."""

from __future__ import annotations

import cv2
import numpy as np

from wallwm_model.calibration import CameraCalibration, pixel_from_corner
from wallwm_model.geometry import camera_rays, project

Colour = tuple[int, int, int]
_LINK, _RIM = (255, 255, 255), (25, 25, 25)
_NEAR_M = 0.01  # nothing closer to the camera is drawn [m]
_FINE = 24  # points along an edge: lenses bend lines
_SHIFT = 4  # sub-pixel bits of OpenCV's drawing


class Pen:
    """Draws lines of the world into one picture.

    Args:
        canvas: (H, W, 3) uint8, drawn on.
        camera: of that size.
        T_optical_world: (4, 4).
        width: of lines [px].
    """

    def __init__(
        self, canvas: np.ndarray, camera: CameraCalibration, T_optical_world: np.ndarray, width: float
    ) -> None:
        self._canvas, self._camera, self._T, self._width = canvas, camera, T_optical_world, width

    def line(self, points: np.ndarray, colour: Colour, width: float = 1.0) -> None:
        """A polyline through (N, 3) world points [m], as far as the camera can see it."""
        pixels = self._pixels(points)
        good = self._drawable(pixels)
        thick = max(1, round(width * self._width))
        for index in np.flatnonzero(good[1:] & good[:-1]):
            a, b = (tuple(np.rint(p * 2**_SHIFT).astype(int).tolist()) for p in pixels[index : index + 2])
            cv2.line(self._canvas, a, b, colour, thick, cv2.LINE_AA, _SHIFT)

    def link(self, start: np.ndarray, end: np.ndarray) -> None:
        """A link from joint to joint (3,) [m]: a white bone with a dark rim, for any ground."""
        bone = np.linspace(start, end, _FINE)
        self.line(bone, _RIM, 2.6)
        self.line(bone, _LINK, 1.2)
        self.dots(np.stack([start, end]), _LINK)

    def dots(self, points: np.ndarray, colour: Colour) -> None:
        """Dots with a dark rim at (N, 3) world points [m]."""
        pixels = self._pixels(points)
        for pixel in pixels[self._drawable(pixels)]:
            centre = tuple(np.rint(pixel * 2**_SHIFT).astype(int).tolist())
            for radius, ink in ((2.6, _RIM), (1.7, colour)):
                size = round(radius * self._width * 2**_SHIFT)
                cv2.circle(self._canvas, centre, size, ink, -1, cv2.LINE_AA, _SHIFT)

    def frustum(
        self,
        other: CameraCalibration,
        T_world_other: np.ndarray,
        colour: Colour,
        surface_m: float | None = None,
    ) -> None:
        """Another camera's field of view: in its depth band, or down to a level surface in the world [m]."""
        near, far = other.depth_band_m
        rays, apex = _rim(other), T_world_other[:3, 3]
        ways = rays @ T_world_other[:3, :3].T
        ends = np.full(len(rays), far)
        if surface_m is not None:
            with np.errstate(divide="ignore"):
                reach = (surface_m - apex[2]) / ways[:, 2]
            ends = np.where((reach > 0) & (reach < far), reach, far)
        rings = [ends] if surface_m is not None else [np.full(len(rays), near), ends]
        lines = [apex + depth[:, None] * ways for depth in rings]
        lines = [np.concatenate([ring, ring[:1]]) for ring in lines]
        share = np.concatenate([[0.0], np.geomspace(0.01, 1.0, 2 * _FINE)])
        lines += [apex + (share * ends[i])[:, None] * ways[i] for i in range(0, len(rays), len(rays) // 4)]
        for points in lines:
            self.line(points, _RIM, 2.3)
        for points in lines:
            self.line(points, colour, 1.5)

    @staticmethod
    def _drawable(pixels: np.ndarray) -> np.ndarray:
        """(N,) bool; coordinates far outside would overflow OpenCV's fixed point."""
        return np.isfinite(pixels).all(axis=1) & (np.abs(np.nan_to_num(pixels)) < 2e4).all(axis=1)

    def _pixels(self, points: np.ndarray) -> np.ndarray:
        local = points @ self._T[:3, :3].T + self._T[:3, 3]
        pixels = project(self._camera, local)
        pixels[local[:, 2] < _NEAR_M] = np.nan
        return pixels


def _rim(camera: CameraCalibration) -> np.ndarray:
    """(4 * FINE, 3) rays, z = 1, along the picture's border; every FINE-th is a corner."""
    t = np.arange(_FINE) / _FINE
    sides = [(t, 0 * t), (1 + 0 * t, t), (1 - t, 1 + 0 * t), (0 * t, 1 - t)]
    corners = np.concatenate([np.stack([x * camera.width, y * camera.height], axis=1) for x, y in sides])
    return camera_rays(camera, pixel_from_corner(corners))
