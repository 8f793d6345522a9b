"""The launch file for real: brings the lifecycle nodes to active. Needs launch_testing."""

from __future__ import annotations

import time
import unittest
from pathlib import Path

import pytest

pytest.importorskip("launch_testing", reason="launch_testing comes with a ROS 2 installation only")
pytest.importorskip("launch_ros")

import rclpy  # noqa: E402
from launch.actions import IncludeLaunchDescription  # noqa: E402
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402
from launch_testing.actions import ReadyToTest  # noqa: E402
from lifecycle_msgs.msg import State  # noqa: E402
from lifecycle_msgs.srv import GetState  # noqa: E402

from launch import LaunchDescription  # noqa: E402

LAUNCH_FILE = Path(__file__).resolve().parents[1] / "launch" / "bringup.launch.py"
PATIENCE_S = 120.0


@pytest.mark.launch_test
def generate_test_description() -> LaunchDescription:
    """The whole runtime with the simulated robot."""
    bringup = IncludeLaunchDescription(PythonLaunchDescriptionSource(str(LAUNCH_FILE)))
    return LaunchDescription([bringup, ReadyToTest()])


class TestBringup(unittest.TestCase):
    """Runs beside the launched nodes."""

    def setUp(self) -> None:
        rclpy.init()
        self.node = rclpy.create_node("test_bringup")

    def tearDown(self) -> None:
        self.node.destroy_node()
        rclpy.shutdown()

    def test_lifecycle_nodes_become_active(self) -> None:
        for name in ("control_node", "policy_node"):
            client = self.node.create_client(GetState, f"/{name}/get_state")
            deadline = time.monotonic() + PATIENCE_S
            label = "no answer"
            while label != "active":
                assert time.monotonic() < deadline, f"{name}: {label}"
                if client.wait_for_service(timeout_sec=1.0):
                    future = client.call_async(GetState.Request())
                    rclpy.spin_until_future_complete(self.node, future, timeout_sec=5.0)
                    state = future.result().current_state if future.done() else State(label="no answer")
                    label = state.label
