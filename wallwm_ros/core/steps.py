"""At which step of a plan was the arm when a picture was taken? Told by the control process's own reports."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque

_DEPTH = 512


class StepClock:
    """Remembers when the control process came to each step; it may have paused between two of them.

    A step was reached between two reports. As long as the plan goes on evenly, those before it tell when, too: the
    bounds of all of them narrow it down to less than the time between reports.

    Args:
        step_ns: duration of one step [ns].
    """

    def __init__(self, step_ns: int) -> None:
        self._step_ns = step_ns
        self._stamps: deque[int] = deque(maxlen=_DEPTH)
        self._steps: deque[int] = deque(maxlen=_DEPTH)
        self._heard_ns = 0
        self._low_ns = self._high_ns = 0  # between these it came to the newest step [ns]

    def hear(self, stamp_ns: int, step: int) -> None:
        """`step` steps were executed at `stamp_ns` (message clock) [ns]."""
        before_ns, self._heard_ns = self._heard_ns, stamp_ns
        if not self._steps:
            self._note(stamp_ns, step, stamp_ns - self._step_ns, stamp_ns)
        elif step > self._steps[-1] and stamp_ns > self._stamps[-1]:
            way_ns = (step - self._steps[-1]) * self._step_ns
            low, high = max(before_ns, self._low_ns + way_ns), min(stamp_ns, self._high_ns + way_ns)
            if low >= high:  # it paused in between: its own two reports tell
                low, high = before_ns, stamp_ns
            self._note((low + high) // 2, step, low, high)

    def _note(self, at_ns: int, step: int, low_ns: int, high_ns: int) -> None:
        self._stamps.append(at_ns)
        self._steps.append(step)
        self._low_ns, self._high_ns = low_ns, high_ns

    def at(self, stamp_ns: int, known: int) -> float:
        """Steps executed at `stamp_ns` [ns], with the part of the next one; the plan has `known` steps."""
        if not self._steps:
            return 0.0
        after = bisect_right(self._stamps, stamp_ns)
        if after == len(self._steps):
            if self._heard_ns - self._stamps[-1] > self._step_ns:
                return float(self._steps[-1])  # it has run out, and stands still
            return min(self._steps[-1] + (stamp_ns - self._stamps[-1]) / self._step_ns, known)
        early = self._steps[max(after - 1, 0)]
        # Counted back from the later report: where the plan ran out in between, it paused before, not after.
        return max(self._steps[after] - (self._stamps[after] - stamp_ns) / self._step_ns, early)
