"""control_node as a process of its own: chunks in and commands out over real DDS."""

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("wallwm_msgs.msg._action_chunk")  # the folder alone imports as an empty namespace
pytestmark = pytest.mark.ros

import rclpy  # noqa: E402
from control_bench import ACTIVATE, CONFIGURE, DEACTIVATE, ControlBench  # noqa: E402
from rclpy.lifecycle import TransitionCallbackReturn  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402

from wallwm_msgs.msg import ActionChunk, ControlStatus  # noqa: E402
from wallwm_ros.bridge.chunks import chunk_from_message, chunk_to_message  # noqa: E402
from wallwm_ros.bridge.commands import CommandOutputs  # noqa: E402
from wallwm_ros.core import quaternions  # noqa: E402
from wallwm_ros.core.chunk import Chunk  # noqa: E402
from wallwm_ros.core.config import load_robot  # noqa: E402
from wallwm_ros.nodes.control_node import ControlNode  # noqa: E402

HOLD, TRACKING = ControlStatus.HOLD, ControlStatus.TRACKING
STOPPING, INACTIVE = ControlStatus.STOPPING, ControlStatus.INACTIVE
HOME = np.tile([0.1, -1.1, 0.5, 0.0, 1.1, 0.0, 0.06], 2)
PATIENT = {"joint_state_timeout_s": 1.0}  # a busy machine must not look like a broken arm
ARM = np.tile([1, 1, 1, 1, 1, 1, 0], 2)


def move(begin, distance, steps=10):
    t = np.arange(1, steps + 1) / steps
    return begin + distance * (10 * t**3 - 15 * t**4 + 6 * t**5)[:, None] * ARM


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    bench = ControlBench(tmp_path_factory.mktemp("control"), "sim", HOME, **PATIENT)
    assert bench.change(CONFIGURE)
    yield bench
    assert bench.close() == 0
    assert "Traceback" not in bench.output()


@pytest.fixture
def bench(process):
    """Active, at rest, with a fresh command."""
    process.frozen = False
    process.deactivate()

    def at_home():  # again and again: a command that was still under way would move the arm
        process.position = HOME.copy()
        return process.reports and list(process.reports[-1].measured) == list(HOME)

    process.reports.clear()
    process.until(at_home)
    process.commands.clear()
    process.reports.clear()
    assert process.change(ACTIVATE)
    process.report(state=HOLD, reason="ready")
    process.generation = getattr(process, "generation", 0) + 10
    return process


def forward(bench):
    return np.array([message.data for _, message in list(bench.commands)])


def test_messages_and_chunks_are_the_same():
    chunk = Chunk(
        7, ("a", "b"), np.arange(6.0).reshape(3, 2), 50_000_000, 3, 4, 5_000_000_001, False, caption="lift",
        remaining_s=1.5, observation_ns=6, stamp_ns=7,
    )  # fmt: skip
    again = chunk_from_message(chunk_to_message(chunk))
    np.testing.assert_array_equal(again.values, chunk.values)
    for name in ("generation", "joints", "step_ns", "sequence", "first_step", "start_ns", "final", "caption"):
        assert getattr(again, name) == getattr(chunk, name)
    assert (again.remaining_s, again.observation_ns, again.stamp_ns) == (1.5, 6, 7)


def test_the_arm_is_held_where_it_is(bench):
    bench.until(lambda: len(bench.commands) > 20)
    found = forward(bench)
    np.testing.assert_allclose(found, np.tile(HOME, (len(found), 1)))
    report = bench.report(state=HOLD)
    assert list(report.joint_names) == list(bench.profile.joint_names)
    np.testing.assert_allclose(report.command, HOME)
    np.testing.assert_allclose(report.measured, HOME)


def test_a_chunk_is_carried_out_inside_the_limits(bench):
    rows = move(HOME, 0.5)
    bench.send(rows, bench.generation, caption="reach the red cube")
    bench.report(state=TRACKING, generation=bench.generation, reason="reach the red cube")
    report = bench.report(state=HOLD, settled=True, generation=bench.generation)
    assert (report.step, report.steps) == (10, 10)
    np.testing.assert_allclose(report.command, rows[-1], atol=1e-3)
    bench.until(lambda: np.abs(bench.position - rows[-1]).max() < 1e-6)


@pytest.mark.parametrize("kind", ["shape", "nan", "joints", "space"])
def test_an_unsound_chunk_is_refused_with_the_reason(bench, kind):
    message = chunk_to_message(
        Chunk(bench.generation, bench.profile.joint_names, move(HOME, 0.5), 50_000_000)
    )
    words = {
        "shape": "must have 140 values",
        "nan": "is nan",
        "joints": "missing: left_waist",
        "space": "one of 0",
    }
    if kind == "shape":
        message.values = message.values[:-1]
    elif kind == "nan":
        message.values[3] = float("nan")
    elif kind == "joints":
        message.joint_names = ["waist", *message.joint_names[1:]]
    else:
        message.action_space = 9
    bench.send_message(message)
    report = bench.report(reason=words[kind])
    assert f"chunk {bench.generation}/0 refused" in report.reason
    assert report.state == HOLD and report.rejected == 1
    np.testing.assert_allclose(report.command, HOME)


def test_a_stop_request_stops_the_arm(bench):
    bench.send(move(HOME, 0.8, steps=100), bench.generation)
    bench.until(lambda: bench.position[0] > HOME[0] + 0.05)
    bench.send_message(chunk_to_message(Chunk.stop(bench.generation + 1, bench.profile.joint_names)))
    report = bench.report(state=HOLD, generation=bench.generation + 1, reason="stopped on request")
    assert not report.settled and HOME[0] + 0.05 < report.command[0] < HOME[0] + 0.8
    bench.send(move(HOME, 0.8), bench.generation)
    bench.report(reason="older than plan", rejected=1)


def test_lost_joint_states_stop_the_arm_and_their_return_lets_it_go_on(bench):
    bench.send(move(HOME, 0.8, steps=120), bench.generation)
    bench.until(lambda: bench.position[0] > HOME[0] + 0.01)
    bench.frozen = True
    bench.report(state=HOLD, reason="joint states are older than 1000 ms")
    bench.frozen = False
    bench.report(state=HOLD, reason="ready again")
    bench.send(move(bench.position, -0.1), bench.generation + 1)
    bench.report(state=TRACKING, generation=bench.generation + 1)
    bench.report(state=HOLD, settled=True)


def test_a_start_in_the_senders_clock_drops_late_rows(bench):
    start = bench.node.get_clock().now().nanoseconds - 200_000_000
    bench.send(move(HOME, 0.3, steps=60), bench.generation, start_ns=start)
    report = bench.report(state=TRACKING, generation=bench.generation)
    assert report.step >= 4
    bench.send_message(chunk_to_message(Chunk.stop(bench.generation + 1, bench.profile.joint_names)))


def test_deactivation_stops_the_arm_and_the_commands(bench):
    bench.send(move(HOME, 0.8, steps=40), bench.generation)
    bench.until(lambda: bench.position[0] > HOME[0] + 0.05)
    assert bench.change(DEACTIVATE)
    bench.report(state=INACTIVE)
    reports = list(bench.reports)
    assert any(m.state == HOLD and m.reason == "control_node is being deactivated" for m in reports)
    bench.until(lambda: len(bench.reports) > len(reports) + 10)  # commands under way have arrived
    count = len(bench.commands)
    bench.until(lambda: len(bench.reports) > len(reports) + 30)
    assert len(bench.commands) == count


def test_parameters_are_locked_while_configured_and_checked_always(bench):
    bench.until(bench.parameters.services_are_ready)

    def put(name, value):
        return bench.wait(bench.parameters.set_parameters([Parameter(name, value=value)])).results[0]

    assert "only while the node is unconfigured" in put("rate_hz", 200.0).reason
    assert "steady, clock" in put("tick", "sundial").reason
    assert not put("rate_hz", 5000.0).successful
    assert "must be a finite number" in put("rate_hz", "fast").reason


@pytest.fixture
def unconfigured():
    """control_node in this process, with wrong parameters."""
    rclpy.init(args=["--ros-args", "-p", "robot:=sym", "-p", "rate_hz:=1000", "-p", "rate:=5"])
    node = ControlNode()
    yield node
    node.close()
    node.destroy_node()
    rclpy.shutdown()


def test_a_wrong_parameter_refuses_configure_until_it_is_put_right(unconfigured, capfd):
    def configure():
        done = unconfigured.trigger_configure()
        return done == TransitionCallbackReturn.SUCCESS, capfd.readouterr().err

    done, text = configure()
    assert not done and "rate_hz [Hz] must be 50 to 500; found 1000" in text
    assert "unknown parameter 'rate' (did you mean rate_hz?)" in text
    assert all(answer.successful for answer in unconfigured.set_parameters([Parameter("rate_hz", value=100)]))
    unconfigured._settings._problems.pop("rate")  # a misspelt name cannot be put right while running
    done, text = configure()
    assert not done and "unknown robot 'sym'" in text and "quanta_x1, sim" in text
    unconfigured.set_parameters([Parameter("robot", value="sim"), Parameter("tick", value="clock")])
    done, text = configure()
    assert not done and "use_sim_time" in text
    unconfigured.set_parameters([Parameter("tick", value="steady")])
    assert configure()[0]
    assert unconfigured.trigger_cleanup() == TransitionCallbackReturn.SUCCESS


def test_lockstep_ticks_with_the_clock(tmp_path):
    bench = ControlBench(tmp_path, "sim", HOME, clock=True)
    try:
        assert bench.change(CONFIGURE) and bench.change(ACTIVATE)
        bench.report(state=HOLD, reason="ready")
        rows = move(HOME, 0.3)
        bench.send(rows, 1)
        bench.report(state=HOLD, settled=True, generation=1)
        bench.until(lambda: np.abs(bench.position - rows[-1]).max() < 1e-6)
        stamps = np.array([m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in list(bench.reports)])
        assert np.all(stamps[stamps > 0] % 10_000_000 == 0)
        assert np.abs(np.diff(forward(bench), axis=0)).max() <= 3.4 * 0.02 + 1e-9  # in lockstep none is lost
    finally:
        assert bench.close() == 0
    assert "Traceback" not in bench.output()


class Topics:
    """Stands for a node: keeps what is published."""

    def __init__(self):
        self.sent = {}

    def create_publisher(self, kind, topic, _):
        self.sent[topic] = []
        return type("Publisher", (), {"publish": lambda _, message: self.sent[topic].append(message)})()


def test_trajectory_commands():
    topics, profile = Topics(), load_robot("sim")
    outputs = CommandOutputs(topics, profile, "trajectory", 10_000_000)
    outputs.send(HOME, HOME / 2, 5)
    (message,) = topics.sent["/joint_trajectory_controller/joint_trajectory"]
    assert list(message.joint_names) == list(profile.joint_names)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (0, 0)  # begin at once
    (point,) = message.points
    assert list(point.positions) == list(HOME) and list(point.velocities) == list(HOME / 2)
    assert (point.time_from_start.sec, point.time_from_start.nanosec) == (0, 10_000_000)


def test_end_effector_commands(tmp_path):
    profile = load_robot("quanta_x1")
    start = np.tile([0.4, 0.2, 0.5, 0.0, 0.0, 0.0, 1.0, 1.0], 2)
    start[9] = -0.2
    rows = np.repeat(start[None], 10, axis=0)
    rows[:, 0] += np.linspace(0.002, 0.02, 10)
    rows[:, 3:7] = quaternions.exp(np.linspace(0.02, 0.2, 10)[:, None] * np.array([0.0, 0.0, 1.0]))
    rows[1::2, 3:7] *= -1
    bench = ControlBench(tmp_path, "quanta_x1", start, **PATIENT)
    try:
        assert bench.change(CONFIGURE) and bench.change(ACTIVATE)
        bench.report(state=HOLD, reason="ready")
        bench.send(rows, 1)
        bench.report(state=HOLD, settled=True, generation=1)
        topics = {output.topic for output in profile.outputs()}  # each is heard from when it is discovered
        bench.until(lambda: {topic for topic, _ in list(bench.commands)} == topics)
        poses, turns = [], []

        def there() -> bool:  # commands come another way than reports, and later when the machine is busy
            poses[:] = [m for t, m in list(bench.commands) if t == "/left_arm_cartesian_controller/pose_cmd"]
            turns[:] = [[getattr(m.pose.orientation, axis) for axis in "xyzw"] for m in poses]
            return np.abs(quaternions.between(np.array(turns[-1]), rows[-1, 3:7])).max() < 2e-3

        bench.until(there)
        assert {m.header.frame_id for m in poses} == {"base_link"}
        np.testing.assert_allclose(np.linalg.norm(turns, axis=1), 1.0, atol=1e-9)
    finally:
        assert bench.close() == 0


def test_the_stop_message_has_no_rows():
    message = chunk_to_message(Chunk.stop(3, ("a",)))
    assert isinstance(message, ActionChunk) and message.steps == 0 and chunk_from_message(message).is_stop
