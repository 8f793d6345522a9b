"""Ring buffers of stamped samples, and reading them at a given time."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from wallwm_ros.core import quaternions

MOST = 512  # samples that are kept for their time
RESTART_NS = 500_000_000  # a stamp this far back is no late delivery: the source's clock was set back


class Stream:
    """Samples of one stream, stamps strictly rising: the newest `depth`, and all not older than `keep_ns`.

    Attributes:
        kind: what a sample is, for people: `picture` or `joint state`.
        stamps, values: `values[i]` was taken at `stamps[i]` [ns].
        refusal: why the last sample could not be used; empty if it could.
    """

    def __init__(
        self, kind: str, depth: int, quaternion_columns: tuple[int, ...] = (), keep_ns: int = 0
    ) -> None:
        self.kind, self._depth, self._keep_ns = kind, depth, keep_ns
        depth = max(depth, MOST) if keep_ns else depth
        self.stamps: deque[int] = deque(maxlen=depth)
        self.values: deque[Any] = deque(maxlen=depth)
        self.refusal = ""
        self._quaternions = quaternion_columns
        self._alike: deque[bool | None] = deque(maxlen=depth)  # as the one before it; None: not compared yet

    def add(self, stamp_ns: int, value: Any) -> None:
        """Take in a sample; one delivered late or twice is passed over."""
        self.refusal = ""
        if self.stamps and stamp_ns <= self.stamps[-1]:
            if stamp_ns > self.stamps[-1] - RESTART_NS:
                return
            self.clear()
        self.stamps.append(stamp_ns)
        self.values.append(value)
        self._alike.append(None)
        while len(self.stamps) > self._depth and self.stamps[1] < stamp_ns - self._keep_ns:
            for samples in (self.stamps, self.values, self._alike):
                samples.popleft()

    def refuse(self, reason: str) -> None:
        """The newest sample cannot be used; older ones are of no use either."""
        self.clear()
        self.refusal = reason

    def clear(self) -> None:
        """Forget every sample."""
        self.stamps.clear()
        self.values.clear()
        self._alike.clear()
        self.refusal = ""

    def repeated(self, same: Callable[[Any, Any], bool], most: int) -> int:
        """How many of the newest samples, counted up to `most`, are the same; each pair is compared once."""
        count = min(len(self.values), 1)
        for i in range(len(self.values) - 1, 0, -1):
            if count >= most:
                break
            if self._alike[i] is None:
                self._alike[i] = same(self.values[i - 1], self.values[i])
            if not self._alike[i]:
                break
            count += 1
        return count

    def nearest(self, time_ns: int) -> tuple[Any, int]:
        """The sample nearest to a time, and how far away it is [ns]; there must be one."""
        after = bisect_left(self.stamps, time_ns)
        around = [i for i in (after - 1, after) if 0 <= i < len(self.stamps)]
        best = min(around, key=lambda i: abs(self.stamps[i] - time_ns))
        return self.values[best], abs(self.stamps[best] - time_ns)

    def at(self, time_ns: int) -> tuple[np.ndarray, int, int]:
        """Values at a time: between the samples around it, else the nearest sample.

        Positions are interpolated linearly, quaternions along the shorter arc.

        Returns:
            The values (n,), the time they stand for [ns], and the nearest sample's distance [ns].
        """
        stamps = self.stamps
        after = bisect_left(stamps, time_ns)
        if after == len(stamps):
            return self.values[-1], stamps[-1], time_ns - stamps[-1]
        if after == 0 or stamps[after] == time_ns:
            return self.values[after], stamps[after], stamps[after] - time_ns
        early, late = self.values[after - 1], self.values[after]
        share = (time_ns - stamps[after - 1]) / (stamps[after] - stamps[after - 1])
        value = early + share * (late - early)
        for column in self._quaternions:
            part = slice(column, column + 4)
            value[part] = quaternions.slerp(early[part], late[part], share)
        return value, time_ns, min(time_ns - stamps[after - 1], stamps[after] - time_ns)
