"""Recordings as sources: MCAP written by another library, rosbag2's SQLite, and files that are damaged."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")
writers = pytest.importorskip("mcap_ros2.writer")

from calibration_fixtures import rig, robot_pictures  # noqa: E402
from rclpy.serialization import serialize_message  # noqa: E402
from rich.console import Console  # noqa: E402

from wallwm_model.calibration import load_calibration, save_calibration  # noqa: E402
from wallwm_model.calibration_tools.frames import Frame  # noqa: E402
from wallwm_model.errors import CalibrationError, ConfigError  # noqa: E402
from wallwm_model.forward_kinematics import MujocoKinematics  # noqa: E402
from wallwm_ros.bridge.images import image_message  # noqa: E402
from wallwm_ros.bridge.recording import recorded_frames  # noqa: E402
from wallwm_ros.calibrate.handeye import IN_VAIN, HandEyeOrder, _Relative, run_handeye  # noqa: E402
from wallwm_ros.calibrate.sources import Source, named_frames, open_frames  # noqa: E402
from wallwm_ros.core.config import load_robot  # noqa: E402
from wallwm_ros.core.joint_names import joint_names, renamed  # noqa: E402
from wallwm_ros.core.paths import data_path  # noqa: E402
from wallwm_ros.core.robot import StateSource  # noqa: E402

pytestmark = pytest.mark.ros

TIME = "int32 sec\nuint32 nanosec\n"
HEADER = f"builtin_interfaces/Time stamp\nstring frame_id\n{'=' * 80}\nMSG: builtin_interfaces/Time\n{TIME}"
PARTS = f"{'=' * 80}\nMSG: std_msgs/Header\n{HEADER}"
COMPRESSED = f"std_msgs/Header header\nstring format\nuint8[] data\n{PARTS}"
NUMBERS = "float64[] position\nfloat64[] velocity\nfloat64[] effort\n"
JOINTS = f"std_msgs/Header header\nstring[] name\n{NUMBERS}{PARTS}"
START_S = 1000
CAMERA, STATES = "/cam/image_raw/compressed", "/joint_states"


def header(seconds: float) -> dict:
    return {"stamp": {"sec": int(seconds), "nanosec": round(seconds % 1 * 1e9)}, "frame_id": "cam"}


def write_mcap(path, pictures, joints=lambda t: [0.1 * t], rate=50, names=("elbow",), between=False):
    """A picture a second, joint states between, from one second before the first to one after the last.

    With `between`, the last picture is there once more, half a second before its time.
    """
    with path.open("wb") as stream, writers.Writer(stream) as writer:
        picture_schema = writer.register_msgdef("sensor_msgs/msg/CompressedImage", COMPRESSED)
        joint_schema = writer.register_msgdef("sensor_msgs/msg/JointState", JOINTS)
        for k in range((len(pictures) + 1) * rate):
            t = START_S - 1 + k / rate
            message = {
                "header": header(t),
                "name": list(names),
                "position": joints(t),
                "velocity": [],
                "effort": [],
            }
            writer.write_message(STATES, joint_schema, message, log_time=int(t * 1e9))
        moments = list(enumerate(pictures))
        if between:
            moments.insert(-1, (len(pictures) - 1.5, pictures[-1]))
        for k, picture in moments:
            data = cv2.imencode(".png", picture)[1].tobytes()
            message = {"header": header(START_S + k), "format": "png", "data": data}
            writer.write_message(CAMERA, picture_schema, message, log_time=int((START_S + k) * 1e9))


PICTURES = [np.full((24, 32), 40 * k, np.uint8) for k in range(1, 4)]


def test_pictures_of_an_mcap_file_come_with_the_joints_of_their_moment(tmp_path):
    write_mcap(tmp_path / "one.mcap", PICTURES)
    frames = list(recorded_frames(tmp_path / "one.mcap", CAMERA, [STATES]))
    assert [f.source for f in frames] == ["0.00 s", "1.00 s", "2.00 s"]
    assert [int(f.picture[0, 0, 0]) for f in frames] == [40, 80, 120]
    assert [f.joints["elbow"] for f in frames] == pytest.approx([100.0, 100.1, 100.2])
    assert all(f.moving for f in frames), "0.1 rad/s is no rest"


def test_a_folder_of_several_files_is_one_recording_and_rest_is_seen(tmp_path):
    write_mcap(tmp_path / "bag_0.mcap", PICTURES, joints=lambda t: [1.5])
    (tmp_path / "metadata.yaml").write_text("rosbag2_bagfile_information: {}\n")
    frames = list(recorded_frames(tmp_path, CAMERA, [STATES]))
    assert len(frames) == 3 and not any(f.moving for f in frames)
    assert all(f.joints is None for f in recorded_frames(tmp_path, CAMERA))


def test_rosbag2_sqlite_recordings_are_read(tmp_path):
    connection = sqlite3.connect(tmp_path / "bag_0.db3")
    connection.execute(
        "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT)"
    )
    connection.execute(
        "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB)"
    )
    connection.execute("INSERT INTO topics VALUES (1, '/cam/image_raw', 'sensor_msgs/msg/Image', 'cdr')")
    for k in (1, 0):  # not in the order of time
        message = image_message(np.full((24, 32, 3), 50 + k, np.uint8), "cam", (START_S + k) * 10**9)
        row = (k, 1, START_S + k, serialize_message(message))
        connection.execute("INSERT INTO messages VALUES (?, ?, ?, ?)", row)
    connection.commit()
    connection.close()
    frames = list(recorded_frames(tmp_path, "/cam/image_raw"))
    assert [int(f.picture[0, 0, 0]) for f in frames] == [50, 51] and frames[1].stamp_ns == (
        START_S + 1
    ) * 10**9


def test_a_mount_is_measured_from_a_recording(tmp_path):
    """The arm rests for a second around each picture; one more, taken while it moved, must be passed over."""
    pictures = [picture for picture, _ in robot_pictures()]

    def joints(t: float) -> list[float]:
        number = int(np.clip(round(t - START_S), 0, len(pictures) - 1))
        return list(robot_pictures()[number][1].values())

    names = list(robot_pictures()[0][1])
    write_mcap(tmp_path / "bag.mcap", pictures, joints, names=names, between=True)
    known, lens = load_calibration(data_path("calibration/sim.yaml")), rig().lens
    camera = replace(known.cameras["wrist_cam_left"], width=640, height=480, K=lens.K, D=lens.D, P=None)
    save_calibration(tmp_path / "sim.yaml", known.replaced(camera))
    source = Source(recording=tmp_path / "bag.mcap", topic=CAMERA)
    order = HandEyeOrder("wrist_cam_left", source=source, file=tmp_path / "sim.yaml", out=tmp_path)
    output = Console(record=True, width=200)
    result = run_handeye(order, output)
    assert np.linalg.norm(result.X[:3, 3] - rig().X[:3, 3]) < 2e-3
    assert "1 taken while the robot moved" in output.export_text()


def test_a_gap_in_the_joint_states_costs_only_the_pictures_within_it():
    robot, words = robot_pictures(), []
    relative = _Relative(MujocoKinematics(), "left_gripper", "world")
    for number, (picture, joints) in enumerate(robot):
        known = {name: x for name, x in joints.items() if number != 3 or name != "left_elbow"}
        words.append(relative.usable(Frame(str(number), picture, joints=known)))
    assert words == ["", "", "", "without a joint position that is needed"] + [""] * (len(robot) - 4)
    relative.require()
    with pytest.raises(ConfigError, match="did you mean left_gripper"):
        _Relative(MujocoKinematics(), "left_griper", "world")


def test_a_joint_that_never_comes_is_refused_by_name():
    picture, joints = robot_pictures()[0]
    frame = Frame("one", picture, joints={name: x for name, x in joints.items() if name != "left_elbow"})
    relative = _Relative(MujocoKinematics(), "left_gripper", "world")
    assert relative.usable(frame) == "without a joint position that is needed"
    with pytest.raises(ConfigError, match="left_gripper needs the joints left_elbow"):
        relative.require()
    with pytest.raises(ConfigError, match="left_gripper needs the joints left_elbow"):
        for _ in range(IN_VAIN):
            relative.usable(frame)


def test_joints_go_by_the_names_of_the_profile_whatever_messages_call_them(tmp_path):
    """Two arms whose messages call their joints alike, and a lift that the profile does not have."""
    left, right = (
        StateSource(f"/{side}/states", "JointState", (f"{side}_elbow",), ("elbow",))
        for side in ("left", "right")
    )
    profile = replace(load_robot("sim"), states=(left, right))
    assert joint_names(profile, "/left/states") == {"elbow": "left_elbow"}
    assert joint_names(profile) == {}, "which of the two it is cannot be told"
    alone = replace(profile, states=(left,))
    assert joint_names(alone, "/other") == joint_names(alone) == {"elbow": "left_elbow"}
    assert renamed({"elbow": 1.0, "lift": 2.0}, joint_names(alone)) == {"lift": 2.0, "left_elbow": 1.0}
    write_mcap(tmp_path / "one.mcap", PICTURES, lambda t: [1.5, 0.3], names=("elbow", "lift"))
    alone = replace(profile, states=(replace(left, topic=STATES),))
    camera = replace(profile.cameras[0], topic=CAMERA)
    source = Source(recording=tmp_path / "one.mcap")
    with open_frames(source, alone, camera, with_joints=True) as (frames, _):
        assert [set(frame.joints) for frame in frames] == [{"left_elbow", "lift"}] * 3
    frames = [Frame("a", PICTURES[0], joints={"elbow": 1.0}), Frame("b", PICTURES[0])]
    assert [frame.joints for frame in named_frames(iter(frames), alone)] == [{"left_elbow": 1.0}, None]


def test_what_is_missing_or_damaged_is_named(tmp_path):
    def refused(path, topic=CAMERA, joints=()):
        with pytest.raises(CalibrationError) as error:
            list(recorded_frames(path, topic, joints))
        return str(error.value)

    write_mcap(tmp_path / "one.mcap", PICTURES)
    whole = (tmp_path / "one.mcap").read_bytes()
    text = refused(tmp_path / "one.mcap", "/other")
    assert "must hold the topic /other" in text and f"{CAMERA} (sensor_msgs/msg/CompressedImage)" in text
    assert "must be sensor_msgs/msg/JointState; found sensor_msgs/msg/CompressedImage" in refused(
        tmp_path / "one.mcap", CAMERA, [CAMERA]
    )
    assert "must be sensor_msgs/msg/Image or" in refused(tmp_path / "one.mcap", STATES)
    assert "found none at" in refused(tmp_path / "nowhere")
    (tmp_path / "cut.mcap").write_bytes(whole[: len(whole) // 2])
    assert "must be a whole MCAP file" in refused(tmp_path / "cut.mcap")
    (tmp_path / "text.mcap").write_text("not a recording, but long enough to look at")
    assert "must be a whole MCAP file" in refused(tmp_path / "text.mcap")
    (tmp_path / "text.db3").write_text("not a recording, but long enough to look at")
    assert "must be a rosbag2 SQLite file" in refused(tmp_path / "text.db3")
    (tmp_path / "zipped").mkdir()
    (tmp_path / "zipped" / "a.mcap.zstd").write_bytes(b"")
    assert "decompress it first" in refused(tmp_path / "zipped")
