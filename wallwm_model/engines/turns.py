"""Whose turn it is: requests of several robots, one thread that runs the engine."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from wallwm_model.errors import EngineError


class Job:
    """One request on its way through the engine.

    Attributes:
        kind: jobs of the same kind may be run together.
        future: its answer, or what it raised.
        asked_s, began_s, ended_s: steady clock [s]; the last two are 0 until then.
    """

    def __init__(self, kind: str, run: Callable[[], Any]) -> None:
        self.kind, self.run, self.future = kind, run, Future()
        self.asked_s, self.began_s, self.ended_s = time.perf_counter(), 0.0, 0.0

    @property
    def timing(self) -> dict[str, float]:
        """Where the time went [ms]; `infer_ms` is openpi's name for the engine's part."""
        engine_ms = 1000 * (self.ended_s - self.began_s)
        return {
            "queue_ms": 1000 * (self.began_s - self.asked_s),
            "engine_ms": engine_ms,
            "infer_ms": engine_ms,
        }


class Turns:
    """A bounded queue before one inference thread.

    First come, first served. Whoever waits for an answer before asking again, as a server's connections do,
    has one job here at most; so every robot gets its turn after all others that wait, however often it asks.

    The bundles' graphs have batch size 1. So jobs run one after the other, and several robots share the
    engine's time; they do not gain any. `run_together` is where an engine with larger batches would take
    several jobs at once.

    Args:
        waiting: jobs that may wait; more are refused.
        run_together: runs jobs of one kind, and gives each its answer.
        most: jobs that it takes at once.
    """

    def __init__(
        self, waiting: int, run_together: Callable[[list[Job]], None] | None = None, most: int = 1
    ) -> None:
        self._room, self._run_together, self._most = waiting, run_together or run_in_turn, most
        self._jobs: deque[Job] = deque()
        self._open, self._changed = True, threading.Condition()
        # A daemon: an engine that never returns cannot keep the process alive.
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs that have not begun."""
        return len(self._jobs)

    def submit(self, kind: str, run: Callable[[], Any]) -> Job:
        """Queue a job.

        Raises:
            EngineError: too many wait already, or the server is closing.
        """
        job = Job(kind, run)
        with self._changed:
            if not self._open:
                raise EngineError("the server is shutting down")
            if len(self._jobs) >= self._room:
                raise EngineError(f"the server is busy: {self._room} requests wait already; ask again later")
            self._jobs.append(job)
            self._changed.notify()
        return job

    def drop(self, job: Job) -> None:
        """Nobody waits for this any more: it does not begin, unless it has begun already."""
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
        job.future.cancel()

    def close(self, timeout_s: float = 2.0) -> bool:
        """Refuse what waits and end the thread; false if the engine is still busy after `timeout_s` [s]."""
        with self._changed:
            self._open = False
            left, self._jobs = list(self._jobs), deque()
            self._changed.notify()
        for job in left:
            job.future.cancel()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while jobs := self._take():
            self._run_together(jobs)

    def _take(self) -> list[Job]:
        """The oldest job and those of its kind that go with it; none once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or not self._open)
            if not self._open:
                return []
            taken = [job for job in self._jobs if job.kind == self._jobs[0].kind][: self._most]
            for job in taken:
                self._jobs.remove(job)
            return taken


def run_in_turn(jobs: list[Job]) -> None:
    """One job after the other; what one raises is its own answer."""
    for job in jobs:
        if not job.future.set_running_or_notify_cancel():
            continue
        job.began_s = time.perf_counter()
        try:
            answer = job.run()
        except BaseException as error:
            job.ended_s = time.perf_counter()
            job.future.set_exception(error)
        else:
            job.ended_s = time.perf_counter()
            job.future.set_result(answer)
