"""The actions that the policy node serves, and the control process's reports: messages <-> core types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from rclpy.task import Future

from wallwm_model.errors import ConfigError
from wallwm_msgs.action import ExecuteEvent, ExecuteTask
from wallwm_msgs.msg import ControlStatus
from wallwm_ros.bridge.stamps import to_ns
from wallwm_ros.core.events import (
    ControlReport,
    ControlState,
    EventGoal,
    EventProgress,
    EventResult,
    Outcome,
)

POLICIES = {ExecuteEvent.Goal.REPLACE: False, ExecuteEvent.Goal.QUEUE: True}  # message -> EventGoal.queue


def report_from_message(message: ControlStatus) -> ControlReport:
    """What the control process says it did; a state unknown here counts as inactive."""
    known = message.state in list(ControlState)
    return ControlReport(
        state=ControlState(message.state) if known else ControlState.INACTIVE,
        reason=message.reason if known else f"unknown state {message.state}",
        generation=message.generation,
        step=message.step,
        settled=message.settled,
        rejected=message.rejected,
        stamp_ns=to_ns(message.header.stamp),
        measured=np.array(message.measured, dtype=np.float64),
    )


def goal_from_message(request: ExecuteEvent.Goal, key: bytes) -> EventGoal:
    """An action goal; `key` identifies it."""
    queue = POLICIES.get(request.policy, False)
    return EventGoal(key, request.caption, request.duration_s, request.timeout_s, queue)


def check_policy(request: ExecuteEvent.Goal) -> None:
    """Refuse an unknown policy.

    Raises:
        ConfigError: names the valid ones.
    """
    if request.policy not in POLICIES:
        raise ConfigError(f"policy must be 0 (REPLACE) or 1 (QUEUE); found {request.policy}")


@dataclass
class _Open:
    handle: ServerGoalHandle
    done: Future


class EventServer:
    """Serves ExecuteEvent: every goal is accepted, so that even a refusal comes back with its reason.

    Args:
        node: who serves.
        on_goal: told of a new goal; the goal is open until `finish`.
        on_cancel: told that a client wants the goal with this key to end.
    """

    def __init__(
        self, node: Node, on_goal: Callable[[EventGoal], None], on_cancel: Callable[[bytes], None]
    ) -> None:
        self._on_goal, self._on_cancel = on_goal, on_cancel
        self._open: dict[bytes, _Open] = {}
        self._server = ActionServer(
            node,
            ExecuteEvent,
            "execute_event",
            self._execute,
            handle_accepted_callback=self._accepted,
            cancel_callback=self._cancel,
        )

    @property
    def idle(self) -> bool:
        """No goal is open."""
        return not self._open

    def feedback(self, goal: EventGoal, progress: EventProgress) -> None:
        """Publish the progress of an open goal."""
        if goal.key in self._open:
            message = ExecuteEvent.Feedback(
                stage=progress.stage,
                progress=progress.progress,
                remaining_s=progress.remaining_s,
                step=progress.step,
            )
            self._open[goal.key].handle.publish_feedback(message)

    def finish(self, goal: EventGoal, result: EventResult) -> None:
        """End an open goal."""
        self._open[goal.key].done.set_result(result)

    def _accepted(self, handle: ServerGoalHandle) -> None:
        key = bytes(handle.goal_id.uuid)
        goal = goal_from_message(handle.request, key)
        self._open[key] = _Open(handle, Future())
        handle.execute()
        try:
            check_policy(handle.request)
        except ConfigError as error:
            self.finish(goal, EventResult(Outcome.REFUSED, str(error)))
            return
        self._on_goal(goal)

    def _cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        self._on_cancel(bytes(handle.goal_id.uuid))
        return CancelResponse.ACCEPT

    async def _execute(self, handle: ServerGoalHandle) -> ExecuteEvent.Result:
        key = bytes(handle.goal_id.uuid)
        result: EventResult = await self._open[key].done
        del self._open[key]
        if result.outcome == Outcome.SUCCEEDED:
            handle.succeed()
        elif handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return ExecuteEvent.Result(
            error_code=result.outcome,
            error_text=result.text,
            steps_executed=result.steps_executed,
            duration_s=result.duration_s,
            steps_planned=result.steps_planned,
            inference_s=result.inference_s,
        )


class TaskServer:
    """Serves ExecuteTask as far as the model can: `refusal` gives the reason why it cannot."""

    def __init__(self, node: Node, refusal: Callable[[], str]) -> None:
        self._node, self._refusal = node, refusal
        self._server = ActionServer(node, ExecuteTask, "execute_task", self._execute)

    def _execute(self, handle: ServerGoalHandle) -> ExecuteTask.Result:
        text = self._refusal()
        self._node.get_logger().warning(f"task {handle.request.instruction!r} refused: {text}")
        handle.abort()
        return ExecuteTask.Result(error_code=int(Outcome.REFUSED), error_text=text)
