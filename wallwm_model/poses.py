"""Columns of states and actions that are orientations: which they are, and what keeps them sound.

A robot commanded by end-effector pose has for each hand x y z [m] and a quaternion x y z w, as
`wallwm_msgs/ActionChunk` carries them. A quaternion and its negative are the same rotation: a network sees
them on one half sphere (that of the training data's mean), and a chunk never jumps from one to the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wallwm_model.errors import SpecError

PARTS = ("qx", "qy", "qz", "qw")
SMALLEST = 1e-6  # length of four numbers below which they have no direction


def quaternion_columns(joints: Sequence[str]) -> tuple[int, ...]:
    """First column of each four named `<hand>_qx`, `_qy`, `_qz`, `_qw`.

    Raises:
        SpecError: an orientation of which one of the four is missing, or that is in another order.
    """
    first = [i for i, name in enumerate(joints) if name.endswith(f"_{PARTS[0]}")]
    named = [i for i, name in enumerate(joints) if name.rpartition("_")[2] in PARTS]
    for start in first:
        hand = joints[start].rpartition("_")[0]
        wanted = [f"{hand}_{part}" for part in PARTS]
        if list(joints[start : start + 4]) != wanted:
            found = ", ".join(joints[start : start + 4])
            raise SpecError(f"an orientation must be the columns {', '.join(wanted)}; found {found}")
    if len(named) != 4 * len(first):
        raise SpecError(f"orientations must be four columns _qx, _qy, _qz, _qw; found {len(named)} such")
    return tuple(first)


def settle(rows: np.ndarray, before: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    """Quaternions made unit, with signs such that neighbours lie on one half sphere.

    Args:
        rows: (..., T, D) physical values; what is no orientation passes through.
        before: (..., D) the row before the first one, e.g. the present state: the first row takes its sides.
        columns: from `quaternion_columns`.

    Returns:
        (..., T, D) of the type of `rows`.

    Raises:
        SpecError: a quaternion of length zero, or one that is not finite.
    """
    out = np.array(rows)
    for column in columns:
        part = slice(column, column + 4)
        q = out[..., part].astype(np.float64)
        length = np.linalg.norm(q, axis=-1, keepdims=True)
        if not (length > SMALLEST).all() or not np.isfinite(length).all():
            found = f"found length {length.min():g}"
            raise SpecError(f"a quaternion must have length 1, or at least a direction; {found}")
        q /= length
        chain = np.concatenate([before[..., None, part].astype(np.float64), q], axis=-2)
        turned = np.where((chain[..., 1:, :] * chain[..., :-1, :]).sum(-1) < 0, -1.0, 1.0)
        out[..., part] = q * np.cumprod(turned, axis=-1)[..., None]
    return out


def from_matrix(rotation: np.ndarray) -> np.ndarray:
    """Rotations (..., 3, 3) -> unit quaternions (..., 4) x y z w, of either sign.

    The column of 4 q q^T with the largest diagonal is taken, so that nothing is divided by a small number.
    """
    (a, b, c), (d, e, f), (g, h, i) = (np.moveaxis(row, -1, 0) for row in np.moveaxis(rotation, -2, 0))
    products = np.stack(
        [
            np.stack([1 + a - e - i, b + d, c + g, h - f], axis=-1),
            np.stack([b + d, 1 - a + e - i, f + h, c - g], axis=-1),
            np.stack([c + g, f + h, 1 - a - e + i, d - b], axis=-1),
            np.stack([h - f, c - g, d - b, 1 + a + e + i], axis=-1),
        ],
        axis=-2,
    )
    best = np.diagonal(products, axis1=-2, axis2=-1).argmax(-1)
    q = np.take_along_axis(products, best[..., None, None], axis=-2)[..., 0, :]
    return q / np.linalg.norm(q, axis=-1, keepdims=True)
