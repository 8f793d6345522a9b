"""A planner's side of the robot: send events, reset and judge the scene, switch nodes on and off."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import Log
from rclpy.action import ActionClient
from rclpy.client import Client
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from wallwm_model.errors import WallWMError
from wallwm_msgs.action import ExecuteEvent
from wallwm_msgs.srv import JudgeScene, ResetScene
from wallwm_ros.bridge.goal_client import send_goal
from wallwm_ros.bridge.lifecycle_client import LifecycleClient

CODES = {
    getattr(ExecuteEvent.Result, name): name.lower().replace("_", " ")
    for name in (
        "SUCCEEDED", "REFUSED", "CANCELLED", "PREEMPTED", "TIMED_OUT", "NO_OBSERVATION",
        "ENGINE_FAILED", "CONTROL_LOST", "DEACTIVATED", "ESTOPPED", "TAKEN_OVER",
    )
}  # fmt: skip
STAGES = {
    getattr(ExecuteEvent.Feedback, name): name.lower()
    for name in ("WAITING", "INFERRING", "EXECUTING", "SETTLING")
}


_ERROR = 40  # rcl_interfaces/Log.ERROR, which some bindings give as bytes


class PlannerError(WallWMError):
    """A node did not answer, refused, or ended."""


@dataclass(frozen=True)
class EventProgress:
    """Feedback of one event: stage name, progress 0 to 1, time left [s], action steps executed."""

    stage: str
    progress: float
    remaining_s: float
    step: int


@dataclass(frozen=True)
class EventOutcome:
    """Result of one event; `code` as in ExecuteEvent, `status` its name, the rest in steps and seconds."""

    code: int
    status: str
    text: str
    steps: int
    planned: int
    seconds: float
    inference_s: float

    @property
    def succeeded(self) -> bool:
        """The motion was carried out to its end."""
        return self.code == ExecuteEvent.Result.SUCCEEDED


class Planner:
    """Blocking calls for a planner that is a plain program; an executor must spin `node` in another thread.

    Args:
        node: the planner's own node.
        alive: called while waiting; raises when waiting has become pointless, e.g. a process has ended.
    """

    def __init__(self, node: Node, alive: Callable[[], None] = lambda: None) -> None:
        self._node, self._alive = node, alive
        self._events = ActionClient(node, ExecuteEvent, "/execute_event")
        self._reset = node.create_client(ResetScene, "/sim_robot_node/reset")
        self._judge = node.create_client(JudgeScene, "/sim_robot_node/judge")
        self._lifecycles: dict[str, LifecycleClient] = {}
        self._complaints: dict[str, str] = {}
        log = QoSProfile(
            depth=50, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        node.create_subscription(Log, "/rosout", self._hear, log)

    def complaint(self, node_name: str) -> str:
        """The last error that a node logged; empty if it logged none."""
        return self._complaints.get(node_name, "")

    def transition(self, node_name: str, transition: int, timeout_s: float = 60.0) -> None:
        """Move a lifecycle node; `transition` is one of lifecycle_msgs/Transition's numbers.

        Raises:
            PlannerError: it refused (with the reason it logged).
            LifecycleError: it did not answer.
        """
        if node_name not in self._lifecycles:
            self._lifecycles[node_name] = LifecycleClient(self._node, node_name, self._alive)
        self._complaints.pop(node_name, None)
        if not self._lifecycles[node_name].change(transition, timeout_s):
            # The reason travels on another topic than the answer; give it a moment.
            deadline = time.monotonic() + 1.0
            while not self.complaint(node_name) and time.monotonic() < deadline:
                time.sleep(0.02)
            raise PlannerError(self.complaint(node_name) or f"{node_name} refused transition {transition}")

    def reset(self, task: str, seed: int, blank_cameras: bool = False) -> tuple[tuple[str, ...], str]:
        """New scene -> the captions that carry out its task, and its description as JSON.

        Raises:
            PlannerError: the simulator refused or did not answer.
        """
        request = ResetScene.Request(task=task, seed=seed, blank_cameras=blank_cameras)
        reply = self._call(self._reset, request, "reset of the scene", 60.0)
        if not reply.success:
            raise PlannerError(f"the simulator refused task {task!r}, seed {seed}: {reply.message}")
        return tuple(reply.captions), reply.scene_json

    def judge(self, caption: str = "") -> tuple[bool, str]:
        """Whether an event (empty: the whole task) is physically achieved, and the measured reason."""
        reply = self._call(self._judge, JudgeScene.Request(caption=caption), "verdict on the scene", 30.0)
        return reply.success, reply.message

    def execute(
        self,
        caption: str,
        on_progress: Callable[[EventProgress], None] = lambda _: None,
        silence_s: float = 60.0,
    ) -> EventOutcome:
        """Carry out one event and wait for its end; `silence_s` is the longest time without feedback.

        Raises:
            PlannerError: no policy_node answers, or it falls silent.
        """
        heard = [time.monotonic()]

        def feedback(message: Any) -> None:
            heard[0] = time.monotonic()
            body = message.feedback
            stage = STAGES.get(body.stage, str(body.stage))
            on_progress(EventProgress(stage, body.progress, body.remaining_s, body.step))

        self._wait_for(self._events.server_is_ready, "policy_node's action /execute_event", 30.0)
        goal = ExecuteEvent.Goal(caption=caption, policy=ExecuteEvent.Goal.REPLACE)
        sent = send_goal(self._node, self._events, goal, feedback)
        handle = self._finish(sent, "answer to the goal", heard, 30.0)
        if not handle.accepted:
            reason = self.complaint("policy_node") or "policy_node did not accept the goal"
            return EventOutcome(ExecuteEvent.Result.REFUSED, "refused", reason, 0, 0, 0.0, 0.0)
        result = self._finish(handle.get_result_async(), f"result of {caption!r}", heard, silence_s).result
        return EventOutcome(
            code=result.error_code,
            status=CODES.get(result.error_code, str(result.error_code)),
            text=result.error_text,
            steps=result.steps_executed,
            planned=result.steps_planned,
            seconds=result.duration_s,
            inference_s=result.inference_s,
        )

    def _hear(self, message: Log) -> None:
        if message.level >= _ERROR:
            self._complaints[message.name.rsplit(".", 1)[-1]] = message.msg

    def _call(self, client: Client, request: Any, what: str, timeout_s: float) -> Any:
        self._wait_for(client.service_is_ready, what, timeout_s)
        return self._finish(client.call_async(request), what, [time.monotonic()], timeout_s)

    def _wait_for(self, ready: Callable[[], bool], what: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not ready():
            self._alive()
            if time.monotonic() > deadline:
                raise PlannerError(f"expected the {what}; found no server within {timeout_s:.0f} s")
            time.sleep(0.02)

    def _finish(self, future: Any, what: str, heard: list[float], timeout_s: float) -> Any:
        """The future's result; `heard` holds the last sign of life [s, steady clock]."""
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        while not done.wait(0.1):
            self._alive()
            if time.monotonic() - heard[0] > timeout_s:
                raise PlannerError(f"expected the {what}; found silence for {timeout_s:.0f} s")
        return future.result()
