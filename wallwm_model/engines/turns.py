"""Whose turn it is: requests of several robots, and the threads that take them to the engine."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from typing import Any

from wallwm_model.engines.together import Together
from wallwm_model.errors import EngineError


class Job:
    """One request on its way through the engine.

    Attributes:
        future: its answer, or what it raised.
        asked_s, began_s, ended_s: steady clock [s]; the last two are 0 until then.
    """

    def __init__(self, run: Callable[[], Any]) -> None:
        self.run, self.future = run, Future()
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
    """A bounded queue before the inference threads.

    First come, first served. Whoever waits for an answer before asking again, as a server's connections do,
    has one job here at most; so every robot gets its turn after all others that wait, however often it asks.

    Args:
        waiting: jobs that may wait; more are refused.
        together: lets several jobs use the engine at once; None: one after the other.
    """

    def __init__(self, waiting: int, together: Together | None = None) -> None:
        self._room, self._request = waiting, together.request if together else nullcontext
        self._jobs: deque[Job] = deque()
        self._open, self._changed = True, threading.Condition()
        # Daemons: an engine that never returns cannot keep the process alive.
        self._threads = [
            threading.Thread(target=self._run, name="inference", daemon=True)
            for _ in range(together.most if together else 1)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Jobs that have not begun."""
        return len(self._jobs)

    def submit(self, run: Callable[[], Any]) -> Job:
        """Queue a job.

        Raises:
            EngineError: too many wait already, or the server is closing.
        """
        job = Job(run)
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
        """Refuse what waits and end the threads; false if the engine is still busy after `timeout_s` [s]."""
        with self._changed:
            self._open = False
            left, self._jobs = list(self._jobs), deque()
            self._changed.notify_all()
        for job in left:
            job.future.cancel()
        until_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while job := self._take():
            if job.future.set_running_or_notify_cancel():
                with self._request():
                    _answer(job)

    def _take(self) -> Job | None:
        """The oldest job; none once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or not self._open)
            return self._jobs.popleft() if self._open else None


def _answer(job: Job) -> None:
    """Run a job; what it raises is its answer."""
    job.began_s = time.perf_counter()
    try:
        answer = job.run()
    except BaseException as error:
        job.ended_s = time.perf_counter()
        job.future.set_exception(error)
    else:
        job.ended_s = time.perf_counter()
        job.future.set_result(answer)
