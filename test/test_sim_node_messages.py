"""Messages of the simulated robot: commands in, pictures and joint states out."""

import numpy as np
import pytest

pytest.importorskip("rclpy")
cv2 = pytest.importorskip("cv2")
pytestmark = pytest.mark.ros

from std_msgs.msg import Float64MultiArray  # noqa: E402
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint  # noqa: E402

from wallwm_model.errors import SimulationError  # noqa: E402
from wallwm_ros.bridge import sim  # noqa: E402

JOINTS = ("a", "b", "c")


def trajectory(names, *points) -> JointTrajectory:
    message = JointTrajectory(joint_names=list(names))
    for seconds, positions in points:
        point = JointTrajectoryPoint(positions=[float(p) for p in positions])
        point.time_from_start.sec = int(seconds)
        point.time_from_start.nanosec = round((seconds - int(seconds)) * 1e9)
        message.points.append(point)
    return message


def test_a_forward_command_is_in_joint_order():
    assert sim.targets_from_array(Float64MultiArray(data=[1.0, 2.0, 3.0]), JOINTS) == pytest.approx([1, 2, 3])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([1.0], "3 values; found 1"),
        ([1.0] * 4, "found 4"),
        ([1.0, float("nan"), 2.0], "non-finite value for b"),
    ],
)
def test_an_unsound_forward_command_is_refused(data, words):
    with pytest.raises(SimulationError, match=words):
        sim.targets_from_array(Float64MultiArray(data=data), JOINTS)


def test_a_trajectory_is_matched_by_name():
    times, rows = sim.targets_from_trajectory(
        trajectory(("c", "a", "b"), (0.5, (3, 1, 2)), (1.25, (6, 4, 5))), JOINTS
    )
    assert times == pytest.approx([0.5, 1.25])
    assert rows == pytest.approx(np.array([[1, 2, 3], [4, 5, 6]]))


def test_an_empty_trajectory_asks_to_hold():
    times, rows = sim.targets_from_trajectory(JointTrajectory(), JOINTS)
    assert times.shape == (0,)
    assert rows.shape == (0, 3)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (trajectory(("a", "b"), (1, (1, 2))), "missing or unknown: c"),
        (trajectory(("a", "b", "x"), (1, (1, 2, 3))), "missing or unknown: c, x"),
        (trajectory(("a", "b", "c", "c"), (1, (1, 2, 3, 3))), "missing or unknown: c"),
        (trajectory(JOINTS, (1, (1, 2))), "3 positions; found 2"),
        (trajectory(JOINTS, (1, (1, 2, float("inf")))), "non-finite value for c"),
        (trajectory(JOINTS, (1, (1, 2, 3)), (1, (1, 2, 3))), "must increase"),
    ],
)
def test_an_unsound_trajectory_is_refused(message, words):
    with pytest.raises(SimulationError, match=words):
        sim.targets_from_trajectory(message, JOINTS)


def test_pictures_keep_their_pixels_and_time():
    picture = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    message = sim.image_message(picture, "head_cam_optical_frame", 3_000_000_007)
    assert (message.height, message.width, message.step, message.encoding) == (4, 6, 18, "rgb8")
    assert np.frombuffer(message.data, np.uint8).reshape(4, 6, 3) == pytest.approx(picture)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (3, 7)
    assert message.header.frame_id == "head_cam_optical_frame"


def test_jpeg_pictures_are_rgb():
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[..., 0] = 250
    message = sim.jpeg_message(picture, "f", 0, 95)
    shown = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert shown.reshape(-1, 3).mean(axis=0) == pytest.approx([250, 0, 0], abs=6)
    assert "jpeg" in message.format


def test_camera_info_is_a_pinhole():
    k = np.array([[100.0, 0, 32], [0, 100, 24], [0, 0, 1]])
    message = sim.camera_info_message(k, 64, 48, "f")
    assert list(message.k) == pytest.approx(k.ravel())
    assert list(message.p) == pytest.approx([100, 0, 32, 0, 0, 100, 24, 0, 0, 0, 1, 0])
    assert not any(message.d)


def test_joint_states_name_their_values():
    message = sim.joint_state_message(JOINTS, np.array([1.0, 2, 3]), np.array([4.0, 5, 6]), 10**9)
    assert list(message.name) == list(JOINTS)
    assert list(message.position) == [1, 2, 3]
    assert list(message.velocity) == [4, 5, 6]
