"""Smoothing of targets that tremble faster than the limits allow, as a network's outputs may."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Weights of the third difference, tried from the weakest on.
_WEIGHTS = 0.02 * 2.5 ** np.arange(11)
_MOST_ROWS = 256


@dataclass(frozen=True)
class Bounds:
    """What a path through targets may ask for, each (D,) per column.

    Attributes:
        acceleration, jerk: [unit/s^2, unit/s^3].
        shift: how far smoothing may move a target [unit].
    """

    acceleration: np.ndarray
    jerk: np.ndarray
    shift: np.ndarray

    @classmethod
    def none(cls, columns: int) -> Bounds:
        """No bounds: nothing is smoothed."""
        free = np.full(columns, np.inf)
        return cls(free, free, np.zeros(columns))


def smooth(rows: np.ndarray, before: np.ndarray, weight: float, final: bool) -> np.ndarray:
    """Rows with small third differences.

    Args:
        rows: (T, D) targets at equal distances in time.
        before: (2, D) where the command comes from: one and two steps before the first row, newest last.
        weight: of the squared third difference against the squared change.
        final: the last row stays as it is, and the rows come to rest there.
    """
    count = len(rows)
    after = np.repeat(rows[-1:], 2, axis=0) if final else rows[:0]
    full = np.concatenate([before, rows, after])
    if len(full) < 4:
        return rows
    difference = np.diff(np.eye(len(full)), n=3, axis=0)
    free = np.zeros(len(full), dtype=bool)
    free[2 : 2 + count - final] = True
    inner, outer = difference[:, free], difference[:, ~free]
    matrix = np.eye(inner.shape[1]) + weight * inner.T @ inner
    out = full.copy()
    out[free] = np.linalg.solve(matrix, full[free] - weight * inner.T @ (outer @ full[~free]))
    return out[2 : 2 + count]


def smoothings(rows: np.ndarray, before: np.ndarray, final: bool):
    """Ever smoother versions of `rows`; none if there are too many rows to do it in a control period."""
    if 2 <= len(rows) <= _MOST_ROWS:
        for weight in _WEIGHTS:
            yield smooth(rows, before, weight, final)
