"""Tubes for training: a window of one view that another view sees too, so that the model must look there.

The sight mask says where attention may go; a tube says where it must go.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wallwm_model.errors import GeometryError


@dataclass(frozen=True)
class TubeRegion:
    """A k x k window of patches.

    Attributes:
        view: whose window it is.
        partner: a view that sees a part of every patch of it.
        rows, columns: of the patch grid.
    """

    view: int
    partner: int
    rows: slice
    columns: slice


def tube_region(
    mask: np.ndarray,
    views: int,
    patches: tuple[int, int],
    rng: np.random.Generator,
    sizes: tuple[int, int] | None = None,
) -> TubeRegion | None:
    """Draw a view, another view, a size and a window inside the region of the one that the other sees.

    Views come first, all equally likely, then sizes, then places; what is impossible is passed over.

    Args:
        mask: (V*P, V*P) bool, of `SightMasks`.
        patches: (rows, columns) of every view.
        sizes: (l_min, l_max), least and greatest side of the window [patches]; default: a quarter to half of
            the picture's shorter side.

    Returns:
        The window; None if no two views share a region that holds one of l_min x l_min.

    Raises:
        GeometryError: a mask that is no mask of such views, or sizes that no window has.
    """
    _check(mask, views, patches)
    shorter = min(patches)
    least, greatest = sizes if sizes is not None else (max(1, shorter // 4), max(1, shorter // 2))
    if not 1 <= least <= greatest:
        raise GeometryError(f"sizes must be (l_min, l_max) with 1 <= l_min <= l_max; found {sizes!r}")
    sides = np.arange(least, min(greatest, shorter) + 1)
    for view in rng.permutation(views).tolist():
        for partner in rng.permutation(views).tolist():
            if partner == view:
                continue
            region = shared_region(mask, view, partner, patches)
            for side in rng.permutation(sides).tolist():
                places = np.argwhere(_windows(region, side))
                if len(places):
                    row, column = places[rng.integers(len(places))].tolist()
                    window = slice(row, row + side), slice(column, column + side)
                    return TubeRegion(view, partner, *window)
    return None


def shared_region(mask: np.ndarray, view: int, partner: int, patches: tuple[int, int]) -> np.ndarray:
    """(rows, columns) bool: patches of `view` that share a point with some patch of `partner`.

    Args:
        mask: (V*P, V*P) bool, of `SightMasks`.
        patches: (rows, columns) of every view.
    """
    count = patches[0] * patches[1]
    block = mask[view * count : (view + 1) * count, partner * count : (partner + 1) * count]
    return block.any(axis=1).reshape(patches)


def _windows(region: np.ndarray, side: int) -> np.ndarray:
    """Top left corners (bool) of the `side` x `side` windows that lie wholly inside the region."""
    total = np.pad(region.astype(np.int64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    inside = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    return inside == side * side


def _check(mask: np.ndarray, views: int, patches: tuple[int, int]) -> None:
    tokens = views * patches[0] * patches[1]
    kind, shape = getattr(mask, "dtype", type(mask).__name__), np.shape(mask)
    if kind is not np.dtype(bool) or shape != (tokens, tokens):
        expected = (
            f"bool of shape ({tokens}, {tokens}) for {views} views of {patches[0]} x {patches[1]} patches"
        )
        raise GeometryError(f"mask must be {expected}; found {kind} of shape {shape}")
