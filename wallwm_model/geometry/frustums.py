"""Which patches of two cameras can see a common point between the depths that both look at.

A patch's pyramid between two z-depths is a convex hexahedron. Cut to the other camera's depth band and
projected into its picture it is a convex region, and it meets exactly the pyramids of the patches that it
covers there. So each hexahedron's cut edges are drawn into the other's patch grid: per row of patches, from
which column to which. With straight lines this is exact; with a bending lens it errs outward only, by
`Patches.slack` and by the quadrilaterals of `quads`.

Common regions thinner than THIN of a patch do not count: neighbours that merely touch share no view.
Written for speed: `take` and `repeat` are several times faster here than index brackets, and blocks keep
every array small enough to stay in the cache.
"""

from __future__ import annotations

import numpy as np

from wallwm_model.geometry.bending import Lines, bend
from wallwm_model.geometry.patches import Patches

THIN = 1e-6  # [patches]
# Corners 0-3 are near, 4-7 far; each edge as two corners, each face as the four edges around it.
_EDGES = np.array(
    [(0, 4), (1, 5), (2, 6), (3, 7), (0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4)]
)
_FACES = np.array([(4, 5, 6, 7), (8, 9, 10, 11), (0, 4, 1, 8), (1, 5, 2, 9), (2, 6, 3, 10), (3, 7, 0, 11)])
_START, _STOP = np.ascontiguousarray(_EDGES.T)
_BITS = np.array([[1], [2], [4], [8]], np.uint8)
# A plane crosses two of a face's four edges: bits of the crossed ones -> the first and the last of them.
_FIRST = np.array([0, 0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 0, 2, 0, 1, 0])
_LAST = np.array([0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3])
_TINY = 1e-12  # [m]
_FEW = 64  # hexahedra that are not worth sorting out


def covisible(a: Patches, b: Patches, T_b_a: np.ndarray) -> np.ndarray:
    """(P_a, P_b) bool: which patches of a and b share a point inside both depth bands.

    Args:
        T_b_a: (4, 4) pose of camera a's optical frame in camera b's [m].
    """
    slack = -THIN if b.lens.straight else b.slack - THIN
    size = a.count * b.rows
    left, right = np.full(size, np.inf), np.full(size, -np.inf)
    for rays, owner in a.blocks:
        corners, owner = _corners(rays, owner, a.band, b, T_b_a)
        lines = _edges(corners, owner, b.band)
        lines = _straight(b, lines) if b.lens.straight else bend(b, lines)
        _extend(left, right, lines, b.rows, slack)
    first = np.clip(np.floor(left - slack), 0, b.cols)
    end = np.clip(np.ceil(right + slack), 0, b.cols)
    code = (first * (b.cols + 1) + end).astype(np.intp)
    return b.spans.take(code, axis=0).reshape(a.count, b.count)


def _straight(b: Patches, lines: Lines) -> Lines:
    return Lines(*b.to_grid(lines.x0, lines.y0), *b.to_grid(lines.x1, lines.y1), lines.owner)


def _corners(
    rays: np.ndarray, owner: np.ndarray, band: tuple[float, float], b: Patches, T_b_a: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(3, 8, H) corners of hexahedra in b's frame, without those clearly out of b's sight; their patches.

    Args:
        rays: (3, 4 Q) rays through the corners of a's quadrilaterals, and `owner` (Q,) their patches.
        band: a's depth band [m].
    """
    rays = np.matmul(T_b_a[:3, :3], rays)
    shift = T_b_a[:3, 3:]
    near, far = band
    corners = np.stack([rays * near + shift, rays * far + shift], axis=1).reshape(3, 8, -1)
    if len(owner) <= _FEW:
        return corners, owner
    x, y, z = corners
    left, right, top, bottom = b.box
    seen = (z.max(axis=0) > b.band[0]) & (z.min(axis=0) < b.band[1])
    seen &= ((x - left * z).max(axis=0) > 0) & ((x - right * z).min(axis=0) < 0)
    seen &= ((y - top * z).max(axis=0) > 0) & ((y - bottom * z).min(axis=0) < 0)
    if seen.all():
        return corners, owner
    return corners.compress(seen, axis=2), owner.compress(seen)


def _edges(corners: np.ndarray, owner: np.ndarray, band: tuple[float, float]) -> Lines:
    """Edges of the hexahedra (3, 8, H), cut to b's depth band, in b's ray plane."""
    count = len(owner)
    start, stop = (corners.take(which, axis=1).reshape(3, -1) for which in (_START, _STOP))
    step = stop - start
    # An edge level with the band's faces is cut nowhere; a tiny slope keeps it whole or drops it whole.
    slope = np.where(np.abs(step[2]) < _TINY, _TINY, step[2])
    t_near, t_far = (band[0] - start[2]) / slope, (band[1] - start[2]) / slope
    enter = np.maximum(np.minimum(t_near, t_far), 0.0)
    leave = np.minimum(np.maximum(t_near, t_far), 1.0)
    kept = np.flatnonzero(enter <= leave)
    start, step = start.take(kept, axis=1), step.take(kept, axis=1)
    ends = []
    for t in (enter.take(kept), leave.take(kept)):
        x, y, z = start + t * step
        z = np.maximum(z, band[0])
        ends += [x / z, y / z]
    edges = (*ends, owner.take(kept % max(count, 1)))
    return Lines(*(np.concatenate(columns) for columns in zip(edges, _cuts(corners, owner, band))))


def _cuts(corners: np.ndarray, owner: np.ndarray, band: tuple[float, float]) -> tuple[np.ndarray, ...]:
    """Where the two planes that bound b's depth band cut the faces: columns of `Lines`, in b's ray plane."""
    depth = np.repeat(np.array(band), len(owner))  # each hexahedron twice: near plane, far plane
    below = np.concatenate([corners[2] < band[0], corners[2] < band[1]], axis=1)
    touched = np.flatnonzero(below.any(axis=0) & ~below.all(axis=0))
    count, depth, below = len(touched), depth.take(touched), below.take(touched, axis=1)
    touched %= max(len(owner), 1)
    crossed = below.take(_START, axis=0) != below.take(_STOP, axis=0)
    bits = (crossed.take(_FACES, axis=0) * _BITS).sum(axis=1, dtype=np.uint8).ravel()  # (6 N,)
    cut = np.flatnonzero(bits)
    face, which = np.divmod(cut, max(count, 1))
    bits, depth, hexahedron = bits.take(cut), depth.take(which), touched.take(which)
    columns = []
    flat = corners.reshape(3, -1)
    for table in (_FIRST, _LAST):
        edge = _FACES.ravel().take(face * 4 + table.take(bits))
        p, q = (flat.take(end.take(edge) * len(owner) + hexahedron, axis=1) for end in (_START, _STOP))
        t = (depth - p[2]) / (q[2] - p[2])
        columns += [(p[0] + t * (q[0] - p[0])) / depth, (p[1] + t * (q[1] - p[1])) / depth]
    return (*columns, owner.take(hexahedron))


def _extend(left: np.ndarray, right: np.ndarray, lines: Lines, rows: int, slack: float) -> None:
    """Widen each owner's leftmost and rightmost u (owners * rows,) to its lines inside each row.

    Rows are taken `slack` higher and lower than they are.
    """
    u0, v0, u1, v1, owner = lines
    down = v0 <= v1
    top, bottom = np.where(down, v0, v1), np.where(down, v1, v0)
    u_top, u_bottom = np.where(down, u0, u1), np.where(down, u1, u0)
    slope = (u_bottom - u_top) / np.maximum(bottom - top, 1e-300)
    first = np.clip(np.floor(top - slack), 0, rows).astype(np.intp)
    count = np.clip(np.ceil(bottom + slack), 0, rows).astype(np.intp) - first
    np.maximum(count, 0, out=count)
    before = np.cumsum(count) - count
    cell = np.arange(count.sum()) + np.repeat(owner * rows + first - before, count)
    row = np.arange(len(cell)) - np.repeat(before - first, count).astype(np.float64)
    top, bottom, slope = np.repeat(top, count), np.repeat(bottom, count), np.repeat(slope, count)
    a = np.repeat(u_top, count) + (np.maximum(row - slack, top) - top) * slope
    b = np.repeat(u_bottom, count) - (bottom - np.minimum(row + (1 + slack), bottom)) * slope
    np.minimum.at(left, cell, np.minimum(a, b))
    np.maximum.at(right, cell, np.maximum(a, b))
