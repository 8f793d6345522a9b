"""Patches whose sides a lens has bent, held in quadrilaterals of the ray plane from outside."""

from __future__ import annotations

import numpy as np

from wallwm_model.geometry.cameras import UNSEEN_COSINE

_UNSEEN_TANGENT = np.sqrt(1 - UNSEEN_COSINE**2) / UNSEEN_COSINE


def flatten(rays: np.ndarray) -> np.ndarray:
    """(..., 3) unit directions -> (..., 2) in the ray plane; those too far off the axis at its rim."""
    across = np.linalg.norm(rays[..., :2], axis=-1)
    tangent = np.where(rays[..., 2] > UNSEEN_COSINE, across / np.maximum(rays[..., 2], 1e-9), _UNSEEN_TANGENT)
    return rays[..., :2] * (tangent / np.maximum(across, 1e-300))[..., None]


def outer_quads(rays: np.ndarray, split: int, fine: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Outer quadrilaterals of all cells of `fine` samples, their patches, and the share of area they add."""
    flat, ahead = flatten(rays), rays[..., 2] > UNSEEN_COSINE
    height, width = ((n - 1) // fine for n in rays.shape[:2])
    cells = _cells(flat, fine)  # (height * width, fine + 1, fine + 1, 2)
    seen = _cells(ahead[..., None], fine).reshape(len(cells), -1)
    row, col = np.divmod(np.arange(len(cells)), width)
    owner = row // split * (width // split) + col // split
    corners = cells[:, [0, 0, -1, -1], [0, -1, -1, 0]]
    excess = 0.0
    if fine > 1:
        border = np.concatenate(
            [cells[:, 0, :-1], cells[:, :-1, -1], cells[:, -1, :0:-1], cells[:, :0:-1, 0]], 1
        )
        outer, whole = _outer(corners, border, fine), seen.all(axis=1)
        area, added = _area(border), _area(np.nan_to_num(outer, posinf=0.0, neginf=0.0))
        loose = ~whole | ~np.isfinite(outer).all(axis=(1, 2)) | (added > 3 * area) | (added < 0.99 * area)
        corners = np.where(loose[:, None, None], _bounds(cells.reshape(len(cells), -1, 2)), outer)
        excess = float(np.mean(_area(corners)[whole] / area[whole] - 1)) if whole.any() else 0.0
    keep = seen.any(axis=1)
    return np.ascontiguousarray(corners[keep].transpose(1, 0, 2)), owner[keep], excess


def _cells(values: np.ndarray, fine: int) -> np.ndarray:
    """(rows + 1, cols + 1, C) samples -> (cells, fine + 1, fine + 1, C), neighbours sharing their borders."""
    windows = np.lib.stride_tricks.sliding_window_view(values, (fine + 1, fine + 1), axis=(0, 1))
    windows = windows[::fine, ::fine].transpose(0, 1, 3, 4, 2)
    return windows.reshape(-1, fine + 1, fine + 1, values.shape[-1])


def _outer(corners: np.ndarray, border: np.ndarray, fine: int) -> np.ndarray:
    """Each side's chord pushed out until the whole border (N, 4 fine, 2) lies inside; (N, 4, 2) corners."""
    side = np.roll(corners, -1, axis=1) - corners
    length = np.linalg.norm(side, axis=2, keepdims=True)
    normal = np.stack([side[..., 1], -side[..., 0]], axis=2) / np.maximum(length, 1e-12)
    chord = np.einsum("nsc,nsc->ns", normal, corners)
    farthest = np.einsum("nsc,npc->nsp", normal, border).max(axis=2)
    bulge = farthest - chord
    offset = farthest + 2 * bulge / fine**2  # between samples a bow rises by 1 / fine^2 of itself
    before, behind = np.roll(normal, 1, axis=1), np.roll(offset, 1, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        det = before[..., 0] * normal[..., 1] - before[..., 1] * normal[..., 0]
        x = (behind * normal[..., 1] - offset * before[..., 1]) / det
        y = (offset * before[..., 0] - behind * normal[..., 0]) / det
    return np.stack([x, y], axis=2)


def _bounds(points: np.ndarray) -> np.ndarray:
    """(N, P, 2) -> (N, 4, 2) corners of the upright rectangle around them, with a margin."""
    low, high = points.min(axis=1), points.max(axis=1)
    pad = 0.05 * (high - low)
    (left, top), (right, bottom) = (low - pad).T, (high + pad).T
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return np.stack([np.stack(corner, axis=1) for corner in corners], axis=1)


def _area(polygon: np.ndarray) -> np.ndarray:
    """(N, P, 2) -> (N,) areas; positive when right turns into down."""
    x, y = polygon[..., 0], polygon[..., 1]
    return 0.5 * (x * np.roll(y, -1, axis=1) - np.roll(x, -1, axis=1) * y).sum(axis=1)
