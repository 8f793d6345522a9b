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

from wallwm_ros.core.streams import Stream

MS = 1_000_000  # nanoseconds in a millisecond


@dataclass(frozen=True)
class SyncLimits:
    """How far apart and how old the parts of one observation may be.

    Attributes:
        max_spread_ns: between the oldest and the newest part [ns].
        max_age_ns: of the oldest part [ns].
        max_ahead_ns: how far a stamp may lie ahead of this node's clock [ns]; more means that clocks differ.
        frozen: this many identical pictures in a row mean that a camera with noise is frozen; 0: never.
    """

    max_spread_ns: int
    max_age_ns: int
    max_ahead_ns: int = 50 * MS
    frozen: int = 0


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


@dataclass(frozen=True)
class Unsound:
    """Why there is no observation.

    Attributes:
        stream: the camera or state stream to blame.
        kind: `missing`, `refused`, `early`, `stale`, `future`, `frozen`, `out_of_step`, `past` or
            `camera_info`.
        text: one sentence with the figures.
    """

    stream: str
    kind: str
    text: str


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
    ) -> None:
        self._limits, self._same = limits, same
        self._noisy = frozenset(noisy) if limits.frozen else frozenset()
        depth = max(depth, limits.frozen)
        self._lock = threading.Lock()
        self._cameras = {name: Stream("picture", depth, keep_ns=keep_ns) for name in cameras}
        self._states = {name: Stream("joint state", state_depth, columns) for name, columns in states.items()}

    def add_picture(self, camera: str, stamp_ns: int, picture: Any) -> None:
        """Take in a picture (opaque here) stamped `stamp_ns` [ns]."""
        with self._lock:
            self._cameras[camera].add(stamp_ns, picture)

    def add_state(self, stream: str, stamp_ns: int, positions: np.ndarray) -> None:
        """Take in positions (n,) [rad, m] stamped `stamp_ns` [ns]."""
        with self._lock:
            self._states[stream].add(stamp_ns, positions)

    def refuse(self, stream: str, reason: str) -> None:
        """A sample of `stream` cannot be used for `reason`; the reason is given until a good sample comes."""
        with self._lock:
            (self._cameras.get(stream) or self._states[stream]).refuse(reason)

    def clear(self) -> None:
        """Forget every sample."""
        with self._lock:
            for stream in (*self._cameras.values(), *self._states.values()):
                stream.clear()

    def newest(self, now_ns: int, not_before_ns: int = 0) -> Match | Unsound:
        """The newest sound set whose parts were all taken at or after `not_before_ns`, else the reason.

        Newest is by the oldest picture; among equals the tightest. All times are of the clock that stamps the
        messages [ns].
        """
        with self._lock:
            for name, stream in (*self._cameras.items(), *self._states.items()):
                reason = self._unsound(name, stream, now_ns, not_before_ns)
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
                        text = f"{name} has no picture within {_ms(every_ns // 2)} of "
                        return Unsound(name, "past", text + f"{_ms(match.stamp_ns - time_ns)} before")
        return replace(match, past=tuple(film))

    def _unsound(self, name: str, stream: Stream, now_ns: int, not_before_ns: int) -> Unsound | None:
        """The reason why `stream` by itself has nothing to offer."""
        kind, limits = stream.kind, self._limits
        if stream.refusal:
            return Unsound(name, "refused", f"a {kind} from {name} was refused: {stream.refusal}")
        if not stream.stamps:
            return Unsound(name, "missing", f"no {kind} from {name} has arrived")
        age = now_ns - stream.stamps[-1]
        if -age > limits.max_ahead_ns:
            text = f"{name} is stamped {_ms(-age)} ahead of this node's clock"
            most = f"at most {_ms(limits.max_ahead_ns)} is allowed"
            return Unsound(name, "future", f"{text}, {most}: the clocks differ")
        if age > limits.max_age_ns:
            text = f"{name} is stale: its newest {kind} is {_ms(age)} old"
            return Unsound(name, "stale", f"{text}, at most {_ms(limits.max_age_ns)} is allowed")
        if now_ns - age < not_before_ns:
            text = f"{name} has sent no {kind} since the event began {_ms(now_ns - not_before_ns)} ago"
            return Unsound(name, "early", text)
        return self._frozen(name, stream) if name in self._noisy else None

    def _frozen(self, name: str, stream: Stream) -> Unsound | None:
        """The reason why a camera may be showing one picture again and again."""
        most = self._limits.frozen
        count = stream.repeated(self._same, most)
        if count >= most:
            return Unsound(name, "frozen", f"{name} is frozen: its last {count} pictures are identical")
        if count == len(stream.stamps):  # too few to tell, e.g. right after activation
            text = f"{name} has shown one picture only, {count} times: it may be frozen"
            return Unsound(name, "early", text)
        return None

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
        text = f"{name} is out of step: its nearest sample is {_ms(apart_ns)} away from the other streams"
        return Unsound(name, "out_of_step", f"{text}, at most {_ms(self._limits.max_spread_ns)} is allowed")


def _ms(duration_ns: int) -> str:
    return f"{duration_ns / MS:.0f} ms"
