"""How the simulated arm controllers turn commands into targets over time. No ROS."""

from __future__ import annotations

import numpy as np


class SimController:
    """Stands where a ros2_control position controller stands: one active command, the newest.

    A forward command holds until the next one; a trajectory is interpolated linearly from the target
    in force when it came.
    """

    def __init__(self, target: np.ndarray) -> None:
        self.hold(target)

    def hold(self, target: np.ndarray) -> None:
        """Hold `target` (D,) [rad or m] from now on; also takes a forward command."""
        self._times = np.zeros(1)
        self._rows = np.array(target, dtype=float)[None]

    def follow(self, now_s: float, times: np.ndarray, rows: np.ndarray) -> None:
        """Reach `rows` (N, D) at `now_s + times` (N,) [s]; nothing to reach: hold the present target."""
        present = self.target(now_s)
        if not len(times):
            self.hold(present)
            return
        self._times = np.concatenate([[now_s], now_s + times])
        self._rows = np.vstack([present, rows])
        if times[0] <= 0.0:
            self._times, self._rows = self._times[1:], self._rows[1:]

    def target(self, now_s: float) -> np.ndarray:
        """Targets (D,) [rad or m] at `now_s`; after the last point, the last point."""
        if len(self._times) == 1 or now_s >= self._times[-1]:
            return self._rows[-1]
        after = max(1, int(np.searchsorted(self._times, now_s, side="right")))
        start, end = self._times[after - 1], self._times[after]
        share = min(1.0, max(0.0, (now_s - start) / (end - start)))
        return (1.0 - share) * self._rows[after - 1] + share * self._rows[after]
