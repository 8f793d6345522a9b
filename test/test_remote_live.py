"""A policy node whose engine is a server: the server is killed while the arm moves, and comes back."""

from __future__ import annotations

import signal
import socket

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("wallwm_msgs.msg._action_chunk")  # the folder alone imports as an empty namespace
pytestmark = pytest.mark.ros

from live_bench import HERE, LiveBench  # noqa: E402
from live_stage import ready, serve  # noqa: E402
from test_live_tasks import Task, side  # noqa: E402

from wallwm_ros.core.events import ControlState, Outcome  # noqa: E402

SERVER = "engine_server"


@pytest.fixture
def port() -> int:
    """A free one, for a server that has to come back at the same place."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@pytest.fixture
def bench(tmp_path, port):
    address = f"ws://127.0.0.1:{port}?deadline_s=30"
    for bench in serve(
        tmp_path, "unified", "remote_policy_node.py", engine=address, mode="unified", inference_timeout_s=30.0
    ):
        start_server(bench, port)
        yield ready(bench, "unified")


def start_server(bench: LiveBench, port: int) -> None:
    """Until it listens."""
    command = str(HERE / "remote_server.py"), str(port), str(bench.folder / "unified"), str(bench.folder)
    bench.start(SERVER, *command)
    bench.until(lambda: "port" in bench.output(SERVER))


def holds(bench: LiveBench) -> bool:
    """The control process holds, and several reports later the arm is where it was."""
    measured = list(bench.status.measured)
    bench.heard(5)
    there = list(bench.status.measured) == pytest.approx(measured, abs=1e-4)
    return bool(there) and bench.status.state == ControlState.HOLD


def test_the_arm_holds_when_the_server_is_killed_and_moves_again_when_it_is_back(bench, port):
    task = Task(bench, side(bench)[0])
    task.reach(1)
    bench.until(lambda: bench.status.state == ControlState.TRACKING)
    (bench.folder / "hang").touch()  # the next inference does not end
    bench.until((bench.folder / "hanging").exists)
    assert bench.stop(SERVER, signal.SIGKILL) == -signal.SIGKILL

    result = task.result()[1]
    assert result.error_code == Outcome.ENGINE_FAILED and "is not connected" in result.error_text
    bench.until(lambda: holds(bench))

    refused = Task(bench, side(bench)[0]).result()[1]  # at once, with no engine there
    assert refused.error_code == Outcome.ENGINE_FAILED and "is not connected" in refused.error_text

    (bench.folder / "hang").unlink()
    start_server(bench, port)

    def carried_out() -> bool:
        return Task(bench, side(bench)[0]).result()[1].error_code == Outcome.SUCCEEDED

    bench.until(carried_out)
    assert any("network_ms" in v.key for m in bench.latencies for v in m.status[0].values)
