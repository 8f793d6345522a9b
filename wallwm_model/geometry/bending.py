"""Straight lines in space as a bending lens shows them: chains of short chords in the patch grid."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wallwm_model.geometry.patches import Patches

_ASIDE = 1e6  # u of what lies left or right of the picture [patches]


class Lines(NamedTuple):
    """Line segments (S,) from (x0, y0) to (x1, y1), and the patch (S,) that each belongs to."""

    x0: np.ndarray
    y0: np.ndarray
    x1: np.ndarray
    y1: np.ndarray
    owner: np.ndarray


def bend(b: Patches, lines: Lines) -> Lines:
    """Lines of b's ray plane -> chords of b's patch grid, within `b.slack` of the true curves.

    What lies outside the picture's bounds in the ray plane is first pushed onto them, where the lens is still
    known. An outline stays one: from any point of a region on the bounds, straight out, one meets the
    region's true outline, which is pushed back onto that very point.
    """
    left, right, top, bottom = b.box
    if b.surrounded:
        inner, aside = _cut_out(b, lines)
        return _join([_chords(b, inner), aside])
    parts = []
    for part in _split(lines, 1, top, bottom):
        parts += _split(part, 0, left, right)
    return _chords(b, _join(parts))


def _cut_out(b: Patches, lines: Lines) -> tuple[Lines, Lines]:
    """What runs inside b's bounds, in the ray plane; and what runs left and right of them, in the patch grid.

    For bounds that lie outside the picture all around: above and below, no row is touched, and left and right
    only the rows matter.
    """
    left, right, top, bottom = b.box
    x0, y0, x1, y1, owner = lines
    across, along = _steps(y0, y1), _steps(x0, x1)
    t_top, t_bottom = (top - y0) / across, (bottom - y0) / across
    enter = np.maximum(np.minimum(t_top, t_bottom), 0.0)
    leave = np.minimum(np.maximum(t_top, t_bottom), 1.0)
    t_left, t_right = (left - x0) / along, (right - x0) / along
    first, last = np.minimum(t_left, t_right), np.maximum(t_left, t_right)
    start, stop = np.maximum(enter, first), np.minimum(leave, last)
    some = np.flatnonzero(start < stop)
    x, y, dx, dy = x0.take(some), y0.take(some), along.take(some), across.take(some)
    start, stop = start.take(some), stop.take(some)
    inner = Lines(x + start * dx, y + start * dy, x + stop * dx, y + stop * dy, owner.take(some))
    # Left of the picture before crossing its left bound when going right, after it when going left.
    before, after = np.minimum(leave, first), np.maximum(enter, last)
    early, late = np.flatnonzero(enter < before), np.flatnonzero(after < leave)
    which = np.concatenate([early, late])
    t = np.concatenate([enter.take(early), after.take(late), before.take(early), leave.take(late)])
    twice = np.concatenate([which, which])
    west = (along.take(which) > 0) == (np.arange(len(which)) < len(early))
    x = np.where(west, left, right)
    v = b.to_grid(np.concatenate([x, x]), y0.take(twice) + t * across.take(twice))[1]
    u = np.where(west, -_ASIDE, _ASIDE)
    return inner, Lines(u, v[: len(which)], u, v[len(which) :], owner.take(which))


def _steps(start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Differences, none of them 0."""
    step = stop - start
    return np.where(np.abs(step) < 1e-12, 1e-12, step)


def _chords(b: Patches, lines: Lines) -> Lines:
    """Lines in the ray plane, inside the bounds -> chords of the patch grid."""
    x0, y0, x1, y1, owner = lines
    dx, dy, twist = x1 - x0, y1 - y0, x0 * y1 - y0 * x1
    angle = np.arctan2(np.sqrt(dx * dx + dy * dy + twist * twist), 1 + x0 * x1 + y0 * y1)
    pieces = np.maximum(np.ceil(angle * (1 / b.stride)), 1).astype(np.intp)
    count = len(pieces)
    # Chain points between a line's two ends, at equal angles between the ends' rays.
    long = np.flatnonzero(pieces > 1)
    inner = pieces.take(long) - 1
    first = np.cumsum(inner) - inner
    angle = angle.take(long)
    sine, cosine = np.sin(angle), np.cos(angle)
    lengths = np.sqrt((1 + x1 * x1 + y1 * y1) / (1 + x0 * x0 + y0 * y0)).take(long)
    part = (np.arange(inner.sum()) - np.repeat(first - 1, inner)) * np.repeat(angle / (inner + 1), inner)
    # sin(angle - part) / sin(part), up to the rays' lengths, is the ratio of the two ends' weights.
    ratio = np.repeat(sine * lengths, inner) / np.tan(part) - np.repeat(cosine * lengths, inner)
    weight = ratio / (1 + ratio)
    x = np.repeat(x1.take(long), inner) - weight * np.repeat(dx.take(long), inner)
    y = np.repeat(y1.take(long), inner) - weight * np.repeat(dy.take(long), inner)
    u, v = b.to_grid(np.concatenate([x0, x1, x]), np.concatenate([y0, y1, y]))
    # Each chain: its start, its inner points, its stop. In u and v all starts come first, then all stops.
    total = pieces.sum()
    chain = np.cumsum(pieces) - pieces
    begins, ends = np.empty(total, np.intp), np.empty(total, np.intp)
    between = np.ones(total, bool)
    between[chain] = False
    rest = np.arange(2 * count, len(u))
    begins[chain] = np.arange(count)
    begins[between] = rest
    between[chain] = True
    between[chain + pieces - 1] = False
    ends[chain + pieces - 1] = np.arange(count, 2 * count)
    ends[between] = rest
    return Lines(u.take(begins), v.take(begins), u.take(ends), v.take(ends), np.repeat(owner, pieces))


def _split(lines: Lines, axis: int, low: float, high: float) -> tuple[Lines, Lines, Lines]:
    """The parts between two bounds of one axis, below the lower and above the upper, these pushed onto it."""
    start, stop = lines[axis], lines[2 + axis]
    nowhere = Lines(*(column[:0] for column in lines))
    inside = (np.minimum(start, stop) >= low) & (np.maximum(start, stop) <= high)
    if inside.all():
        return lines, nowhere, nowhere
    within = Lines(*(column.compress(inside) for column in lines))
    x0, y0, x1, y1, owner = lines = Lines(*(column.compress(~inside) for column in lines))
    start, step = lines[axis], _steps(lines[axis], lines[2 + axis])
    t_low, t_high = np.clip((low - start) / step, 0.0, 1.0), np.clip((high - start) / step, 0.0, 1.0)
    dx, dy = x1 - x0, y1 - y0
    cut = []
    up = step > 0
    zero, one = np.zeros_like(step), np.ones_like(step)
    spans = (
        (np.minimum(t_low, t_high), np.maximum(t_low, t_high)),
        (np.where(up, zero, t_low), np.where(up, t_low, one)),
        (np.where(up, t_high, zero), np.where(up, one, t_high)),
    )
    for (t0, t1), bound in zip(spans, (None, low, high)):
        some = np.flatnonzero(t0 < t1)
        ends = [p.take(some) + t.take(some) * d.take(some) for t in (t0, t1) for p, d in ((x0, dx), (y0, dy))]
        if bound is not None:
            ends[axis] = ends[2 + axis] = np.full(len(some), bound)
        cut.append(Lines(*ends, owner.take(some)))
    return _join([within, cut[0]]), cut[1], cut[2]


def _join(parts: list[Lines]) -> Lines:
    return Lines(*(np.concatenate(columns) for columns in zip(*parts)))
