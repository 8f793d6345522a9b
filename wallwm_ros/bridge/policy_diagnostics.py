"""The policy node on /diagnostics and in its log: once a second, and whenever its state changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from wallwm_ros.bridge.chunk_output import SPAN_NS, ChunkOutput
from wallwm_ros.bridge.diagnostics import ERROR, OK, WARN, make_array, make_status, spread_out
from wallwm_ros.bridge.stream_diagnostics import StreamDiagnostics
from wallwm_ros.core.clock_guard import ClockGuard
from wallwm_ros.core.control_link import ControlLink
from wallwm_ros.core.events import Stage
from wallwm_ros.core.modes import Modes
from wallwm_ros.core.stream_report import StreamReport
from wallwm_ros.core.synchronizer import Match, Synchronizer
from wallwm_ros.core.window import Stages

LOOK_S = 0.1
REPORT_NS = 1_000_000_000
STATE, CLOCK, OBSERVATION, TIMES, STREAM = (
    f"policy_node: {part}" for part in ("state", "clock", "observation", "latency", "stream ")
)


class Watched(NamedTuple):
    """What there is to tell of while the node is active."""

    synchronizer: Synchronizer
    clock: ClockGuard
    modes: Modes
    link: ControlLink


class PolicyDiagnostics:
    """Publishes what the node does and what it sees.

    Args:
        node: who logs.
        output: takes the diagnostics, and knows how long chunks took.
        lifecycle: the node's lifecycle state in one word.
        watched: what is active, if it is.
    """

    def __init__(
        self,
        node: Node,
        output: ChunkOutput,
        lifecycle: Callable[[], str],
        watched: Callable[[], Watched | None],
    ) -> None:
        self._node, self._output, self._lifecycle, self._watched = node, output, lifecycle, watched
        self._streams = StreamDiagnostics(STREAM, "")
        self._observed = Stages(SPAN_NS)
        self._published_ns, self._before, self._bad = 0, ("", ""), []
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(LOOK_S, self._look, clock=steady)

    def _look(self) -> None:
        now_ns, watched = time.monotonic_ns(), self._watched()
        reports: tuple[StreamReport, ...] = ()
        if watched is not None:
            reports = watched.synchronizer.report(self._output.now_ns())
        line, busy = self._line(watched, reports, now_ns), _busy(watched)
        if line != self._before[0]:
            self._node.get_logger().info(f"state {line}")
        changed, self._before = (line, busy) != self._before, (line, busy)
        if changed or now_ns - self._published_ns >= REPORT_NS:
            self._published_ns = now_ns
            self._publish(watched, reports, now_ns)

    def _line(self, watched: Watched | None, reports: tuple[StreamReport, ...], now_ns: int) -> str:
        """The node's state for the log, except for its goals, whose stages are logged as they come."""
        line = f"lifecycle={self._lifecycle()}"
        if watched is None:
            return line
        objection = watched.clock.objection()
        bad = [f"{r.name}={r.verdict.kind}" for r in reports if r.verdict]
        bad += [f"clock={objection.kind}"] if objection else []
        lasting = [name for name in bad if name in self._bad]  # not for a blink
        self._bad = bad
        control = "silent" if watched.link.silent(now_ns) else "heard"
        return f"{line} mode={watched.modes.mode} control={control} unsound={','.join(lasting) or 'none'}"

    def _publish(self, watched: Watched | None, reports: tuple[StreamReport, ...], now_ns: int) -> None:
        statuses = [self._state(watched, now_ns)]
        if watched is not None:
            statuses += [_clock(watched.clock), self._observation(watched, now_ns)]
            statuses += [self._streams.status(report, now_ns) for report in reports]
        statuses.append(self._latency(now_ns))
        self._output.diagnose(make_array(statuses, self._output.now_ns()))

    def _state(self, watched: Watched | None, now_ns: int) -> DiagnosticStatus:
        values: dict[str, object] = {"lifecycle": self._lifecycle()}
        if watched is None:
            return make_status(STATE, WARN, f"{values['lifecycle']}: no goals are taken", values)
        modes, link = watched.modes, watched.link
        values |= {"mode": modes.mode, "waiting_goals": modes.waiting}
        values |= {f"ended_{name}": count for name, count in self._output.endings.items()}
        run = modes.current
        if run is not None:
            values |= {"goal": run.goal.caption, "stage": run.stage.name.lower(), "trouble": run.trouble}
        if link.report is None or link.silent(now_ns):
            return make_status(STATE, ERROR, link.trouble(now_ns), values)
        if run is None:
            return make_status(STATE, OK, f"ready in {modes.mode} mode", values)
        level = WARN if run.stage == Stage.WAITING and run.trouble else OK
        return make_status(STATE, level, f"{run.goal.caption!r}: {run.doing}", values)

    def _observation(self, watched: Watched, now_ns: int) -> DiagnosticStatus:
        """Would there be one now?"""
        message_ns = self._output.now_ns()
        found = watched.clock.objection() or watched.synchronizer.newest(message_ns)
        if isinstance(found, Match):
            times = {"spread": found.spread_ns / 1e6, "age": (message_ns - found.stamp_ns) / 1e6}
            self._observed.add(now_ns, times)
            level, text = OK, f"sound, spread {times['spread']:.0f} ms, age {times['age']:.0f} ms"
            verdict = "sound"
        else:
            level, text, verdict = (WARN if found.kind == "early" else ERROR), found.text, found.kind
        values = {"verdict": verdict, **spread_out(self._observed.percentiles(now_ns), "ms")}
        return make_status(OBSERVATION, level, text, values)

    def _latency(self, now_ns: int) -> DiagnosticStatus:
        """Where the time of the last minute's chunks went."""
        stages = self._output.stages
        figures = stages.percentiles(now_ns)
        text = "no chunk in the last minute"
        if "chunk" in figures:
            row = figures["chunk"]
            text = f"chunk {row['p50']:.0f} ms p50, {row['p99']:.0f} ms p99"
        values = {"chunks": stages.count, **spread_out(figures, "ms")}
        return make_status(TIMES, OK, text, values, self._output.engine)


def _busy(watched: Watched | None) -> str:
    """What is being done for goals; a change of it is published at once."""
    run = watched.modes.current if watched is not None else None
    return "" if run is None else f"{run.goal.key!r} {run.stage.name} {watched.modes.waiting}"


def _clock(guard: ClockGuard) -> DiagnosticStatus:
    objection = guard.objection()
    level, text = OK, "simulated time" if guard.simulated else "system time"
    if objection is not None:
        level, text = ERROR, objection.text
    elif guard.recently_jumped():
        level, text = WARN, guard.last_jump
    values = {"simulated": guard.simulated, "jumps": guard.jumps, "last_jump": guard.last_jump or "none"}
    return make_status(CLOCK, level, text, values)
