"""Lets a controller tick, from the steady clock or from a simulated one, and hands on what it did."""

from __future__ import annotations

import threading
from collections.abc import Callable

from wallwm_ros.core.chunk import Chunk
from wallwm_ros.core.clock import Clock
from wallwm_ros.core.control_state import ControlState, Measured, Status
from wallwm_ros.core.controller import Controller

_STANDING = (ControlState.HOLD, ControlState.INACTIVE, ControlState.ESTOPPED)

Send = Callable[[Status], None]
Report = Callable[[Status, int], None]


class ControlCycle:
    """One control period after another: measure, tick, command, now and then a report.

    `tick` belongs to one thread; the rest may be called from others.

    Args:
        controller: decides.
        clock: measures how long periods really are.
        measure: newest measured values.
        command: sends the command of a status that has one.
        report: sends a status, and the measured length of its period [ns].
        report_ns: time between two reports, in the control clock [ns].
    """

    def __init__(
        self,
        controller: Controller,
        clock: Clock,
        measure: Callable[[], Measured | None],
        command: Send,
        report: Report,
        report_ns: int,
    ) -> None:
        self._controller, self._clock, self._measure = controller, clock, measure
        self._command, self._report, self._report_ns = command, report, report_ns
        self._slack_ns = report_ns // 10  # a tick that comes this much early is near enough
        self._lock = threading.Lock()
        self._reported_ns: int | None = None
        self._begun_ns: int | None = None
        self.last: Status | None = None

    def tick(self, now_ns: int, jump: str = "") -> None:
        """One period that ends at `now_ns` in the control clock; `jump`: how that has jumped, if it has."""
        begun_ns = self._clock.now_ns()
        period_ns = 0 if self._begun_ns is None else begun_ns - self._begun_ns
        self._begun_ns = begun_ns
        with self._lock:
            status = self._controller.tick(now_ns, self._measure(), jump)
            if status.command is not None:
                self._command(status)
        changed = self.last is None or (status.state, status.reason) != (self.last.state, self.last.reason)
        due = (
            self._reported_ns is None
            or not 0 <= now_ns - self._reported_ns < self._report_ns - self._slack_ns
        )
        if due or changed:
            self._report(status, period_ns)
            self._reported_ns = now_ns
        self.last = status

    def activate(self) -> None:
        """Begin to command."""
        with self._lock:
            self._controller.activate()

    def deactivate(self) -> None:
        """No command is sent after this returns."""
        with self._lock:
            self._controller.deactivate()

    def submit(self, chunk: Chunk, start_ns: int) -> None:
        """A chunk for the next tick."""
        self._controller.submit(chunk, start_ns)

    def reject(self, reason: str) -> None:
        """A chunk, or an operator's command, that could not be used."""
        self._controller.reject(reason)

    def halt(self, reason: str) -> None:
        """Ask for a shaped stop."""
        self._controller.halt(reason)

    def reset_estop(self) -> str:
        """End a latched emergency stop; why that cannot be, empty if it is done."""
        with self._lock:
            return self._controller.reset_estop()

    def standing(self) -> bool:
        """No motion is commanded."""
        return self.last is None or self.last.state in _STANDING


class SimulatedClock:
    """A control clock that is told the time; 0 until then."""

    def __init__(self) -> None:
        self._now_ns = 0

    def set(self, now_ns: int) -> None:
        """The time is `now_ns`."""
        self._now_ns = now_ns

    def now_ns(self) -> int:
        """Present time [ns]."""
        return self._now_ns


def start_in(clock: Clock, start_ns: int, sender_now_ns: int) -> int:
    """A chunk's start, from the sender's clock into the control clock [ns]; 0 (= at once) stays 0."""
    return clock.now_ns() + start_ns - sender_now_ns if start_ns else 0
