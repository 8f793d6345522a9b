"""`calibrate check` on live topics: the simulated robot, and a robot with a board and a bumped camera."""

from __future__ import annotations

import os
import threading
import time

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("wallwm_msgs.msg._action_chunk")  # the folder alone imports as an empty namespace
pytest.importorskip("mujoco")
pytest.importorskip("mcap")
pytestmark = pytest.mark.ros

from live_bench import PATIENCE_S, LiveBench  # noqa: E402
from mcap.writer import Writer  # noqa: E402
from rclpy.serialization import serialize_message  # noqa: E402
from sensor_msgs.msg import Image, JointState  # noqa: E402

from wallwm_model.calibration import Calibration, save_calibration  # noqa: E402
from wallwm_model.calibration_check.noise import NoiseModel  # noqa: E402
from wallwm_model.calibration_check.snapshot import Snapshot  # noqa: E402
from wallwm_model.errors import ObservationError  # noqa: E402
from wallwm_model.sim import bumped_rig  # noqa: E402
from wallwm_ros.bridge import images, qos  # noqa: E402
from wallwm_ros.bridge.sim import joint_state_message  # noqa: E402
from wallwm_ros.calibrate.check import check  # noqa: E402
from wallwm_ros.calibrate.check_session import Order  # noqa: E402
from wallwm_ros.cli.bench import part  # noqa: E402

SIZE = (440, 330)  # small enough for one segment of shared memory as Fast DDS has it by default
BUMPED = "wrist_cam_left"


@pytest.fixture
def bench(tmp_path):
    bench = LiveBench(int(os.environ.get("ROS_DOMAIN_ID") or 44), tmp_path)
    yield bench
    bench.close()


def overlays(bench) -> dict[str, list[Image]]:
    """Everything that comes on the debug topics."""
    heard: dict[str, list[Image]] = {
        camera: [] for camera in ("head_cam", "wrist_cam_left", "wrist_cam_right")
    }
    for camera, found in heard.items():
        bench.node.create_subscription(Image, f"/calibration_check/{camera}", found.append, qos.IMAGE)
    return heard


def test_overlays_of_the_simulated_robot_are_written_and_published(bench, tmp_path):
    heard, said = overlays(bench), []
    bench.start(
        "sim_robot_node", "-m", "wallwm_ros.nodes.sim_robot_node", "--ros-args", "-p", "mode:=realtime"
    )
    seen = []
    bench.node.create_subscription(Image, "/wrist_cam_right/image_raw", seen.append, qos.IMAGE)
    bench.until(lambda: bool(seen))
    order = Order("sim", board=None, surface_m=0.0, out=tmp_path / "out", watch=True)
    deadline = time.monotonic() + PATIENCE_S
    assert check(order, said.append, lambda: all(heard.values()) or time.monotonic() > deadline) is None
    assert all(heard.values())
    for camera, messages in heard.items():
        written = cv2.imread(str(tmp_path / "out" / f"posture_01_{camera}.png"))[:, :, ::-1]
        shown = images.decode(messages[-1])
        assert shown.shape == written.shape == (576, 576, 3)
        assert messages[-1].header.frame_id == f"{camera}_optical_frame"
        assert (shown == written).mean() > 0.9  # the arms hardly move
    assert any("/calibration_check/<camera>" in sentence for sentence in said)


class Robot:
    """Shows one posture after the other, as somebody would who leads the arms by hand."""

    def __init__(self, node, snapshots) -> None:
        self._snapshots, self._end = snapshots, threading.Event()
        self._node = node
        self._joints = node.create_publisher(JointState, "/joint_states", qos.SENSOR_OUT)
        self._pictures = {
            name: node.create_publisher(Image, f"/{name}/image_raw", qos.SENSOR_OUT)
            for name in snapshots[0].pictures
        }
        self._thread = threading.Thread(target=self._move, daemon=True)

    def __enter__(self) -> Robot:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(5.0)

    def _move(self) -> None:
        count = 0
        while not self._end.wait(0.1):
            snapshot = self._snapshots[count // 15 % len(self._snapshots)]
            count += 1
            now_ns = self._node.get_clock().now().nanoseconds
            values = np.array(list(snapshot.joints.values()))
            self._joints.publish(
                joint_state_message(list(snapshot.joints), values, np.zeros_like(values), now_ns)
            )
            for name, picture in snapshot.pictures.items():
                self._pictures[name].publish(images.image_message(picture, f"{name}_optical_frame", now_ns))


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Calibration file of a rig, and what it shows at three postures after a bump."""
    study = part("bump").Bench(np.random.default_rng(9), NoiseModel(), postures=3)
    trial = bumped_rig.bump(study.sample(), BUMPED, 6e-3, np.radians(1.5), study.rng)
    file = tmp_path_factory.mktemp("shown") / "rig.yaml"
    believed = {name: camera.resized(*SIZE) for name, camera in trial.believed.items()}
    save_calibration(file, Calibration("sim", believed))
    snapshots = []
    for snapshot in bumped_rig.pictures(trial, study.kinematics, study.noise, study.rng):
        small = {n: cv2.resize(p, SIZE, interpolation=cv2.INTER_AREA) for n, p in snapshot.pictures.items()}
        snapshots.append(Snapshot(small, snapshot.joints))
    return file, snapshots


def test_a_bumped_camera_is_named_while_the_arms_are_led_from_posture_to_posture(bench, shown, tmp_path):
    file, snapshots = shown
    heard, said = overlays(bench), []
    order = Order("sim", file, board=bumped_rig.BOARD, postures=3, out=tmp_path / "out", watch=True)
    deadline = time.monotonic() + 4 * PATIENCE_S
    with Robot(bench.node, snapshots):
        verdict = check(order, said.append, lambda: all(heard.values()) or time.monotonic() > deadline)
    assert verdict.named == {BUMPED}
    assert verdict.off[0].mm == pytest.approx(6.0, abs=3.0)
    assert len(list((tmp_path / "out").glob("posture_*.png"))) == 9
    assert any(sentence.startswith(f"{BUMPED} is off") for sentence in said)
    assert all(heard.values())


def record(path, snapshots) -> None:
    """An MCAP file: each posture is held for a second, with one picture of each camera in the middle."""
    kinds = {"/joint_states": "sensor_msgs/msg/JointState"}
    kinds |= {f"/{name}/image_raw": "sensor_msgs/msg/Image" for name in snapshots[0].pictures}
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start(profile="ros2")
        channels = {
            topic: writer.register_channel(topic, "cdr", writer.register_schema(kind, "ros2msg", b""))
            for topic, kind in kinds.items()
        }

        def write(topic: str, message, stamp_ns: int) -> None:
            writer.add_message(channels[topic], stamp_ns, serialize_message(message), stamp_ns)

        for number, snapshot in enumerate(snapshots):
            values = np.array(list(snapshot.joints.values()))
            for tick in range(50):
                now_ns = 10**18 + number * 10**9 + tick * 20_000_000
                state = joint_state_message(list(snapshot.joints), values, np.zeros_like(values), now_ns)
                write("/joint_states", state, now_ns)
                for name, picture in snapshot.pictures.items() if tick == 25 else ():
                    write(f"/{name}/image_raw", images.image_message(picture, name, now_ns), now_ns)
        writer.finish()


def test_a_bumped_camera_is_named_from_a_recording(shown, tmp_path):
    file, snapshots = shown
    record(tmp_path / "walk.mcap", snapshots)
    order = Order("sim", file, recording=tmp_path / "walk.mcap", board=bumped_rig.BOARD, out=tmp_path / "out")
    said: list[str] = []
    assert check(order, said.append).named == {BUMPED}
    assert sum(sentence.startswith("posture") for sentence in said) == 9  # each picture has joints of its own


def test_a_robot_that_is_not_there_is_named_by_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("wallwm_ros.calibrate.check.SILENCE_S", 1.0)
    with pytest.raises(ObservationError, match="of sim must arrive; no picture from head_cam has arrived"):
        check(Order("sim", board=None, out=tmp_path / "out"), print)
    assert not (tmp_path / "out").exists()
