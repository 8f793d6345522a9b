"""A chunk of future targets, as the runtime handles it: arrays and int nanoseconds, no messages."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

JOINT_POSITION = "joint_position"
END_EFFECTOR_POSE = "end_effector_pose"


@dataclass(frozen=True)
class Chunk:
    """Future targets from one inference; one without rows asks for a shaped stop.

    Attributes:
        generation: plan it belongs to; a newer plan replaces an older one.
        joints: names of the D columns.
        values: (T, D) targets in the units of the robot profile; row k is due at start + (k + 1) steps.
        step_ns: duration of one step [ns].
        sequence: running number inside its generation.
        first_step: step of the event that row 0 is.
        start_ns: when row 0 starts, in the sender's clock [ns]; 0: as soon as it is received, or
            in the plan under way, where its first step belongs.
        final: hold at the last row; the event ends there.
        action_space: `joint_position` or `end_effector_pose`.
        caption: event it carries out.
        remaining_s: the model's estimate of the event's remaining time at row 0 [s].
        observation_ns: when the oldest part of the observation behind it was taken [ns].
        stamp_ns: when it was sent [ns].
    """

    generation: int
    joints: tuple[str, ...]
    values: np.ndarray = field(repr=False)
    step_ns: int
    sequence: int = 0
    first_step: int = 0
    start_ns: int = 0
    final: bool = True
    action_space: str = JOINT_POSITION
    caption: str = ""
    remaining_s: float = 0.0
    observation_ns: int = 0
    stamp_ns: int = 0

    @property
    def steps(self) -> int:
        """Number of rows."""
        return len(self.values)

    @property
    def is_stop(self) -> bool:
        """It asks for a shaped stop."""
        return self.steps == 0

    @classmethod
    def stop(cls, generation: int, joints: tuple[str, ...]) -> Chunk:
        """A stop request of a (newer) plan."""
        return cls(generation, joints, np.zeros((0, len(joints))), step_ns=50_000_000)
