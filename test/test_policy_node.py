"""The policy node's bridge: message constants, joint states in, diagnostics out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("wallwm_msgs.msg._action_chunk")  # the folder alone imports as an empty namespace
pytestmark = pytest.mark.ros

from diagnostic_msgs.msg import DiagnosticStatus  # noqa: E402
from geometry_msgs.msg import PoseStamped  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image, JointState  # noqa: E402

from wallwm_model.errors import ConfigError, ObservationError, SpecError  # noqa: E402
from wallwm_msgs.action import ExecuteEvent  # noqa: E402
from wallwm_msgs.msg import ControlStatus  # noqa: E402
from wallwm_ros.bridge import events, images, joint_states  # noqa: E402
from wallwm_ros.bridge.diagnostics import camera_message, latency_from_message, latency_message  # noqa: E402
from wallwm_ros.bridge.observations import make_synchronizer  # noqa: E402
from wallwm_ros.core.camera_guard import CameraInfoGuard  # noqa: E402
from wallwm_ros.core.config import load_robot  # noqa: E402
from wallwm_ros.core.events import ControlState, Outcome, Stage  # noqa: E402
from wallwm_ros.core.synchronizer import SyncLimits  # noqa: E402

SIM, QUANTA = load_robot("sim"), load_robot("quanta_x1")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(Outcome, ExecuteEvent.Result), (Stage, ExecuteEvent.Feedback), (ControlState, ControlStatus)],
)
def test_the_cores_numbers_are_those_of_the_messages(ours, theirs):
    assert {member.name: int(member) for member in ours} == {m.name: getattr(theirs, m.name) for m in ours}
    constants = [name for name in dir(theirs) if name.isupper() and name != "SLOT_TYPES"]
    assert sorted(constants) == sorted(ours.__members__)


def test_a_goal_keeps_its_fields():
    request = ExecuteEvent.Goal(
        caption="reach", duration_s=1.5, timeout_s=9.0, policy=ExecuteEvent.Goal.QUEUE
    )
    goal = events.goal_from_message(request, b"k")
    assert (goal.key, goal.caption, goal.duration_s, goal.timeout_s, goal.queue) == (
        b"k",
        "reach",
        1.5,
        9.0,
        True,
    )
    with pytest.raises(ConfigError, match="found 3"):
        events.check_policy(ExecuteEvent.Goal(policy=3))


def test_a_report_keeps_its_fields_and_an_unknown_state_counts_as_inactive():
    message = ControlStatus(state=1, reason="on it", generation=7, step=3, measured=[0.5])
    message.header.stamp.nanosec = 9
    report = events.report_from_message(message)
    assert (report.state, report.reason, report.generation, report.step) == (
        ControlState.TRACKING,
        "on it",
        7,
        3,
    )
    assert report.stamp_ns == 9 and report.measured.tolist() == [0.5]
    assert events.report_from_message(ControlStatus(state=99)).state == ControlState.INACTIVE


def test_joint_states_are_found_by_name_in_any_order():
    source = SIM.states[0]
    names = list(reversed(source.names)) + ["a_wheel"]
    message = JointState(name=names, position=[float(i) for i in range(len(names))])
    message.header.stamp.sec = 2
    stamp_ns, values = joint_states.read_state(message, source)
    assert stamp_ns == 2_000_000_000 and values.tolist() == list(reversed(range(14)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.name.__setitem__(0, "left_hip"), "left_waist missing"),
        (lambda m: m.position.pop(), "14 names, 13 positions"),
        (lambda m: m.position.__setitem__(2, float("nan")), "non-finite value for left_elbow"),
    ],
)
def test_unsound_joint_states_are_refused(change, words):
    source = SIM.states[0]
    message = JointState(name=list(source.names), position=[0.0] * 14)
    change(message)
    with pytest.raises(ObservationError, match=words):
        joint_states.read_state(message, source)


def test_a_pose_fills_seven_columns():
    source = QUANTA.states[0]
    message = PoseStamped()
    message.pose.position.y, message.pose.orientation.w = 0.25, 1.0
    assert joint_states.message_type(source) is PoseStamped
    assert joint_states.read_state(message, source)[1].tolist() == [0, 0.25, 0, 0, 0, 0, 1]


def test_every_robots_streams_are_known_with_their_quaternions():
    streams = make_synchronizer(QUANTA, SyncLimits(1, 1))._states
    assert set(streams) == {source.topic for source in QUANTA.states}
    assert streams["/left_arm/end_pose"]._quaternions == (3,)
    assert streams["/left_gripper/joint_states"]._quaternions == ()
    assert images.message_type(QUANTA.cameras[0]) is CompressedImage
    assert images.message_type(SIM.cameras[0]) is Image


def test_a_real_cameras_repeated_message_is_found_frozen():
    sync = make_synchronizer(QUANTA, SyncLimits(10**9, 10**9, frozen=3))
    for source in QUANTA.states:
        sync.add_state(source.topic, 30, np.zeros(len(source.columns)))
    for camera in QUANTA.cameras:
        for i in range(3):
            data = [255, 216, 255, i if camera.name != "wrist_cam_left" else 0]
            sync.add_picture(camera.name, 10 * (i + 1), CompressedImage(data=data))
    found = sync.newest(40)
    assert (found.stream, found.kind) == ("wrist_cam_left", "frozen")


def test_diagnostics_tell_what_is_known_of_the_cameras():
    def check(name, info):
        if info == "bad":
            raise SpecError(f"camera {name}: K must be another")

    guard = CameraInfoGuard({"head": "/h", "left": "/l"}, check)
    guard.hear("head", "good")
    status = camera_message(guard, 5).status[0]
    assert status.level == DiagnosticStatus.WARN and status.message == "no camera_info yet from left"
    guard.hear("left", "good")
    assert camera_message(guard, 5).status[0].level == DiagnosticStatus.OK
    guard.hear("left", "bad")
    message = camera_message(guard, 5)
    status = message.status[0]
    assert status.level == DiagnosticStatus.ERROR and status.message == "camera left: K must be another"
    assert {pair.key: pair.value for pair in status.values}["head"] == "as calibrated"
    assert latency_from_message(message) is None


def test_latency_survives_the_way_through_diagnostics():
    stages = {"wait": 12.5, "observe": 7.25}
    message = latency_message(stages, "onnx", "reach", 5)
    assert latency_from_message(message) == stages
    assert message.status[0].hardware_id == "onnx" and np.isclose(message.header.stamp.nanosec, 5)
    message.status[0].name = "another node"
    assert latency_from_message(message) is None


def test_a_node_that_fails_is_closed_and_says_why_in_one_line():
    script = Path(__file__).parent / "tiny_failure.py"
    paths = [str(script.parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1 and done.stdout == "closed\n"
    assert "KeyError: 'left_waist'" in done.stderr and "Traceback" not in done.stderr
