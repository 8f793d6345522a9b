"""One task under way."""

from __future__ import annotations

from dataclasses import dataclass

from wallwm_ros.core.event_run import BaseRun
from wallwm_ros.core.events import Outcome
from wallwm_ros.core.tasks import TaskGoal, TaskProgress, TaskResult


@dataclass
class TaskRun(BaseRun):
    """One task under way.

    Attributes:
        still_since: step of the plan from which on the model has held still.
    """

    goal: TaskGoal
    still_since: int | None = None

    @property
    def progress(self) -> TaskProgress:
        """How far it is."""
        done = self.execution
        if done is None or not self.chunks:
            return TaskProgress("", self.goal.caption, 0.0, 0)
        since_s = max(done.step - done.first_step, 0) * done.plan.step_s
        remaining_s = max(done.plan.remaining_s - since_s, 0.0)
        return TaskProgress(done.plan.reasoning, self.goal.caption, remaining_s, self.chunks)

    def result(self, outcome: Outcome, text: str, duration_s: float) -> TaskResult:
        """How it ended, `duration_s` after it came [s]."""
        return TaskResult(outcome, text, self.chunks, duration_s)
