"""Chunks on their way into the timeline: refused, waiting for their start, or next to begin."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from wallwm_ros.core.chunk import Chunk
from wallwm_ros.core.timeline import Timeline


class Intake:
    """`put` may be called from any thread; the rest belongs to the thread that ticks.

    Attributes:
        rejected: how many were refused.
        refused: the newest refusal, told until a chunk begins.
    """

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._inbox: deque[tuple[Chunk | None, int, str]] = deque()
        self._waiting: tuple[Chunk, int] | None = None  # a sound chunk whose start lies ahead
        self.rejected, self.refused = 0, ""

    def put(self, chunk: Chunk | None, start_ns: int = 0, fault: str = "") -> None:
        """Hand over a chunk for the next tick.

        Args:
            chunk: None: it could not even be read.
            start_ns: its start in the control clock [ns], or 0.
            fault: refuse it for this.
        """
        self._inbox.append((chunk, start_ns, fault))

    def clear(self) -> None:
        """Forget what has come, and what was refused."""
        self._inbox.clear()
        self._waiting, self.rejected, self.refused = None, 0, ""

    def drop(self) -> None:
        """Forget the chunk that waits."""
        self._waiting = None

    def take(self, now_ns: int, command_ns: int, ban: str, trouble: str) -> Iterator[tuple[Chunk, int]]:
        """Judge what has come; gives stop requests, at last the chunk whose start has come, and their starts.

        The one who takes a chunk acts on it before asking on.

        Args:
            now_ns, command_ns: the end of this period, and the time of the present command [ns].
            ban: why no plan may be followed, and those that come are over before they begin.
            trouble: why no plan can be followed at present.
        """
        while self._inbox:
            chunk, start_ns, fault = self._inbox.popleft()
            if chunk is None:
                self._refuse(fault)
                continue
            start_ns = start_ns or self._timeline.start_of(chunk, now_ns)
            unsound = self._unsound(chunk, command_ns, start_ns, fault)
            objection = "" if chunk.is_stop else ban or trouble
            if unsound or objection:
                self._refuse(_named(chunk, objection) if objection else unsound)
                if ban and not unsound:
                    self._timeline.end(now_ns, chunk.generation)
            elif chunk.is_stop:
                yield chunk, start_ns
            else:
                self._waiting = (chunk, start_ns)
        if self._waiting is not None and self._waiting[1] <= now_ns:
            (chunk, start_ns), self._waiting = self._waiting, None
            objection = ban or trouble
            refusal = self._timeline.refusal(chunk, command_ns, start_ns)  # its rows may all be due by now
            if objection or refusal:
                self._refuse(_named(chunk, objection) if objection else refusal)
            else:
                self.refused = ""
                yield chunk, start_ns

    def _unsound(self, chunk: Chunk, command_ns: int, start_ns: int, fault: str) -> str:
        newest = (chunk.generation, np.inf if chunk.is_stop else chunk.sequence)
        if self._waiting is not None and newest <= (self._waiting[0].generation, self._waiting[0].sequence):
            return _named(chunk, f"chunk {self._waiting[0].generation}/{self._waiting[0].sequence} is newer")
        refusal = self._timeline.refusal(chunk, command_ns, start_ns)
        return refusal or (_named(chunk, fault) if fault else "")

    def _refuse(self, reason: str) -> None:
        self.rejected += 1
        self.refused = reason


def _named(chunk: Chunk, reason: str) -> str:
    return f"chunk {chunk.generation}/{chunk.sequence} refused: {reason}"
