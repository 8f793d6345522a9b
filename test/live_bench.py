"""A planner's seat for live tests: starts node processes, switches them, sends events and listens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import Log
from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from service_calls import answer
from std_msgs.msg import String

from wallwm_msgs.action import ExecuteEvent, ExecuteTask
from wallwm_msgs.msg import ActionChunk, ControlStatus
from wallwm_ros.bridge import qos
from wallwm_ros.bridge.diagnostics import CAMERAS, latency_from_message
from wallwm_ros.bridge.goal_client import send_goal
from wallwm_ros.bridge.lifecycle_client import LifecycleClient
from wallwm_ros.bridge.sim import image_message

HERE = Path(__file__).parent
WRISTS = ("wrist_cam_left", "wrist_cam_right")  # two of a kind: a swapped lens shows
PATIENCE_S = 60.0  # a hang ends the test; nothing is judged by how long it took


class Event:
    """One goal sent: its feedback as it comes, and its result."""

    def __init__(self, bench: LiveBench, caption: str, **fields) -> None:
        self.bench, self.feedback = bench, []
        goal = ExecuteEvent.Goal(caption=caption, **fields)
        heard = self.feedback.append
        self.handle = bench.wait(send_goal(bench.node, bench.events, goal, lambda m: heard(m.feedback)))
        self._result = self.handle.get_result_async()

    @property
    def identity(self) -> str:
        """As lines of the log name it."""
        return f"id={bytes(self.handle.goal_id.uuid).hex()[:8]}"

    @property
    def stages(self) -> list[int]:
        """Stages reported so far, without repetition."""
        found = [f.stage for f in list(self.feedback)]
        return [stage for i, stage in enumerate(found) if i == 0 or found[i - 1] != stage]

    def reach(self, stage: int, step: int = 0) -> None:
        """Wait until the event is that far."""
        self.bench.until(lambda: any(f.stage == stage and f.step >= step for f in list(self.feedback)))

    def result(self):
        """(goal status, result message)."""
        answer = self.bench.wait(self._result)
        return answer.status, answer.result

    def over(self) -> bool:
        """The result is there."""
        return self._result.done()

    def cancel_soon(self) -> None:
        """Ask for the end, and go on."""
        self.handle.cancel_goal_async()

    def cancel(self) -> None:
        """Ask for the end."""
        self.bench.wait(self.handle.cancel_goal_async())


class LiveBench:
    """Processes, and a node that spins in a thread."""

    def __init__(self, domain: int, folder: Path) -> None:
        self.folder, self.processes = folder, {}
        self._environment = os.environ | {
            "ROS_DOMAIN_ID": str(domain),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
        }
        paths = [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
        self._environment["PYTHONPATH"] = os.pathsep.join(p for p in paths if p)
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node = rclpy.create_node("planner", context=self._context)
        self.chunks: list[ActionChunk] = []
        self.latencies: list[DiagnosticArray] = []
        self.cameras: list[DiagnosticStatus] = []
        self.diagnosed: dict[str, DiagnosticStatus] = {}
        self.lens: dict[str, float] = {}
        self.log: list[Log] = []
        self.status: ControlStatus | None = None
        self._obeyed, self._clients, self._lifecycles = "", {}, {}
        self._listen()
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        node = self.node
        self.events = ActionClient(node, ExecuteEvent, "/execute_event")
        self.tasks = ActionClient(node, ExecuteTask, "/execute_task")
        node.create_subscription(ActionChunk, "/action_chunk", self.chunks.append, 10)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnosed, 10)
        node.create_subscription(ControlStatus, "/control_status", self._heard, 10)
        lasting = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(Log, "/rosout", self.log.append, lasting)
        for name in WRISTS:
            node.create_subscription(CameraInfo, f"/{name}/camera_info", partial(self._seen, name), 1)
        self._orders = node.create_publisher(String, "/tiny_robot/order", 10)
        node.create_subscription(String, "/tiny_robot/obeyed", self._done, qos.LATCHED)

    def _heard(self, message: ControlStatus) -> None:
        self.status = message

    def _done(self, message: String) -> None:
        self._obeyed = message.data

    def _seen(self, camera: str, message: CameraInfo) -> None:
        self.lens[camera] = float(message.k[0])

    def _diagnosed(self, message: DiagnosticArray) -> None:
        if message.status[0].name == CAMERAS:
            self.cameras.append(message.status[0])
        elif latency_from_message(message) is not None:
            self.latencies.append(message)
        for status in message.status:
            self.diagnosed[status.name] = status

    def start(self, name: str, *command: str) -> None:
        """Run `python COMMAND` in its own process group; its output goes to a file."""
        output = open(self.folder / f"{name}.log", "w")
        self.processes[name] = subprocess.Popen(
            [sys.executable, *command],
            env=self._environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def stop(self, name: str, number: int = signal.SIGINT) -> int:
        """Signal a process and give its exit code."""
        process = self.processes.pop(name)
        process.send_signal(number)
        return process.wait(PATIENCE_S)

    def output(self, name: str) -> str:
        """What a process has printed."""
        return (self.folder / f"{name}.log").read_text()

    def close(self) -> None:
        """End every process and the own node."""
        for name in list(self.processes):
            self.processes[name].kill()
            self.processes.pop(name).wait()
        self._executor.shutdown()
        self._thread.join(5.0)
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def heard(self, count: int) -> None:
        """Wait for so many reports of the control process."""
        for _ in range(count):
            before = self.status
            self.until(lambda before=before: self.status is not before)

    def until(self, condition, pause_s: float = 0.01) -> None:
        """Wait for a condition, asked for again after a pause [s]."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} has ended: {self.output(name)}"
            assert time.monotonic() < deadline, "nothing happened"
            time.sleep(pause_s)

    def wait(self, future):
        """A future's result."""
        self.until(future.done)
        return future.result()

    def call(self, kind, name, request):
        """The answer of a service."""
        if name not in self._clients:
            self._clients[name] = self.node.create_client(kind, name)
        return answer(self.until, self._clients[name], request)

    def between(self, function, *arguments) -> None:
        """Let the executor call it between two waits: what is waited for must not be destroyed meanwhile."""
        self.wait(self._executor.create_task(function, *arguments))

    def change(self, node: str, transition: int) -> bool:
        """Ask a lifecycle node for a transition."""
        if node not in self._lifecycles:
            self._lifecycles[node] = LifecycleClient(self.node, node)
        return self._lifecycles[node].change(transition)

    def bring_up(self, node: str) -> None:
        """Configure and activate."""
        assert self.change(node, Transition.TRANSITION_CONFIGURE), self.output(node)
        assert self.change(node, Transition.TRANSITION_ACTIVATE), self.output(node)

    def take_down(self, node: str) -> None:
        """Deactivate if active, and clean up."""
        if self.state(node) == ACTIVE:
            assert self.change(node, Transition.TRANSITION_DEACTIVATE)
        assert self.state(node) == INACTIVE
        assert self.change(node, Transition.TRANSITION_CLEANUP)

    def state(self, node: str) -> int:
        """A lifecycle node's state."""
        return self.call(GetState, f"/{node}/get_state", GetState.Request()).current_state.id

    def set(self, node: str, **values) -> str:
        """Set parameters; the reason if they were refused."""
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        )
        return " ".join(
            r.reason
            for r in self.call(SetParameters, f"/{node}/set_parameters", request).results
            if not r.successful
        )

    def _order(self, order: str, cameras: str) -> None:
        """Tell the tiny robot; no picture that it takes after this returns is one of before."""
        self.until(lambda: self._orders.get_subscription_count() > 0)
        self._obeyed, words = "", f"{order} {cameras}"
        self._orders.publish(String(data=words))
        self.until(lambda: self._obeyed == words)

    def mute(self, cameras: str) -> None:
        """Silence cameras of the tiny robot."""
        self._order("mute", cameras)

    def relabel(self, cameras: str) -> None:
        """Let pictures of cameras of the tiny robot come with another frame_id."""
        self._order("relabel", cameras)

    def swap(self, cameras: str) -> None:
        """Let cameras of the tiny robot say that they have another lens, and wait until they do."""
        self._order("swap", cameras)
        lens = self.lens
        self.until(lambda: len(lens) == len(WRISTS))
        self.until(lambda: all((lens[n] > 1.1 * min(lens.values())) == (n in cameras) for n in WRISTS))

    def show(self, camera: str, picture: np.ndarray, until: Callable[[], bool]) -> None:
        """Publish a raw picture in a camera's name, again and again until a condition holds."""
        publisher = self.node.create_publisher(Image, f"/{camera}/image_raw", qos.SENSOR_OUT)

        def shown() -> bool:
            now_ns = self.node.get_clock().now().nanoseconds
            publisher.publish(image_message(picture, f"{camera}_optical_frame", now_ns))
            return until()

        self.until(shown)
        self.between(self.node.destroy_publisher, publisher)

    def errors(self, node: str) -> list[str]:
        """What a node has logged as errors."""
        return [
            m.msg
            for m in list(self.log)
            if m.name == node and int.from_bytes(bytes([m.level]), "little") >= 40
        ]


UNCONFIGURED, INACTIVE, ACTIVE = (
    State.PRIMARY_STATE_UNCONFIGURED,
    State.PRIMARY_STATE_INACTIVE,
    State.PRIMARY_STATE_ACTIVE,
)
