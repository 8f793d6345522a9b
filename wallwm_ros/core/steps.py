"""At which step of a plan was the arm when a picture was taken? Told by the control process's own reports."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque

_DEPTH = 512


class StepClock:
    """Remembers when the control process first reported each step; it may have paused between two of them.

    Args:
        step_ns: duration of one step [ns].
    """

    def __init__(self, step_ns: int) -> None:
        self._step_ns = step_ns
        self._stamps: deque[int] = deque(maxlen=_DEPTH)
        self._steps: deque[int] = deque(maxlen=_DEPTH)
        self._heard_ns = 0

    def hear(self, stamp_ns: int, step: int) -> None:
        """`step` steps were executed at `stamp_ns` (message clock) [ns]."""
        before_ns, self._heard_ns = self._heard_ns, stamp_ns
        if not self._steps:
            self._stamps.append(stamp_ns)
            self._steps.append(step)
        elif step > self._steps[-1] and stamp_ns > self._stamps[-1]:
            self._stamps.append((before_ns + stamp_ns) // 2)  # it was between the two reports
            self._steps.append(step)

    def at(self, stamp_ns: int, known: int) -> int:
        """Steps executed at `stamp_ns` [ns], rounded; the plan has `known` steps."""
        if not self._steps:
            return 0
        after = bisect_right(self._stamps, stamp_ns)
        if after == len(self._steps):
            if self._heard_ns - self._stamps[-1] > self._step_ns:
                return self._steps[-1]  # it has run out, and stands still
            return min(self._steps[-1] + self._rounded(stamp_ns - self._stamps[-1]), known)
        early = self._steps[max(after - 1, 0)]
        # Counted back from the later report: where the plan ran out in between, it paused before, not after.
        return max(self._steps[after] - self._rounded(self._stamps[after] - stamp_ns), early)

    def _rounded(self, duration_ns: int) -> int:
        return (2 * duration_ns + self._step_ns) // (2 * self._step_ns)
