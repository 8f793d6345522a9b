"""Smooth joint paths: Bezier curves run through with a minimum-jerk profile at 20 Hz."""

from __future__ import annotations

import numpy as np

from wallwm_model.sim.simulation import STEP_S

MIN_STEPS, MAX_STEPS = 4, 50  # of a motion; opening and closing come on top, within the horizon of 64
LINEAR_SPEED = 0.24  # mean speed of the pinch point along its path [m/s]
JOINT_SPEED = 1.0  # mean speed of the joint that has the longest way [rad/s]


def minimum_jerk(steps: int) -> np.ndarray:
    """(steps,) progress at the end of each step: smooth, from just above 0 to 1, at rest at both ends."""
    t = np.arange(1, steps + 1) / steps
    return t**3 * (10 - 15 * t + 6 * t * t)


def bezier(start: np.ndarray, via: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """(steps, 6) joints [rad] that leave `start` towards `via` and arrive at `end` from `via`.

    `via` is the double inner control point, so that both ends are straight in its direction
    and the curve passes it at 3/4 strength.
    """
    s = minimum_jerk(steps)[:, None]
    return (1 - s) ** 3 * start + 3 * s * (1 - s) * via + s**3 * end


def line(start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """(steps, 6) joints [rad] straight from `start` to `end`."""
    return start + minimum_jerk(steps)[:, None] * (end - start)


def steps_for(metres: float, radians: float, speed: float, least: int = MIN_STEPS) -> int:
    """How many steps a motion takes: the slower of hand and joints decides, times `speed` (1 = normal)."""
    seconds = max(metres / LINEAR_SPEED, radians / JOINT_SPEED) / speed
    return int(np.clip(np.ceil(seconds / STEP_S), least, MAX_STEPS))


def ramp(start: float, end: float, steps: int, total: int) -> np.ndarray:
    """(total,) values that go smoothly from `start` to `end` in `steps`, then stay."""
    out = np.full(total, end, dtype=np.float64)
    steps = min(steps, total)
    out[:steps] = start + minimum_jerk(steps) * (end - start)
    return out
