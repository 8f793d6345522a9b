"""What a task goal is, how it ends, and what the model is asked for its chunks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from wallwm_ros.core.events import Outcome


@dataclass(frozen=True)
class TaskGoal:
    """One task to carry out; a newer one takes over at the next chunk.

    Attributes:
        key: identifies the goal.
        caption: the whole task's instruction, or with the source `atomic` what to do until the next goal.
        timeout_s: give up after this long, counted from the task's turn [s]; 0 takes the default.
    """

    key: bytes
    caption: str
    timeout_s: float = 0.0


@dataclass(frozen=True)
class TaskProgress:
    """Feedback: the model's reasoning, the words carried out, the rest of the present event [s], chunk."""

    reasoning: str
    caption: str
    remaining_s: float
    chunk: int


@dataclass(frozen=True)
class TaskResult:
    """How one task went: `chunks` were carried out in `duration_s` [s] from the goal's arrival to its end."""

    outcome: Outcome
    text: str
    chunks: int = 0
    duration_s: float = 0.0


@dataclass(frozen=True)
class TaskTuning:
    """Parameters of tasks that may change while the arm moves.

    Attributes:
        source: where the text side comes from: `instruction`, `atomic` or `staircase`.
        replan_steps: the next chunk is inferred from this step of the present one on; 0: from three quarters,
            from its half if the engine is slow.
        blend_steps: a chunk takes over from the one before during so many steps.
        still: a chunk whose targets move less than this holds still [rad or m].
    """

    source: str = "instruction"
    replan_steps: int = 0
    blend_steps: int = 4
    still: float = 0.01


@dataclass(frozen=True)
class Question:
    """What the model is asked for the next chunk.

    Attributes:
        ticket: number of the question.
        text, source: as in `TaskGoal` and `TaskTuning`.
        chunk: how many chunk lengths into its task the arm is, counted from 1; 0: unknown.
        committed: (d, D) targets that will be executed before the answer comes; none where the arm rests or
            the model takes no prefix.
        first_step: step of the plan at which the observation was taken.
        stamp_ns: when that was (message clock) [ns].
    """

    ticket: int
    text: str
    source: str
    chunk: int
    committed: np.ndarray | None = field(default=None, repr=False)
    first_step: int = 0
    stamp_ns: int = 0
