"""A goal under way, and how long it may wait for others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wallwm_ros.core.events import EventGoal, EventProgress, EventResult, Outcome, Stage
from wallwm_ros.core.execution import SECOND, Execution


@dataclass(frozen=True)
class RunnerLimits:
    """How long the runner waits for others.

    Attributes:
        timeout_ns: of a goal that names none [ns].
        observation_ns: for a sound observation, once the arm is at rest [ns].
        control_ns: for a sign of life, or for a chunk to be taken up, from the control process [ns].
        feedback_ns: between two feedback messages [ns].
        queue_length: most events that may wait.
    """

    timeout_ns: int
    observation_ns: int
    control_ns: int
    feedback_ns: int = SECOND // 10
    queue_length: int = 32


@dataclass
class BaseRun:
    """A goal under way; times in ns, steady clock, except `not_before_ns` (message clock)."""

    goal: Any
    arrived_ns: int
    started_ns: int = 0
    stage: Stage = Stage.WAITING
    waiting_ns: int = 0
    not_before_ns: int | None = None
    ticket: int = 0
    wait_ms: float = 0.0
    trouble: str = ""
    feedback_due_ns: int = 0
    execution: Any = None

    @property
    def doing(self) -> str:
        """What it is at, for people."""
        stage = self.stage.name.lower()
        if self.execution is not None:
            return f"{stage} step {self.execution.step} of {self.execution.planned}"
        return f"{stage}, {self.trouble}" if self.trouble else stage


@dataclass
class Run(BaseRun):
    """One event under way."""

    goal: EventGoal
    execution: Execution | None = None

    @property
    def progress(self) -> EventProgress:
        """How far it is."""
        done = self.execution
        if done is None:
            return EventProgress(self.stage, 0.0, self.goal.duration_s, 0)
        remaining_s = max(done.planned - done.step, 0) * done.plan.step_s
        return EventProgress(self.stage, min(done.step / done.planned, 1.0), remaining_s, done.step)

    def result(self, outcome: Outcome, text: str, duration_s: float) -> EventResult:
        """How it ended, `duration_s` after it came [s]."""
        done = self.execution
        if done is None:
            return EventResult(outcome, text, duration_s=duration_s)
        return EventResult(outcome, text, done.step, done.planned, duration_s, done.plan.inference_s)
