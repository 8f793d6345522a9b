"""What an event goal is, how goals end, what the model is asked and answers, what control reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from wallwm_model.thought import Thought
from wallwm_ros.core.control_state import ControlState


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
    ESTOPPED = 9
    TAKEN_OVER = 10


class Stage(IntEnum):
    """Where an event is; the numbers of `ExecuteEvent`'s feedback."""

    WAITING = 0
    INFERRING = 1
    EXECUTING = 2
    SETTLING = 3


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
        steps_executed, steps_planned: action steps that were carried out, and that the plan had in the end.
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
class EventTuning:
    """Parameters of events that may change while the arm moves.

    Attributes:
        replan_ns: the model is asked again on this period while the arm moves [ns]; 0: never.
        blend_steps: as in `TaskTuning`.
    """

    replan_ns: int = 0
    blend_steps: int = 4


@dataclass(frozen=True)
class EventQuestion:
    """What the model is asked for an event, or for the rest of it.

    Attributes:
        ticket: number of the question.
        text: the event in words.
        duration_s: expected duration of the rest [s]; 0 lets the model decide.
        committed: (d, D) targets that will be executed before the answer comes; none where the arm rests or
            the model takes no prefix.
        first_step: step of the plan at which the observation was taken.
        stamp_ns: when that was (message clock) [ns].
    """

    ticket: int
    text: str
    duration_s: float = 0.0
    committed: np.ndarray | None = field(default=None, repr=False)
    first_step: int = 0
    stamp_ns: int = 0


@dataclass(frozen=True)
class Plan:
    """One inference's answer, sound and ready to be published.

    Attributes:
        actions: (T, D) joint targets [rad, m], in the order of the model's joints.
        step_s: duration of one step [s].
        remaining_s: the model's estimate of what is left of the event when it was seen [s].
        observation_stamp_ns: when the oldest part of the observation was taken [ns].
        timings_ms: stage -> time it took [ms]: decode, preprocess, observe, act; mask, where one is made; and of
            observe and act together, where the engine is remote, network and queue.
        thought: what led to it, where the model reasons; read after the plan was handed out.
    """

    actions: np.ndarray
    step_s: float
    remaining_s: float
    observation_stamp_ns: int
    timings_ms: dict[str, float]
    thought: Thought | None = None

    @property
    def reasoning(self) -> str:
        """What the model thought, in words; empty until it was read, or where it does not say."""
        return self.thought.text if self.thought else ""

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
        if self.state == ControlState.TAKEOVER:
            return True
        return self.state in (ControlState.TRACKING, ControlState.STOPPING) and not self.settled
