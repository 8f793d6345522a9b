"""Clocks that objects get as an argument, so that tests can turn them by hand. All times in ns."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def now_ns(self) -> int:
        """Present time [ns]."""


class SteadyClock:
    """The machine's monotonic clock: never set, never jumps."""

    def now_ns(self) -> int:
        """Present time [ns]."""
        return time.monotonic_ns()


class ManualClock:
    """A clock that moves only when told."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """Present time [ns]."""
        return self._now_ns

    def advance(self, seconds: float) -> int:
        """Move on; returns the new time [ns]."""
        self._now_ns += round(seconds * 1e9)
        return self._now_ns
