"""Calibrating from live topics: pictures of a board and joint states, published by a node of the test."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from calibration_fixtures import held_pictures, rig, robot_pictures

pytest.importorskip("rclpy")

import rclpy  # noqa: E402
from rich.console import Console  # noqa: E402
from sensor_msgs.msg import Image, JointState  # noqa: E402

from wallwm_model.calibration import load_calibration, save_calibration  # noqa: E402
from wallwm_model.calibration_tools import frames as frames_module  # noqa: E402
from wallwm_model.errors import WallWMError  # noqa: E402
from wallwm_ros.bridge import camera_feed, qos  # noqa: E402
from wallwm_ros.bridge.images import image_message  # noqa: E402
from wallwm_ros.bridge.stamps import to_stamp  # noqa: E402
from wallwm_ros.calibrate.handeye import HandEyeOrder, run_handeye  # noqa: E402
from wallwm_ros.calibrate.intrinsics import IntrinsicsOrder, run_intrinsics  # noqa: E402
from wallwm_ros.core.paths import data_path  # noqa: E402

pytestmark = [pytest.mark.ros, pytest.mark.slow]

CAMERA = "wrist_cam_left"
STEP_NS = 20_000_000
PICTURE_EVERY = 60  # steps: longer than a robot must have been still


class Publisher:
    """Publishes pictures over and over, with the joints of their moments, on a clock of its own."""

    def __init__(self, pictures: list[tuple[np.ndarray, dict[str, float]]]) -> None:
        self._pictures, self._stop = pictures, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Publisher:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("test_board", context=self._context)
        self._images = self._node.create_publisher(Image, f"/{CAMERA}/image_raw", qos.SENSOR_OUT)
        self._joints = self._node.create_publisher(JointState, "/joint_states", qos.SENSOR_OUT)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def _run(self) -> None:
        step = 0
        while not self._stop.wait(0.004):
            picture, joints = self._pictures[step // PICTURE_EVERY % len(self._pictures)]
            stamp_ns = 10**12 + step * STEP_NS
            state = JointState(name=list(joints), position=list(joints.values()))
            state.header.stamp = to_stamp(stamp_ns)
            self._joints.publish(state)
            if step % PICTURE_EVERY == PICTURE_EVERY // 2:
                colour = np.repeat(picture[:, :, None], 3, axis=2)
                self._images.publish(image_message(colour, "optical", stamp_ns))
            step += 1


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "robot.yaml"
    path.write_text(data_path("calibration/sim.yaml").read_text())
    return path


def test_a_lens_is_measured_until_nothing_lacks(file, tmp_path, monkeypatch):
    # What fourteen pictures offer; the guidance has tests of its own.
    monkeypatch.setattr("wallwm_model.calibration_tools.coverage.TILTED_VIEWS", 1)
    monkeypatch.setattr("wallwm_model.calibration_tools.coverage.DISTANCE_RATIO", 1.1)
    order = IntrinsicsOrder(CAMERA, views=12, file=file, out=tmp_path)
    with Publisher([(picture, {"none": 0.0}) for picture in held_pictures()]):
        result = run_intrinsics(order, Console(quiet=True))
    assert 12 <= len(result.views) <= 14
    assert abs(result.fit.K[0, 0] / rig().lens.K[0, 0] - 1) < 0.01
    assert load_calibration(file.with_suffix(".new.yaml")).cameras[CAMERA].width == 640


def test_a_mount_is_measured_from_pictures_and_joint_states(file, tmp_path):
    import dataclasses

    known, lens = load_calibration(file), rig().lens
    camera = dataclasses.replace(known.cameras[CAMERA], width=640, height=480, K=lens.K, D=lens.D, P=None)
    save_calibration(file, known.replaced(camera))
    order = HandEyeOrder(CAMERA, poses=10, file=file, out=tmp_path, write=True)
    with Publisher(robot_pictures()):
        result = run_handeye(order, Console(quiet=True))
    assert 10 <= len(result.samples) + len(result.dropped) <= 12
    found = load_calibration(file).cameras[CAMERA].T_link_camera_optical
    assert np.linalg.norm(found[:3, 3] - rig().X[:3, 3]) < 2.5e-3


def test_silence_is_refused_with_the_topic(file, tmp_path, monkeypatch):
    monkeypatch.setattr(camera_feed, "WAIT_S", 0.5)
    with pytest.raises(WallWMError, match=f"/{CAMERA}/image_raw; found none within 0.5 s"):
        run_intrinsics(IntrinsicsOrder(CAMERA, file=file, out=tmp_path), Console(quiet=True))


def test_joint_states_that_stop_are_refused_with_their_topic(file, tmp_path, monkeypatch):
    monkeypatch.setattr(camera_feed, "WAIT_S", 2.0)
    monkeypatch.setattr(frames_module.JointTrack, "newest_ns", property(lambda self: 0))
    order = HandEyeOrder(CAMERA, file=file, out=tmp_path)
    with Publisher(robot_pictures()[:1]), pytest.raises(WallWMError, match="must arrive on /joint_states"):
        run_handeye(order, Console(quiet=True))
