"""One task under way, and the plan of successive chunks that it moves along."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from wallwm_ros.core.event_run import BaseRun
from wallwm_ros.core.events import ControlReport, ControlState, Outcome, Plan, Stage
from wallwm_ros.core.execution import ControlLink, Execution, reason
from wallwm_ros.core.steps import StepClock
from wallwm_ros.core.tasks import Place, TaskGoal, TaskProgress, TaskResult


@dataclass
class PlanExecution(Execution):
    """Chunks of one generation, each joining the one before at a step of the plan.

    Attributes:
        plan: the newest chunk, as it was published.
        steps: tells at which step a picture was taken.
        sequence, first_step: of the newest chunk.
        observed_ns: when the newest chunk's observation was taken (message clock) [ns].
        rested_ns: the first one's: until then the robot rested [ns].
        closing: how the task ends once the last row is reached and the arm rests; none: more is to come.
    """

    steps: StepClock = field(default_factory=lambda: StepClock(1))
    sequence: int = 0
    first_step: int = 0
    observed_ns: int = 0
    rested_ns: int = 0
    closing: tuple[Outcome, str] | None = None

    @property
    def planned(self) -> int:
        """Steps of the plan known so far."""
        return self.first_step + len(self.plan.actions)

    @property
    def place(self) -> Place:
        """Where the newest chunk belongs."""
        return Place(self.generation, self.sequence, self.first_step, final=self.closing is not None)

    def committed(self, first_step: int, count: int) -> np.ndarray | None:
        """(up to `count`, D) targets from a step of the plan on; none after the last row."""
        begin = first_step - self.first_step
        rows = self.plan.actions[begin : begin + count]
        return rows if len(rows) else None

    def join(self, plan: Plan, first_step: int, now_ns: int, link: ControlLink) -> None:
        """The next chunk is being sent, at `now_ns` (steady clock)."""
        self.plan, self.first_step, self.sequence = plan, first_step, self.sequence + 1
        self.published_ns, self.rejected = now_ns, link.rejected
        self.observed_ns = plan.observation_stamp_ns

    def cut(self, until: int) -> None:
        """Leave away what comes after step `until`."""
        rows = self.plan.actions[: until - self.first_step]
        self.plan = replace(self.plan, actions=rows)

    def _going_on(self, report: ControlReport, link: ControlLink, now_ns: int) -> tuple[Outcome, str] | None:
        self.steps.hear(report.stamp_ns, report.step)
        if report.state != ControlState.TRACKING and not report.settled:
            return self._stopped(report)
        if report.sequence < self.sequence:
            if report.rejected > self.rejected:
                text = f"the control process refused chunk {self.sequence} of the plan"
                return Outcome.CONTROL_LOST, f"{text}: {reason(report)}"
            if now_ns - self.published_ns > link.silence_ns:
                text = f"the control process has not taken up chunk {self.sequence} of the plan"
                return Outcome.CONTROL_LOST, f"{text}: {reason(report)}"
        elif self.closing is not None and self.step >= self.planned and report.settled:
            self.complete = link.at_rest(now_ns)
            return self.closing if self.complete else None
        return None


@dataclass
class TaskRun(BaseRun):
    """One task under way.

    Attributes:
        execution: the plan that moves the arm; it passes on to a task that takes over.
        chunks: published for this task so far.
        began_step: step of the plan at which it began.
        still_since: step of the plan from which on the model has held still.
        due_ns: since when the next chunk has been wanted (steady clock) [ns].
    """

    goal: TaskGoal
    execution: PlanExecution | None = None
    chunks: int = 0
    began_step: int = 0
    still_since: int | None = None
    due_ns: int | None = None

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

    @property
    def moving(self) -> bool:
        """Its plan moves the arm, and more of it may come."""
        return self.stage == Stage.EXECUTING and self.execution is not None
