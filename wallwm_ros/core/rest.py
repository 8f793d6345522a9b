"""Has the arm come to rest? The command may stand while the arm still swings."""

from __future__ import annotations

from collections import deque

import numpy as np

from wallwm_ros.core.events import ControlReport

WINDOW_NS = 60_000_000  # speed is measured over this long, so that encoder noise is averaged out
STALE_NS = 200_000_000  # older positions say nothing about the present speed


class RestDetector:
    """Measured speed of the arm from successive control reports.

    Args:
        velocity: the arm rests below this [rad/s or m/s, largest joint].
        patience_ns: once the command stands, wait at most this long for the arm [ns].
    """

    def __init__(self, velocity: float, patience_ns: int) -> None:
        self.velocity = velocity
        self.patience_ns = patience_ns
        self._past: deque[ControlReport] = deque()
        self._standing_since_ns: int | None = None

    def add(self, report: ControlReport, now_ns: int) -> None:
        """Take in a report heard at `now_ns` (steady clock) [ns]."""
        if self._past and report.stamp_ns <= self._past[-1].stamp_ns:
            self._past.clear()  # time went back: simulated time was restarted
        self._past.append(report)
        while len(self._past) > 2 and report.stamp_ns - self._past[1].stamp_ns >= WINDOW_NS:
            self._past.popleft()
        if report.moving:
            self._standing_since_ns = None
        elif self._standing_since_ns is None:
            self._standing_since_ns = now_ns

    def speed(self) -> float:
        """Speed of the fastest joint [rad/s or m/s]; infinite while unknown, 0 where nothing is measured."""
        if not self._past:
            return np.inf
        first, last = self._past[0], self._past[-1]
        if not len(last.measured):
            return 0.0
        elapsed_ns = last.stamp_ns - first.stamp_ns
        if not WINDOW_NS <= elapsed_ns <= STALE_NS or len(first.measured) != len(last.measured):
            return np.inf
        return float(np.abs(last.measured - first.measured).max() / (elapsed_ns * 1e-9))

    def at_rest(self, now_ns: int) -> bool:
        """The command stands, and so does the arm, or patience is over."""
        if self._standing_since_ns is None:
            return False
        return self.speed() <= self.velocity or now_ns - self._standing_since_ns > self.patience_ns
