"""One inference at a time in a thread of its own; answers come back in the executor's thread."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.node import Node

from wallwm_ros.core.events import Plan
from wallwm_ros.core.worker import Worker

Answer = Plan | Exception


@dataclass(frozen=True)
class _Done:
    found: Answer
    tell: Callable[[Answer], None]
    ended_s: float


class InferenceThread:
    """Runs what it is asked for, unless something newer was asked for before it could begin.

    Args:
        node: whose executor is woken by an answer.
        seed: of the action noise; each inference adds one.

    Attributes:
        asked_s, ended_s: when the newest was asked for, and when the one told of last had ended [s].
    """

    def __init__(self, node: Node, seed: int) -> None:
        self._node, self._seed = node, seed
        self._worker = Worker("inference")
        self._done: deque[_Done] = deque()
        self._wake = node.create_guard_condition(self._deliver)
        self._count = self._wanted = 0
        self.asked_s = self.ended_s = 0.0

    def ask(self, make: Callable[[int], Plan], tell: Callable[[Answer], None]) -> None:
        """Call `make` with a seed in the thread; `tell` its plan, or what it raised, in the executor's."""
        self._count += 1
        number = self._wanted = self._count
        self.asked_s = time.perf_counter()

        def job() -> None:
            if number != self._wanted:
                return  # replaced while an older inference was still running
            found = _attempt(make, self._seed + number)
            self._done.append(_Done(found, tell, time.perf_counter()))
            if number == self._wanted:
                self._wake.trigger()
            self._read(found, lambda: number != self._wanted)

        self._worker.submit(job)

    def close(self) -> bool:
        """End the thread; false if the engine is still busy."""
        self._wanted = 0  # a late answer wakes nobody
        done = self._worker.close()
        self._node.destroy_guard_condition(self._wake)
        return done

    def _read(self, found: Answer, stop: Callable[[], bool]) -> None:
        """Put the thought behind a plan, which is out now, into words; until something newer is asked for."""
        if not isinstance(found, Plan) or found.thought is None:
            return
        try:
            found.thought.read(stop)
        except Exception as error:  # a thought that cannot be read must not end a task that moves
            self._node.get_logger().warning(f"the model's reasoning cannot be read: {error}")

    def _deliver(self) -> None:
        while self._done:
            done = self._done.popleft()
            self.ended_s = done.ended_s
            done.tell(done.found)


def _attempt(make: Callable[[int], Plan], seed: int) -> Answer:
    """Whatever an engine raises must end the goal, not the thread."""
    try:
        return make(seed)
    except Exception as error:
        return error
