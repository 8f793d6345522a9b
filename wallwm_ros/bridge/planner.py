"""A planner's side of the robot: send events and tasks, reset and judge the scene, switch nodes on and off."""

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
from wallwm_model.wording import readable
from wallwm_msgs.action import ExecuteEvent, ExecuteTask
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
    """Feedback of one event or task.

    Attributes:
        stage: its name; of a task `chunk 3`, once there is one.
        progress: 0 to 1; None: unknown, as with tasks.
        remaining_s: time left, of a task that of its present event [s].
        step: action steps executed.
        reasoning: what the model thinks, in words; empty if it does not reason.
    """

    stage: str
    progress: float | None
    remaining_s: float
    step: int
    reasoning: str = ""


@dataclass(frozen=True)
class EventOutcome:
    """Result of one event; `code` as in ExecuteEvent, `status` its name, the rest in steps and seconds."""

    code: int
    status: str
    text: str
    steps: int
    planned: int
    seconds: float
    inference_s: float | None

    @property
    def succeeded(self) -> bool:
        """The motion was carried out to its end."""
        return self.code == ExecuteEvent.Result.SUCCEEDED


class TaskOutcome(EventOutcome):
    """Result of one task; its steps and its time in the engine are not reported."""

    @property
    def succeeded(self) -> bool:
        """The motion was carried out, until its own end, the planner's or the time limit: what it did is what counts."""
        ends = ExecuteEvent.Result
        return self.code in (ends.SUCCEEDED, ends.CANCELLED, ends.TIMED_OUT)


class Planner:
    """Blocking calls for a planner that is a plain program; an executor must spin `node` in another thread.

    Args:
        node: the planner's own node.
        alive: called while waiting; raises when waiting has become pointless, e.g. a process has ended.
    """

    def __init__(self, node: Node, alive: Callable[[], None] = lambda: None) -> None:
        self._node, self._alive = node, alive
        self._events = ActionClient(node, ExecuteEvent, "/execute_event")
        self._tasks = ActionClient(node, ExecuteTask, "/execute_task")
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

        def told(body: Any) -> None:
            stage = STAGES.get(body.stage, str(body.stage))
            on_progress(EventProgress(stage, body.progress, body.remaining_s, body.step))

        goal = ExecuteEvent.Goal(caption=caption, policy=ExecuteEvent.Goal.REPLACE)
        result = self._carry_out("/execute_event", self._events, ExecuteEvent, goal, told, silence_s)
        return EventOutcome(
            code=result.error_code,
            status=CODES.get(result.error_code, str(result.error_code)),
            text=result.error_text,
            steps=result.steps_executed,
            planned=result.steps_planned,
            seconds=result.duration_s,
            inference_s=result.inference_s,
        )

    def execute_task(
        self,
        instruction: str,
        on_progress: Callable[[EventProgress], None] = lambda _: None,
        enough: Callable[[], bool] = lambda: False,
        silence_s: float = 60.0,
    ) -> TaskOutcome:
        """As `execute`, one whole task in unified mode; it is cancelled when it is `enough`."""

        def told(body: Any) -> None:
            stage = f"chunk {body.chunk}" if body.chunk else "inferring"
            on_progress(EventProgress(stage, None, body.remaining_s, 0, readable(body.reasoning)))

        goal = ExecuteTask.Goal(instruction=instruction)
        result = self._carry_out("/execute_task", self._tasks, ExecuteTask, goal, told, silence_s, enough)
        status = CODES.get(result.error_code, str(result.error_code))
        return TaskOutcome(result.error_code, status, result.error_text, 0, 0, result.duration_s, None)

    def _carry_out(
        self,
        name: str,
        client: ActionClient,
        action: Any,
        goal: Any,
        told: Callable[[Any], None],
        silence_s: float,
        enough: Callable[[], bool] = lambda: False,
    ) -> Any:
        """Send a goal and wait for its result, which is one of the action's own also if it was not accepted."""
        heard = [time.monotonic()]

        def feedback(message: Any) -> None:
            heard[0] = time.monotonic()
            told(message.feedback)

        self._wait_for(client.server_is_ready, f"policy_node's action {name}", 30.0)
        sent = send_goal(self._node, client, goal, feedback)
        handle = self._finish(sent, "answer to the goal", heard, 30.0)
        if not handle.accepted:
            reason = self.complaint("policy_node") or "policy_node did not accept the goal"
            return action.Result(error_code=ExecuteEvent.Result.REFUSED, error_text=reason)
        cancelled: list[Any] = []

        def meanwhile() -> None:
            if not cancelled and enough():
                cancelled.append(handle.cancel_goal_async())

        return self._finish(handle.get_result_async(), f"result of {name}", heard, silence_s, meanwhile).result

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

    def _finish(
        self,
        future: Any,
        what: str,
        heard: list[float],
        timeout_s: float,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Any:
        """The future's result; `heard` holds the last sign of life [s, steady clock]."""
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        while not done.wait(0.1):
            self._alive()
            meanwhile()
            if time.monotonic() - heard[0] > timeout_s:
                raise PlannerError(f"expected the {what}; found silence for {timeout_s:.0f} s")
        return future.result()
