"""A few cases of the fault matrix, and the soak for a minute, with real processes."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("wallwm_msgs.msg._action_chunk")  # the folder alone imports as an empty namespace
pytestmark = [pytest.mark.ros, pytest.mark.slow]

from wallwm_ros.cli.bench import part  # noqa: E402


@pytest.fixture(autouse=True)
def _own_domain(monkeypatch):
    """The benchmarks enter a domain of their own by the environment, which others go on with."""
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE"):
        monkeypatch.setenv(name, "0")


def test_faults_are_survived_inside_the_limits_and_every_goal_gets_its_result(tmp_path):
    figures = part("faults").measure(quick=True, out=tmp_path / "faults.json")
    assert figures["troubles"] == 0, figures["cases"]
    assert (figures["violations"], figures["lost_results"], figures["not_recovered"]) == (0, 0, 0), figures
    assert set(figures["cases"]) == set(part("faults_cases").QUICK)
    assert all(row["runs"] == 1 and row["endings"] for row in figures["cases"].values())
    assert figures["cases"]["policy SIGKILL"]["hold_ms"]["max"] > 0
    assert (tmp_path / "faults.png").stat().st_size > 1000


def test_a_minute_under_a_random_operator_breaks_nothing(tmp_path):
    figures = part("soak").measure(minutes=1.0, out=tmp_path / "soak.json")
    assert (figures["violations"], figures["lost_results"], figures["open_goals"]) == (0, 0, 0), figures
    assert (
        figures["goals"] >= 5 and {"estop", "takeover"} <= set(figures["acts"]) and figures["commands"] > 1000
    )
    assert set(figures["growth_pct_by_process"]) >= {"control_node", "policy_node", "sim_robot_node"}
    assert all(used > 10 for used in figures["memory_mb"].values())
    assert (tmp_path / "soak.png").stat().st_size > 1000
