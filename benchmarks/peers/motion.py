"""The motion that every merging rule of the seam benchmark is to carry out, chunk by chunk; numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

_SETTLE = 8  # rows during which a chunk leaves what was seen and takes up its own opinion


@dataclass(frozen=True)
class Motion:
    """A path, and policies that never quite agree on it.

    Attributes:
        path: (N, D) where the arm belongs at each step [rad or m]; the first column rises evenly, by `pace`.
        opinions: (C, D) by how much the chunks differ from the path [rad or m]; none in the first column.
        steps: of a chunk.
    """

    path: np.ndarray
    opinions: np.ndarray
    steps: int

    @property
    def pace(self) -> float:
        """Way of the first column in one step."""
        return float(self.path[1, 0] - self.path[0, 0])

    def position(self, row: np.ndarray) -> float:
        """Which step's target this is, by its first column."""
        return float((row[0] - self.path[0, 0]) / self.pace)

    def chunk(self, number: int, seen: np.ndarray, at: float, known: np.ndarray | None = None) -> np.ndarray:
        """(steps, D) from where the arm was seen on.

        Args:
            number: of the chunk; decides on its opinion.
            seen: (D,) where the arm was when the picture was taken.
            at: how many steps had really been carried out then.
            known: (d, D) rows that will be carried out whatever comes; the chunk begins with them.
        """
        rows = self._on_path(at + 1 + np.arange(self.steps))
        count = 0 if known is None else len(known)
        last = known[-1] - rows[count - 1] if count else seen - self._on_path(np.array([at]))[0]
        last[0] = 0.0
        share = np.clip((np.arange(self.steps) - count + 1) / _SETTLE, 0.0, 1.0)[:, None]
        rows += (1 - share) * last + share * self.opinions[number % len(self.opinions)]
        if count:
            rows[:count] = known
        return rows

    def _on_path(self, steps: np.ndarray) -> np.ndarray:
        """(n, D) at steps, which need not be whole."""
        known = np.arange(len(self.path))
        return np.stack([np.interp(steps, known, column) for column in self.path.T], axis=1)


@dataclass(frozen=True)
class Schedule:
    """When chunks were asked for and came: `asked`, `came` (C,) in steps since the start; `ticks` in all."""

    asked: np.ndarray
    came: np.ndarray
    ticks: int


def save(path: Path, motion: Motion, schedule: Schedule) -> None:
    """Leave both for another process."""
    np.savez(path, path=motion.path, opinions=motion.opinions, steps=motion.steps, asked=schedule.asked,
             came=schedule.came, ticks=schedule.ticks)  # fmt: skip


def load(path: Path) -> tuple[Motion, Schedule]:
    """What `save` left."""
    with np.load(path) as file:
        motion = Motion(file["path"], file["opinions"], int(file["steps"]))
        return motion, Schedule(file["asked"], file["came"], int(file["ticks"]))
