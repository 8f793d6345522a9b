"""What the nodes say on /diagnostics and in their logs, with a node that only records."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("wallwm_msgs.msg._action_chunk")  # the folder alone imports as an empty namespace
pytestmark = pytest.mark.ros

from wallwm_ros.bridge import clock_watch, control_diagnostics, policy_diagnostics  # noqa: E402
from wallwm_ros.bridge.chunk_output import ChunkOutput  # noqa: E402
from wallwm_ros.bridge.clock_watch import ClockWatch  # noqa: E402
from wallwm_ros.bridge.control_diagnostics import ControlDiagnostics  # noqa: E402
from wallwm_ros.bridge.diagnostics import ERROR, OK, STALE, WARN  # noqa: E402
from wallwm_ros.bridge.policy_diagnostics import PolicyDiagnostics, Watched  # noqa: E402
from wallwm_ros.bridge.stream_diagnostics import StreamDiagnostics  # noqa: E402
from wallwm_ros.core.chunk import Chunk  # noqa: E402
from wallwm_ros.core.clock import ManualClock  # noqa: E402
from wallwm_ros.core.clock_guard import ClockGuard, Reading  # noqa: E402
from wallwm_ros.core.config import ControlConfig, load_robot  # noqa: E402
from wallwm_ros.core.control_link import ControlLink  # noqa: E402
from wallwm_ros.core.control_state import Measured  # noqa: E402
from wallwm_ros.core.controller import Controller  # noqa: E402
from wallwm_ros.core.event_run import RunnerLimits  # noqa: E402
from wallwm_ros.core.event_runner import EventRunner  # noqa: E402
from wallwm_ros.core.events import ControlReport, ControlState, EventGoal, EventTuning, Outcome  # noqa: E402
from wallwm_ros.core.modes import Modes  # noqa: E402
from wallwm_ros.core.plans import ChunkShape  # noqa: E402
from wallwm_ros.core.rest import RestDetector  # noqa: E402
from wallwm_ros.core.stream_report import StreamReport, Trend  # noqa: E402
from wallwm_ros.core.streams import Tally  # noqa: E402
from wallwm_ros.core.synchronizer import MS, Synchronizer, SyncLimits, Unsound  # noqa: E402
from wallwm_ros.core.task_runner import TaskRunner  # noqa: E402
from wallwm_ros.core.tasks import TaskTuning  # noqa: E402

SECOND = 1_000_000_000
ROBOT = load_robot("sim")


@dataclass
class FakeNode:
    """A node, as far as diagnostics need one; its clock and the steady one are turned by hand."""

    steady: ManualClock = field(default_factory=lambda: ManualClock(50 * SECOND))
    message_ns: int = 1000 * SECOND
    simulated: bool = False
    sent: list = field(default_factory=list)
    lines: list = field(default_factory=list)
    timers: list = field(default_factory=list)

    def create_publisher(self, kind, topic, depth):
        return self

    def publish(self, message):
        self.sent.append(message)

    def create_timer(self, period_s, callback, clock):
        self.timers.append(callback)
        return callback

    def destroy_timer(self, timer):
        self.timers.remove(timer)

    def destroy_publisher(self, publisher):
        pass

    def get_clock(self):
        return self

    def now(self):
        return self

    @property
    def nanoseconds(self):
        return self.message_ns

    @property
    def ros_time_is_active(self):
        return self.simulated

    def get_logger(self):
        return self

    def info(self, line):
        self.lines.append(line)

    warning = info

    def run(self, seconds, between=lambda: None):
        """Let both clocks go on, and the timers ten times a second."""
        for _ in range(round(seconds * 10)):
            self.steady.advance(0.1)
            self.message_ns += SECOND // 10
            between()
            for timer in list(self.timers):
                timer()

    def last(self):
        """Name -> status of the newest message."""
        return {status.name: status for status in self.sent[-1].status}


@pytest.fixture
def node(monkeypatch):
    found = FakeNode()

    class Time:
        monotonic_ns = staticmethod(found.steady.now_ns)
        perf_counter = staticmethod(lambda: found.steady.now_ns() / SECOND)

    for module in (clock_watch, control_diagnostics, policy_diagnostics):
        monkeypatch.setattr(module, "time", Time)
    monkeypatch.setattr("wallwm_ros.bridge.chunk_output.time", Time)
    return found


def values(status):
    return {pair.key: pair.value for pair in status.values}


REPORT = StreamReport("left", "picture", 30 * MS, 20 * MS, 20.0, Tally(received=100), None)


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({}, OK, "sound, 20.0 Hz"),
        ({"verdict": Unsound("left", "early", "it may be frozen")}, WARN, "it may be frozen"),
        ({"verdict": Unsound("left", "frozen", "left is frozen")}, ERROR, "left is frozen"),
        ({"verdict": Unsound("left", "refused", "size")}, ERROR, "size"),
        ({"verdict": Unsound("left", "stale", "delayed")}, ERROR, "delayed"),
        ({"verdict": Unsound("left", "stale", "gone"), "waited_ns": 2 * SECOND}, STALE, "gone"),
        ({"verdict": Unsound("left", "missing", "no"), "waited_ns": None, "age_ns": None}, STALE, "no"),
    ],
)
def test_the_level_of_a_stream_says_whether_it_is_wrong_or_gone(changes, level, words):
    status = StreamDiagnostics("policy_node: stream ", "sim").status(replace(REPORT, **changes), 0)
    assert (status.level, status.message, status.name) == (level, words, "policy_node: stream left")
    assert status.hardware_id == "sim"
    told = values(status)
    assert told["received"] == "100" and told["rate_hz"] == "20.000"
    assert told["age_ms"] == ("none" if "age_ns" in changes else "30.000")


def test_losses_are_warned_of_for_ten_seconds():
    streams, clock = StreamDiagnostics("", ""), ManualClock()

    def told(seconds, **tally):
        return streams.status(replace(REPORT, tally=Tally(**tally)), clock.advance(seconds))

    assert told(1.0, received=100).level == OK
    assert told(1.0, received=120, missed=1).level == OK, "one of twenty-one is no reason"
    lossy = told(1.0, received=130, missed=11, refused=2)
    assert lossy.level == WARN and lossy.message == "11 of 41 missed and 2 of 41 refused in the last 10 s"
    assert told(9.0, received=310, missed=11, refused=2).level == WARN
    assert told(9.0, received=490, missed=11, refused=2).level == OK


def test_a_stream_that_begins_anew_is_not_compared_with_its_former_life():
    trend = Trend(10 * SECOND)
    trend.since(0, Tally(received=500, missed=20))
    assert trend.since(SECOND, Tally(received=3)) == Tally()
    assert trend.since(2 * SECOND, Tally(received=5, refused=1)) == Tally(received=2, refused=1)


class Quiet:
    """A port nobody looks through."""

    def look(self, *_):
        return Unsound("head", "missing", "no picture from head has arrived")

    def message_now_ns(self):
        return 0

    def feedback(self, *_):
        pass

    finish = stop = staged = feedback


class Rig:
    """PolicyDiagnostics over real parts of the core."""

    def __init__(self, node: FakeNode) -> None:
        self.node, clock = node, node.steady
        limits = SyncLimits(max_spread_ns=30 * MS, max_age_ns=200 * MS)
        self.sync = Synchronizer(("head", "left"), {"/joints": ()}, limits, clock=clock)
        self.output = ChunkOutput(node)
        self.link = ControlLink(SECOND, RestDetector(0.05, SECOND))
        waits = RunnerLimits(
            timeout_ns=30 * SECOND, observation_ns=5 * SECOND, control_ns=SECOND, inference_ns=SECOND
        )
        shape = ChunkShape(32, 50 * MS, False)
        events = EventRunner(Quiet(), clock, waits, self.link, shape, EventTuning())
        tasks = TaskRunner(Quiet(), clock, waits, self.link, shape, TaskTuning())
        self.modes = Modes(events, tasks, self.link, clock, "event")
        self.guard, self.active, self.alive = ClockGuard(2 * SECOND), True, True
        watched = Watched(self.sync, self.guard, self.modes, self.link)
        self.diagnostics = PolicyDiagnostics(
            node,
            self.output,
            lambda: "active" if self.active else "inactive",
            lambda: watched if self.active else None,
        )

    def feed(self) -> None:
        now_ns, steady_ns = self.node.message_ns, self.node.steady.now_ns()
        self.guard.check(Reading(now_ns, steady_ns, steady_ns, False))
        for name in ("head", "left"):
            self.sync.add_picture(name, now_ns - 20 * MS, object())
        self.sync.add_state("/joints", now_ns - 20 * MS, np.zeros(2))
        if self.alive:
            state = ControlState.HOLD
            report = ControlReport(state, "ready", 1, 0, True, 0, now_ns, np.zeros(2))
            self.modes.control_reported(report)
        self.modes.tick()


def test_a_policy_node_that_is_not_active_says_so_once_a_second(node):
    rig = Rig(node)
    rig.active = False
    node.run(3.05)
    assert 3 <= len(node.sent) <= 4
    state = node.last()["policy_node: state"]
    assert state.level == WARN and state.message == "inactive: no goals are taken"
    assert node.lines == ["state lifecycle=inactive"]
    assert set(node.last()) == {"policy_node: state", "policy_node: latency"}


def test_an_active_policy_node_tells_of_its_streams_clock_and_observation(node):
    rig = Rig(node)
    node.run(3.0, rig.feed)
    told = node.last()
    streams = {f"policy_node: stream {name}" for name in ("head", "left", "/joints")}
    parts = {f"policy_node: {part}" for part in ("state", "clock", "observation", "latency")}
    assert set(told) == streams | parts
    assert {status.level for status in told.values()} == {OK}
    assert told["policy_node: state"].message == "ready in event mode"
    assert told["policy_node: clock"].message == "system time"
    assert told["policy_node: observation"].message == "sound, spread 0 ms, age 20 ms"
    assert values(told["policy_node: observation"])["age_ms_p99"] == "20.000"
    assert values(told["policy_node: stream head"])["rate_hz"] == "10.000"


def test_latencies_are_told_as_percentiles_of_the_last_minute(node):
    rig = Rig(node)
    times = np.random.default_rng(1).gamma(4.0, 10.0, 200)
    for time_ms in times:
        chunk = Chunk(
            1, ROBOT.joint_names, np.zeros((2, 14)), 50 * MS, observation_ns=1, stamp_ns=31 * MS + 1
        )
        rig.output.report(chunk, {"observe": time_ms, "chunk": 2 * time_ms}, "onnx")
        node.run(0.1)
    node.run(1.1)
    status = node.last()["policy_node: latency"]
    told = values(status)
    assert float(told["observe_ms_p50"]) == pytest.approx(np.median(times), abs=0.1)
    assert float(told["chunk_ms_p99"]) == pytest.approx(2 * np.quantile(times, 0.99), rel=0.05)
    assert told["stamp_to_chunk_ms_max"] == "31.000" and told["chunks"] == "200"
    assert status.hardware_id == "onnx"
    node.run(62.0)
    assert node.last()["policy_node: latency"].message == "no chunk in the last minute"


def test_a_change_of_what_is_done_for_goals_is_told_of_at_once(node):
    rig = Rig(node)
    node.run(2.0, rig.feed)
    lines, sent = len(node.lines), len(node.sent)
    rig.modes.submit(EventGoal(b"g", "reach"))
    node.run(0.2, rig.feed)
    assert len(node.sent) - sent in (1, 2) and len(node.lines) == lines, "goals have lines of their own"
    state = node.last()["policy_node: state"]
    assert state.level == WARN and state.message.startswith("'reach': waiting, no picture from head")
    told = values(state)
    assert told["goal"] == "reach" and told["stage"] == "waiting"
    rig.modes.cancel(b"g")
    rig.output.ended(Outcome.CANCELLED)
    node.run(1.2, rig.feed)
    assert values(node.last()["policy_node: state"])["ended_cancelled"] == "1"


def test_a_stream_that_dies_and_a_control_process_that_is_silent_are_errors(node):
    rig = Rig(node)
    node.run(1.0, rig.feed)
    rig.sync.refuse("left", "size must be 192x192; found 640x480")
    rig.alive = False
    node.run(1.5)
    told = node.last()
    assert told["policy_node: stream left"].level == ERROR
    assert "found 640x480" in told["policy_node: stream left"].message
    assert told["policy_node: stream head"].level == STALE
    assert told["policy_node: observation"].level == ERROR
    state = told["policy_node: state"]
    assert state.level == ERROR and "control process has been silent" in state.message
    assert "unsound=head=stale,left=refused,/joints=stale" in node.lines[-1]


def test_a_stream_that_blinks_makes_no_line(node):
    rig = Rig(node)
    node.run(1.0, rig.feed)
    lines = len(node.lines)
    rig.sync.refuse("left", "cut off")
    node.run(0.1)
    node.run(0.5, rig.feed)
    assert len(node.lines) == lines


def test_a_clock_that_jumped_is_told_of(node):
    rig = Rig(node)
    node.run(1.0, rig.feed)
    node.message_ns -= 30 * SECOND
    node.run(1.0, rig.feed)
    status = node.last()["policy_node: clock"]
    assert status.level == WARN and status.message == "the system clock was set back by 30.0 s"
    assert values(status)["jumps"] == "1"


def test_what_was_stamped_before_a_jump_is_forgotten_at_once_and_goals_hear_of_it_later(node):
    forgotten, told = [], []
    watch = ClockWatch(node, 2 * SECOND, forgotten.append, told.append)
    node.run(0.5)
    node.message_ns -= 30 * SECOND
    assert watch.objection() is None
    assert forgotten == ["the system clock was set back by 30.0 s"] and told == []
    node.run(0.1)
    assert told == forgotten and len(node.lines) == 1 and node.lines[0].startswith("clock: ")
    watch.close()
    assert node.timers == []


def test_simulated_time_that_does_not_come_is_an_objection(node):
    node.simulated, node.message_ns = True, 0
    watch = ClockWatch(node, 2 * SECOND, lambda text: None, lambda text: None)
    assert "no time has come on /clock" in watch.objection().text


class ControlRig:
    """ControlDiagnostics over a real controller."""

    def __init__(self, node: FakeNode) -> None:
        self.node, self.missed, self.period_ns = node, 0, 10 * MS
        self.controller = Controller(ROBOT, ControlConfig())
        self.measured: Measured | None = None
        self.diagnostics = ControlDiagnostics(
            node, 10 * MS, 250 * MS, lambda: self.measured, node.steady.now_ns
        )

    def tick(self) -> None:
        now_ns = self.node.steady.now_ns()
        self.measured = Measured(np.zeros(len(ROBOT.joints)), now_ns - 5 * MS)
        status = replace(self.controller.tick(now_ns, self.measured), missed_periods=self.missed)
        self.diagnostics.heard(status, self.period_ns)


def test_a_control_node_tells_of_its_state_joint_states_and_timing(node):
    rig = ControlRig(node)
    node.run(0.3)
    assert node.last()["control_node: joint_states"].level == STALE
    node.run(1.0, rig.tick)
    assert node.last()["control_node: state"].level == WARN
    rig.controller.activate()
    rig.period_ns = 10 * MS + 120_000
    node.run(2.0, rig.tick)
    told = node.last()
    state, timing = told["control_node: state"], told["control_node: timing"]
    assert state.level == OK and state.message == "HOLD: ready" and values(state)["state"] == "HOLD"
    assert timing.level == OK and "off by 120 us p99" in timing.message
    assert values(timing)["period_ms_max"] == "10.120" and values(timing)["missed_periods"] == "0"
    assert told["control_node: joint_states"].message == "newest values came 5 ms ago"
    assert sum("state=hold reason='ready'" in line for line in node.lines) == 1


def test_missed_periods_are_warned_of_once(node):
    rig = ControlRig(node)
    node.run(2.0, rig.tick)
    rig.missed = 3
    node.run(1.0, rig.tick)
    timings = [s for m in node.sent for s in m.status if s.name == "control_node: timing"]
    warned = [s.message for s in timings if s.level == WARN]
    assert len(warned) == 1 and warned[0].startswith("3 control periods were missed; a period is 10 ms")


def test_control_periods_that_no_longer_come_and_joint_states_that_are_too_old_are_stale(node):
    rig = ControlRig(node)
    rig.controller.activate()
    node.run(1.0, rig.tick)
    node.run(3.0)
    told = node.last()
    assert told["control_node: state"].level == STALE
    assert "the last one was HOLD: ready" in told["control_node: state"].message
    assert told["control_node: joint_states"].level == STALE
    assert "at most 250 ms is allowed" in told["control_node: joint_states"].message
    rig.diagnostics.close()
    assert node.timers == []
