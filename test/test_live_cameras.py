"""Cameras that cannot be trusted, and masks that follow the arms, with policy_node as a real process."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
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
from wallwm_ros.bridge.images import image_message  # noqa: E402
from wallwm_ros.bridge.observations import ObservationFeed, make_synchronizer  # noqa: E402
from wallwm_ros.core.calibration import load_calibrations  # noqa: E402
from wallwm_ros.core.config import load_robot  # noqa: E402
from wallwm_ros.core.events import ControlState, Outcome, Stage  # noqa: E402
from wallwm_ros.core.paths import data_path  # noqa: E402
from wallwm_ros.core.synchronizer import SyncLimits  # noqa: E402


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


def test_pictures_with_another_frame_id_are_refused_until_they_are_right_again(bench):
    bench.relabel("wrist_cam_left")
    result = Event(bench, REACH).result()[1]
    words = "frame_id must be wrist_cam_left_optical_frame as calibrated; found elsewhere"
    assert result.error_code == Outcome.NO_OBSERVATION
    assert "wrist_cam_left" in result.error_text and words in result.error_text
    bench.relabel("")
    bench.until(
        lambda: Event(bench, RETRACT, duration_s=0.3).result()[1].error_code == Outcome.SUCCEEDED
    )


class Listener:
    """A node, as far as an `ObservationFeed` needs one, that hands out the callbacks."""

    def __init__(self):
        self.heard = {}

    def create_subscription(self, kind, topic, callback, profile):
        self.heard[topic] = callback


@pytest.mark.parametrize(
    ("frame", "found", "said"),
    [
        ("head_frame", "head_frame", None),
        ("", "whatever", None),
        ("head_frame", "left_frame", "frame_id must be head_frame as calibrated; found left_frame"),
        ("head_frame", "", "frame_id must be head_frame as calibrated; found none"),
    ],
)
def test_the_frame_of_every_picture_is_that_of_the_calibration_if_it_has_one(frame, found, said):
    robot = load_robot("sim")
    calibrations = load_calibrations(robot)
    calibrations["head_cam"] = dataclasses.replace(calibrations["head_cam"], frame=frame)
    synchronizer, node, looked = make_synchronizer(robot, SyncLimits(1, 1)), Listener(), []
    refused = []
    synchronizer.refuse = lambda stream, text: refused.append((stream, text))
    ObservationFeed(node, robot, calibrations, synchronizer, lambda: looked.append(1))
    message = image_message(np.zeros((192, 192, 3), np.uint8), found, 1)
    node.heard[robot.cameras[0].topic](message)
    assert refused == ([("head_cam", said)] if said else [])
    assert len(looked) == (said is None)


def test_a_camera_without_calibration_is_refused_unless_that_is_asked_for(bench):
    profile = data_path("config/robots/sim.yaml").read_text()
    path = bench.folder / "uncalibrated.yaml"
    path.write_text(re.sub(r"\n +calibration: sim.yaml", "", profile, count=1))
    bench.take_down("policy_node")
    assert bench.set("policy_node", robot=str(path)) == ""
    try:
        assert not bench.change("policy_node", Transition.TRANSITION_CONFIGURE)
        words = "found none for head_cam (allow_uncalibrated takes them as they are)"
        bench.until(lambda: any(words in text for text in bench.errors("policy_node")))
        assert bench.set("policy_node", allow_uncalibrated=True) == ""
        assert bench.change("policy_node", Transition.TRANSITION_CONFIGURE), bench.output("policy_node")
        warned = "allow_uncalibrated: the place of head_cam is not checked"
        bench.until(lambda: any(warned in entry.msg for entry in bench.log))
        bench.take_down("policy_node")
    finally:
        assert bench.set("policy_node", robot="sim", allow_uncalibrated=False) == ""


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
        bench.until(lambda: latency_from_message(bench.latencies[-1]).get("mask", 0) > 0)
    finally:
        switched_off = {"frustum_mask": False, "mask_method": "frustum", "publish_sight": False}
        assert bench.set("policy_node", **switched_off) == ""
        bench.between(bench.node.destroy_subscription, listener)
    reports = len(bench.latencies)
    assert Event(bench, RETRACT, duration_s=0.3).result()[1].error_code == Outcome.SUCCEEDED
    bench.until(lambda: len(bench.latencies) > reports)
    assert "mask" not in latency_from_message(bench.latencies[-1])


def test_masks_are_refused_where_the_bundle_was_trained_without(bench):
    words = "frustum_mask: always needs a bundle that was trained with masks; tiny was not"
    bench.take_down("policy_node")
    assert bench.set("policy_node", model=f"{bench.folder}/maskless", frustum_mask="always") == ""
    assert not bench.change("policy_node", Transition.TRANSITION_CONFIGURE)
    bench.until(lambda: any(words in text for text in bench.errors("policy_node")))
    assert bench.set("policy_node", frustum_mask="train_only") == ""
    assert bench.change("policy_node", Transition.TRANSITION_CONFIGURE)
    assert words in bench.set("policy_node", frustum_mask="always")
    bench.take_down("policy_node")
