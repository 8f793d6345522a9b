"""One background thread that runs jobs one after another, so that callbacks never wait for the engine."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class Worker:
    """Runs jobs in order. Jobs report by themselves and must not raise.

    The thread is a daemon: an engine that never returns cannot keep the process alive.
    """

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        """Run `job` after those before it."""
        self._jobs.put(job)

    def close(self, timeout_s: float = 1.0) -> bool:
        """Finish the jobs in hand and end the thread; false if it is still busy after `timeout_s` [s]."""
        self._jobs.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
