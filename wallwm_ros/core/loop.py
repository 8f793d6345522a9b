"""A loop at absolute deadlines of the steady clock: late never adds up, and missed deadlines are counted."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

SECOND = 1_000_000_000
_REMEMBERED = 20_000  # calls; minutes at any rate, and soon full: what grows for long looks like a leak


class SteadyLoop:
    """Calls `callback(deadline_ns)` at a fixed rate in a thread of its own.

    A deadline that has passed by more than a period is skipped, not made up for. An exception in the callback
    ends the loop and goes to `on_error`, in the loop's thread.
    """

    def __init__(
        self,
        rate_hz: float,
        callback: Callable[[int], None],
        name: str = "loop",
        on_error: Callable[[Exception], None] | None = None,
    ) -> None:
        self._period_ns = round(SECOND / rate_hz)
        self._callback = callback
        self._stop = threading.Event()
        self._starts: deque[int] = deque(maxlen=_REMEMBERED)
        self._late: deque[int] = deque(maxlen=_REMEMBERED)
        self._missed = 0
        self._on_error = on_error
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def running(self) -> bool:
        """The thread is alive."""
        return self._thread.is_alive()

    @property
    def missed(self) -> int:
        """Deadlines skipped so far."""
        return self._missed

    def starts_ns(self) -> list[int]:
        """When the latest calls (up to 20 000) began, steady clock [ns]; their differences are periods."""
        return list(self._starts)

    def lateness_ns(self) -> list[int]:
        """By how much the latest calls began after their deadlines [ns]."""
        return list(self._late)

    def start(self) -> None:
        """Begin; the first call comes one period from now."""
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        """No call begins after this returns (unless one takes longer than `timeout_s`)."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        deadline_ns = time.monotonic_ns() + self._period_ns
        while not self._stop.is_set():
            wait_ns = deadline_ns - time.monotonic_ns()
            if wait_ns > 0:
                time.sleep(wait_ns / SECOND)
            if self._stop.is_set():
                return
            begun_ns = time.monotonic_ns()
            self._starts.append(begun_ns)
            self._late.append(begun_ns - deadline_ns)
            try:
                self._callback(deadline_ns)
            except Exception as error:  # the owner must know that nothing is called any more
                if self._on_error is None:
                    raise
                self._on_error(error)
                return
            deadline_ns += self._period_ns
            behind = (time.monotonic_ns() - deadline_ns) // self._period_ns
            if behind > 0:
                self._missed += behind
                deadline_ns += behind * self._period_ns
