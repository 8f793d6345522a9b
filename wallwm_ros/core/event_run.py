"""A goal under way, and how long it may wait for others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wallwm_ros.core.control_link import SECOND
from wallwm_ros.core.events import EventGoal, EventProgress, EventResult, Outcome, Stage
from wallwm_ros.core.execution import Execution


@dataclass(frozen=True)
class RunnerLimits:
    """How long the runner waits for others.

    Attributes:
        timeout_ns: of a goal that names none [ns].
        observation_ns: for a sound observation, once the arm is at rest or while it moves [ns].
        control_ns: for a sign of life, or for a chunk to be taken up, from the control process [ns].
        inference_ns: for the engine's answer [ns].
        preempt_ns: for a goal that takes the plan over: until then the one that it replaces goes on [ns].
        feedback_ns: between two feedback messages [ns].
        queue_length: most events that may wait.
    """

    timeout_ns: int
    observation_ns: int
    control_ns: int
    inference_ns: int
    preempt_ns: int = SECOND // 10
    feedback_ns: int = SECOND // 10
    queue_length: int = 32


@dataclass
class BaseRun:
    """A goal under way; times in ns, steady clock, except `not_before_ns` (message clock).

    Attributes:
        waiting_ns: since when it has waited for an observation at rest.
        not_before_ns: what was seen earlier is not looked at for the next chunk.
        wait_ms: how long that took [ms].
        due_ns: since when the next chunk has been wanted; none: it is not.
        seen_ns: when there was last a sound observation while a chunk moved the arm.
        watch_ns: when to look for one again.
        trouble: what it waits for, for people.
        execution: the plan that moves the arm; it passes on to a goal that takes over.
        chunks: published for this goal so far.
        began_step: step of the plan at which it began.
        inference_s: spent in the engine for what was published [s].
    """

    goal: Any
    arrived_ns: int
    started_ns: int = 0
    stage: Stage = Stage.WAITING
    waiting_ns: int = 0
    not_before_ns: int | None = None
    wait_ms: float = 0.0
    due_ns: int | None = None
    seen_ns: int = 0
    watch_ns: int = 0
    trouble: str = ""
    feedback_due_ns: int = 0
    execution: Execution | None = None
    chunks: int = 0
    began_step: int = 0
    inference_s: float = 0.0

    @property
    def doing(self) -> str:
        """What it is at, for people."""
        stage = self.stage.name.lower()
        if self.execution is not None:
            return f"{stage} step {self.execution.step} of {self.execution.planned}"
        return f"{stage}, {self.trouble}" if self.trouble else stage

    @property
    def moving(self) -> bool:
        """Its plan moves the arm, and more of it may come."""
        return self.stage == Stage.EXECUTING and self.execution is not None


@dataclass
class Run(BaseRun):
    """One event under way.

    Attributes:
        asked_step: step of the plan at which the newest question's picture was taken.
        expected_end: step of the plan at which the model expects the event to be over; 0: it is asked once.
        again: its last answer came too late.
    """

    goal: EventGoal
    asked_step: int = 0
    expected_end: float = 0.0
    again: bool = False

    @property
    def progress(self) -> EventProgress:
        """How far it is."""
        done = self.execution
        if done is None:
            return EventProgress(self.stage, 0.0, self.goal.duration_s, 0)
        whole = max(done.planned, self.expected_end) - self.began_step
        remaining_s = max(whole - self.step, 0) * done.plan.step_s
        return EventProgress(self.stage, min(self.step / whole, 1.0), remaining_s, self.step)

    @property
    def step(self) -> int:
        """Its own steps that were executed; the picture it began with may be a rounded step ahead of them."""
        return max(self.execution.step - self.began_step, 0)

    def result(self, outcome: Outcome, text: str, duration_s: float) -> EventResult:
        """How it ended, `duration_s` after it came [s]."""
        done = self.execution
        if done is None:
            return EventResult(outcome, text, duration_s=duration_s)
        planned = done.planned - self.began_step
        return EventResult(outcome, text, self.step, planned, duration_s, self.inference_s)
