"""The command itself: follows targets, stops, or holds, inside the limits and the workspace of the robot."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wallwm_ros.core.robot import RobotProfile
from wallwm_ros.core.shaper import CommandShaper, Snapshot
from wallwm_ros.core.workspace import Workspace

SECOND = 1_000_000_000  # nanoseconds
_STANDSTILL = 1e-6
# An arm that is this far from its command, long after that came to rest, was moved by something else.
_MOVED = 0.05  # [rad, m]
_LONG_NS = SECOND // 2
# Between two joint states no arm moves this far: 100 Hz times 3.4 rad/s are a third of it.
_PUT = 0.1  # [rad, m]

# Position, velocity, acceleration of the D columns at a time [ns].
TargetAt = Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]


class Mover:
    """One of `track`, `stop` and `hold` makes the command of each period.

    Attributes:
        seam: changes of velocity and of acceleration in the first period after `join`, as shares of what the
            limits allow.
    """

    def __init__(self, profile: RobotProfile, workspace: Workspace | None) -> None:
        self._shaper, self._workspace = CommandShaper(profile), workspace
        self._joined: Snapshot | None = None
        self._hold, self._moved_ns = self._shaper.position, 0
        self.seam = (0.0, 0.0)

    @property
    def position(self) -> np.ndarray:
        """(D,) present command [rad, m]."""
        return self._shaper.position

    @property
    def velocity(self) -> np.ndarray:
        """(D,) of the present command [unit/s]; 0 in quaternion columns."""
        return self._shaper.velocity

    @property
    def standing(self) -> bool:
        """The command stands still."""
        return self._shaper.standing(_STANDSTILL)

    def arrived(self, target: np.ndarray, near: float, slow: float) -> bool:
        """The command is within `near` [unit] of a target (D,) and no faster than `slow` [unit/s]."""
        return self._shaper.distance(target) <= near and self._shaper.standing(slow)

    def anchor(self, positions: np.ndarray) -> None:
        """Start again at (D,) positions, standing still."""
        self._shaper.reset(positions)
        self._hold, self._moved_ns = self._shaper.position, 0

    def anchor_if_moved(self, positions: np.ndarray, now_ns: int) -> None:
        """Start again at measured (D,) positions, if the arm was moved since the command came to rest.

        To go on from the old command would let it leap back. What gravity and friction make of a command, and
        an arm that is about to arrive, are no reasons.
        """
        lately = 0 <= now_ns - self._moved_ns <= _LONG_NS  # below 0: the clock was set back since
        if not lately and self._shaper.distance(positions) > _MOVED:
            self.anchor(positions)

    def put_elsewhere(self, before: np.ndarray, positions: np.ndarray) -> bool:
        """The arm did not move by itself between two measurements (D,), one after the other."""
        return self._shaper.distance(positions, before) > _PUT

    def join(self) -> None:
        """A new chunk begins with the next command."""
        self._joined = self._shaper.snapshot()

    def track(self, target: TargetAt, command_ns: int, now_ns: int) -> str:
        """Follow a target from `command_ns` to `now_ns` [ns].

        Returns:
            why the command brakes instead; empty: it follows.
        """
        before = self._shaper.snapshot()
        self._shaper.track(
            lambda ahead_s: target(command_ns + round(ahead_s * SECOND)), (now_ns - command_ns) / SECOND
        )
        objection = ""
        if self._workspace is not None:
            objection = self._workspace.objection(self._shaper, before.position)
            if objection:
                self._shaper.restore(before)
                self._shaper.stop((now_ns - command_ns) / SECOND)
        self._done(command_ns, now_ns)
        return objection

    def stop(self, command_ns: int, now_ns: int) -> None:
        """Brake, and hold where that ends."""
        self._shaper.stop((now_ns - command_ns) / SECOND)
        self._hold = self._shaper.position
        self._done(command_ns, now_ns)

    def hold(self, command_ns: int, now_ns: int) -> None:
        """Stay where the command came to rest."""
        still = np.zeros(len(self._hold))
        self._shaper.track(lambda ahead_s: (self._hold, still, still), (now_ns - command_ns) / SECOND)
        self._done(command_ns, now_ns)

    def _done(self, command_ns: int, now_ns: int) -> None:
        if self._joined is not None:
            period_s = (now_ns - command_ns) / SECOND
            self.seam, self._joined = self._shaper.change(self._joined, period_s), None
        if not self.standing:
            self._moved_ns = now_ns
