"""Emergency stop, takeover and heartbeat of control_node as a process of its own, over real DDS."""

import os
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("wallwm_msgs.msg._action_chunk")  # the folder alone imports as an empty namespace
pytestmark = pytest.mark.ros

from control_bench import ACTIVATE, CONFIGURE, DEACTIVATE, ControlBench  # noqa: E402
from rclpy.qos import QoSProfile  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402
from std_msgs.msg import Bool, Header  # noqa: E402
from std_srvs.srv import SetBool, Trigger  # noqa: E402

from wallwm_msgs.msg import ControlStatus  # noqa: E402
from wallwm_ros.bridge.heartbeat import LEAVING  # noqa: E402

HOLD, TRACKING, INACTIVE = ControlStatus.HOLD, ControlStatus.TRACKING, ControlStatus.INACTIVE
ESTOPPED, TAKEOVER = ControlStatus.ESTOPPED, ControlStatus.TAKEOVER
HOME = np.tile([0.1, -1.1, 0.5, 0.0, 1.1, 0.0, 0.06], 2)
ARM = np.tile([1, 1, 1, 1, 1, 1, 0], 2)
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    """control_node; patient, since a busy machine must not look like a broken arm."""
    bench = ControlBench(
        tmp_path_factory.mktemp("safety"), "sim", HOME,
        joint_state_timeout_s=2.0, takeover_timeout_s=1.0, heartbeat_timeout_s=1.0,
    )  # fmt: skip
    yield bench
    assert bench.close() == 0
    assert "Traceback" not in bench.output()


@pytest.fixture
def idle(process):
    """Unconfigured, nothing latched, the arm at home, whatever the test before has left behind."""
    process.unconfigure()
    assert process.call(Trigger, "reset_estop", Trigger.Request()).success
    process.position = HOME.copy()
    for kept in (process.commands, process.reports, process.log):
        kept.clear()
    return process


@pytest.fixture
def bench(idle):
    """Active, holding the arm at home."""
    assert idle.change(CONFIGURE) and idle.change(ACTIVATE)
    idle.report(state=HOLD, reason="ready")
    return idle


def say(bench, topic, message):
    publisher = bench.node.create_publisher(type(message), topic, QoSProfile(depth=10))
    bench.until(lambda: publisher.get_subscription_count() > 0)
    publisher.publish(message)
    return publisher


def move(begin, distance, steps):
    t = np.arange(1, steps + 1) / steps
    return begin + distance * (10 * t**3 - 15 * t**4 + 6 * t**5)[:, None] * ARM


def moving(bench, generation):
    """A plan that takes long is under way, and well in motion."""
    begin = bench.position.copy()
    bench.send(move(begin, 0.8, 120), generation)
    bench.until(lambda: bench.position[0] > begin[0] + 0.05)
    bench.report(state=TRACKING, generation=generation)
    return begin


def assert_no_jump(bench):
    """Between two commands heard one after the other lie a few periods at most, whatever was lost."""
    commands = np.array([message.data for _, message in list(bench.commands)])
    assert np.abs(np.diff(commands, axis=0)).max() <= 3.4 * 0.02 * 3


def test_the_emergency_stop_is_latched_in_every_state_until_it_is_reset(idle):
    bench = idle
    refused = bench.call(SetBool, "takeover", SetBool.Request(data=True))
    assert refused.message == "control_node is not configured"
    assert bench.call(Trigger, "reset_estop", Trigger.Request()).message == "no emergency stop is latched"
    assert bench.call(Trigger, "estop", Trigger.Request()).success
    assert bench.change(CONFIGURE)
    bench.report(state=INACTIVE, reason="emergency stop: by service estop")
    assert bench.change(ACTIVATE)
    bench.report(state=ESTOPPED, reason="emergency stop: by service estop")
    assert not bench.call(SetBool, "takeover", SetBool.Request(data=True)).success
    bench.send(move(HOME, 0.3, 20), 1)
    bench.report(state=ESTOPPED, reason="chunk 1/0 refused: emergency stop", rejected=1)
    assert bench.call(Trigger, "reset_estop", Trigger.Request()).success
    bench.report(state=HOLD, reason="waiting for a new plan")
    np.testing.assert_allclose(bench.position, HOME, atol=1e-9)

    moving(bench, 2)
    bench.commands.clear()
    say(bench, "/estop", Bool(data=False))
    say(bench, "/estop", Bool(data=True))
    report = bench.report(state=ESTOPPED, reason="emergency stop: on topic estop")
    assert report.generation == 2 and not report.settled
    bench.rest()
    assert_no_jump(bench)
    assert bench.change(DEACTIVATE)
    bench.report(state=INACTIVE)
    assert bench.change(ACTIVATE)
    report = bench.report(state=ESTOPPED, rejected=0, commanding=True)
    np.testing.assert_allclose(report.command, bench.position, atol=1e-6)
    assert bench.call(Trigger, "reset_estop", Trigger.Request()).success
    bench.report(state=HOLD)
    bench.send(move(bench.position, -0.1, 10), 3)
    bench.report(state=HOLD, generation=3, settled=True)
    bench.until(lambda: any("generation=3 " in line for line in list(bench.log)))  # after all others
    lines = [
        line
        for line in list(bench.log)
        if line.startswith("state=estopped reason='emergency stop: on topic estop'")
    ]
    assert len(lines) == 2 and "generation=2" in lines[0]  # one when it came to rest, one after activation


def test_an_operator_takes_over_without_a_jump_and_hands_back(bench):
    moving(bench, 4)
    bench.commands.clear()
    assert bench.call(SetBool, "takeover", SetBool.Request(data=True)).success
    bench.report(state=TAKEOVER, reason="holding")
    bench.rest()  # it comes to a stop first
    begin = bench.position.copy()
    names = list(bench.profile.joint_names)
    bad = JointState(name=["nobody"], position=[0.0])
    stream = say(bench, "/takeover_command", bad)

    def refused():  # one command may be lost, as it may for an operator
        stream.publish(bad)
        return any(r.state == TAKEOVER and "not valid: nobody" in r.reason for r in list(bench.reports))

    bench.until(refused, pause_s=0.02)
    steps, target = count(), begin + 0.2 * ARM

    def led():  # the stream goes on until the arm is there
        way = 0.005 * min(next(steps), 40) * ARM
        stream.publish(JointState(name=names, position=(begin + way).tolist()))
        return np.abs(bench.position - target).max() < 1e-3

    bench.until(led, pause_s=0.02)
    assert_no_jump(bench)
    bench.send(move(bench.position, -0.3, 20), 5)
    bench.report(state=TAKEOVER, reason="chunk 5/0 refused: an operator has taken over")
    assert bench.call(SetBool, "takeover", SetBool.Request(data=False)).success
    bench.report(state=HOLD, reason="handed back by the operator; waiting for a new plan")
    bench.send(move(bench.position, -0.3, 20), 5, sequence=1)
    bench.report(state=HOLD, reason="its plan was stopped")
    np.testing.assert_allclose(bench.position, target, atol=1e-3)
    bench.send(move(bench.position, -0.1, 10), 6)
    bench.report(state=HOLD, generation=6, settled=True)
    assert_no_jump(bench)


def test_a_policy_that_is_stopped_or_killed_stops_the_arm(bench):
    domain, heard = bench.node.context.get_domain_id(), []
    bench.node.create_subscription(Header, "/policy_heartbeat", heard.append, QoSProfile(depth=10))
    policy = subprocess.Popen(
        [sys.executable, str(HERE / "beating_node.py")],
        env=os.environ | {"ROS_DOMAIN_ID": str(domain), "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        bench.until(lambda: len(heard) > 5)
        for number, generation in ((signal.SIGSTOP, 10), (signal.SIGKILL, 20)):
            moving(bench, generation)
            bench.commands.clear()
            policy.send_signal(number)
            bench.report(state=HOLD, reason="stopped: the policy's heartbeat is older than 1000 ms")
            assert_no_jump(bench)
            bench.send(move(bench.position, 0.1, 10), generation + 1)
            bench.report(state=HOLD, reason=f"chunk {generation + 1}/0 refused: the policy's heartbeat")
            if number == signal.SIGSTOP:
                policy.send_signal(signal.SIGCONT)
                bench.report(state=HOLD, reason="ready again; stopped: the policy's heartbeat")
    finally:
        policy.kill()
        policy.wait()
    # A sender without a heart is not watched after that.
    say(bench, "/policy_heartbeat", Header(frame_id=LEAVING))
    bench.report(state=HOLD, reason="ready again; stopped: the policy's heartbeat")
    bench.send(move(bench.position, -0.1, 10), 30)
    bench.report(state=HOLD, generation=30, settled=True)
