"""What ROS brings for the checks: camera_info messages, and a robot description that was published once."""

from __future__ import annotations

import dataclasses
import threading
import time

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros

import rclpy  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from sensor_msgs.msg import CameraInfo as Message  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from test_forward_kinematics import URDF  # noqa: E402

from wallwm_model.errors import ConfigError, SpecError  # noqa: E402
from wallwm_ros.bridge import qos  # noqa: E402
from wallwm_ros.bridge.camera_info import from_message  # noqa: E402
from wallwm_ros.bridge.robot_description import kinematics_of, read_robot_description  # noqa: E402
from wallwm_ros.core.calibration import load_calibrations  # noqa: E402
from wallwm_ros.core.compatibility import check_camera_info  # noqa: E402
from wallwm_ros.core.config import load_robot  # noqa: E402


@pytest.fixture(scope="module")
def nodes():
    """A node that reads and one that publishes."""
    context = rclpy.Context()
    rclpy.init(context=context)
    pair = [rclpy.create_node(name, context=context) for name in ("reader", "writer")]
    yield pair
    for node in pair:
        node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.fixture
def publish(nodes):
    """Publishes a robot description once; it stays there for late comers until the test's end."""
    writer = nodes[1]
    made = []

    def latch(text: str) -> None:
        made.append(writer.create_publisher(String, "/robot_description", qos.LATCHED))
        made[-1].publish(String(data=text))

    yield latch
    for publisher in made:
        writer.destroy_publisher(publisher)


def message_of(camera) -> Message:
    message = Message(width=camera.width, height=camera.height, distortion_model=camera.distortion_model)
    message.header.frame_id, message.d = camera.frame, list(camera.D)
    message.k, message.r, message.p = (m.ravel() for m in (camera.K, camera.R, camera.P))
    return message


def test_a_message_becomes_what_the_checks_compare():
    camera = load_calibrations(load_robot("sim"))["wrist_cam_left"]
    message = message_of(camera)
    info = from_message(message)
    check_camera_info(None, camera, info)
    message.header.stamp.sec = 12
    assert from_message(message) == info and hash(from_message(message)) == hash(info)
    assert info.K == tuple(camera.K.ravel()) and info.frame == "wrist_cam_left_optical_frame"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda m: setattr(m, "width", 96), "width"),
        (lambda m: setattr(m, "height", 96), "height"),
        (lambda m: setattr(m, "distortion_model", "rational_polynomial"), "distortion_model"),
        (lambda m: setattr(m, "d", [0.0] * 4), "D"),
        (lambda m: setattr(m, "k", np.asarray(m.k) * 1.001), "K"),
        (lambda m: setattr(m, "r", np.asarray(m.r) + 1e-3), "R"),
        (lambda m: setattr(m, "p", np.asarray(m.p) * 1.001), "P"),
        (lambda m: setattr(m, "binning_x", 2), "binning_x"),
        (lambda m: setattr(m, "binning_y", 2), "binning_y"),
        (lambda m: setattr(m.roi, "x_offset", 2), "roi.x_offset"),
        (lambda m: setattr(m.roi, "y_offset", 2), "roi.y_offset"),
        (lambda m: setattr(m.roi, "width", 2), "roi.width"),
        (lambda m: setattr(m.roi, "height", 2), "roi.height"),
        (lambda m: setattr(m.roi, "do_rectify", True), "roi.do_rectify"),
        (lambda m: setattr(m.header, "frame_id", "x"), "frame_id"),
    ],
)
def test_each_altered_field_of_the_message_is_refused(change, word):
    camera = load_calibrations(load_robot("sim"))["head_cam"]
    message = message_of(camera)
    change(message)
    with pytest.raises(SpecError, match=rf"^camera head_cam: {word} must be .*; found .* in camera_info$"):
        check_camera_info(None, camera, from_message(message))


def test_a_description_that_was_published_before_is_read(nodes, publish):
    publish(URDF)
    assert read_robot_description(nodes[0]) == URDF
    pytest.importorskip("pinocchio")
    robot = dataclasses.replace(load_robot("sim"), description="topic")
    assert kinematics_of(nodes[0], robot).joints == ("turn", "bend", "slide")


def test_it_is_read_inside_a_callback_too(nodes, publish):
    """As in a lifecycle transition: the node's only executor is busy with the one that waits."""
    found, done = [], threading.Event()
    reader = nodes[0]

    def callback() -> None:
        if not done.is_set():
            found.append(read_robot_description(reader, 5.0))
            done.set()

    publish("<robot/>")
    timer = reader.create_timer(0.01, callback)
    executor = SingleThreadedExecutor(context=reader.context)
    executor.add_node(reader)
    for _ in range(1000):
        executor.spin_once(timeout_sec=0.1)
        if done.is_set():
            break
    executor.remove_node(reader)
    executor.shutdown()
    reader.destroy_timer(timer)
    assert found == ["<robot/>"]


def test_a_thread_that_spins_the_node_does_not_take_it_first(nodes, publish):
    """As in the live check and the live hand-eye: the node has been spinning for a while."""
    publish(URDF)
    reader = nodes[0]
    executor = SingleThreadedExecutor(context=reader.context)
    executor.add_node(reader)
    heard = []
    # Shows that the thread does spin.
    other = reader.create_subscription(String, "/robot_description", heard.append, qos.LATCHED)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 10.0
        while not heard and time.monotonic() < deadline:
            time.sleep(0.01)
        found = [read_robot_description(reader, 5.0) for _ in range(10)]
    finally:
        executor.shutdown()
        thread.join(5.0)
        reader.destroy_subscription(other)
    assert found == [URDF] * 10 and heard


def test_none_in_time_is_said_in_words(nodes):
    with pytest.raises(ConfigError, match=r"expected a URDF on /robot_description; found none within 0.2 s"):
        read_robot_description(nodes[0], 0.2)


def test_an_empty_one_is_refused(nodes, publish):
    publish("  ")
    with pytest.raises(ConfigError, match="found an empty text"):
        read_robot_description(nodes[0])


def test_the_simulated_robot_and_a_file_need_no_topic(nodes, tmp_path):
    pytest.importorskip("mujoco")
    assert "left_gripper" in kinematics_of(nodes[0], load_robot("sim"), 0.0).links
    with pytest.raises(ConfigError, match="robot quanta_x1: the profile's description must be mujoco, topic"):
        kinematics_of(nodes[0], load_robot("quanta_x1"), 0.0)
