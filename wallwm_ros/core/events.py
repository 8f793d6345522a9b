"""What an event goal is, how goals end, and what their runners need from the outside."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

import numpy as np

from wallwm_ros.core.synchronizer import Match, Unsound


class Outcome(IntEnum):
    """How an event ended; the numbers of `ExecuteEvent`'s result."""

    SUCCEEDED = 0
    REFUSED = 1
    CANCELLED = 2
    PREEMPTED = 3
    TIMED_OUT = 4
    NO_OBSERVATION = 5
    ENGINE_FAILED = 6
    CONTROL_LOST = 7
    DEACTIVATED = 8


class Stage(IntEnum):
    """Where an event is; the numbers of `ExecuteEvent`'s feedback."""

    WAITING = 0
    INFERRING = 1
    EXECUTING = 2
    SETTLING = 3


class ControlState(IntEnum):
    """What the control process is doing; the numbers of `ControlStatus`."""

    HOLD = 0
    TRACKING = 1
    STOPPING = 2
    INACTIVE = 3


@dataclass(frozen=True)
class EventGoal:
    """One event to carry out.

    Attributes:
        key: identifies the goal.
        caption: the event in words.
        duration_s: expected duration [s]; 0 lets the model decide.
        timeout_s: give up after this long, counted from the event's turn [s]; 0 takes the default.
        queue: wait for the events before it; otherwise replace them all.
    """

    key: bytes
    caption: str
    duration_s: float = 0.0
    timeout_s: float = 0.0
    queue: bool = False


@dataclass(frozen=True)
class EventProgress:
    """Feedback: `progress` 0 to 1, `remaining_s` [s] (0 while unknown), `step` [action steps]."""

    stage: Stage
    progress: float
    remaining_s: float
    step: int


@dataclass(frozen=True)
class EventResult:
    """How one event went.

    Attributes:
        outcome: how it ended.
        text: why, in one sentence.
        steps_executed, steps_planned: action steps that were carried out, and that the chunk had.
        duration_s: from the goal's arrival to its end [s].
        inference_s: spent in the engine [s].
    """

    outcome: Outcome
    text: str
    steps_executed: int = 0
    steps_planned: int = 0
    duration_s: float = 0.0
    inference_s: float = 0.0


@dataclass(frozen=True)
class Plan:
    """One inference's answer, sound and ready to be published.

    Attributes:
        actions: (T, D) joint targets [rad, m], in the order of the model's joints.
        step_s: duration of one step [s].
        remaining_s: the model's estimate of the event's length [s].
        observation_stamp_ns: when the oldest part of the observation was taken [ns].
        timings_ms: stage -> time it took [ms]: decode, preprocess, observe, act; and mask, where one is made.
        reasoning: what the model thought, readable; empty where it does not say.
    """

    actions: np.ndarray
    step_s: float
    remaining_s: float
    observation_stamp_ns: int
    timings_ms: dict[str, float]
    reasoning: str = ""

    @property
    def inference_s(self) -> float:
        """Time spent in the engine [s]."""
        return (self.timings_ms.get("observe", 0.0) + self.timings_ms.get("act", 0.0)) / 1000


@dataclass(frozen=True)
class ControlReport:
    """What the control process says it did in its last period; fields as in `ControlStatus`.

    Attributes:
        stamp_ns: the control period reported, on the message clock [ns].
        measured: (D,) measured positions [rad, m]; empty where unknown.
    """

    state: ControlState
    reason: str
    generation: int
    step: int
    settled: bool
    rejected: int
    stamp_ns: int
    measured: np.ndarray
    sequence: int = 0

    @property
    def moving(self) -> bool:
        """The command has not come to rest."""
        return self.state in (ControlState.TRACKING, ControlState.STOPPING) and not self.settled


class Port(Protocol):
    """What a runner of goals asks of the outside, whatever kind they are of; nothing here may block."""

    def message_now_ns(self) -> int:
        """The time of the clock that stamps the messages [ns]."""

    def look(self, not_before_ns: int) -> Match | Unsound:
        """The newest sound observation taken at or after `not_before_ns` (message clock) [ns]."""

    def stop(self, generation: int) -> None:
        """Ask the control process for a shaped stop."""

    def feedback(self, goal: Any, progress: Any) -> None:
        """Tell the client how far the goal is."""

    def finish(self, goal: Any, result: Any) -> None:
        """Tell the client how the goal ended; called exactly once per goal."""


class EventPort(Port, Protocol):
    """What the runner of events asks of the outside."""

    def infer(self, ticket: int, match: Match, goal: EventGoal) -> None:
        """Start inference; the runner hears the answer by `inferred`, `unseen` or `inference_failed`."""

    def publish(self, generation: int, plan: Plan, goal: EventGoal, wait_ms: float) -> None:
        """Send the chunk to the control process; `wait_ms` was spent waiting for the observation [ms]."""
