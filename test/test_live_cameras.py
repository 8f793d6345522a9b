"""Cameras that cannot be trusted, and masks that follow the arms, with policy_node as a real process."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("wallwm_msgs.msg._action_chunk")  # the folder alone imports as an empty namespace
pytestmark = pytest.mark.ros

from diagnostic_msgs.msg import DiagnosticStatus  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from live_bench import Event  # noqa: E402
from live_stage import LONG_S, REACH, RETRACT, ready, serve  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

from wallwm_ros.bridge.diagnostics import latency_from_message  # noqa: E402
from wallwm_ros.core.events import ControlState, Outcome, Stage  # noqa: E402
from wallwm_ros.core.paths import data_path  # noqa: E402


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    yield from serve(tmp_path_factory.mktemp("cameras"))


@pytest.fixture
def bench(processes):
    return ready(processes)


def test_a_camera_that_is_no_longer_the_calibrated_one_ends_the_event_until_it_is_again(bench):
    event = Event(bench, REACH, duration_s=LONG_S)
    event.reach(Stage.EXECUTING, step=2)
    bench.swap("wrist_cam_left")
    result = event.result()[1]
    assert result.error_code == Outcome.NO_OBSERVATION
    assert "camera wrist_cam_left: K must be" in result.error_text and "camera_info" in result.error_text
    bench.until(lambda: bench.chunks[-1].steps == 0 and bench.status.state == ControlState.HOLD)
    bench.until(lambda: bench.cameras and bench.cameras[-1].level == DiagnosticStatus.ERROR)
    assert "wrist_cam_left: K must be" in bench.cameras[-1].message
    sent = len(bench.chunks)
    result = Event(bench, REACH).result()[1]
    assert result.error_code == Outcome.NO_OBSERVATION and "wrist_cam_left: K must be" in result.error_text
    assert len(bench.chunks) == sent
    bench.swap("")
    bench.until(lambda: bench.cameras[-1].level == DiagnosticStatus.OK)
    assert Event(bench, RETRACT, duration_s=0.3).result()[1].error_code == Outcome.SUCCEEDED


def test_with_a_camera_that_is_not_the_calibrated_one_configure_is_refused(bench):
    bench.take_down("policy_node")
    bench.swap("wrist_cam_right")
    assert not bench.change("policy_node", Transition.TRANSITION_CONFIGURE)
    bench.until(lambda: any("camera wrist_cam_right: K must be" in t for t in bench.errors("policy_node")))
    bench.swap("")
    assert bench.change("policy_node", Transition.TRANSITION_CONFIGURE), bench.output("policy_node")


@pytest.mark.parametrize("required", [True, False])
def test_a_camera_that_says_nothing_of_itself_is_refused_or_warned_of(bench, required):
    bench.take_down("policy_node")
    bench.mute("wrist_cam_left")
    silent = "wrist_cam_left: not checked: nothing has come from /wrist_cam_left/camera_info"
    waited = {"camera_info_timeout_s": 0.5, "require_camera_info": required}
    assert bench.set("policy_node", **waited) == ""
    try:
        assert bench.change("policy_node", Transition.TRANSITION_CONFIGURE) != required
        if required:
            bench.until(lambda: any(silent in text for text in bench.errors("policy_node")))
        else:
            bench.cameras.clear()
            bench.until(lambda: bench.cameras and bench.cameras[-1].level == DiagnosticStatus.WARN)
            bench.mute("")
            bench.until(lambda: bench.cameras[-1].level == DiagnosticStatus.OK)
            bench.take_down("policy_node")
    finally:
        bench.mute("")
        defaults = {"camera_info_timeout_s": 2.0, "require_camera_info": False}
        assert bench.set("policy_node", **defaults) == ""


def test_cameras_that_should_have_noise_and_repeat_one_picture_are_frozen(bench):
    profile = data_path("config/robots/sim.yaml").read_text().replace("noise: false", "noise: true")
    path = bench.folder / "noisy.yaml"
    path.write_text(profile)
    bench.take_down("policy_node")
    assert bench.set("policy_node", robot=str(path)) == ""
    try:
        bench.bring_up("policy_node")
        result = Event(bench, REACH).result()[1]
        assert result.error_code == Outcome.NO_OBSERVATION
        assert "head_cam is frozen: its last 5 pictures are identical" in result.error_text
        bench.take_down("policy_node")
    finally:
        assert bench.set("policy_node", robot="sim") == ""


@pytest.mark.parametrize("method", ["frustum", "cone"])
def test_masks_can_be_switched_on_while_the_node_runs_and_be_looked_at(bench, method):
    seen = []
    listener = bench.node.create_subscription(Image, "/policy_node/sight", seen.append, 1)
    try:
        assert bench.set("policy_node", frustum_mask="always", mask_method=method, publish_sight=True) == ""
        bench.until(lambda: listener.get_publisher_count())

        def shown():
            assert Event(bench, RETRACT, duration_s=0.3).result()[1].error_code == Outcome.SUCCEEDED
            return seen

        bench.until(shown)
        assert (seen[0].height, seen[0].width, seen[0].encoding) == (192, 3 * 192, "rgb8")
        assert latency_from_message(bench.latencies[-1])["mask"] > 0
    finally:
        switched_off = {"frustum_mask": False, "mask_method": "frustum", "publish_sight": False}
        assert bench.set("policy_node", **switched_off) == ""
        bench.node.destroy_subscription(listener)
    reports = len(bench.latencies)
    assert Event(bench, RETRACT, duration_s=0.3).result()[1].error_code == Outcome.SUCCEEDED
    bench.until(lambda: len(bench.latencies) > reports)
    assert "mask" not in latency_from_message(bench.latencies[-1])


def test_masks_are_refused_where_the_bundle_takes_none(bench):
    words = "frustum_mask: always needs a bundle whose graphs take a mask; tiny takes none"
    bench.take_down("policy_node")
    assert bench.set("policy_node", model=f"{bench.folder}/maskless", frustum_mask="always") == ""
    assert not bench.change("policy_node", Transition.TRANSITION_CONFIGURE)
    bench.until(lambda: any(words in text for text in bench.errors("policy_node")))
    assert bench.set("policy_node", frustum_mask="train_only") == ""
    assert bench.change("policy_node", Transition.TRANSITION_CONFIGURE)
    assert words in bench.set("policy_node", frustum_mask="always")
    bench.take_down("policy_node")
