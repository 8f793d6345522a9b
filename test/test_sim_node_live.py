"""The simulated robot as a process of its own, spoken to over ROS 2."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")
pytest.importorskip("mujoco")
messages = pytest.importorskip("wallwm_msgs.srv", reason="wallwm_msgs is not built")
if not hasattr(messages, "ResetScene"):
    pytest.skip("wallwm_msgs is not built", allow_module_level=True)
pytestmark = pytest.mark.ros

from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState  # noqa: E402
from std_msgs.msg import Float64MultiArray  # noqa: E402
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint  # noqa: E402

from wallwm_model.sim.robot import JOINTS  # noqa: E402
from wallwm_model.sim.scene import sample_scene  # noqa: E402
from wallwm_msgs.srv import JudgeScene, ResetScene  # noqa: E402
from wallwm_ros.bridge import qos  # noqa: E402
from wallwm_ros.bridge.stamps import to_ns  # noqa: E402
from wallwm_ros.demo import domain  # noqa: E402

PATIENCE_S = 90.0


class Companion:
    """The simulator's process, and a node that talks to it."""

    def __init__(self, mode: str, folder) -> None:
        self.domain = domain.choose()
        self.log = folder / f"{mode}.log"
        environment = os.environ | {
            "ROS_DOMAIN_ID": str(self.domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "OMP_NUM_THREADS": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wallwm_ros.nodes.sim_robot_node", "--ros-args", "-p", f"mode:={mode}"],
            env=environment, stdout=self.log.open("w"), stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=self.domain)
        self.node = rclpy.create_node("companion", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.heard: dict[str, list] = {}
        self.forward = self.node.create_publisher(
            Float64MultiArray, "/forward_position_controller/commands", qos.COMMAND
        )
        self.trajectory = self.node.create_publisher(
            JointTrajectory, "/joint_trajectory_controller/joint_trajectory", qos.COMMAND
        )
        self.listen(Clock, "/clock")
        self.listen(JointState, "/joint_states")
        self.thread = threading.Thread(target=self.executor.spin, daemon=True)
        self.thread.start()
        self.until(lambda: all(self.heard.values()) and self.forward.get_subscription_count())

    def listen(self, kind, topic) -> None:
        self.heard[topic] = []
        self.node.create_subscription(kind, topic, self.heard[topic].append, qos.SENSOR_OUT)

    def until(self, condition) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.005)

    def call(self, kind, name, **fields):
        client = self.node.create_client(kind, name)
        self.until(client.service_is_ready)
        future = client.call_async(kind.Request(**fields))
        self.until(future.done)
        return future.result()

    def reset(self, task="pick_place", seed=1, blank=False):
        return self.call(ResetScene, "/sim_robot_node/reset", task=task, seed=seed, blank_cameras=blank)

    @property
    def time_ns(self) -> int:
        return to_ns(self.heard["/clock"][-1].clock)

    @property
    def position(self) -> np.ndarray:
        return np.array(self.heard["/joint_states"][-1].position)

    def fresh(self) -> np.ndarray:
        """Joint positions that were published from now on; one or two of before may still be under way."""
        self.heard["/joint_states"].clear()
        self.until(lambda: len(self.heard["/joint_states"]) > 2)
        return self.position

    def step(self, values) -> None:
        """One command, and the time that it makes go by."""
        before = self.time_ns
        self.forward.publish(Float64MultiArray(data=[float(v) for v in values]))
        self.until(lambda: self.time_ns > before)

    def close(self) -> int:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=PATIENCE_S)
        self.executor.shutdown()
        rclpy.shutdown(context=self.context)
        return code


@pytest.fixture(scope="module")
def lockstep(tmp_path_factory):
    companion = Companion("lockstep", tmp_path_factory.mktemp("sim"))
    yield companion
    assert companion.close() == 0


@pytest.fixture(scope="module")
def realtime(tmp_path_factory):
    companion = Companion("realtime", tmp_path_factory.mktemp("sim"))
    yield companion
    assert companion.close() == 0


def test_each_command_advances_ten_milliseconds(lockstep):
    lockstep.reset()
    start = lockstep.time_ns
    home = lockstep.fresh()
    for count in range(1, 21):
        lockstep.step(home)
        assert lockstep.time_ns == start + count * 10_000_000
    lockstep.until(lambda: to_ns(lockstep.heard["/joint_states"][-1].header.stamp) == lockstep.time_ns)
    assert list(lockstep.heard["/joint_states"][-1].name) == list(JOINTS)


def test_time_stands_still_but_is_repeated_without_commands(lockstep):
    before, heard = lockstep.time_ns, len(lockstep.heard["/clock"])
    lockstep.until(lambda: len(lockstep.heard["/clock"]) >= heard + 2)
    assert lockstep.time_ns == before


def test_late_answers_to_a_repeated_time_count_once(lockstep):
    lockstep.reset()
    home, before = lockstep.fresh(), lockstep.time_ns
    heard = len(lockstep.heard["/clock"])
    lockstep.until(lambda: len(lockstep.heard["/clock"]) >= heard + 3)
    for _ in range(3):
        lockstep.forward.publish(Float64MultiArray(data=home.tolist()))
    lockstep.until(lambda: lockstep.time_ns > before)
    lockstep.step(home)
    assert lockstep.time_ns == before + 20_000_000


def test_a_forward_command_moves_the_arm(lockstep):
    lockstep.reset()
    goal = lockstep.fresh().copy()
    goal[0] += 0.2
    for _ in range(60):
        lockstep.step(goal)
    assert lockstep.position == pytest.approx(goal, abs=0.02)


def test_a_trajectory_moves_the_named_joints(lockstep):
    lockstep.reset()
    goal = lockstep.fresh().copy()
    goal[7] -= 0.3
    order = list(range(14))[::-1]
    point = JointTrajectoryPoint(positions=[float(goal[i]) for i in order])
    point.time_from_start.nanosec = 200_000_000
    before = lockstep.time_ns
    lockstep.trajectory.publish(JointTrajectory(joint_names=[JOINTS[i] for i in order], points=[point]))
    lockstep.until(lambda: lockstep.time_ns > before)
    assert lockstep.position[7] > goal[7] + 0.2, "a trajectory takes its time"
    for _ in range(60):
        before = lockstep.time_ns
        lockstep.trajectory.publish(JointTrajectory(joint_names=[JOINTS[i] for i in order], points=[point]))
        lockstep.until(lambda before=before: lockstep.time_ns > before)
    assert lockstep.position == pytest.approx(goal, abs=0.02)


def test_unsound_commands_are_refused_and_time_stands_still(lockstep):
    lockstep.reset()
    home = lockstep.fresh()
    lockstep.step(home)
    before = lockstep.time_ns
    for data in ([0.0] * 13, [float("nan")] * 14):
        lockstep.forward.publish(Float64MultiArray(data=data))
    lockstep.until(
        lambda: "must be finite" in lockstep.log.read_text() or "14 values" in lockstep.log.read_text()
    )
    assert lockstep.time_ns == before
    lockstep.step(home)
    assert lockstep.position == pytest.approx(home, abs=0.02)


def test_the_same_commands_give_the_same_states(lockstep):
    runs = []
    for _ in range(2):
        lockstep.reset(seed=5)
        home = lockstep.fresh()
        for tick in range(40):
            lockstep.step(home + 0.05 * np.sin(tick / 6))
        lockstep.until(lambda: to_ns(lockstep.heard["/joint_states"][-1].header.stamp) == lockstep.time_ns)
        runs.append(lockstep.position)
    assert np.array_equal(runs[0], runs[1])


def test_a_reset_tells_the_scene_and_its_captions(lockstep):
    reply = lockstep.reset("handover", 11)
    scene = sample_scene("handover", 11)
    assert reply.success, reply.message
    assert list(reply.captions) == scene.captions()
    assert reply.scene_json == scene.to_json()


@pytest.mark.parametrize(
    ("task", "seed", "words"), [("juggle", 1, "pick_place, handover"), ("pick_place", -1, "not be negative")]
)
def test_an_impossible_reset_is_refused_in_words(lockstep, task, seed, words):
    reply = lockstep.reset(task, seed)
    assert not reply.success
    assert words in reply.message


def test_verdicts_have_reasons(lockstep):
    lockstep.reset()
    scene = sample_scene("pick_place", 1)
    for caption in (scene.captions()[1], ""):
        reply = lockstep.call(JudgeScene, "/sim_robot_node/judge", caption=caption)
        assert not reply.success
        assert reply.message
    reply = lockstep.call(JudgeScene, "/sim_robot_node/judge", caption="juggle the red cube")
    assert "must start with one of" in reply.message


def test_pictures_show_the_moment_of_their_stamp(lockstep):
    lockstep.listen(Image, "/head_cam/image_raw")
    lockstep.listen(CompressedImage, "/wrist_cam_left/image_raw/compressed")
    lockstep.listen(CameraInfo, "/head_cam/camera_info")
    raw = lockstep.heard["/head_cam/image_raw"]
    lockstep.reset()
    home = lockstep.fresh()
    lockstep.until(lambda: lockstep.step(home) or len(raw) >= 3)
    stamps = [to_ns(message.header.stamp) for message in raw[-3:]]
    assert np.diff(stamps).tolist() == [50_000_000, 50_000_000]
    assert (raw[-1].height, raw[-1].width, raw[-1].encoding) == (192, 192, "rgb8")
    assert np.ptp(np.frombuffer(raw[-1].data, np.uint8)) > 50
    lockstep.until(lambda: lockstep.heard["/wrist_cam_left/image_raw/compressed"])
    lockstep.until(lambda: lockstep.heard["/head_cam/camera_info"])
    info = lockstep.heard["/head_cam/camera_info"][-1]
    assert info.width == 192
    assert info.k[0] > 0


def test_blank_cameras_show_only_grey(lockstep):
    raw = lockstep.heard.get("/head_cam/image_raw")
    if raw is None:
        lockstep.listen(Image, "/head_cam/image_raw")
        raw = lockstep.heard["/head_cam/image_raw"]
    lockstep.reset(blank=True)
    home, count = lockstep.fresh(), len(raw)
    lockstep.until(lambda: lockstep.step(home) or len(raw) >= count + 2)
    assert set(raw[-1].data) == {127}
    lockstep.reset(blank=False)


def test_real_time_goes_by_itself_in_system_time(realtime):
    first, begun = realtime.time_ns, time.time_ns()
    realtime.until(lambda: realtime.time_ns - first > 300_000_000)
    assert abs(first - begun) < 5e9
    stamps = [to_ns(message.header.stamp) for message in realtime.heard["/joint_states"]]
    assert (np.diff(stamps) > 0).all()


def test_real_time_follows_commands_and_resets(realtime):
    assert realtime.reset(seed=3).success
    goal = realtime.position.copy()
    goal[0] -= 0.2
    realtime.forward.publish(Float64MultiArray(data=goal.tolist()))
    realtime.until(lambda: abs(realtime.position - goal).max() < 0.02)
    assert realtime.reset(seed=3).success
    realtime.until(lambda: abs(realtime.position[0] - goal[0]) > 0.1)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("robot:=quanta_x2", "unknown robot 'quanta_x2'"),
        ("robot:=quanta_x1", "the simulator plays left_waist"),
        ("mode:=warp", "realtime, lockstep"),
    ],
)
def test_a_wrong_parameter_is_one_sentence(override, words):
    done = subprocess.run(
        [sys.executable, "-m", "wallwm_ros.nodes.sim_robot_node", "--ros-args", "-p", override],
        env=os.environ | {"ROS_DOMAIN_ID": str(domain.choose())},
        capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
