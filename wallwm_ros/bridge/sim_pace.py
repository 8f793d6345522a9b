"""What makes simulated time go by: the steady clock, or the commands that arrive."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node

from wallwm_model.errors import WallWMError
from wallwm_ros.bridge.sim_body import SimBody
from wallwm_ros.bridge.sim_outputs import SimOutputs
from wallwm_ros.core.config import SimConfig

SECOND = 1_000_000_000
PHYSICS_NS = 5_000_000
LATE_NS = 100_000_000
CALM_NS = 200_000_000  # lockstep: repeat the time after this long without a command
QUICK_NS = 20_000_000  # lockstep: as before, while nobody has commanded anything yet
DRAIN_NS = 40_000_000  # lockstep: late answers to a repeated time come within this

Act = Callable[[SimBody], None]
Question = Callable[[SimBody], object]


class Pace(Protocol):
    """Owns the body: everything that touches it goes through here."""

    def command(self, act: Act) -> None:
        """A sound command has arrived."""

    def ask(self, question: Question) -> object:
        """Do something with the body now, and wait for its result."""

    def restart(self, question: Question) -> object:
        """As `ask`, for a question that begins a new scene."""

    def close(self) -> None:
        """Stop simulating."""


class RealtimePace:
    """One thread owns the body, paced by the steady clock; stamps are the node clock's."""

    def __init__(self, node: Node, config: SimConfig, body: SimBody, outputs: SimOutputs) -> None:
        self._node, self._body, self._outputs = node, body, outputs
        self._state_ns = round(SECOND / config.state_rate_hz)
        self._picture_ns = round(SECOND / config.camera_rate_hz)
        self._elapsed_ns = 0
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="physics", daemon=True)
        self._thread.start()

    def command(self, act: Act) -> None:
        """In force from the next physics step on."""
        self._jobs.put(lambda: act(self._body))

    def ask(self, question: Question) -> object:
        """Done between two physics steps.

        Raises:
            WallWMError: what the question raised.
        """
        answer: Future = Future()

        def job() -> None:
            try:
                answer.set_result(question(self._body))
            except WallWMError as error:
                answer.set_exception(error)

        self._jobs.put(job)
        return answer.result(timeout=30.0)

    restart = ask

    def close(self) -> None:
        """Stop the physics thread."""
        self._stop.set()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        self._body.pictures()  # graphics belong to the thread that starts them, and starting takes a while
        due_ns = time.monotonic_ns()
        while not self._stop.is_set():
            while not self._jobs.empty():
                self._jobs.get()()
            self._step()
            due_ns += PHYSICS_NS
            late_ns = time.monotonic_ns() - due_ns
            if late_ns < 0:
                time.sleep(-late_ns / SECOND)
            elif late_ns > LATE_NS:
                # A burst to catch up would show the controller a robot faster than real: lose the time.
                due_ns += late_ns
                text = f"the simulation lost {late_ns / SECOND:.2f} s: the machine is too busy for real time"
                self._node.get_logger().warning(text, throttle_duration_sec=5.0)

    def _step(self) -> None:
        self._body.advance(PHYSICS_NS / SECOND)
        now_ns = self._node.get_clock().now().nanoseconds
        before_ns, self._elapsed_ns = self._elapsed_ns, self._elapsed_ns + PHYSICS_NS
        if _passed(before_ns, self._elapsed_ns, self._state_ns):
            self._outputs.joint_states(now_ns)
            self._outputs.clock(now_ns)
        if _passed(before_ns, self._elapsed_ns, self._picture_ns):
            self._outputs.pictures(now_ns)


class LockstepPace:
    """Time advances by one period for every command, so that a run is exact at any speed.

    The executor's thread owns the body. The new time goes out before the pictures are drawn: the controller
    works meanwhile. Where no command comes, the time is repeated, in case nobody listened yet or a message
    was lost. Then several answers to the same time may come; only the first one makes time go by.
    """

    def __init__(self, node: Node, config: SimConfig, body: SimBody, outputs: SimOutputs) -> None:
        self._body, self._outputs = body, outputs
        self._period_ns = round(config.lockstep_period_ms * 1e6)
        self._picture_ns = round(SECOND / config.camera_rate_hz)
        self._now_ns = SECOND  # zero means "no time yet" in ROS
        self._calm_ns, self._repeated, self._draining = QUICK_NS, False, False
        self._spoke_ns = time.monotonic_ns()
        body.pictures()
        node.create_timer(QUICK_NS / SECOND, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def command(self, act: Act) -> None:
        """One period of physics under the command."""
        act(self._body)
        if self._draining:
            return
        self._body.advance(self._period_ns / SECOND)
        before_ns, self._now_ns = self._now_ns, self._now_ns + self._period_ns
        self._calm_ns = CALM_NS
        if self._repeated:
            self._draining, self._spoke_ns = True, time.monotonic_ns()
        else:
            self._say_time()
        if _passed(before_ns, self._now_ns, self._picture_ns):
            self._outputs.pictures(self._now_ns)

    def ask(self, question: Question) -> object:
        """Done at once: nothing else runs in this thread.

        Raises:
            WallWMError: what the question raised.
        """
        return question(self._body)

    def restart(self, question: Question) -> object:
        """As `ask`, for a question that begins a new scene: who begins to listen hears the time soon."""
        answer = question(self._body)
        self._calm_ns = QUICK_NS
        return answer

    def close(self) -> None:
        """Nothing runs by itself."""

    def _say_time(self) -> None:
        self._spoke_ns = time.monotonic_ns()
        self._outputs.joint_states(self._now_ns)
        self._outputs.clock(self._now_ns)

    def _look(self) -> None:
        """Has nothing been heard for a while, or have all late answers come in?"""
        silent_ns = time.monotonic_ns() - self._spoke_ns
        if self._draining and silent_ns >= DRAIN_NS:
            self._draining = self._repeated = False
            self._say_time()
        elif not self._draining and silent_ns >= self._calm_ns:
            self._repeated = True
            self._say_time()
            self._outputs.camera_infos(self._now_ns)  # whoever is being configured waits for them


def _passed(before_ns: int, now_ns: int, period_ns: int) -> bool:
    """Whether a multiple of the period lies in (before, now]."""
    return before_ns // period_ns != now_ns // period_ns
