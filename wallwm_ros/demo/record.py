"""Watches an episode and turns it into a film and a trace of its joints."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wallwm_ros.demo.episode import Progress, kind
from wallwm_ros.demo.frames import Subtitle
from wallwm_ros.demo.plan import Episode
from wallwm_ros.demo.plot import Trace
from wallwm_ros.demo.results import EpisodeResult, EventResult
from wallwm_ros.demo.screen import detail
from wallwm_ros.demo.video import Film


class Recorder:
    """Collects pictures and control status from the ROS thread, and words from the planner.

    Args:
        cameras: those that make one frame.
        step_s: duration of one action step [s].
        film: where frames go; None: no film.

    Attributes:
        cameras: as given.
        heading: title of the next episode.
        trace: joints of the present or last episode.
    """

    def __init__(self, cameras: Sequence[str], step_s: float, film: Film | None = None) -> None:
        self.heading = ""
        self.cameras, self._step_s, self._film = tuple(cameras), step_s, film
        self._lock = threading.Lock()
        self._images: dict[str, np.ndarray] = {}
        self._stamps: dict[str, int] = {}
        self._subtitle = Subtitle()
        self._rolling = False
        self._start_ns: int | None = None
        self.trace = Trace()

    def begin(self, episode: Episode, captions: tuple[str, ...]) -> None:
        """A new episode, under the title in `heading`."""
        with self._lock:
            self._subtitle, self._rolling, self._start_ns = Subtitle(title=self.heading), True, None
            self._images, self._stamps, self.trace = {}, {}, Trace()

    def event(self, number: int, caption: str) -> None:
        """A new event."""
        with self._lock:
            self._subtitle = replace(self._subtitle, caption=caption, detail="", progress=0.0, thought="")
            now_s = self.trace.time_s[-1] if self.trace.time_s else 0.0
            self.trace.events.append((now_s, kind(caption)))

    def progress(self, number: int, progress: Progress) -> None:
        """How far the event is."""
        with self._lock:
            words = detail(progress, self._step_s)
            self._subtitle = replace(
                self._subtitle, progress=progress.progress, detail=words, thought=progress.reasoning
            )

    def event_done(self, number: int, result: EventResult) -> None:
        """The event has ended."""
        with self._lock:
            known = self._subtitle.progress
            share = 1.0 if result.completed and known is not None else known
            words = "achieved" if result.success else "not achieved" if result.completed else "aborted"
            self._subtitle = replace(self._subtitle, progress=share, detail=words)

    def end(self, result: EpisodeResult) -> None:
        """The episode is over; the film lingers on the verdict."""
        with self._lock:
            self._rolling = False
            verdict, kind = ("success", "success") if result.success else ("failure", "failure")
            if self._film is not None:
                self._film.linger(replace(self._subtitle, verdict=verdict, kind=kind))

    def picture(self, camera: str, picture: np.ndarray, stamp_ns: int) -> None:
        """One camera's picture (H, W, 3) uint8 RGB; a frame is made when all cameras show the same moment."""
        with self._lock:
            if not self._rolling or self._film is None:
                return
            self._images[camera], self._stamps[camera] = picture, stamp_ns
            moments = [self._stamps.get(name) for name in self.cameras]
            if all(moment == stamp_ns for moment in moments):
                self._film.show(dict(self._images), self._subtitle, stamp_ns)

    def status(
        self,
        stamp_ns: int,
        joints: tuple[str, ...],
        command: np.ndarray,
        measured: np.ndarray,
        chunk: tuple[int, int],
    ) -> None:
        """One report of the control process; command and measured (D,) [rad or m]."""
        with self._lock:
            if not self._rolling:
                return
            if self._start_ns is None:
                self._start_ns = stamp_ns
            trace = self.trace
            trace.joints = joints
            trace.time_s.append((stamp_ns - self._start_ns) / 1e9)
            trace.command.append(command)
            trace.measured.append(measured)
            trace.chunk.append(chunk)
