"""What runners of events and of tasks have in common: a queue, waiting for an observation, endings, feedback.

State machines turned by `tick` and by what comes in; they own no thread and no clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import Generic, TypeVar

from wallwm_ros.core.clock import Clock
from wallwm_ros.core.control_link import SECOND, ControlLink
from wallwm_ros.core.event_run import BaseRun, RunnerLimits
from wallwm_ros.core.events import ControlState, Outcome, Stage
from wallwm_ros.core.plans import Port
from wallwm_ros.core.synchronizer import Match, Unsound

R = TypeVar("R", bound=BaseRun)
WATCH_NS = 100_000_000  # between two looks at the streams while the arm moves


class Runner(ABC, Generic[R]):
    """Runs goals one at a time through a `Port`; others wait in a queue.

    Args:
        port: the outside.
        clock: steady time.
        limits: waiting times.
        link: the control process; whoever hears its reports tells the link, then calls `follow`.

    Attributes:
        held: no waiting goal may begin: somebody else moves the arm.
    """

    def __init__(self, port: Port, clock: Clock, limits: RunnerLimits, link: ControlLink) -> None:
        self._port, self._clock, self._limits, self._link = port, clock, limits, link
        self.held = False
        self._current: R | None = None
        self._queue: deque[R] = deque()

    @property
    def running(self) -> bool:
        """A goal is being carried out."""
        return self._current is not None

    @property
    def current(self) -> R | None:
        """The goal being carried out."""
        return self._current

    @property
    def waiting(self) -> int:
        """How many goals wait for their turn."""
        return len(self._queue)

    @property
    def idle(self) -> bool:
        """No goal is running or waiting."""
        return self._current is None and not self._queue

    @abstractmethod
    def retire(self, text: str) -> None:
        """Take no further goals for the reason `text`: waiting ones end, the current one comes to its end."""

    @abstractmethod
    def _ask(self, run: R, match: Match) -> None:
        """Start the inference that lets a run begin, from rest."""

    @abstractmethod
    def _work(self, run: R, now: int) -> None:
        """Go on with a run that is past WAITING."""

    def cancel(self, key: bytes) -> None:
        """End the goal `key`, with a shaped stop if the arm moves for it."""
        if self._current is not None and self._current.goal.key == key:
            self._end(Outcome.CANCELLED, "cancelled by the client")
        for run in [run for run in self._queue if run.goal.key == key]:
            self._queue.remove(run)
            self._finish(run, Outcome.CANCELLED, "cancelled by the client while it waited for its turn")

    def close(self, text: str) -> None:
        """End every goal as DEACTIVATED."""
        self._end_all(Outcome.DEACTIVATED, text)

    def follow(self) -> None:
        """The control process has said what it does."""
        if self._link.seized:
            self._end_all(*self._link.seized)
        elif self._current is not None and self._current.execution is not None:
            self._work(self._current, self._clock.now_ns())

    def distrust(self, text: str) -> None:
        """The cameras can no longer be trusted: a goal that was planned from them ends with a shaped stop.

        One that still waits for its observation gets none, and goes on waiting until its deadline.
        """
        run = self._current
        if run is not None and run.stage != Stage.WAITING:
            self._end(Outcome.NO_OBSERVATION, text)
        elif run is not None and run.not_before_ns is not None:
            run.not_before_ns = self._now()  # what was seen before does not count

    def tick(self) -> None:
        """Turn the machine; call at 50 Hz or so, and whenever something came in."""
        now = self._clock.now_ns()
        if self._current is None and self._queue and not self.held:
            self._current = self._queue.popleft()
            self._current.started_ns = self._current.waiting_ns = now
        run = self._current
        if run is not None:
            timeout_ns = round(run.goal.timeout_s * SECOND) or self._limits.timeout_ns
            if now - run.started_ns > timeout_ns:
                self._end(Outcome.TIMED_OUT, f"not done after {timeout_ns / SECOND:.1f} s: {run.doing}")
            elif run.stage == Stage.WAITING:
                self._wait(run, now)
            else:
                self._work(run, now)
        if self._current is not None and self._current.execution is not None:
            self._watch(self._current, now)
        for run in (self._current, *self._queue):
            if run is not None and now >= run.feedback_due_ns:
                self._feedback(run, now)

    def _take_in(self, run: R) -> None:
        """A goal waits for its turn from now on, which may be at once."""
        self._queue.append(run)
        self._port.staged(run.goal, Stage.WAITING, f"{len(self._queue) - 1 + self.running} before it")
        self.tick()

    def _wait(self, run: R, now: int) -> None:
        """WAITING: for the arm to rest, then for an observation taken since."""
        report = self._link.report
        if report is None or self._link.silent(now) or report.state == ControlState.INACTIVE:
            run.trouble = self._link.trouble(now)
            if now - run.started_ns > self._limits.control_ns:
                self._end(Outcome.CONTROL_LOST, run.trouble)
            return
        if self._link.stopping(now) or not self._link.at_rest(now):
            run.not_before_ns, run.waiting_ns, run.trouble = None, now, "the arm is not at rest yet"
            return
        if run.not_before_ns is None:
            run.not_before_ns, run.waiting_ns, run.trouble = self._now(), now, ""
        found = self._port.look(run.not_before_ns)
        if isinstance(found, Match):
            run.wait_ms = (now - run.started_ns) / 1e6
            self._enter(run, Stage.INFERRING, now)
            self._ask(run, found)
        else:
            self._miss(run, found, run.waiting_ns, now)

    def _watch(self, run: R, now: int) -> None:
        """What a chunk moves among must be seen: end the goal when it is not, for too long."""
        if now < run.watch_ns:
            return
        run.watch_ns = now + min(WATCH_NS, self._limits.observation_ns // 4)
        found = self._port.look(0)
        if isinstance(found, Match):
            run.seen_ns = now
        else:
            self._miss(run, found, max(run.seen_ns, self._link.woke_ns), now)

    def _miss(self, run: R, found: Unsound, since_ns: int, now: int) -> None:
        """There is no sound observation: end the current run when it was waited for too long."""
        if found.kind != "early" or not run.trouble:
            run.trouble = found.text
        if now - since_ns > self._limits.observation_ns:
            waited = f"no sound observation within {self._limits.observation_ns / SECOND:.1f} s"
            self._end(Outcome.NO_OBSERVATION, f"{waited}: {run.trouble}")

    def _now(self) -> int:
        """Message time [ns]; in simulated time this node may hear of it later than the control process."""
        report = self._link.report
        return max(self._port.message_now_ns(), report.stamp_ns if report else 0)

    def _end_all(self, outcome: Outcome, text: str) -> None:
        waiting, self._queue = list(self._queue), deque()
        if self._current is not None:
            self._end(outcome, text)
        for run in waiting:
            self._finish(run, outcome, text)

    def _end(self, outcome: Outcome, text: str) -> None:
        """End the current goal; ask for a stop if what was planned for it may still be moving the arm."""
        run, self._current = self._current, None
        done = run.execution
        if done is not None and not (done.complete or done.superseded or self._link.seized):
            self._port.stop(self._link.next_stop(self._clock.now_ns()))
        self._finish(run, outcome, text)

    def _finish(self, run: R, outcome: Outcome, text: str) -> None:
        duration_s = (self._clock.now_ns() - run.arrived_ns) / SECOND
        self._port.finish(run.goal, run.result(outcome, text, duration_s))

    def _enter(self, run: R, stage: Stage, now: int, reason: str = "") -> None:
        """Come to another stage, and say so."""
        if stage != run.stage:
            run.stage = stage
            self._port.staged(run.goal, stage, reason)
            self._feedback(run, now)

    def _feedback(self, run: R, now: int) -> None:
        if now >= run.feedback_due_ns:  # else: a change of stage, one message more
            period = self._limits.feedback_ns
            run.feedback_due_ns = max(run.feedback_due_ns, now - period // 2) + period
        self._port.feedback(run.goal, run.progress)
