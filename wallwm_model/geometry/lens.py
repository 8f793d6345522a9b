"""How the three lens models of sensor_msgs/CameraInfo bend rays, and how far out they can be trusted.

The formulas are OpenCV's (`calib3d`, `fisheye`). What OpenCV leaves out is where a polynomial folds back:
beyond that radius points far outside the picture would land inside it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_STEEPEST = np.radians(89.0)  # off the axis, for lenses that are no fisheye [rad]
_SAMPLES = 4000
_NEWTON_STEPS = 8


@dataclass(frozen=True)
class Lens:
    """A lens model with its coefficients.

    Radii `s` are tan(angle from the axis) for plumb_bob and rational_polynomial, and the angle itself [rad]
    for equidistant.

    Attributes:
        model: `plumb_bob`, `rational_polynomial` or `equidistant`.
        D: its coefficients, as in sensor_msgs/CameraInfo.
        limit: the radius up to which the model is one to one.
        table: (2, N) radii from 0 to `limit`, and where the lens puts them.
    """

    model: str
    D: tuple[float, ...]
    limit: float
    table: np.ndarray

    @property
    def fisheye(self) -> bool:
        """Whether radii are angles."""
        return self.model == "equidistant"

    @property
    def straight(self) -> bool:
        """Whether the lens leaves straight lines straight."""
        return not self.fisheye and not any(self.D)

    def radial(self, s: np.ndarray) -> np.ndarray:
        """Radius without distortion -> distorted radius, tangential part apart."""
        return s * self.stretch(s)

    def stretch(self, s: np.ndarray) -> np.ndarray:
        """Radius without distortion -> distorted radius as a multiple of it."""
        return _stretch(self.model, self.D, s)

    def tangential(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the tangential coefficients add at x/z, y/z."""
        p1, p2 = self.D[2:4]
        xy, xx, yy = 2 * x * y, x * x, y * y
        return p1 * xy + p2 * (3 * xx + yy), p1 * (xx + 3 * yy) + p2 * xy

    def distort(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) points or directions in the optical frame -> (N, 2) on the plane z = 1, distorted.

        NaN for what lies beyond `limit`, and behind a lens that is no fisheye.
        """
        x, y, z = np.asarray(points, dtype=np.float64).T
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.fisheye:
                r = np.hypot(x, y)
                s = np.arctan2(r, z)
                scale = np.where(r > 0, self.radial(s) / r, np.where(z > 0, 1 / z, np.nan))
                out, seen = np.stack([x * scale, y * scale], axis=1), s <= self.limit
            else:
                x, y = x / z, y / z
                s = np.hypot(x, y)
                scale = self.stretch(s)
                dx, dy = self.tangential(x, y)
                out, seen = np.stack([x * scale + dx, y * scale + dy], axis=1), (z > 0) & (s <= self.limit)
        out[~seen] = np.nan
        return out

    def undistort(self, flat: np.ndarray) -> np.ndarray:
        """(N, 2) on the distorted plane -> (N, 3) unit directions in the optical frame; NaN if none."""
        flat = np.asarray(flat, dtype=np.float64)
        r = np.hypot(*flat.T)
        s = np.interp(r, self.table[1], self.table[0])
        unit = flat / np.maximum(r, 1e-300)[:, None]
        if self.fisheye:
            for _ in range(_NEWTON_STEPS):
                step = 1e-6
                slope = (self.radial(s + step) - self.radial(s - step)) / (2 * step)
                s = np.clip(s - (self.radial(s) - r) / slope, 0.0, self.limit)
            out = np.column_stack([unit * np.sin(s)[:, None], np.cos(s)])
            reached = np.abs(self.radial(s) - r) < 1e-9
        else:
            xy = self._newton(unit * s[:, None], flat)
            out = np.column_stack([xy, np.ones(len(xy))])
            reached = np.abs(self.distort(out) - flat).max(axis=1) < 1e-9  # False for NaN
            out /= np.linalg.norm(out, axis=1, keepdims=True)
        out[~reached] = np.nan
        return out

    def _newton(self, xy: np.ndarray, flat: np.ndarray) -> np.ndarray:
        """Solve distort(x, y, 1) = flat from the radial guess `xy`, both (N, 2)."""
        step, ones = 1e-6, np.ones((len(xy), 1))
        for _ in range(_NEWTON_STEPS):
            here, right, down = (
                self.distort(np.hstack([xy + d, ones])) for d in ((0, 0), (step, 0), (0, step))
            )
            ex, ey = (flat - here).T
            if not (np.hypot(ex, ey) > 1e-13).any():
                break
            (a, c), (b, d) = ((right - here) / step).T, ((down - here) / step).T
            det = a * d - b * c
            with np.errstate(divide="ignore", invalid="ignore"):
                xy = xy + np.stack([(d * ex - b * ey) / det, (a * ey - c * ex) / det], axis=1)
        return xy


@lru_cache(maxsize=64)
def make_lens(model: str, D: tuple[float, ...]) -> Lens:
    """The lens of a model (`calibration.DISTORTION`) with its coefficients."""
    if model == "equidistant":
        s = np.linspace(0.0, np.pi, _SAMPLES)
    else:
        s = np.tan(np.linspace(0.0, _STEEPEST, _SAMPLES))
    with np.errstate(divide="ignore", invalid="ignore"):
        f = s * _stretch(model, D, s)
    falls = np.flatnonzero(~(np.diff(f) > 0))  # not: <= 0, for NaN
    last = falls[0] if len(falls) else _SAMPLES - 1
    table = np.stack([s[: last + 1], f[: last + 1]])
    table.flags.writeable = False
    return Lens(model, D, float(s[last]), table)


def _stretch(model: str, D: tuple[float, ...], s: np.ndarray) -> np.ndarray:
    q = s * s
    if model == "equidistant":
        k1, k2, k3, k4 = D
        return 1 + q * (k1 + q * (k2 + q * (k3 + q * k4)))
    k1, k2, _, _, k3, *denominator = D
    out = 1 + q * (k1 + q * (k2 + q * k3))
    if denominator:
        k4, k5, k6 = denominator
        out = out / (1 + q * (k4 + q * (k5 + q * k6)))
    return out
