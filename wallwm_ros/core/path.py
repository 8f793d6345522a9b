"""A smooth path through targets: cubic splines for positions, slerp for orientations."""

from __future__ import annotations

import numpy as np

from wallwm_ros.core import quaternions
from wallwm_ros.core.smoothing import Bounds, smoothings

_BRAKING = 0.5  # part of the acceleration bound that braking is reckoned with; the jerk limit costs the rest


class Path:
    """Positions over time through knots.

    A column is a twice differentiable cubic spline. If that asks for more acceleration or jerk than the
    bounds, the targets are smoothed as far as they may be shifted. If that is not enough, the targets really
    jump: a spline would swing on both sides of the jump, so the column becomes a monotone cubic, whose stated
    velocity is never more than can be braked away before the targets slow down.
    It starts with a given velocity. It ends at rest, or (open) with the acceleration fading to zero.
    Before the first knot and after the last one it stands still there.

    Attributes:
        times: (K,) knot times [s].
        values: (K, D) values at the knots, smoothed where they had to be.
    """

    def __init__(
        self,
        times: np.ndarray,
        values: np.ndarray,
        start_velocity: np.ndarray,
        quaternion_columns: tuple[int, ...] = (),
        open_end: bool = False,
        bounds: Bounds | None = None,
    ) -> None:
        """Args:
        times: (K,) rising knot times [s], K >= 1.
        values: (K, D) values at the knots [rad, m].
        start_velocity: (D,) velocity at the first knot [unit/s]; not used in quaternion columns.
        quaternion_columns: first of each four columns that hold a unit quaternion x y z w.
        open_end: do not come to rest at the last knot.
        bounds: of acceleration, jerk and smoothing; None: no bounds.
        """
        self.times, self.values = times, values.copy()
        self._quaternions = quaternion_columns
        for column in quaternion_columns:
            rows = quaternions.normalise(values[:, column : column + 4])
            self.values[:, column : column + 4] = quaternions.align(rows, rows[0])
        self._columns = np.arange(values.shape[1])
        self._jumps = np.zeros(values.shape[1], dtype=bool)
        self._coefficients = np.zeros((4, 0, values.shape[1]))
        if len(times) > 1:
            self._coefficients = _spline(times, self.values, start_velocity, open_end)
            self._keep_to(bounds or Bounds.none(values.shape[1]), start_velocity, open_end)

    def state(self, at: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Position, velocity and acceleration at one time [s], each (D,).

        Quaternion columns have no velocity or acceleration (0).
        """
        inside = self.times[0] <= at < self.times[-1]
        if not inside:
            value = self.values[0 if at < self.times[0] else -1]
            return value.copy(), np.zeros(len(value)), np.zeros(len(value))
        index = int(np.searchsorted(self.times, at, side="right")) - 1
        x = at - self.times[index]
        a, b, c, d = self._coefficients[:, index]
        position, velocity, acceleration = (
            a + x * (b + x * (c + x * d)),
            b + x * (2 * c + 3 * x * d),
            2 * c + 6 * x * d,
        )
        if self._jumps.any():
            most = self._fastest[index + 1] + self._braking * (self.times[index + 1] - at)
            velocity = np.where(self._jumps, np.clip(velocity, -most, most), velocity)
            acceleration = np.where(self._jumps, 0.0, acceleration)
        fraction = x / (self.times[index + 1] - self.times[index])
        for column in self._quaternions:
            part = slice(column, column + 4)
            position[part] = quaternions.slerp(
                self.values[index, part], self.values[index + 1, part], fraction
            )
            velocity[part] = acceleration[part] = 0.0
        return position, velocity, acceleration

    def _keep_to(self, bounds: Bounds, start_velocity: np.ndarray, open_end: bool) -> None:
        """Smooth the columns that ask for too much; make those monotone that smoothing does not help."""
        linear = np.ones(len(self._columns), dtype=bool)
        for column in self._quaternions:
            linear[column : column + 4] = False
        wrong = linear & ~_sound(self._coefficients, self.times, bounds)
        steps = np.diff(self.times[1:])
        if wrong.any() and len(steps) and np.ptp(steps) < 1e-6:
            back = np.array([[self.times[1] - 2 * steps[0]], [self.times[1] - steps[0]]]) - self.times[0]
            before = self.values[0] + back * start_velocity
            targets = self.values[1:].copy()
            for rows in smoothings(targets, before, not open_end):
                trial = np.concatenate([self.values[:1], rows])
                coefficients = _spline(self.times, trial, start_velocity, open_end)
                near = np.abs(rows - targets).max(axis=0) <= bounds.shift
                better = wrong & near & _sound(coefficients, self.times, bounds)
                self.values[:, better] = trial[:, better]
                self._coefficients[:, :, better] = coefficients[:, :, better]
                wrong &= ~better
                if not (wrong & near).any():
                    break
        self._jumps = wrong
        if wrong.any():
            monotone, slopes = _monotone(self.times, self.values)
            self._coefficients[:, :, wrong] = monotone[:, :, wrong]
            self._braking = _BRAKING * bounds.acceleration
            self._fastest = _brakeable(self.times, slopes, self._braking)


def _brakeable(times: np.ndarray, slopes: np.ndarray, braking: np.ndarray) -> np.ndarray:
    """(K, D) highest speed at each knot from which braking can follow the later knots' slopes (K, D)."""
    out = np.abs(slopes)
    for k in range(len(times) - 2, -1, -1):
        onward = np.where(slopes[k] * slopes[k + 1] > 0, out[k + 1], 0.0)
        out[k] = np.minimum(out[k], onward + braking * (times[k + 1] - times[k]))
    return out


def _sound(coefficients: np.ndarray, times: np.ndarray, bounds: Bounds) -> np.ndarray:
    """(D,) per column: accelerations and jerks stay below their bounds."""
    h = np.diff(times)[:, None]
    start, jerk = 2 * coefficients[2], 6 * coefficients[3]
    acceleration = np.maximum(np.abs(start), np.abs(start + h * jerk)).max(axis=0)
    return (acceleration <= bounds.acceleration) & (np.abs(jerk).max(axis=0) <= bounds.jerk)


def _spline(times: np.ndarray, values: np.ndarray, start_velocity: np.ndarray, open_end: bool) -> np.ndarray:
    """(4, K - 1, D) cubic coefficients of each segment, lowest power first."""
    h = np.diff(times)[:, None]
    slope = np.diff(values, axis=0) / h
    moments = _second_derivatives(h, slope, start_velocity, open_end)
    b = slope - h * (2 * moments[:-1] + moments[1:]) / 6
    return np.stack([values[:-1], b, moments[:-1] / 2, np.diff(moments, axis=0) / (6 * h)])


def _monotone(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(4, K - 1, D) cubics without overshoot, and their slopes (K, D): neighbours' harmonic mean, or 0."""
    h = np.diff(times)[:, None]
    slope = np.diff(values, axis=0) / h
    product, total = slope[:-1] * slope[1:], slope[:-1] + slope[1:]
    inner = np.where(product > 0, 2 * product / np.where(product > 0, total, 1.0), 0.0)
    at_rest = np.zeros((1, values.shape[1]))
    knots = np.concatenate([at_rest, inner, at_rest])
    c = (3 * slope - 2 * knots[:-1] - knots[1:]) / h
    d = (knots[:-1] + knots[1:] - 2 * slope) / h**2
    return np.stack([values[:-1], knots[:-1], c, d]), knots


def _second_derivatives(
    h: np.ndarray, slope: np.ndarray, start_velocity: np.ndarray, open_end: bool
) -> np.ndarray:
    """(K, D) second derivatives at the knots: one tridiagonal system, solved for all columns at once."""
    rows = len(h) + 1
    right = np.empty((rows, slope.shape[1]))
    right[0] = 6 * (slope[0] - start_velocity)
    right[1:-1] = 6 * np.diff(slope, axis=0)
    right[-1] = 0.0 if open_end else -6 * slope[-1]
    step = h[:, 0]
    diagonal = np.empty(rows)
    diagonal[0], diagonal[-1] = 2 * step[0], 1.0 if open_end else 2 * step[-1]
    diagonal[1:-1] = 2 * (step[:-1] + step[1:])
    below = step.copy()
    if open_end:
        below[-1] = 0.0
    for i in range(1, rows):  # forward elimination; `step` is the upper diagonal
        factor = below[i - 1] / diagonal[i - 1]
        diagonal[i] -= factor * step[i - 1]
        right[i] -= factor * right[i - 1]
    right[-1] /= diagonal[-1]
    for i in range(rows - 2, -1, -1):
        right[i] = (right[i] - step[i] * right[i + 1]) / diagonal[i]
    return right
