"""The actions that the policy node serves, and the control process's reports: messages <-> core types."""

from __future__ import annotations

import numpy as np

from wallwm_model.errors import ConfigError
from wallwm_msgs.action import ExecuteEvent, ExecuteTask
from wallwm_msgs.msg import ControlStatus
from wallwm_ros.bridge.goal_server import GoalServer
from wallwm_ros.bridge.stamps import to_ns
from wallwm_ros.core.events import (
    ControlReport,
    ControlState,
    EventGoal,
    EventProgress,
    EventResult,
    Outcome,
)
from wallwm_ros.core.tasks import TaskGoal, TaskProgress, TaskResult

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
        sequence=message.sequence,
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


class EventServer(GoalServer[EventGoal]):
    """Serves ExecuteEvent."""

    action, name = ExecuteEvent, "execute_event"

    def _goal(self, request: ExecuteEvent.Goal, key: bytes) -> EventGoal:
        return goal_from_message(request, key)

    def _fault(self, request: ExecuteEvent.Goal) -> EventResult | None:
        try:
            check_policy(request)
        except ConfigError as error:
            return EventResult(Outcome.REFUSED, str(error))
        return None

    def _feedback(self, progress: EventProgress) -> ExecuteEvent.Feedback:
        return ExecuteEvent.Feedback(
            stage=progress.stage,
            progress=progress.progress,
            remaining_s=progress.remaining_s,
            step=progress.step,
        )

    def _result(self, result: EventResult) -> ExecuteEvent.Result:
        return ExecuteEvent.Result(
            error_code=result.outcome,
            error_text=result.text,
            steps_executed=result.steps_executed,
            duration_s=result.duration_s,
            steps_planned=result.steps_planned,
            inference_s=result.inference_s,
        )


class TaskServer(GoalServer[TaskGoal]):
    """Serves ExecuteTask."""

    action, name = ExecuteTask, "execute_task"

    def _goal(self, request: ExecuteTask.Goal, key: bytes) -> TaskGoal:
        return TaskGoal(key, request.instruction, request.timeout_s)

    def _feedback(self, progress: TaskProgress) -> ExecuteTask.Feedback:
        return ExecuteTask.Feedback(
            reasoning=progress.reasoning,
            caption=progress.caption,
            remaining_s=progress.remaining_s,
            chunk=progress.chunk,
        )

    def _result(self, result: TaskResult) -> ExecuteTask.Result:
        return ExecuteTask.Result(
            error_code=result.outcome,
            error_text=result.text,
            chunks_executed=result.chunks,
            duration_s=result.duration_s,
        )
