"""Approximate-time synchronisation: the newest cameras and joint states that belong together, or why not.

Streams are only ever matched, never made up: a camera that is missing, stale, frozen, from the future or out
of step leaves no observation, and the answer names it and says by how much.
"""

from __future__ import annotations

import operator
import threading
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from wallwm_ros.core.clock import Clock, SteadyClock
from wallwm_ros.core.stream_report import StreamReport
from wallwm_ros.core.streams import Stream
from wallwm_ros.core.vetoes import MS, SyncLimits, Unsound, in_words, judge, judge_frozen

__all__ = ["MS", "Match", "SyncLimits", "Synchronizer", "Unsound"]


@dataclass(frozen=True)
class Match:
    """Parts of one moment.

    Attributes:
        pictures: camera name -> what `add_picture` was given (still encoded).
        states: state stream -> (n,) positions [rad, m], interpolated to the middle of the pictures' stamps.
        stamp_ns: time of the oldest part [ns].
        spread_ns: between the oldest and the newest picture [ns].
        past: earlier pictures, oldest first, each like `pictures`; none unless they were asked for.
    """

    pictures: dict[str, Any] = field(repr=False)
    states: dict[str, np.ndarray]
    stamp_ns: int
    spread_ns: int
    past: tuple[dict[str, Any], ...] = field(default=(), repr=False)


class Synchronizer:
    """Collects cameras and joint states; `newest` gives the newest sound set. For several threads.

    Args:
        cameras: names of the camera streams that every observation needs.
        states: names of the joint-state streams that every observation needs, each with the first columns
            of the quaternions in it.
        limits: allowed spread and age.
        noisy: cameras whose live pictures differ by noise, so that identical ones tell a frozen camera.
        same: whether two of a camera's pictures are identical; asked only when an observation is wanted.
        depth: samples kept per camera.
        keep_ns: pictures that are this new are kept too, for `with_past` [ns].
        state_depth: samples kept per state stream (they usually come faster).
        clock: steady time, for when samples come.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        states: Mapping[str, tuple[int, ...]],
        limits: SyncLimits,
        *,
        noisy: Collection[str] = (),
        same: Callable[[Any, Any], bool] = operator.eq,
        depth: int = 8,
        keep_ns: int = 0,
        state_depth: int = 200,
        clock: Clock | None = None,
    ) -> None:
        self._limits, self._same, self._clock = limits, same, clock or SteadyClock()
        self._noisy = frozenset(noisy) if limits.frozen else frozenset()
        depth = max(depth, limits.frozen)
        self._lock = threading.Lock()
        self._cameras = {name: Stream("picture", depth, keep_ns=keep_ns) for name in cameras}
        self._states = {name: Stream("joint state", state_depth, columns) for name, columns in states.items()}

    def add_picture(self, camera: str, stamp_ns: int, picture: Any) -> None:
        """Take in a picture (opaque here) stamped `stamp_ns` [ns]."""
        with self._lock:
            self._cameras[camera].add(stamp_ns, picture, self._clock.now_ns())

    def add_state(self, stream: str, stamp_ns: int, positions: np.ndarray) -> None:
        """Take in positions (n,) [rad, m] stamped `stamp_ns` [ns]."""
        with self._lock:
            self._states[stream].add(stamp_ns, positions, self._clock.now_ns())

    def refuse(self, stream: str, reason: str) -> None:
        """A sample of `stream` cannot be used for `reason`; the reason is given until a good sample comes."""
        with self._lock:
            (self._cameras.get(stream) or self._states[stream]).refuse(reason, self._clock.now_ns())

    def clear(self, why: str = "") -> None:
        """Forget every sample; `why` is told until new ones come."""
        with self._lock:
            for stream in (*self._cameras.values(), *self._states.values()):
                stream.clear(why)

    def newest(self, now_ns: int, not_before_ns: int = 0) -> Match | Unsound:
        """The newest sound set whose parts were all taken at or after `not_before_ns`, else the reason.

        Newest is by the oldest picture; among equals the tightest. All times are of the clock that stamps the
        messages [ns].
        """
        with self._lock:
            for name, stream in self._streams():
                reason = self._judge(name, stream, now_ns, not_before_ns)
                if reason is not None:
                    return reason
            earliest = max(now_ns - self._limits.max_age_ns, not_before_ns)
            chosen = self._choose(earliest)
            return chosen if isinstance(chosen, Unsound) else self._with_states(chosen)

    def with_past(
        self, match: Match, count: int, every_ns: int, rested_ns: int | None = None
    ) -> Match | Unsound:
        """`match` with `count` earlier pictures per camera, one every `every_ns` [ns]; else the reason.

        Args:
            rested_ns: until then the robot rested, and what was seen then stands for all that lay before;
                None: it rests still, and what is seen now stands for it.
        """
        if rested_ns is None:
            return replace(match, past=(match.pictures,) * count)
        times = [max(match.stamp_ns - back * every_ns, rested_ns) for back in range(count, 0, -1)]
        with self._lock:
            film = []
            for time_ns in times:
                film.append({})
                for name, stream in self._cameras.items():
                    if not stream.stamps:
                        return Unsound(name, "missing", f"no picture from {name} has arrived")
                    film[-1][name], apart_ns = stream.nearest(time_ns)
                    if 2 * apart_ns > every_ns:
                        text = f"{name} has no picture within {in_words(every_ns // 2)} of "
                        return Unsound(name, "past", text + f"{in_words(match.stamp_ns - time_ns)} before")
        return replace(match, past=tuple(film))

    def report(self, now_ns: int) -> tuple[StreamReport, ...]:
        """How every stream does, by itself, at `now_ns` of the clock that stamps the messages."""
        steady_ns = self._clock.now_ns()
        with self._lock:
            return tuple(
                StreamReport.of(name, stream, now_ns, steady_ns, self._judge(name, stream, now_ns, 0))
                for name, stream in self._streams()
            )

    def _streams(self) -> tuple[tuple[str, Stream], ...]:
        return (*self._cameras.items(), *self._states.items())

    def _judge(self, name: str, stream: Stream, now_ns: int, not_before_ns: int) -> Unsound | None:
        """The reason why `stream` by itself has nothing to offer."""
        reason = judge(name, stream, now_ns, self._clock.now_ns(), self._limits, not_before_ns)
        if reason is None and name in self._noisy:
            return judge_frozen(name, stream, self._limits.frozen, self._same)
        return reason

    def _choose(self, earliest_ns: int) -> dict[str, int] | Unsound:
        """Camera -> index of the picture chosen, all at or after `earliest_ns`."""
        stamps = {name: list(stream.stamps) for name, stream in self._cameras.items()}
        bases = sorted({t for of_one in stamps.values() for t in of_one if t >= earliest_ns}, reverse=True)
        nearest: dict[str, int] = {}
        for base in bases:
            chosen = {name: bisect_left(of_one, base) for name, of_one in stamps.items()}
            if any(index == len(stamps[name]) for name, index in chosen.items()):
                continue  # that camera has nothing as new as this yet
            times = {name: stamps[name][index] for name, index in chosen.items()}
            if max(times.values()) - base <= self._limits.max_spread_ns:
                return chosen
            nearest = nearest or times
        return self._blame(nearest or {name: of_one[-1] for name, of_one in stamps.items()})

    def _blame(self, times: dict[str, int]) -> Unsound:
        """The camera farthest from the middle one is the one out of step; of two, the older."""
        middle = sorted(times.values())[len(times) // 2]
        worst = max(times, key=lambda name: abs(times[name] - middle))
        return self._out_of_step(worst, max(times.values()) - min(times.values()))

    def _with_states(self, chosen: dict[str, int]) -> Match | Unsound:
        """Add every state stream at the middle of the pictures' stamps."""
        stamps = [self._cameras[name].stamps[index] for name, index in chosen.items()]
        oldest, newest = min(stamps), max(stamps)
        middle, parts, states = (oldest + newest) // 2, [oldest], {}
        for name, stream in self._states.items():
            states[name], used, distance = stream.at(middle)
            if distance > self._limits.max_spread_ns:
                return self._out_of_step(name, distance)
            parts.append(used)
        pictures = {name: self._cameras[name].values[index] for name, index in chosen.items()}
        return Match(pictures, states, min(parts), newest - oldest)

    def _out_of_step(self, name: str, apart_ns: int) -> Unsound:
        apart, most = in_words(apart_ns), in_words(self._limits.max_spread_ns)
        text = f"{name} is out of step: its nearest sample is {apart} away from the other streams"
        return Unsound(name, "out_of_step", f"{text}, at most {most} is allowed")
