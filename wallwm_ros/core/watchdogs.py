"""Who must be heard of so that the arm may move: its own joints, and the policy that plans for it."""

from __future__ import annotations

import numpy as np

from wallwm_ros.core.control_state import Measured


class StateWatchdog:
    """Joint states must keep coming.

    Args:
        timeout_ns: largest age [ns].
    """

    def __init__(self, timeout_ns: int) -> None:
        self._timeout_ns = timeout_ns

    def trouble(self, now_ns: int, measured: Measured | None) -> str:
        """Why the arm must not move at `now_ns` (control clock) [ns], empty if it may."""
        if measured is None:
            return "no joint state received yet"
        if measured.time_ns - now_ns > self._timeout_ns:  # it would look fresh until that time has come again
            return "joint states are from before the control clock went back"
        if now_ns - measured.time_ns > self._timeout_ns:
            return f"joint states are older than {self._timeout_ns / 1e6:.0f} ms"
        return "" if np.isfinite(measured.positions).all() else "joint states hold a value that is not finite"


class Heartbeat:
    """A policy that was heard must keep being heard, until it takes its leave. For several threads.

    A sender of chunks that never sent a heartbeat is not watched. All times are of the steady clock, whatever
    clock the arm follows. The listener's own stalls must not look like the policy's silence: time counts only
    as far as the listener has come round, `listening`, and found nothing, twice over, since what lay waiting
    for it during a stall may be handed over after its own turn.

    Args:
        timeout_ns: longest silence [ns]; 0: none is too long.
    """

    def __init__(self, timeout_ns: int) -> None:
        self._timeout_ns = timeout_ns
        self.clear()

    def clear(self) -> None:
        """Nobody has been heard."""
        self._beat_ns: int | None = None
        self._turn_ns = self._turn_before_ns = 0

    def beat(self, now_ns: int) -> None:
        """The policy was heard [ns]."""
        self._beat_ns = now_ns

    def leave(self) -> None:
        """The policy has said that it will be silent from now on."""
        self._beat_ns = None

    def listening(self, now_ns: int) -> None:
        """The listener has come round, at regular times [ns]."""
        self._turn_before_ns, self._turn_ns = self._turn_ns, now_ns

    def trouble(self) -> str:
        """Why no plan may be followed, empty if one may."""
        beat_ns = self._beat_ns
        if not self._timeout_ns or beat_ns is None or self._turn_before_ns - beat_ns <= self._timeout_ns:
            return ""
        return f"the policy's heartbeat is older than {self._timeout_ns / 1e6:.0f} ms"
