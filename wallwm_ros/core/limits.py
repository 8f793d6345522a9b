"""Motion limits: whatever the target does, the command keeps inside its limits of motion.

Every tick takes one step of the time-optimal motion (`ruckig`) that meets the moving target, so a target
inside the limits is followed without lag. An axis that could no longer stop inside its position limits brakes
instead, so that it always can.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import ruckig

_SLACK = 1e-9
# Where two limits are reached at the same moment, ruckig may find no solution; a hair less jerk parts them.
_JERK_SHARES = (1.0, 0.9997, 0.998, 0.98)
_SOLVED = (ruckig.Result.Working, ruckig.Result.Finished)
_LEAST = 1e-3  # part of the speed limit that is always left for closing a gap


@dataclass(frozen=True)
class AxisLimits:
    """Limits of N axes, each (N,).

    Attributes:
        low, high: range of positions [unit].
        velocity, acceleration, jerk: largest sizes [unit/s, unit/s^2, unit/s^3].
    """

    low: np.ndarray
    high: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray
    jerk: np.ndarray


@dataclass
class MotionState:
    """Position, velocity and acceleration of N axes, each (N,)."""

    position: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray

    @classmethod
    def at_rest(cls, position: np.ndarray) -> MotionState:
        """Standing still."""
        return cls(np.array(position, dtype=np.float64), np.zeros(len(position)), np.zeros(len(position)))

    def replace(self, chosen: np.ndarray, other: MotionState) -> None:
        """Take over some axes from another state."""
        self.position[chosen] = other.position[chosen]
        self.velocity[chosen] = other.velocity[chosen]
        self.acceleration[chosen] = other.acceleration[chosen]


class MotionLimiter:
    """Moves a command of N axes after a target, inside its limits.

    A command that starts outside its position limits is let back in, never pushed further out.

    Attributes:
        state: the present command.
    """

    def __init__(self, limits: AxisLimits) -> None:
        self.limits = limits
        count = len(limits.low)
        self._closing = _Solver(count, ruckig.ControlInterface.Position)
        self._stopping = _Solver(count, ruckig.ControlInterface.Velocity)
        self._stopping.limit(
            -limits.velocity, limits.velocity, -limits.acceleration, limits.acceleration, limits.jerk
        )
        self._rest = MotionState.at_rest(np.zeros(count))
        self.reset(np.clip(np.zeros(count), limits.low, limits.high))

    def reset(self, position: np.ndarray) -> None:
        """Start again from `position` (N,), standing still."""
        self.state = MotionState.at_rest(position)

    def standing(self, velocity: float) -> bool:
        """No axis is faster than `velocity` [unit/s], or about to be."""
        ahead = np.abs(self.state.velocity) + self.state.acceleration**2 / (2 * self.limits.jerk)
        return bool(np.all(ahead <= velocity))

    def track(self, target: MotionState, period_s: float) -> None:
        """One tick of `period_s` seconds; `target` is where the target will be when the tick ends."""
        goal, limits = self._inside(target), self.limits
        # Seen from a frame that moves along with the target only the range of velocities differs.
        self._closing.limit(
            np.minimum(-limits.velocity - goal.velocity, -_LEAST * limits.velocity),
            np.maximum(limits.velocity - goal.velocity, _LEAST * limits.velocity),
            -limits.acceleration,
            limits.acceleration,
            limits.jerk,
        )
        gap = MotionState(
            self.state.position - (goal.position - goal.velocity * period_s),
            self.state.velocity - goal.velocity,
            self.state.acceleration,
        )
        path = self._closing.solve(
            gap, MotionState(self._rest.position, self._rest.velocity, goal.acceleration)
        )
        if path is None:
            self.stop(period_s)
            return
        ahead = _at(path, period_s)
        ahead.position += goal.position
        ahead.velocity += goal.velocity
        safe = self._can_stop(ahead)
        if not safe.all():
            ahead.replace(~safe, self._brake(period_s))
        self.state = ahead

    def stop(self, period_s: float) -> None:
        """One tick of the fastest stop."""
        self.state = self._brake(period_s)

    def way_to_stop(self) -> np.ndarray:
        """(N,) upper bound of how far each axis still moves in the fastest stop [unit]; cheap."""
        return self._way_to_stop(self.state)

    def stop_path(self, count: int) -> np.ndarray:
        """(count, N) positions on the fastest stop, at equal times, its end the last [unit]."""
        path = self._stopping.solve(self.state, self._rest)
        if path is None:
            return np.tile(self.state.position, (count, 1))
        return np.array([path.at_time(path.duration * k / count)[0] for k in range(1, count + 1)])

    def _way_to_stop(self, state: MotionState) -> np.ndarray:
        limits, speed, acceleration = self.limits, np.abs(state.velocity), np.abs(state.acceleration)
        fastest = speed + acceleration**2 / (2 * limits.jerk)
        return fastest * (
            acceleration / limits.jerk + fastest / limits.acceleration + limits.acceleration / limits.jerk
        )

    def _brake(self, period_s: float) -> MotionState:
        path = self._stopping.solve(self.state, self._rest)
        if path is None:  # no motion can be computed: the command freezes
            return MotionState.at_rest(self.state.position)
        return _at(path, period_s)

    def _inside(self, goal: MotionState) -> MotionState:
        """A goal that keeps to the limits itself."""
        limits = self.limits
        position = np.clip(
            goal.position,
            np.minimum(limits.low, self.state.position),
            np.maximum(limits.high, self.state.position),
        )
        clamped = position != goal.position
        # A target that jumps is no motion to go along with: from twice the speed limit on it stands still.
        share = np.where(clamped, 0.0, np.clip(2 - np.abs(goal.velocity) / limits.velocity, 0.0, 1.0))
        velocity = share * np.clip(goal.velocity, -limits.velocity, limits.velocity)
        # The acceleration must not have come from, or lead at once to, a speed above the limit.
        spare = np.sqrt(2 * limits.jerk * (limits.velocity - np.abs(velocity))) * (1 - 1e-6)
        most = np.minimum(limits.acceleration, spare)
        acceleration = share * np.clip(goal.acceleration, -most, most)
        return MotionState(position, velocity, acceleration)

    def _can_stop(self, state: MotionState) -> np.ndarray:
        """(N,) per axis: the fastest stop from `state` stays inside position and velocity limits."""
        limits, v, a = self.limits, state.velocity, state.acceleration
        peak = np.maximum(np.abs(v + a * np.abs(a) / (2 * limits.jerk)), np.abs(v))
        sound = (peak <= limits.velocity * (1 + _SLACK)) & np.isfinite(state.position)
        low = np.minimum(limits.low, self.state.position) - _SLACK
        high = np.maximum(limits.high, self.state.position) + _SLACK
        room = self._way_to_stop(state)  # enough to know away from the limits
        near = (state.position - room < low) | (state.position + room > high)
        if near.any():
            path = self._stopping.solve(state, self._rest)
            if path is None:
                return sound & ~near
            lowest = np.array([bound.min for bound in path.position_extrema])
            highest = np.array([bound.max for bound in path.position_extrema])
            sound &= ~near | ((lowest >= low) & (highest <= high))
        return sound


class _Solver:
    """Time-optimal motion of every axis by itself, to a state or (velocity interface) to rest."""

    def __init__(self, count: int, interface: ruckig.ControlInterface) -> None:
        self._count = count
        self._ruckig = ruckig.Ruckig(count)
        self._input = ruckig.InputParameter(count)
        self._input.control_interface = interface
        self._input.synchronization = ruckig.Synchronization.No

    def limit(
        self,
        slowest: np.ndarray,
        fastest: np.ndarray,
        softest: np.ndarray,
        hardest: np.ndarray,
        jerk: np.ndarray,
    ) -> None:
        """Set velocity range, acceleration range and jerk limit, each (N,)."""
        self._input.min_velocity, self._input.max_velocity = slowest, fastest
        self._input.min_acceleration, self._input.max_acceleration = softest, hardest
        self._jerk = jerk

    def solve(self, start: MotionState, goal: MotionState) -> ruckig.Trajectory | None:
        """The motion from `start` to `goal`; None where no motion could be computed."""
        self._input.current_position, self._input.target_position = start.position, goal.position
        self._input.current_velocity, self._input.target_velocity = start.velocity, goal.velocity
        self._input.current_acceleration, self._input.target_acceleration = (
            start.acceleration,
            goal.acceleration,
        )
        for share in _JERK_SHARES:
            self._input.max_jerk = self._jerk * share
            trajectory = ruckig.Trajectory(self._count)
            try:
                if self._ruckig.calculate(self._input, trajectory) in _SOLVED:
                    return trajectory
            except ruckig.RuckigError:
                continue
        return None


def _at(path: ruckig.Trajectory, period_s: float) -> MotionState:
    return MotionState(*(np.array(part) for part in path.at_time(period_s)))
