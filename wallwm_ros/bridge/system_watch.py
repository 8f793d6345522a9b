"""Looks at a running system from outside: topics and services only."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from action_msgs.msg import GoalStatus, GoalStatusArray
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters
from rclpy.client import Client
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import qos_profile_action_status_default
from rclpy.task import Future

from wallwm_msgs.action import ExecuteEvent, ExecuteTask
from wallwm_msgs.msg import ControlStatus
from wallwm_ros.bridge import qos
from wallwm_ros.bridge.diagnostics import TOPIC
from wallwm_ros.bridge.planner import STAGES
from wallwm_ros.core.events import ControlState
from wallwm_ros.core.system import (
    ABSENT,
    MUTE,
    NEEDED,
    POLICY,
    RUNNING,
    SIMULATOR,
    Control,
    Goal,
    Level,
    Part,
    Snapshot,
)

ASK_S = 0.5
LISTEN_S = 1.0
ANSWER_S = 2.5  # a node that has not answered for so long does not answer
SETTINGS = ("mode", "model", "robot")
OPEN = (GoalStatus.STATUS_ACCEPTED, GoalStatus.STATUS_EXECUTING, GoalStatus.STATUS_CANCELING)
ACTIONS = {"event": (ExecuteEvent, "/execute_event"), "task": (ExecuteTask, "/execute_task")}
# Fields of ControlStatus that are figures, beside the joints' arrays.
FIGURES = (
    "generation", "sequence", "rejected", "dropped_steps", "seam_velocity", "seam_acceleration",
    "missed_periods", "period_ms",
)  # fmt: skip


class SystemWatch:
    """Listens and asks; `snapshot` tells what is known. Everything in the thread that spins the node."""

    def __init__(self, node: Node) -> None:
        self._node, self._began = node, time.monotonic()
        self._parts: dict[str, tuple[Part, float]] = {}
        self._control: tuple[Control, float] | None = None
        self._answers: dict[str, tuple[str, float]] = {}
        self._settings: dict[str, str] = {}
        self._open: dict[str, set[bytes]] = {kind: set() for kind in ACTIONS}
        self._feedback: dict[bytes, tuple[str, Any]] = {}
        node.create_subscription(ControlStatus, "/control_status", self._controlled, qos.STATUS)
        node.create_subscription(DiagnosticArray, TOPIC, self._diagnosed, qos.STATUS)
        for kind, (action, name) in ACTIONS.items():
            node.create_subscription(
                GoalStatusArray,
                f"{name}/_action/status",
                partial(self._goals, kind),
                qos_profile_action_status_default,
            )
            feedback = action.Impl.FeedbackMessage
            node.create_subscription(
                feedback, f"{name}/_action/feedback", partial(self._fed_back, kind), qos.STATUS
            )
        self._states = {name: node.create_client(GetState, f"/{name}/get_state") for name in NEEDED}
        self._values = node.create_client(GetParameters, f"/{POLICY}/get_parameters")
        self._owed: dict[Client, tuple[Future, float]] = {}
        node.create_timer(ASK_S, self._ask, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._ask()

    def complete(self) -> bool:
        """All that an active system tells has been heard."""
        now = self.snapshot()
        if time.monotonic() - self._began < LISTEN_S:
            return False  # a node that need not be there may not have been discovered yet
        told = all(f"{name}: state" in now.parts and name in self._answers for name in NEEDED)
        return told and now.control is not None and bool(now.settings)

    def snapshot(self) -> Snapshot:
        """What is known at present."""
        now = time.monotonic()
        control = self._control and _aged(*self._control, now)
        parts = {name: _aged(*known, now) for name, known in sorted(self._parts.items())}
        domain = int(os.environ.get("ROS_DOMAIN_ID") or 0)
        return Snapshot(domain, self._nodes(now), dict(self._settings), control, self._goal(), parts)

    def _nodes(self, now: float) -> dict[str, str]:
        there = set(self._node.get_node_names())
        found = {name: self._lifecycle(name, now) if name in there else ABSENT for name in NEEDED}
        return found | ({SIMULATOR: RUNNING} if SIMULATOR in there else {})

    def _lifecycle(self, name: str, now: float) -> str:
        state, heard = self._answers.get(name, (MUTE, now))
        return state if now - heard <= ANSWER_S else MUTE

    def _goal(self) -> Goal | None:
        """The one that is furthest; others wait."""
        going = [(key, kind) for kind, keys in self._open.items() for key in keys]
        if not going:
            return None
        waiting = ExecuteEvent.Feedback.WAITING
        going.sort(key=lambda item: getattr(self._feedback.get(item[0], ("", None))[1], "stage", waiting))
        key, kind = going[-1]
        told = self._feedback.get(key, (kind, None))[1]
        known = self._parts.get(f"{POLICY}: state")
        values = known[0].values if known else {}
        caption, stage = values.get("goal", ""), values.get("stage", "waiting")
        if told is None or kind == "task":
            remaining_s = told.remaining_s if told else 0.0
            return Goal(kind, caption, stage, None, remaining_s, len(going))
        stage = STAGES.get(told.stage, str(told.stage))
        return Goal(kind, caption, stage, told.progress, told.remaining_s, len(going))

    def _controlled(self, message: ControlStatus) -> None:
        known = message.state in list(ControlState)
        state = ControlState(message.state).name if known else f"state {message.state}"
        figures = {name: float(getattr(message, name)) for name in FIGURES}
        control = Control(state, message.reason, message.step, message.steps, figures)
        self._control = control, time.monotonic()

    def _diagnosed(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.partition(":")[0] in NEEDED:
                values = {pair.key: pair.value for pair in status.values}
                level = Level(int.from_bytes(status.level, "little") & 3)
                self._parts[status.name] = Part(status.name, level, status.message, values), time.monotonic()

    def _goals(self, kind: str, message: GoalStatusArray) -> None:
        listed = [s for s in message.status_list if s.status in OPEN]
        self._open[kind] = {bytes(status.goal_info.goal_id.uuid) for status in listed}
        self._feedback = {k: v for k, v in self._feedback.items() if v[0] != kind or k in self._open[kind]}

    def _fed_back(self, kind: str, message: Any) -> None:
        self._feedback[bytes(message.goal_id.uuid)] = kind, message.feedback

    def _ask(self) -> None:
        """The nodes' lifecycle states, and how the policy node is set."""
        for name, client in self._states.items():
            self._call(client, GetState.Request(), partial(self._answered, name))
        self._call(self._values, GetParameters.Request(names=list(SETTINGS)), self._set)

    def _call(self, client: Client, request: Any, heard: Callable[[Any], None]) -> None:
        """Ask again unless an answer is still due; one that a dead node owes is given up."""
        now = time.monotonic()
        future, asked = self._owed.get(client, (None, 0.0))
        if future is not None and not future.done():
            if now - asked < ANSWER_S:
                return
            client.remove_pending_request(future)
        if client.service_is_ready():
            future = client.call_async(request)
            future.add_done_callback(lambda done: heard(done.result()))
            self._owed[client] = future, now

    def _answered(self, name: str, answer: GetState.Response) -> None:
        self._answers[name] = answer.current_state.label, time.monotonic()

    def _set(self, answer: GetParameters.Response) -> None:
        values = [parameter_value_to_python(value) for value in answer.values]
        self._settings = {name: str(value) for name, value in zip(SETTINGS, values, strict=False) if value}


def _aged(known: Any, heard: float, now: float) -> Any:
    """`known`, with how long ago it was heard [s]."""
    return type(known)(**{**vars(known), "age_s": now - heard})
