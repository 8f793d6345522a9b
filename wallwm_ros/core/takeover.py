"""An operator's command stream, which may take the arm over from the plan."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from wallwm_ros.core import quaternions
from wallwm_ros.core.robot import RobotProfile
from wallwm_ros.core.timeline import FARTHEST

_LONGEST_SPAN_NS = 100_000_000  # commands further apart than this are no motion to be drawn out
_STRETCH = 1.25  # of that time, so that a command that comes a little late finds the target still moving
_UNIT = 0.1  # a quaternion's length may be off by this


class Takeover:
    """Targets from the stream, once the arm stands still and as long as the stream is fresh.

    A target is approached in a straight line during about the time that passed between the last two commands,
    so that the steps of a slow stream become a motion. Columns that were never named hold.

    `engage`, `release` and `hear` may be called from any thread; the rest belongs to the thread that ticks.
    All times are of the control clock.

    Args:
        profile: its columns are what a command names.
        timeout_ns: a stream is stale when its newest command is older [ns].

    Attributes:
        engaged: an operator has the arm.
    """

    def __init__(self, profile: RobotProfile, timeout_ns: int) -> None:
        self._profile, self._timeout_ns = profile, timeout_ns
        self._inbox: deque[tuple[list[int], np.ndarray, int]] = deque(maxlen=100)
        self.engaged = False
        self._time_ns = self._span_ns = 0
        self.pause()

    @property
    def timeout_ms(self) -> float:
        """A stream is stale when its newest command is older [ms]."""
        return self._timeout_ns / 1e6

    def engage(self) -> None:
        """Hand the arm to the operator; commands sent before do not count."""
        if not self.engaged:
            self._inbox.clear()
            self.engaged = True

    def release(self) -> None:
        """Take the arm back from the operator."""
        self.engaged = False

    def hear(self, names: Sequence[str], positions: Sequence[float], now_ns: int) -> str:
        """Take in a command, received at `now_ns` [ns]: positions [rad, m] of some columns.

        Returns:
            why it is refused, empty if it is not.
        """
        refusal = self._fault(names, positions)
        if not refusal:
            self._inbox.append(
                (self._profile.columns(tuple(names)), np.array(positions, dtype=float), now_ns)
            )
        return f"operator's command refused: {refusal}" if refusal else ""

    def _fault(self, names: Sequence[str], positions: Sequence[float]) -> str:
        known = self._profile.joint_names
        strange = sorted({name for name in names if name not in known or list(names).count(name) > 1})
        if strange or not names:
            found = ", ".join(strange) or "none"
            return f"it must name joints of robot {self._profile.name}, each once; not valid: {found}"
        if len(names) != len(positions):
            return f"it must have one position per name; found {len(names)} names, {len(positions)} positions"
        values = dict(zip(names, positions, strict=True))
        for name, value in values.items():
            if not abs(value) <= FARTHEST:
                return f"positions must be finite and at most {FARTHEST:g} from zero; found {name} = {value}"
        for column in self._profile.quaternions:
            parts = [values[name] for name in known[column : column + 4] if name in values]
            if parts and (len(parts) < 4 or abs(np.linalg.norm(parts) - 1.0) > _UNIT):
                return f"quaternion {known[column]}... must be whole, and of length 1"
        return ""

    def pause(self) -> None:
        """The stream is not followed any more: the next command is a new beginning."""
        self._to: np.ndarray | None = None

    def forget(self) -> None:
        """What was commanded so far does not count: its times are those of a clock that was set back."""
        self._inbox.clear()
        self.pause()

    def listen(self, now_ns: int, position: np.ndarray, standing: bool) -> bool:
        """Take over what has come; false: there is nothing to follow, the arm must stop.

        Args:
            now_ns: present time [ns].
            position: (D,) present command.
            standing: it stands still; a stream is taken up only then.
        """
        while self._inbox:
            columns, values, time_ns = self._inbox.popleft()
            if now_ns - time_ns <= self._timeout_ns and (self._to is not None or standing):
                self._lead(columns, values, time_ns, position)
        if self._to is not None and now_ns - self._time_ns > self._timeout_ns:
            self.pause()
        return self._to is not None

    def _lead(self, columns: list[int], values: np.ndarray, time_ns: int, position: np.ndarray) -> None:
        """A new target, from the present one."""
        if self._to is None:
            self._from, self._span_ns = position, 0
        else:
            self._from = self.target(time_ns)[0]
            self._span_ns = round(_STRETCH * min(max(time_ns - self._time_ns, 0), _LONGEST_SPAN_NS))
        self._to, self._time_ns = (position if self._to is None else self._to).copy(), time_ns
        self._to[columns] = values
        for column in self._profile.quaternions:
            part = slice(column, column + 4)
            self._to[part] = quaternions.normalise(self._to[part])

    def target(self, at_ns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Position, velocity, acceleration at a time [ns], each (D,); only while there is a command."""
        still, done_ns = np.zeros(len(self._to)), max(at_ns - self._time_ns, 0)
        if done_ns >= self._span_ns:
            return self._to.copy(), still, still
        share, way = done_ns / self._span_ns, self._to - self._from
        position, velocity = self._from + share * way, way / (self._span_ns / 1e9)
        for column in self._profile.quaternions:
            part = slice(column, column + 4)
            position[part] = quaternions.slerp(self._from[part], self._to[part], share)
            velocity[part] = 0.0
        return position, velocity, still
