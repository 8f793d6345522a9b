"""The control node on /diagnostics and in its log: once a second, and whenever its state changes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from wallwm_ros.bridge.diagnostics import ERROR, OK, STALE, TOPIC, WARN, make_array, make_status
from wallwm_ros.core.control_state import Measured, Status
from wallwm_ros.core.seams import Seams
from wallwm_ros.core.window import Stages

LOOK_S = 0.1
REPORT_NS = 1_000_000_000
SPAN_NS = 10_000_000_000  # percentiles of periods are of the last ten seconds
SEAMS_NS = 60_000_000_000
MOST_SEAM = 1.001  # share of its limit; more means that a limit was broken
STATE, STATES, TIMING, SEAMS = (
    f"control_node: {part}" for part in ("state", "joint_states", "timing", "seams")
)
LEVELS = {"HOLD": OK, "TRACKING": OK, "STOPPING": WARN, "TAKEOVER": WARN, "INACTIVE": WARN}  # others: ERROR


class ControlDiagnostics:
    """Publishes what the controller does; `heard` is for the control thread, the rest for the executor's.

    Args:
        node: who logs and publishes.
        period_ns: between two commands [ns].
        timeout_ns: joint states older than this stop the arm [ns].
        measure: newest measured values.
        now_ns: the control clock [ns].
    """

    def __init__(
        self,
        node: Node,
        period_ns: int,
        timeout_ns: int,
        measure: Callable[[], Measured | None],
        now_ns: Callable[[], int],
    ) -> None:
        self._node, self._period_ns, self._timeout_ns = node, period_ns, timeout_ns
        self._measure, self._now_ns = measure, now_ns
        self._inbox: deque[tuple[Status, int]] = deque(maxlen=1000)
        self._times, self._seams = Stages(SPAN_NS), Seams(SEAMS_NS)
        self._status: Status | None = None
        self._before, self._published_ns, self._missed_before, self._heard_ns = "", 0, 0, 0
        self._publisher = node.create_publisher(DiagnosticArray, TOPIC, 10)
        self._timer = node.create_timer(LOOK_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def heard(self, status: Status, period_ns: int) -> None:
        """The controller reports, after a period of `period_ns`."""
        self._inbox.append((status, period_ns))

    def close(self) -> None:
        """Say the last word and stop."""
        self._look()
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)

    def _look(self) -> None:
        now_ns, changed = time.monotonic_ns(), False
        while self._inbox:
            status, period_ns = self._inbox.popleft()
            if period_ns:
                off_us = abs(period_ns - self._period_ns) / 1000
                self._times.add(now_ns, {"period_ms": period_ns / 1e6, "off_us": off_us})
            self._seams.hear(now_ns, status)
            self._status, self._heard_ns = status, now_ns
            changed |= self._log(status)
        if changed or now_ns - self._published_ns >= REPORT_NS:
            self._published_ns = now_ns
            self._publish(now_ns)

    def _log(self, status: Status) -> bool:
        """One line per change of state; true if there was one."""
        line = f"state={status.state.name.lower()} reason={status.reason!r}"
        changed, self._before = line != self._before, line
        if changed:
            plan = f"generation={status.generation} sequence={status.sequence} step={status.step}"
            self._node.get_logger().info(f"{line} {plan} rejected={status.rejected}")
        return changed

    def _publish(self, now_ns: int) -> None:
        statuses = [self._joint_states()]
        if self._status is not None:
            statuses.insert(0, _state(self._status, now_ns - self._heard_ns))
            statuses += [self._timing(now_ns, self._status.missed_periods), self._joins(now_ns)]
        self._publisher.publish(make_array(statuses, self._node.get_clock().now().nanoseconds))

    def _joint_states(self) -> DiagnosticStatus:
        measured = self._measure()
        if measured is None:
            return make_status(STATES, STALE, "no joint state received yet", {"age_ms": "none"})
        age_ns = self._now_ns() - measured.time_ns
        late = age_ns > self._timeout_ns
        text = f"newest values came {age_ns / 1e6:.0f} ms ago"
        if late:
            text += f", at most {self._timeout_ns / 1e6:.0f} ms is allowed"
        return make_status(STATES, STALE if late else OK, text, {"age_ms": age_ns / 1e6})

    def _joins(self, now_ns: int) -> DiagnosticStatus:
        """WARN: a join of the last minute was larger than the limits allow a single period."""
        seams, sizes = self._seams, self._seams.sizes(now_ns)
        level, text = OK, f"{seams.joins} chunks have joined, {seams.dropped} late steps were dropped"
        if sizes:
            worst = max(row["max"] for row in sizes.values())
            level = WARN if worst > MOST_SEAM else OK
            text += f"; largest seam of the last minute {worst:.2f} of its limit"
        values = {"joins": seams.joins, "dropped_steps_in_all": seams.dropped}
        flat = {f"seam_{name}_{key}": value for name, row in sizes.items() for key, value in row.items()}
        return make_status(SEAMS, level, text, values | flat)

    def _timing(self, now_ns: int, missed: int) -> DiagnosticStatus:
        """How regular the control periods are; every reported period counts."""
        figures = self._times.percentiles(now_ns)
        new, self._missed_before = max(missed - self._missed_before, 0), missed
        text = f"a period is {self._period_ns / 1e6:g} ms"
        if "off_us" in figures:
            text += f", off by {figures['off_us']['p99']:.0f} us p99"
        if new:
            text = f"{new} control periods were missed; {text}"
        flat = {f"{name}_{key}": value for name, row in figures.items() for key, value in row.items()}
        return make_status(TIMING, WARN if new else OK, text, {"missed_periods": missed, **flat})


def _state(status: Status, silent_ns: int) -> DiagnosticStatus:
    """STALE: there are no control periods any more, e.g. because simulated time stands still."""
    values = {
        "state": status.state.name,
        "generation": status.generation,
        "sequence": status.sequence,
        "step": status.step,
        "steps": status.steps,
        "settled": status.settled,
        "rejected": status.rejected,
        "dropped_steps": status.dropped_steps,
        "seam_velocity": status.seam_velocity,
        "seam_acceleration": status.seam_acceleration,
    }
    name = status.state.name
    if silent_ns > REPORT_NS:
        text = f"no control period for {silent_ns / 1e9:.1f} s; the last one was {name}: {status.reason}"
        return make_status(STATE, STALE, text, values)
    return make_status(STATE, LEVELS.get(name, ERROR), f"{name}: {status.reason}", values)
