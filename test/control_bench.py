"""A fake arm for live tests of control_node: it is always where it was commanded to be, and says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import Log
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter_client import AsyncParameterClient
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from service_calls import answer
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from wallwm_msgs.msg import ActionChunk, ControlStatus
from wallwm_ros.bridge import qos
from wallwm_ros.bridge.chunks import chunk_to_message
from wallwm_ros.bridge.lifecycle_client import LifecycleClient
from wallwm_ros.bridge.stamps import to_stamp
from wallwm_ros.core.chunk import Chunk
from wallwm_ros.core.config import load_robot
from wallwm_ros.demo import domain

PATIENCE_S = 20.0  # a hang ends the test; nothing is judged by how long it took
CONFIGURE = Transition.TRANSITION_CONFIGURE
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE
CLEANUP = Transition.TRANSITION_CLEANUP
PERIOD_S = 0.01
ALL = QoSProfile(depth=1000)  # a bench that has to wait for its core must not miss what was said meanwhile
REST = 20  # so many commands that move nothing: the arm stands still


class ControlBench:
    """control_node in a process of its own, the arm it commands, and a sender of chunks.

    Attributes:
        position: (D,) where the arm is.
        commands: [(topic, message)] as they came.
        reports: every ControlStatus.
        frozen: while true, the arm says nothing.
    """

    def __init__(
        self, folder: Path, profile: str, start: np.ndarray, *, clock: bool = False, **parameters
    ) -> None:
        self.profile, self.position = load_robot(profile), np.array(start, dtype=float)
        self.commands, self.reports, self.log, self.frozen = [], [], [], False
        self._still, self._clients = 0, {}
        self._clock_ns = 1_000_000_000 if clock else None
        values = {
            "robot": profile,
            **({"tick": "clock", "use_sim_time": True} if clock else {}),
            **parameters,
        }
        arguments = [part for name, value in values.items() for part in ("-p", f"{name}:={value}")]
        self._output = folder / "control_node.log"
        number = domain.choose()  # tests side by side must not hear each other
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wallwm_ros.nodes.control_node", "--ros-args", *arguments],
            env=os.environ | {"PYTHONUNBUFFERED": "1", "ROS_DOMAIN_ID": str(number)},
            stdout=self._output.open("w"),
            stderr=subprocess.STDOUT,
        )
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=number)
        self.node = rclpy.create_node("arm", context=self._context)
        self._lifecycle = LifecycleClient(self.node, "control_node")
        self._chunks = self.node.create_publisher(ActionChunk, "/action_chunk", qos.CHUNK)
        self._clock = self.node.create_publisher(Clock, "/clock", qos.CLOCK)
        kinds = {"JointState": JointState, "PoseStamped": PoseStamped}
        self._states = [
            (source, self.node.create_publisher(kinds[source.message], source.topic, qos.SENSOR_OUT))
            for source in self.profile.states
        ]
        self.node.create_subscription(ControlStatus, "/control_status", self.reports.append, ALL)
        self.node.create_subscription(Log, "/rosout", lambda m: self.log.append(m.msg), ALL)
        commanded = {"forward": Float64MultiArray, "trajectory": JointTrajectory, "pose": PoseStamped}
        for outputs in self.profile.commands.values():
            for output in outputs:
                self.node.create_subscription(
                    commanded[output.interface], output.topic, partial(self._commanded, output), ALL
                )
        self.parameters = AsyncParameterClient(self.node, "control_node")
        self.node.create_timer(PERIOD_S, self._say)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()
        self.state()
        self.until(lambda: self.node.count_subscribers("/control_status"))

    def _commanded(self, output, message) -> None:
        self.commands.append((output.topic, message))
        columns = self.profile.columns(output.columns)
        if output.interface == "forward":
            values = message.data
        elif output.interface == "trajectory":
            values = message.points[0].positions
        else:
            p, q = message.pose.position, message.pose.orientation
            values = (p.x, p.y, p.z, q.x, q.y, q.z, q.w)
        before, self.position = self.position, self.position.copy()
        self.position[columns] = values
        self._still = self._still + 1 if np.array_equal(before, self.position) else 0
        if self._clock_ns is not None:  # lockstep: every command is one period
            self._clock_ns += round(PERIOD_S * 1e9)
            self._say()

    def _say(self) -> None:
        if self.frozen:
            return
        now = self.node.get_clock().now().to_msg() if self._clock_ns is None else to_stamp(self._clock_ns)
        for source, publisher in self._states:
            values = self.position[self.profile.columns(source.columns)].tolist()
            if source.message == "JointState":
                message = JointState(name=list(source.names), position=values)
            else:
                message = PoseStamped()
                p, q = message.pose.position, message.pose.orientation
                p.x, p.y, p.z, q.x, q.y, q.z, q.w = values
            message.header.stamp = now
            publisher.publish(message)
        if self._clock_ns is not None:
            self._clock.publish(Clock(clock=to_stamp(self._clock_ns)))

    def send(self, rows: np.ndarray, generation: int, **fields) -> None:
        """Publish a chunk of 50 ms steps."""
        chunk = Chunk(
            generation,
            self.profile.joint_names,
            rows,
            50_000_000,
            action_space=self.profile.action_space,
            **fields,
        )
        self.send_message(chunk_to_message(chunk))

    def send_message(self, message: ActionChunk) -> None:
        """Publish a chunk as it is."""
        self.until(lambda: self._chunks.get_subscription_count() > 0)
        self._chunks.publish(message)

    def change(self, transition: int) -> bool:
        """Ask for a lifecycle transition."""
        return self._lifecycle.change(transition)

    def state(self) -> int:
        """The node's lifecycle state."""
        return self.call(GetState, "get_state", GetState.Request()).current_state.id

    def deactivate(self) -> None:
        """Send no more commands, if any were sent."""
        if self.state() == State.PRIMARY_STATE_ACTIVE:
            assert self.change(DEACTIVATE)

    def unconfigure(self) -> None:
        """Bring the node back to its beginning, whatever state it is in."""
        self.deactivate()
        if self.state() != State.PRIMARY_STATE_UNCONFIGURED:
            assert self.change(CLEANUP)

    def call(self, kind, name: str, request):
        """The answer of one of the node's services."""
        if name not in self._clients:
            self._clients[name] = self.node.create_client(kind, f"/control_node/{name}")
        return answer(self.until, self._clients[name], request)

    def wait(self, future):
        """The result of a future."""
        self.until(future.done)
        return future.result()

    def rest(self) -> None:
        """Wait until the arm stands still."""
        self._still = 0
        self.until(lambda: self._still >= REST)

    def until(self, condition, pause_s: float = 0.005) -> None:
        """Wait for a condition, asked for again after a pause [s]."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            last = self.reports[-1] if self.reports else None
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, (last, self.log, self.output())
            time.sleep(pause_s)

    def report(self, reason: str = "", *, commanding: bool = False, **fields) -> ControlStatus:
        """Wait for a report with these values.

        The newest one that has come before counts too, so a caller names what no earlier one can have said.

        Args:
            reason: need only be contained.
            commanding: a report with a command; before the first joint state there is none.
        """
        seen = len(self.reports)

        def fits(message):
            same = all(getattr(message, name) == value for name, value in fields.items())
            return same and reason in message.reason and (len(message.command) > 0 or not commanding)

        self.until(lambda: any(fits(message) for message in self.reports[max(0, seen - 1) :]))
        return next(message for message in self.reports[max(0, seen - 1) :] if fits(message))

    def output(self) -> str:
        """What the process printed."""
        return self._output.read_text()

    def close(self) -> int:
        """Ctrl-C; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self._executor.shutdown(timeout_sec=2.0)
            self._thread.join(2.0)
            rclpy.try_shutdown(context=self._context)
