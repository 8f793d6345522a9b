"""Commands of a whole robot inside its limits: joints and positions directly, orientations as rotations."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from wallwm_ros.core import quaternions
from wallwm_ros.core.limits import AxisLimits, MotionLimiter, MotionState
from wallwm_ros.core.robot import RobotProfile

# Position, velocity, acceleration of the D columns, this many seconds after the present command.
Target = Callable[[float], tuple[np.ndarray, np.ndarray, np.ndarray]]

_LIMITS = ("low", "high", "velocity", "acceleration", "jerk")
_DELTA_S = 1e-3


class Snapshot(NamedTuple):
    """A command: (D,) position, and the motion of its axes."""

    position: np.ndarray
    motion: MotionState


class CommandShaper:
    """The command of all D columns of a profile, moved inside the limits of its joints.

    A quaternion has three axes here, the rotation away from the present command: three numbers that the
    limits of angular velocity, acceleration and jerk apply to. No position limits apply to orientations.

    Attributes:
        position: (D,) present command [rad, m].
    """

    def __init__(self, profile: RobotProfile) -> None:
        count = len(profile.joints)
        self._quaternions = profile.quaternions
        rotating = {column + i for column in self._quaternions for i in range(4)}
        self._linear = np.array([i for i in range(count) if i not in rotating], dtype=int)
        # Axes: the linear columns first, then three per quaternion, with the limits of its first column.
        sources = np.concatenate([self._linear, np.repeat(np.array(self._quaternions, dtype=int), 3)]).astype(
            int
        )
        limits = {name: profile.limit(name)[sources] for name in _LIMITS}
        limits["low"][len(self._linear) :] = -np.inf
        limits["high"][len(self._linear) :] = np.inf
        self._limiter = MotionLimiter(AxisLimits(**limits))
        self.position = np.zeros(count)

    @property
    def velocity(self) -> np.ndarray:
        """(D,) of the present command [unit/s]; 0 in quaternion columns."""
        out = np.zeros(len(self.position))
        out[self._linear] = self._limiter.state.velocity[: len(self._linear)]
        return out

    def reset(self, position: np.ndarray) -> None:
        """Start again at `position` (D,), standing still."""
        self.position = np.array(position, dtype=np.float64)
        for column in self._quaternions:
            part = slice(column, column + 4)
            self.position[part] = quaternions.normalise(self.position[part])
        axes = np.zeros(len(self._limiter.limits.low))
        axes[: len(self._linear)] = self.position[self._linear]
        self._limiter.reset(axes)

    def track(self, target: Target, period_s: float) -> None:
        """One tick of `period_s` seconds after a moving target."""
        self._limiter.track(self._axes(target, period_s), period_s)
        self._follow()

    def stop(self, period_s: float) -> None:
        """One tick of the fastest stop."""
        self._limiter.stop(period_s)
        self._follow()

    def snapshot(self) -> Snapshot:
        """The present command, to come back to or to compare with."""
        return Snapshot(self.position, self._limiter.state)

    def restore(self, before: Snapshot) -> None:
        """Undo what was done since."""
        self.position, self._limiter.state = before

    def change(self, before: Snapshot, period_s: float) -> tuple[float, float]:
        """Largest change of velocity, and of acceleration, of an axis since then, `period_s` seconds ago.

        As shares of what the limits of acceleration, and of jerk, allow in that time: at most 1.
        """
        state, limits = self._limiter.state, self._limiter.limits
        velocity = np.abs(state.velocity - before.motion.velocity) / (limits.acceleration * period_s)
        acceleration = np.abs(state.acceleration - before.motion.acceleration) / (limits.jerk * period_s)
        return float(velocity.max()), float(acceleration.max())

    def way_to_stop(self) -> np.ndarray:
        """(D,) upper bound of how far each column still moves in the fastest stop; without orientations."""
        return self._limiter.way_to_stop()

    def stop_path(self, count: int) -> np.ndarray:
        """(count, D) positions on the fastest stop, at equal times, the end last; without orientations."""
        return self._limiter.stop_path(count)

    def standing(self, velocity: float) -> bool:
        """No axis is faster than `velocity` [unit/s], or about to be."""
        return self._limiter.standing(velocity)

    def distance(self, position: np.ndarray, origin: np.ndarray | None = None) -> float:
        """Largest distance of an axis from `position` (D,) as far as the limits let it go there [rad, m].

        Args:
            origin: (D,) from where; None: from the present command.
        """
        limits, count = self._limiter.limits, len(self._linear)
        origin = self.position if origin is None else origin
        reachable = np.clip(position[self._linear], limits.low[:count], limits.high[:count])
        away = [np.abs(reachable - origin[self._linear])]
        for column in self._quaternions:
            part = slice(column, column + 4)
            away.append(np.abs(quaternions.between(origin[part], quaternions.normalise(position[part]))))
        return float(np.concatenate(away).max())

    def _axes(self, target: Target, ahead_s: float) -> MotionState:
        """The target as axes, seen from the present command."""
        position, velocity, acceleration = target(ahead_s)
        if not self._quaternions:
            return MotionState(position, velocity, acceleration)
        before, after = target(ahead_s - _DELTA_S)[0], target(ahead_s + _DELTA_S)[0]
        parts = [(position[self._linear], velocity[self._linear], acceleration[self._linear])]
        for column in self._quaternions:
            part = slice(column, column + 4)
            seen = [
                quaternions.between(self.position[part], rows[part]) for rows in (before, position, after)
            ]
            parts.append((seen[1], (seen[2] - seen[0]) / (2 * _DELTA_S), np.zeros(3)))
        return MotionState(*(np.concatenate(values) for values in zip(*parts, strict=True)))

    def _follow(self) -> None:
        """Take the limiter's state over into the columns; rotations start again from there."""
        state, count = self._limiter.state, len(self._linear)
        self.position = self.position.copy()
        self.position[self._linear] = state.position[:count]
        for i, column in enumerate(self._quaternions):
            part, axes = slice(column, column + 4), slice(count + 3 * i, count + 3 * i + 3)
            turned = quaternions.multiply(self.position[part], quaternions.exp(state.position[axes]))
            self.position[part] = quaternions.normalise(turned)
            state.position[axes] = 0.0
