"""What recorded commands were: inside every limit of the robot, and since when still?

Differences are divided ones: of a motion whose velocity, acceleration and jerk keep to their limits, they do
too, whatever the periods between the commands, so that no measured violation is one of the method. How many
periods lie between two commands is what the control process says of itself in `ControlStatus.missed_periods`,
which the observer hears beside them: when a command was sent does not tell, as a busy machine sends it late.
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


@dataclass(frozen=True)
class Track:
    """Commands as an observer heard them.

    Attributes:
        times_ns: (N,) when each was sent, wall clock [ns].
        numbers: (N,) running number of its sender; a gap means that commands were not heard.
        commands: (N, D) positions [rad or m].
        periods: (N,) control periods since the command before; 0: not known.
    """

    times_ns: np.ndarray
    numbers: np.ndarray
    commands: np.ndarray
    periods: np.ndarray

    def between(self, begin_ns: int, end_ns: int) -> Track:
        """What was sent from `begin_ns` to `end_ns` (wall clock) [ns]."""
        first, last = np.searchsorted(self.times_ns, (begin_ns, end_ns))
        part = slice(first, last)
        return Track(self.times_ns[part], self.numbers[part], self.commands[part], self.periods[part])


@dataclass(frozen=True)
class Verdict:
    """How near the commands came to the limits.

    Attributes:
        shares: order, and `workspace` -> largest part of its limit that was used; a position or a link that
            is beyond counts as 1 plus how far beyond [rad or m], one that is not as 0.
        violations: commands beyond a limit.
        first: the first of them in words; empty if there is none.
        judged: commands judged.
        guessed: of these, how many came an unknown number of periods after the one before; the gentler reading
            of one and two counts.
    """

    shares: dict[str, float]
    violations: int
    first: str
    judged: int
    guessed: int


def reports(file: Path) -> Path:
    """Where an observer that writes commands to `file` writes what the control process says of them."""
    return file.with_name(f"{file.name}-reports")


def pack(time_ns: int, number: int, command: np.ndarray) -> bytes:
    """One command, or one report with its missed periods as the number, as the observer writes it."""
    return _HEAD.pack(time_ns, number) + np.asarray(command, "<f8").tobytes()


def read(file: Path, columns: int, skip: int = 0) -> Track:
    """What an observer has written so far, less the first `skip` commands and a row still being written."""
    rows = _rows(file, columns)[skip:]
    times, commands = rows["time"].copy(), rows["command"].copy()
    return Track(times, rows["number"].astype(np.int64), commands, _counted(times, commands, reports(file)))


def _rows(file: Path, columns: int) -> np.ndarray:
    kind = np.dtype([("time", "<i8"), ("number", "<u8"), ("command", "<f8", (columns,))])
    count = file.stat().st_size // kind.itemsize if file.exists() else 0
    return np.memmap(file, kind, "r", shape=(count,)) if count else np.zeros(0, kind)


def _counted(times_ns: np.ndarray, commands: np.ndarray, file: Path) -> np.ndarray:
    """(N,) control periods since the command before, by the reports; 0 where one is missing.

    A report of every period follows its command, and names it.
    """
    rows = _rows(file, commands.shape[1])
    at = np.searchsorted(rows["time"], times_ns)
    known = at < len(rows)
    if not known.any():
        return np.zeros(len(times_ns), np.int64)
    own = rows[np.minimum(at, len(rows) - 1)]
    known[:-1] &= own["time"][:-1] < times_ns[1:]
    known &= (own["command"] == commands).all(axis=1)
    missed = own["number"].astype(np.int64)
    periods = np.concatenate([[0], 1 + np.diff(missed)])
    known[1:] &= known[:-1] & (periods[1:] > 0)
    return np.where(known, periods, 0)


def judge(track: Track, profile: RobotProfile, period_ns: int) -> Verdict:
    """Compare every command with the limits of the robot profile (joint targets)."""
    limits = {name: profile.limit(name) for name in ("low", "high", *ORDERS[1:])}
    used = np.zeros((len(track.commands), len(ORDERS), len(profile.joints)))
    over = np.maximum(limits["low"] - track.commands, track.commands - limits["high"])
    used[:, 0] = np.where(over > 1e-9, 1 + over, 0.0)
    for piece in _pieces(track):
        gaps = [_choices(int(count)) for count in track.periods[piece][1:]]
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
    return Verdict(shares, int(rows.sum()), words, len(rows), int((track.periods[1:] == 0).sum()))


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


def _choices(periods: int) -> tuple[int, ...]:
    """For how many periods a command may have stood."""
    return (min(periods, MOST_PERIODS),) if periods else (1, MOST_PERIODS)


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
