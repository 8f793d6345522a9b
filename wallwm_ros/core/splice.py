"""How a chunk goes on from the one that is being carried out."""

from __future__ import annotations

import numpy as np

from wallwm_ros.core import quaternions


def splice(
    old: np.ndarray,
    new: np.ndarray,
    offset: int,
    join: int,
    blend: int,
    quaternion_columns: tuple[int, ...] = (),
) -> np.ndarray:
    """`new`, with its first rows taken from `old` and the next ones led over from it.

    Args:
        old: (S, D) targets being carried out; they end with standing still at the last one.
        new: (T, D) targets that take over.
        offset: row of `old` that is due together with row 0 of `new`.
        join: row of `new` that is due next: those before it stay as in `old`, so that whatever the control
            process does first, it has been doing already.
        blend: rows from `join` on that are led over, in equal parts.
        quaternion_columns: first of each four columns that hold a unit quaternion; those turn the short way.
    """
    rows = new.copy()
    for k in range(min(join + blend, len(rows))):
        before, share = old[min(offset + k, len(old) - 1)], max(k - join + 1, 0) / (blend + 1)
        rows[k] = before + share * (new[k] - before)
        for column in quaternion_columns:
            part = slice(column, column + 4)
            ends = quaternions.normalise(np.stack([before[part], new[k, part]]))
            rows[k, part] = quaternions.slerp(ends[0], ends[1], share)
    return rows
