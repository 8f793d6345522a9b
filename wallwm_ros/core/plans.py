"""Plans of chunks: what chunks are like, where one belongs, and what runners of goals ask of the outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from wallwm_ros.core.events import Plan, Stage
from wallwm_ros.core.synchronizer import Match, Unsound


@dataclass(frozen=True)
class ChunkShape:
    """What the model's chunks are like; from its specification.

    Attributes:
        steps: of every chunk of fixed length.
        step_ns: duration of one [ns].
        takes_prefix: the model goes on from committed steps.
        quaternions: first of each four columns that hold a unit quaternion.
    """

    steps: int
    step_ns: int
    takes_prefix: bool
    quaternions: tuple[int, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a chunk belongs in its plan; fields as in `ActionChunk`."""

    generation: int
    sequence: int = 0
    first_step: int = 0
    final: bool = True


class Port(Protocol):
    """What a runner of goals asks of the outside, whatever kind they are of; nothing here may block."""

    def message_now_ns(self) -> int:
        """The time of the clock that stamps the messages [ns]."""

    def look(self, not_before_ns: int, rested_ns: int | None = None) -> Match | Unsound:
        """The newest sound observation taken since `not_before_ns`; for tasks with pictures of the past.

        Args:
            rested_ns: until then the robot rested, so that what was seen then stands for what lay before;
                None: it rests still. All times are of the message clock [ns].
        """

    def infer(self, match: Match, question: Any) -> None:
        """Start inference; the runner hears the answer by `inferred`, `unseen` or `inference_failed`."""

    def publish(self, place: Place, plan: Plan, goal: Any, wait_ms: float | None) -> None:
        """Send a chunk to the control process.

        Args:
            wait_ms: was spent waiting for the observation [ms]; None: these rows were sent before.
        """

    def stop(self, generation: int) -> None:
        """Ask the control process for a shaped stop."""

    def feedback(self, goal: Any, progress: Any) -> None:
        """Tell the client how far the goal is."""

    def staged(self, goal: Any, stage: Stage, reason: str) -> None:
        """The goal has come to another stage."""

    def finish(self, goal: Any, result: Any) -> None:
        """Tell the client how the goal ended; called exactly once per goal."""
