"""Ring buffers of stamped samples, and reading them at a given time."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from wallwm_ros.core import quaternions

MOST = 512  # samples that are kept for their time
RESTART_NS = 500_000_000  # a stamp this far back is no late delivery: the source's clock was set back
_ARRIVALS = 64  # that the rate is measured over
_GAPS = 15  # that tell how often samples usually come


@dataclass
class Tally:
    """What has happened to the samples of a stream so far.

    Attributes:
        received: messages that came, usable or not.
        refused: messages that could not be used.
        late: samples delivered after a newer one, or twice.
        missed: samples that should have come in between, judged by the usual time between two.
        identical: pictures found to be the same as the one before; only live cameras are looked at.
    """

    received: int = 0
    refused: int = 0
    late: int = 0
    missed: int = 0
    identical: int = 0


class Stream:
    """Samples of one stream, stamps strictly rising: the newest `depth`, and all not older than `keep_ns`.

    Attributes:
        kind: what a sample is, for people: `picture` or `joint state`.
        stamps, values: `values[i]` was taken at `stamps[i]` [ns].
        refusal: why the last sample could not be used; empty if it could.
        forgot: what made every sample before worthless; empty if nothing did, or a sample has come since.
        arrived_ns: when the newest sample came [ns, steady clock].
        tally: counts; they survive `clear`.
    """

    def __init__(
        self, kind: str, depth: int, quaternion_columns: tuple[int, ...] = (), keep_ns: int = 0
    ) -> None:
        self.kind, self._depth, self._keep_ns = kind, depth, keep_ns
        depth = max(depth, MOST) if keep_ns else depth
        self.stamps: deque[int] = deque(maxlen=depth)
        self.values: deque[Any] = deque(maxlen=depth)
        self.refusal = self.forgot = ""
        self.arrived_ns, self.tally = 0, Tally()
        self._arrivals: deque[int] = deque(maxlen=_ARRIVALS)
        self._gaps: deque[int] = deque(maxlen=_GAPS)
        self._quaternions = quaternion_columns
        self._alike: deque[bool | None] = deque(maxlen=depth)  # as the one before it; None: not compared yet

    def add(self, stamp_ns: int, value: Any, arrived_ns: int = 0) -> None:
        """Take in a sample that came at `arrived_ns` (steady clock) [ns]; one late or twice is passed over.

        One without a stamp is refused: nobody knows how old it is.
        """
        if stamp_ns <= 0:
            self.refuse("its stamp is zero", arrived_ns)
            return
        self._count(arrived_ns)
        self.refusal = self.forgot = ""
        if self.stamps and stamp_ns <= self.stamps[-1]:
            if stamp_ns > self.stamps[-1] - RESTART_NS:
                self.tally.late += 1
                return
            self.clear()
        if self.stamps:
            self._look_for_gap(stamp_ns - self.stamps[-1])
        self.arrived_ns = arrived_ns
        self.stamps.append(stamp_ns)
        self.values.append(value)
        self._alike.append(None)
        while len(self.stamps) > self._depth and self.stamps[1] < stamp_ns - self._keep_ns:
            for samples in (self.stamps, self.values, self._alike):
                samples.popleft()

    def refuse(self, reason: str, arrived_ns: int = 0) -> None:
        """The newest sample cannot be used; older ones are of no use either."""
        self._count(arrived_ns)
        self.tally.refused += 1
        self.clear()
        self.refusal = reason

    def clear(self, forgot: str = "") -> None:
        """Forget every sample; `forgot`: because of that."""
        for samples in (self.stamps, self.values, self._alike, self._gaps):
            samples.clear()
        self.refusal, self.forgot = "", forgot

    def rate_hz(self, steady_ns: int) -> float:
        """How often messages come, usable or not [Hz]; falls when they stop coming."""
        if len(self._arrivals) < 2:
            return 0.0
        first, last, count = self._arrivals[0], self._arrivals[-1], len(self._arrivals) - 1
        usual_ns = max(last - first, 1) / count
        overdue_ns = max(steady_ns - last - 2 * usual_ns, 0)
        return count * 1e9 / (max(last - first, 1) + overdue_ns)

    def _count(self, arrived_ns: int) -> None:
        self.tally.received += 1
        self._arrivals.append(arrived_ns)

    def _look_for_gap(self, gap_ns: int) -> None:
        """Count what is missing between two samples."""
        if len(self._gaps) > 2:
            usual_ns = median(self._gaps)
            if gap_ns > 1.5 * usual_ns:
                self.tally.missed += round(gap_ns / usual_ns) - 1
        self._gaps.append(gap_ns)

    def repeated(self, same: Callable[[Any, Any], bool], most: int) -> int:
        """How many of the newest samples, counted up to `most`, are the same; each pair is compared once."""
        count = min(len(self.values), 1)
        for i in range(len(self.values) - 1, 0, -1):
            if count >= most:
                break
            if self._alike[i] is None:
                self._alike[i] = same(self.values[i - 1], self.values[i])
                self.tally.identical += self._alike[i]
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
