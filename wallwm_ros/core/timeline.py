"""The chunk timeline: which targets are due when, and which chunks are refused."""

from __future__ import annotations

import numpy as np

from wallwm_ros.core.chunk import Chunk
from wallwm_ros.core.lead import advance
from wallwm_ros.core.path import Path
from wallwm_ros.core.robot import RobotProfile
from wallwm_ros.core.smoothing import Bounds

MAX_STEP_NS = 10_000_000_000
MOST_ROWS = 1000  # laying a path through more would keep the control loop waiting
MOST_STEPS = 2**32 - 1  # of an event, as far as reports can count
FARTHEST = 1e6  # of a target from zero [rad or m]: sums and products of such numbers stay numbers
END_OF_PLANS = 2**63  # generations from here on are no plan's: the next ones must fit into a message too
# A row due sooner than this part of a step is no knot of its own: the path would jump to reach it.
_NEAREST_KNOT = 0.25
_FEASIBLE = 0.95  # part of the limits that the path itself may use
_MOST_SHIFT = 0.5  # smoothing moves a target by at most this part of what full speed covers in one step


class Timeline:
    """Targets over time, from the chunks accepted so far.

    The path leads from the command at acceptance through the rows that are still due, and stands still after
    the last. A later chunk replaces every target before it; rows already due are dropped, never sent.

    Attributes:
        generation, sequence: of the newest chunk accepted.
        final: the last row ends the event.
        caption: event being carried out.
        dropped: rows of that chunk that were due already when it joined.
    """

    def __init__(self, profile: RobotProfile, max_start_ahead_ns: int) -> None:
        self._profile, self._max_start_ahead_ns = profile, max_start_ahead_ns
        self.generation, self.sequence, self.final, self.caption, self.dropped = 0, 0, True, "", 0
        self._lead_ns = profile.limit("lead") * 1e9
        self._heard = self._ended = False
        self._ended_at = (0, 0)  # steps executed and known when the targets were dropped
        self._path: Path | None = None
        self._origin_ns = self._start_ns = self._step_ns = self._first_step = self._count = 0

    @property
    def active(self) -> bool:
        """There are targets (perhaps all of them reached)."""
        return self._path is not None

    def refusal(self, chunk: Chunk, now_ns: int, start_ns: int) -> str:
        """Why a chunk cannot be accepted, empty if it can; `start_ns` is in the control clock [ns]."""
        name = f"chunk {chunk.generation}/{chunk.sequence} refused: "
        if chunk.generation >= END_OF_PLANS:
            return name + f"its generation must be below {END_OF_PLANS}"
        if self._heard and chunk.generation < self.generation:
            return name + f"its plan is older than plan {self.generation}"
        if chunk.is_stop:
            return ""
        if self._heard and chunk.generation == self.generation:
            if self._ended:
                return name + "its plan was stopped; a newer generation is needed"
            if chunk.sequence <= self.sequence:
                return name + f"sequence must be above {self.sequence}"
        fault = self._fault(chunk) or self._lateness(chunk, now_ns, start_ns)
        return name + fault if fault else ""

    def _fault(self, chunk: Chunk) -> str:
        if chunk.action_space != self._profile.action_space:
            return f"action_space must be {self._profile.action_space}; found {chunk.action_space}"
        names = self._profile.joint_names
        if sorted(chunk.joints) != sorted(names):
            missing = ", ".join(n for n in names if n not in chunk.joints) or "none"
            extra = (
                ", ".join(sorted({n for n in chunk.joints if n not in names or chunk.joints.count(n) > 1}))
                or "none"
            )
            known = f"its joints must be those of robot {self._profile.name}"
            return f"{known}; missing: {missing}; not valid: {extra}"
        if chunk.steps > MOST_ROWS or chunk.first_step + chunk.steps > MOST_STEPS:
            limits = f"at most {MOST_ROWS} rows, and end at step {MOST_STEPS} at the latest"
            return f"it must have {limits}; found {chunk.steps} rows from step {chunk.first_step} on"
        if chunk.values.shape != (chunk.steps, len(names)):
            return f"its values must have shape ({chunk.steps}, {len(names)}); found {chunk.values.shape}"
        if not np.isfinite(chunk.values).all():
            row, column = np.argwhere(~np.isfinite(chunk.values))[0]
            return f"row {row}, joint {chunk.joints[column]} is {chunk.values[row, column]}"
        if np.abs(chunk.values).max() > FARTHEST:
            row, column = np.argwhere(np.abs(chunk.values) > FARTHEST)[0]
            found = f"row {row}, joint {chunk.joints[column]} is {chunk.values[row, column]:g}"
            return f"targets must be at most {FARTHEST:g} from zero; {found}"
        if not 0 < chunk.step_ns <= MAX_STEP_NS:
            return f"step_s must be above 0 and at most {MAX_STEP_NS / 1e9:g}; found {chunk.step_ns / 1e9:g}"
        return self._orientation_fault(chunk)

    def _orientation_fault(self, chunk: Chunk) -> str:
        order = [chunk.joints.index(name) for name in self._profile.joint_names]
        for column in self._profile.quaternions:
            norms = np.linalg.norm(chunk.values[:, order[column : column + 4]], axis=1)
            if np.any(np.abs(norms - 1.0) > 0.1):
                worst = norms[np.argmax(np.abs(norms - 1.0))]
                return (
                    f"quaternion {self._profile.joint_names[column]}... must have length 1; found {worst:.3f}"
                )
        return ""

    def _lateness(self, chunk: Chunk, now_ns: int, start_ns: int) -> str:
        last_ns = start_ns + chunk.steps * chunk.step_ns
        if last_ns <= now_ns:
            return f"its last row was due {(now_ns - last_ns) / 1e6:.0f} ms ago"
        if start_ns - now_ns > self._max_start_ahead_ns:
            ahead = f"{self._max_start_ahead_ns / 1e9:g} s"
            return f"it starts {(start_ns - now_ns) / 1e9:.2f} s ahead, more than the {ahead} allowed"
        return ""

    def accept(
        self, chunk: Chunk, now_ns: int, start_ns: int, position: np.ndarray, velocity: np.ndarray
    ) -> None:
        """Take a chunk that `refusal` let through; it is no stop request, and its start has come.

        Args:
            now_ns, start_ns: in the control clock [ns].
            position, velocity: (D,) of the present command [unit, unit/s].
        """
        order = [chunk.joints.index(name) for name in self._profile.joint_names]
        due_ns = start_ns + np.arange(1, chunk.steps + 1) * chunk.step_ns
        ahead = due_ns >= now_ns + _NEAREST_KNOT * chunk.step_ns
        ahead[-1] = True
        values = advance(chunk.values[:, order], self._lead_ns / chunk.step_ns)
        self._path = Path(
            np.concatenate([[0.0], (due_ns[ahead] - now_ns) / 1e9]),
            np.concatenate([position[None], values[ahead]]),
            velocity,
            self._profile.quaternions,
            open_end=not chunk.final,
            bounds=self._bounds(chunk.step_ns),
        )
        self._origin_ns, self._start_ns, self._step_ns = now_ns, start_ns, chunk.step_ns
        self._first_step, self._count = chunk.first_step, chunk.steps
        self._heard, self._ended = True, False
        self.generation, self.sequence = chunk.generation, chunk.sequence
        self.final, self.caption = chunk.final, chunk.caption
        self.dropped = int(np.count_nonzero(due_ns <= now_ns))

    def start_of(self, chunk: Chunk, now_ns: int) -> int:
        """When row 0 of a chunk starts that names no time: at once, or in the plan under way, where its first
        step belongs. A plan that has run out goes on from its last row, as if no time had passed since.

        Args:
            now_ns: in the control clock [ns], as the answer.
        """
        if self._path is None or chunk.generation != self.generation or chunk.is_stop:
            return now_ns
        done_ns = min(max(now_ns - self._start_ns, 0), self._count * self._step_ns)
        return now_ns - done_ns + (chunk.first_step - self._first_step) * self._step_ns

    def _bounds(self, step_ns: int) -> Bounds:
        """What the path may ask for: a little less than the limits, so that following it needs no detour."""
        profile = self._profile
        shift = _MOST_SHIFT * profile.limit("velocity") * step_ns / 1e9
        return Bounds(_FEASIBLE * profile.limit("acceleration"), _FEASIBLE * profile.limit("jerk"), shift)

    def end(self, now_ns: int, generation: int | None = None) -> None:
        """Drop every target: the plan is stopped, perhaps by a newer generation."""
        self._ended_at = (self.step(now_ns), self.steps)
        if generation is not None:
            self._ended_at = self._ended_at if generation == self.generation else (0, 0)
            self.generation, self._heard = generation, True
        self._ended = True
        self._path = None

    def target(self, at_ns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Nominal position, velocity, acceleration at a time [ns], each (D,); only while `active`."""
        return self._path.state((at_ns - self._origin_ns) / 1e9)

    def step(self, now_ns: int) -> int:
        """Steps of the event whose rows are due by now."""
        if self._path is None:
            return self._ended_at[0]
        return self._first_step + min(self._count, max(0, (now_ns - self._start_ns) // self._step_ns))

    @property
    def steps(self) -> int:
        """Steps of the event known so far."""
        return self._ended_at[1] if self._path is None else self._first_step + self._count

    def ran_out(self, now_ns: int) -> bool:
        """The last row is due."""
        return self._path is not None and now_ns >= self._start_ns + self._count * self._step_ns
