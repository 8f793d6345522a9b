"""What recorded commands were: inside every limit of the robot, and since when still?

Differences are divided ones: of a motion whose velocity, acceleration and jerk keep to their limits, they do
too, whatever the periods between the commands, so that no measured violation is one of the method.
"""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

import numpy as np

from wallwm_model.forward_kinematics import MujocoKinematics
from wallwm_ros.core.robot import RobotProfile

TOLERANCE = 1e-3  # part of a limit that a command may lie beyond it: rounding, nothing else
OUTSIDE_M = 0.001  # a link may be so far outside its workspace box: rounding, and no more [m]
STILL = 1e-7  # a command that moved less than this from the one before has not moved [rad or m]
MOST_PERIODS = 2  # the control process never makes up for more in one command
ORDERS = ("position", "velocity", "acceleration", "jerk")
_HEAD = struct.Struct("<qQ")
_BLOCK = 200  # commands among which the phase of the periods is looked for
_EARLY = 0.02  # of a period: how early a command may come [periods]
_CATCHING_UP = 0.5  # a command this soon after the one before makes up for lost time [periods]


@dataclass(frozen=True)
class Track:
    """Commands as an observer heard them.

    Attributes:
        times_ns: (N,) when each was sent, wall clock [ns].
        numbers: (N,) running number of its sender; a gap means that commands were not heard.
        commands: (N, D) positions [rad or m].
    """

    times_ns: np.ndarray
    numbers: np.ndarray
    commands: np.ndarray

    def between(self, begin_ns: int, end_ns: int) -> Track:
        """What was sent from `begin_ns` to `end_ns` (wall clock) [ns]."""
        first, last = np.searchsorted(self.times_ns, (begin_ns, end_ns))
        return Track(self.times_ns[first:last], self.numbers[first:last], self.commands[first:last])


@dataclass(frozen=True)
class Verdict:
    """How near the commands came to the limits.

    Attributes:
        shares: order, and `workspace` -> largest part of its limit that was used; a position or a link that
            is beyond counts as 1 plus how far beyond [rad or m], one that is not as 0.
        violations: commands beyond a limit.
        first: the first of them in words; empty if there is none.
        judged: commands judged.
    """

    shares: dict[str, float]
    violations: int
    first: str
    judged: int


def pack(time_ns: int, number: int, command: np.ndarray) -> bytes:
    """One command as the observer writes it."""
    return _HEAD.pack(time_ns, number) + np.asarray(command, "<f8").tobytes()


def read(file: Path, columns: int, skip: int = 0) -> Track:
    """What an observer has written so far, less the first `skip` commands and a row still being written."""
    kind = np.dtype([("time", "<i8"), ("number", "<u8"), ("command", "<f8", (columns,))])
    with file.open("rb") as record:
        record.seek(skip * kind.itemsize)
        data = record.read()
    rows = np.frombuffer(data[: len(data) // kind.itemsize * kind.itemsize], kind)
    return Track(rows["time"].copy(), rows["number"].astype(np.int64), rows["command"].copy())


def judge(track: Track, profile: RobotProfile, period_ns: int) -> Verdict:
    """Compare every command with the limits of the robot profile (joint targets)."""
    limits = {name: profile.limit(name) for name in ("low", "high", *ORDERS[1:])}
    used = np.zeros((len(track.commands), len(ORDERS), len(profile.joints)))
    over = np.maximum(limits["low"] - track.commands, track.commands - limits["high"])
    used[:, 0] = np.where(over > 1e-9, 1 + over, 0.0)
    for piece in _pieces(track):
        gaps = _periods(track.times_ns[piece], period_ns)
        for order, name in enumerate(ORDERS[1:], start=1):
            limit = limits[name] * (period_ns / 1e9) ** order
            used[piece.start + order : piece.stop, order] = _shares(track.commands[piece], gaps, order, limit)
    beyond = used > 1 + TOLERANCE
    beyond[:, 0] = used[:, 0] > 0
    outside = _outside(track.commands, profile)
    rows = beyond.any(axis=(1, 2)) | (outside > OUTSIDE_M)
    shares = {name: float(used[:, i].max(initial=0.0)) for i, name in enumerate(ORDERS)}
    shares["workspace"] = float(np.where(outside > OUTSIDE_M, 1 + outside, 0.0).max(initial=0.0))
    words = _words(track, used, beyond, profile)
    if not words and rows.any():
        words = f"a link is {1000 * outside.max():.1f} mm outside its workspace"
    return Verdict(shares, int(rows.sum()), words, len(rows))


def hold_ms(track: Track, since_ns: int) -> float:
    """From `since_ns` (wall clock) to the last command that moved [ms]; 0 if none did."""
    moved = (np.abs(np.diff(track.commands, axis=0)) > STILL).any(axis=1)
    late = track.times_ns[1:][moved]
    return max(0.0, (late[-1] - since_ns) / 1e6) if len(late) else 0.0


def _outside(commands: np.ndarray, profile: RobotProfile) -> np.ndarray:
    """(N,) how far the worst link of each command is outside its box [m]; by kinematics of its own."""
    found, before = np.zeros(len(commands)), None
    for i, command in enumerate(commands if profile.workspace else ()):
        if before is not None and np.abs(command - before).max() <= STILL:
            found[i] = found[i - 1]
            continue
        before, joints = command, dict(zip(profile.joint_names, command.tolist(), strict=True))
        for box in profile.workspace:
            place = _kinematics().pose(box.link, joints)[:3, 3]
            found[i] = max(found[i], *(np.array(box.low) - place), *(place - np.array(box.high)))
    return found


@functools.cache
def _kinematics() -> MujocoKinematics:
    return MujocoKinematics()


def _pieces(track: Track) -> list[slice]:
    """Stretches in which no command is missing."""
    breaks = np.flatnonzero(np.diff(track.numbers) != 1) + 1
    edges = [0, *breaks.tolist(), len(track.numbers)]
    return [slice(a, b) for a, b in pairwise(edges) if b > a]


def _periods(times_ns: np.ndarray, period_ns: int) -> list[tuple[int, ...]]:
    """Control periods that each command but the first may have stood for.

    The loop starts at absolute deadlines and skips those that have passed, so a command belongs to the last
    deadline before it was sent; one that was held up in between is found out by the next, which follows at
    once. Only there it stays open whether one period passed or two.
    """
    if len(times_ns) < 2:
        return []
    at = (times_ns - times_ns[0]) / period_ns
    slots = np.empty(len(at), np.int64)
    for begin in range(0, len(at), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        slots[block] = np.floor(at[block] - _phase(at[block]))
    for i in range(len(slots) - 2, -1, -1):
        slots[i] = min(slots[i], slots[i + 1] - 1)
    gaps, waits = np.diff(slots), np.diff(at)
    hasty = np.concatenate([waits[1:] < _CATCHING_UP, [False]]) | (waits < _CATCHING_UP)
    return [(1, 2) if soon else (int(min(gap, MOST_PERIODS)),) for gap, soon in zip(gaps, hasty, strict=True)]


def _phase(at: np.ndarray) -> float:
    """Where in a period the deadlines lie: most commands are sent right after one [periods]."""
    angle = np.angle(np.median(np.exp(2j * np.pi * at).real) + 1j * np.median(np.exp(2j * np.pi * at).imag))
    middle = angle / (2 * np.pi)
    off = (at - middle + 0.5) % 1.0 - 0.5
    return middle + np.min(off[off > -0.3], initial=0.0) - _EARLY


def _shares(commands: np.ndarray, gaps: list[tuple[int, ...]], order: int, limit: np.ndarray) -> np.ndarray:
    """(N - order, D) parts of a limit (D,) [unit/period^order], by the gentlest reading of the times."""
    count = len(commands) - order
    if count < 1:
        return np.zeros((0, commands.shape[1]))
    times = np.cumsum([0, *(choices[0] for choices in gaps)])
    windows = np.arange(count)[:, None] + np.arange(order + 1)
    shares = _divided(commands[windows], times[windows]) / limit
    for i in range(count):
        choices = gaps[i : i + order]
        if any(len(choice) > 1 for choice in choices):
            readings = np.array([np.cumsum((0, *ks)) for ks in product(*choices)])
            points = np.repeat(commands[None, i : i + order + 1], len(readings), axis=0)
            found = _divided(points, readings) / limit
            shares[i] = found[np.argmin(found.max(axis=1))]
    return shares


def _divided(points: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(M, D) sizes of the divided differences of (M, n + 1, D) points at times (M, n + 1), times n!."""
    values, order = points, points.shape[1] - 1
    for k in range(1, order + 1):
        values = k * np.diff(values, axis=1) / (times[:, k:] - times[:, :-k])[..., None]
    return np.abs(values[:, 0])


def _words(track: Track, used: np.ndarray, beyond: np.ndarray, profile: RobotProfile) -> str:
    if not beyond.any():
        return ""
    row, order, column = np.argwhere(beyond)[0]
    time_s, name = track.times_ns[row] / 1e9, profile.joints[column].name
    return f"{name}: {ORDERS[order]} at {used[row, order, column]:.3f} of its limit, at {time_s:.3f} s"
