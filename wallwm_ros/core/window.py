"""Percentiles of what was measured lately."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

SHARES = {"p50": 50.0, "p95": 95.0, "p99": 99.0}  # name -> percentile


class Window:
    """Keeps the values of a sliding window of time.

    Args:
        span_ns: length of the window [ns].
        most: values kept, however many came; the newest count.
    """

    def __init__(self, span_ns: int, most: int = 4096) -> None:
        self._span_ns = span_ns
        self._samples: deque[tuple[int, float]] = deque(maxlen=most)

    def add(self, now_ns: int, value: float) -> None:
        """Take in a value; times never go back [ns, steady clock]."""
        self._samples.append((now_ns, value))

    def values(self, now_ns: int) -> np.ndarray:
        """(n,) values of the window that ends now, oldest first; the older ones are forgotten."""
        while self._samples and self._samples[0][0] < now_ns - self._span_ns:
            self._samples.popleft()
        return np.array([value for _, value in self._samples])

    def percentiles(self, now_ns: int) -> dict[str, float]:
        """`p50`, `p95`, `p99` and `max` of the window, linearly interpolated; empty if it holds nothing."""
        values = self.values(now_ns)
        if not len(values):
            return {}
        found = np.percentile(values, list(SHARES.values()))
        return dict(zip(SHARES, map(float, found), strict=True)) | {"max": float(values.max())}


class Stages:
    """Percentiles of several times that are measured together, e.g. the stages of an inference.

    Args:
        span_ns: length of the window [ns].

    Attributes:
        count: measurements so far, those that have left the window included.
    """

    def __init__(self, span_ns: int) -> None:
        self._span_ns = span_ns
        self._windows: dict[str, Window] = {}
        self.count = 0

    def add(self, now_ns: int, times: Mapping[str, float]) -> None:
        """Take in name -> time, at `now_ns` of the steady clock."""
        self.count += 1
        for name, value in times.items():
            self._windows.setdefault(name, Window(self._span_ns)).add(now_ns, value)

    def percentiles(self, now_ns: int) -> dict[str, dict[str, float]]:
        """Name -> `Window.percentiles`, of those that have values in the window."""
        found = {name: window.percentiles(now_ns) for name, window in self._windows.items()}
        return {name: values for name, values in found.items() if values}
