"""`./wallwm status` beside a running system, and what its nodes say on /diagnostics."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("wallwm_msgs.msg._action_chunk")  # the folder alone imports as an empty namespace
pytestmark = pytest.mark.ros

from diagnostic_msgs.msg import DiagnosticStatus  # noqa: E402
from live_bench import HERE, Event  # noqa: E402
from live_stage import LONG_S, REACH, RETRACT, ready, serve  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402

from wallwm_ros.bridge.stamps import to_stamp  # noqa: E402
from wallwm_ros.core.events import Outcome, Stage  # noqa: E402
from wallwm_ros.demo.domain import choose  # noqa: E402


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    yield from serve(tmp_path_factory.mktemp("status"))


@pytest.fixture
def bench(processes):
    return ready(processes)


class Status:
    """`./wallwm status` on its way, as a process of its own."""

    def __init__(self, *words: str, domain: str | None = None) -> None:
        number = domain or os.environ.get("ROS_DOMAIN_ID") or "43"
        command = [sys.executable, "-m", "wallwm_ros.cli.main", "status", *words]
        environment = os.environ | {"COLUMNS": "80", "ROS_DOMAIN_ID": number}
        self._process = subprocess.Popen(
            command, cwd=HERE.parent, env=environment, stdout=subprocess.PIPE, text=True
        )

    def end(self) -> tuple[int, str]:
        """Exit code and output."""
        out = self._process.communicate(timeout=60)[0]
        return self._process.returncode, out


def values(status: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


def test_status_tells_of_a_running_system_of_a_dead_camera_and_of_none(bench):
    empty = str(choose())
    nobody = Status("--wait", "1", domain=empty)
    event = Event(bench, REACH, duration_s=LONG_S)
    event.reach(Stage.EXECUTING, step=2)
    found = Status("--json", "--wait", "20")
    code, out = found.end()
    assert event.result()[1].error_code == Outcome.SUCCEEDED
    told = json.loads(out)
    assert code == 0 and told["sound"] and told["problems"] == [], out
    assert told["nodes"] == {"policy_node": "active", "control_node": "active"}
    assert told["settings"]["mode"] == "event" and told["settings"]["robot"] == "sim"
    assert told["control"]["state"] in ("TRACKING", "HOLD") and "missed_periods" in told["control"]["figures"]
    assert float(told["parts"]["policy_node: latency"]["values"]["chunk_ms_p50"]) > 0
    streams = [name for name in told["parts"] if name.startswith("policy_node: stream ")]
    assert len(streams) == 4

    bench.mute("wrist_cam_left")
    bench.until(lambda: bench.diagnosed["policy_node: stream wrist_cam_left"].level == DiagnosticStatus.STALE)
    code, out = Status("--once", "--wait", "20").end()
    assert code == 1, out
    words = " ".join(out.split())
    assert "policy_node: wrist_cam_left is stale: its newest picture is" in words
    assert max(map(len, out.splitlines())) <= 80
    assert "● sound" not in out and "control" in out and "head_cam" in out

    code, out = nobody.end()
    assert code == 3 and out.count("\n") == 1
    assert out.startswith(f"nothing of wallwm runs in ROS domain {empty}: ")


def test_simulated_time_that_does_not_come_or_stops_is_named_and_comes_back(bench):
    """The tiny robot stamps with system time, which simulated time follows here."""
    publisher = bench.node.create_publisher(Clock, "/clock", 10)

    def say_time() -> None:
        publisher.publish(Clock(clock=to_stamp(bench.node.get_clock().now().nanoseconds)))

    timer = bench.node.create_timer(0.02, say_time)
    timer.cancel()
    assert bench.set("policy_node", use_sim_time=True) == ""
    try:
        result = Event(bench, REACH).result()[1]
        assert result.error_code == Outcome.NO_OBSERVATION
        assert "use_sim_time is true, but no time has come on /clock for" in result.error_text
        timer.reset()
        bench.until(lambda: Event(bench, RETRACT, duration_s=0.3).result()[1].error_code == Outcome.SUCCEEDED)
        timer.cancel()
        clock = "policy_node: clock"
        bench.until(lambda: "/clock has stood still at" in bench.diagnosed[clock].message)
        assert bench.diagnosed[clock].level == DiagnosticStatus.ERROR
        result = Event(bench, REACH).result()[1]
        assert result.error_code == Outcome.NO_OBSERVATION and "/clock has stood still" in result.error_text
    finally:
        assert bench.set("policy_node", use_sim_time=False) == ""
        bench.between(bench.node.destroy_timer, timer)
        bench.between(bench.node.destroy_publisher, publisher)
    bench.until(lambda: Event(bench, RETRACT, duration_s=0.3).result()[1].error_code == Outcome.SUCCEEDED)
    bench.until(lambda: int(values(bench.diagnosed["policy_node: clock"])["jumps"]) >= 2)
