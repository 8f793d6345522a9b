"""A light robot that can be told to misbehave: noisy cameras, joint states, commands carried out at once.

Usage: python faults_robot.py ROBOT_PROFILE wall|simulated
What is wrong with it comes as JSON on /faults/robot (`Wrong`, plus `id`) and is acknowledged on
/faults/robot_did with the `id` and the wall time at which it took effect. With `simulated`, it publishes
/clock and stamps everything by it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field

import numpy as np
import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64MultiArray, String

from wallwm_ros.bridge import qos
from wallwm_ros.bridge.sim import camera_info_message, image_message, joint_state_message
from wallwm_ros.bridge.stamps import to_stamp
from wallwm_ros.core.calibration import load_calibrations
from wallwm_ros.core.config import load_robot
from wallwm_ros.core.priority import set_realtime

PICTURE_S, STATE_S = 0.05, 0.01
POOL = 16  # pictures per camera, each with its own noise
LATE_NS = 500_000_000  # of a delayed camera
PRIORITY = 10
ELSEWHERE = 1  # added to the ROS domain of a robot that is away
BEGIN_NS = 1_000_000_000_000  # of simulated time


@dataclass
class Wrong:
    """What is wrong with the robot; nothing, as it is made.

    Attributes:
        cameras: camera -> `killed`, `frozen`, `delayed` or `wrong_size`.
        joints_lost: no joint states are sent.
        clock_paused: simulated time stands still.
        clock_jump_s: simulated time jumps so far, once [s].
        away_s: it leaves for another ROS domain for so long, once [s].
    """

    cameras: dict[str, str] = field(default_factory=dict)
    joints_lost: bool = False
    clock_paused: bool = False
    clock_jump_s: float = 0.0
    away_s: float = 0.0


class Robot:
    """What stays while the node comes and goes: where the arms are, the pictures, what is wrong, time."""

    def __init__(self, profile: str, *, simulated: bool) -> None:
        self.profile, self.simulated = load_robot(profile), simulated
        self.position = np.array([(joint.low + joint.high) / 2 for joint in self.profile.joints])
        self.wrong, self.leave_s = Wrong(), 0.0
        self.calibrations = load_calibrations(self.profile)
        self._sim_ns, self._ticked_ns = BEGIN_NS, time.monotonic_ns()
        rng = np.random.default_rng(0)
        self.pictures = {name: self._pool(rng, c.height, c.width) for name, c in self.calibrations.items()}
        self.small = {name: self._pool(rng, c.height // 2, c.width) for name, c in self.calibrations.items()}

    def _pool(self, rng: np.random.Generator, height: int, width: int) -> list[Image]:
        shape = (POOL, height, width, 3)
        return [image_message(p, "", 0) for p in rng.integers(80, 110, shape, dtype=np.uint8)]

    def now_ns(self) -> int:
        """The time that stamps are of [ns]."""
        return self._sim_ns if self.simulated else time.time_ns()

    def advance(self) -> None:
        """Simulated time goes on, unless it is paused."""
        now = time.monotonic_ns()
        if not self.wrong.clock_paused:
            self._sim_ns += now - self._ticked_ns
        self._ticked_ns = now

    def jump(self, seconds: float) -> None:
        """Simulated time jumps [s]."""
        self._sim_ns += round(seconds * 1e9)


class RobotNode(Node):
    """The robot's topics, in one ROS domain."""

    def __init__(self, robot: Robot, context: rclpy.Context) -> None:
        super().__init__("faults_robot", context=context)
        self._robot, self._count = robot, 0
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._pictures = {c.name: self._camera(c.topic) for c in robot.profile.cameras}
        self._topics = {c.name: c.topic for c in robot.profile.cameras}
        self._infos = {
            c.name: self.create_publisher(CameraInfo, c.info_topic, qos.SENSOR_OUT)
            for c in robot.profile.cameras
        }
        self._states = self.create_publisher(JointState, robot.profile.states[0].topic, qos.SENSOR_OUT)
        self._clock = self.create_publisher(ClockMessage, "/clock", qos.CLOCK) if robot.simulated else None
        self._did = self.create_publisher(String, "/faults/robot_did", 10)
        command = robot.profile.outputs("forward")[0].topic
        self.create_subscription(Float64MultiArray, command, self._commanded, qos.COMMAND)
        self.create_subscription(String, "/faults/robot", self._told, 10)
        self.create_timer(PICTURE_S, self._look, clock=self._steady)
        self.create_timer(STATE_S, self._feel, clock=self._steady)

    def _camera(self, topic: str):
        return self.create_publisher(Image, topic, qos.SENSOR_OUT)

    def _commanded(self, message: Float64MultiArray) -> None:
        self._robot.position = np.array(message.data)

    def _told(self, message: String) -> None:
        body = json.loads(message.data)
        number = body.pop("id")
        robot, wrong = self._robot, Wrong(**body)
        robot.jump(wrong.clock_jump_s)
        robot.wrong, robot.leave_s = wrong, wrong.away_s
        for name, publisher in self._pictures.items():
            killed = wrong.cameras.get(name) == "killed"
            if killed and publisher is not None:
                self.destroy_publisher(publisher)
                self._pictures[name] = None
            elif publisher is None and not killed:
                self._pictures[name] = self._camera(self._topics[name])
        self._did.publish(String(data=json.dumps({"id": number, "time_ns": time.time_ns()})))

    def _look(self) -> None:
        self._count += 1
        for name, publisher in self._pictures.items():
            if publisher is None:
                continue
            how = self._robot.wrong.cameras.get(name, "")
            pool = self._robot.small if how == "wrong_size" else self._robot.pictures
            message = pool[name][0 if how == "frozen" else self._count % POOL]
            calibration = self._robot.calibrations[name]
            message.header.frame_id = calibration.frame
            late_ns = LATE_NS if how == "delayed" else 0
            message.header.stamp = to_stamp(self._robot.now_ns() - late_ns)
            publisher.publish(message)
            info = camera_info_message(
                calibration.K, calibration.width, calibration.height, calibration.frame
            )
            self._infos[name].publish(info)

    def _feel(self) -> None:
        robot = self._robot
        robot.advance()
        if self._clock is not None:
            self._clock.publish(ClockMessage(clock=to_stamp(robot.now_ns())))
        if robot.wrong.joints_lost:
            return
        still, names = np.zeros_like(robot.position), robot.profile.states[0].names
        self._states.publish(joint_state_message(names, robot.position, still, robot.now_ns()))


def live(robot: Robot, domain: int, ended: list[int], until: float) -> None:
    """Be in a ROS domain until told to end or to leave, or until `until` (steady clock) [s]."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
    executor = SingleThreadedExecutor(context=context)
    node = RobotNode(robot, context)
    executor.add_node(node)
    while not ended and not robot.leave_s and time.monotonic() < until:
        executor.spin_once(timeout_sec=0.1)
    time.sleep(0.05)  # for the acknowledgement to go out
    executor.shutdown(timeout_sec=1.0)
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def main() -> None:
    """Run until told to stop."""
    robot = Robot(sys.argv[1], simulated=sys.argv[2] == "simulated")
    set_realtime(PRIORITY)  # a real robot has a computer of its own
    home, ended = int(os.environ.get("ROS_DOMAIN_ID", "0")), []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: ended.append(received))
    while not ended:
        live(robot, home, ended, float("inf"))
        away_s, robot.leave_s = robot.leave_s, 0.0
        if away_s and not ended:
            live(robot, home + ELSEWHERE, ended, time.monotonic() + away_s)


if __name__ == "__main__":
    main()
