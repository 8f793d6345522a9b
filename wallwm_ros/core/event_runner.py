"""Carries out events one after another: look, infer, publish, follow what the control process really does.

A state machine turned by `tick` and by what comes in; it owns no thread and no clock. One event runs at
a time; others wait in a queue. Every plan, and every stop, has a newer generation than all before it, so
that the control process can never mistake an old one for a new one.
"""

from __future__ import annotations

from collections import deque

from wallwm_ros.core.clock import Clock
from wallwm_ros.core.event_run import Run, RunnerLimits
from wallwm_ros.core.events import (
    ControlReport,
    ControlState,
    EventGoal,
    EventPort,
    Outcome,
    Plan,
    Stage,
)
from wallwm_ros.core.execution import SECOND, ControlLink, Execution
from wallwm_ros.core.rest import RestDetector
from wallwm_ros.core.synchronizer import Match


class EventRunner:
    """Runs events through an `EventPort`.

    Args:
        port: the outside.
        clock: steady time.
        limits: waiting times.
        rest: tells when the arm is at rest.
    """

    def __init__(self, port: EventPort, clock: Clock, limits: RunnerLimits, rest: RestDetector) -> None:
        self._port, self._clock, self._limits = port, clock, limits
        self._link = ControlLink(limits.control_ns, rest)
        # Seeded from the steady clock in microseconds, so that a restarted node's first plan is newer than
        # the last plan of the one before it.
        self._generation = clock.now_ns() // 1000
        self._ticket = 0
        self._current: Run | None = None
        self._queue: deque[Run] = deque()
        self._stop_generation = self._stop_ns = 0

    @property
    def idle(self) -> bool:
        """No event is running or waiting."""
        return self._current is None and not self._queue

    def submit(self, goal: EventGoal) -> None:
        """Take in a sound goal: it replaces every event before it, or waits for its turn."""
        run = Run(goal, self._clock.now_ns())
        if goal.queue and len(self._queue) >= self._limits.queue_length:
            text = f"at most {self._limits.queue_length} events may wait; all places are taken"
            self._finish(run, Outcome.REFUSED, text)
            return
        if not goal.queue:
            self._end_all(Outcome.PREEMPTED, f"replaced by {goal.caption!r}")
        self._queue.append(run)
        self.tick()

    def cancel(self, key: bytes) -> None:
        """End the goal `key`, with a shaped stop if the arm moves for it."""
        if self._current is not None and self._current.goal.key == key:
            self._end(Outcome.CANCELLED, "cancelled by the client")
        for run in [run for run in self._queue if run.goal.key == key]:
            self._queue.remove(run)
            self._finish(run, Outcome.CANCELLED, "cancelled by the client while it waited for its turn")

    def close(self, text: str) -> None:
        """End every event as DEACTIVATED."""
        self._end_all(Outcome.DEACTIVATED, text)

    def control_reported(self, report: ControlReport) -> None:
        """The control process says what it does."""
        self._link.hear(report, self._clock.now_ns())
        if self._current is not None and self._current.execution is not None:
            self._follow(self._current, self._clock.now_ns())

    def inferred(self, ticket: int, plan: Plan) -> None:
        """The engine has answered; publish at once unless the event is over."""
        run = self._awaiting(ticket)
        if run is None:
            return
        now, report = self._clock.now_ns(), self._link.report
        rejected = report.rejected if report else 0
        run.execution = Execution(plan, self._next_generation(), now, rejected)
        run.stage = Stage.EXECUTING
        self._port.publish(run.execution.generation, plan, run.goal, run.wait_ms)
        self._feedback(run, now)

    def unseen(self, ticket: int, text: str) -> None:
        """The chosen pictures turned out to be unusable; look for newer ones until the deadline."""
        run = self._awaiting(ticket)
        if run is not None:
            run.stage, run.trouble = Stage.WAITING, text
            run.not_before_ns = self._now()

    def inference_failed(self, ticket: int, text: str) -> None:
        """The engine raised, or its answer was not sound."""
        if self._awaiting(ticket) is not None:
            self._end(Outcome.ENGINE_FAILED, text)

    def distrust(self, text: str) -> None:
        """The cameras can no longer be trusted: an event that was planned from them ends with a shaped stop.

        One that still waits for its observation gets none, and goes on waiting until its deadline.
        """
        if self._current is not None and self._current.stage != Stage.WAITING:
            self._end(Outcome.NO_OBSERVATION, text)

    def tick(self) -> None:
        """Turn the machine; call at 50 Hz or so, and whenever something came in."""
        now = self._clock.now_ns()
        if self._current is None and self._queue:
            self._current = self._queue.popleft()
            self._current.started_ns = self._current.waiting_ns = now
        run = self._current
        if run is None:
            return
        timeout_ns = round(run.goal.timeout_s * SECOND) or self._limits.timeout_ns
        if now - run.started_ns > timeout_ns:
            self._end(Outcome.TIMED_OUT, f"not done after {timeout_ns / SECOND:.1f} s: {run.doing}")
        elif run.stage == Stage.WAITING:
            self._wait(run, now)
        elif run.execution is not None:
            self._follow(run, now)
        for run in (self._current, *self._queue):
            if run is not None and now >= run.feedback_due_ns:
                self._feedback(run, now)

    def _wait(self, run: Run, now: int) -> None:
        """WAITING: for the arm to rest, then for an observation taken since."""
        report = self._link.report
        if report is None or self._link.silent(now) or report.state == ControlState.INACTIVE:
            run.trouble = self._link.trouble(now)
            if now - run.started_ns > self._limits.control_ns:
                self._end(Outcome.CONTROL_LOST, run.trouble)
            return
        if self._stopping(report, now) or not self._link.at_rest(now):
            run.not_before_ns, run.waiting_ns, run.trouble = None, now, "the arm is not at rest yet"
            return
        if run.not_before_ns is None:
            run.not_before_ns, run.waiting_ns, run.trouble = self._now(), now, ""
        found = self._port.look(run.not_before_ns)
        if isinstance(found, Match):
            self._infer(run, found, now)
            return
        if found.kind != "early" or not run.trouble:
            run.trouble = found.text
        if now - run.waiting_ns > self._limits.observation_ns:
            waited = f"no sound observation within {self._limits.observation_ns / SECOND:.1f} s"
            self._end(Outcome.NO_OBSERVATION, f"{waited}: {run.trouble}")

    def _now(self) -> int:
        """Message time [ns]; in simulated time this node may hear of it later than the control process."""
        report = self._link.report
        return max(self._port.message_now_ns(), report.stamp_ns if report else 0)

    def _stopping(self, report: ControlReport, now: int) -> bool:
        """A stop is on its way to the control process; one that was restarted since never hears of it."""
        return report.generation < self._stop_generation and now - self._stop_ns <= self._limits.control_ns

    def _infer(self, run: Run, match: Match, now: int) -> None:
        self._ticket += 1
        run.ticket, run.stage, run.wait_ms = self._ticket, Stage.INFERRING, (now - run.started_ns) / 1e6
        self._feedback(run, now)
        self._port.infer(run.ticket, match, run.goal)

    def _follow(self, run: Run, now: int) -> None:
        """EXECUTING and SETTLING."""
        before, ended = run.stage, run.execution.update(self._link, now)
        run.stage = run.execution.stage
        if ended is not None:
            self._end(*ended)
        elif run.stage != before:
            self._feedback(run, now)

    def _end_all(self, outcome: Outcome, text: str) -> None:
        waiting, self._queue = list(self._queue), deque()
        if self._current is not None:
            self._end(outcome, text)
        for run in waiting:
            self._finish(run, outcome, text)

    def _end(self, outcome: Outcome, text: str) -> None:
        """End the current event; ask for a stop if its chunk may still be moving the arm."""
        run, self._current = self._current, None
        if outcome != Outcome.SUCCEEDED and run.execution is not None and not run.execution.superseded:
            self._stop_generation, self._stop_ns = self._next_generation(), self._clock.now_ns()
            self._port.stop(self._stop_generation)
        self._finish(run, outcome, text)

    def _finish(self, run: Run, outcome: Outcome, text: str) -> None:
        duration_s = (self._clock.now_ns() - run.arrived_ns) / SECOND
        self._port.finish(run.goal, run.result(outcome, text, duration_s))

    def _feedback(self, run: Run, now: int) -> None:
        if now >= run.feedback_due_ns:  # else: a change of stage, one message more
            period = self._limits.feedback_ns
            run.feedback_due_ns = max(run.feedback_due_ns, now - period // 2) + period
        self._port.feedback(run.goal, run.progress)

    def _awaiting(self, ticket: int) -> Run | None:
        """The run that still waits for this inference, if any."""
        run = self._current
        return run if run and run.stage == Stage.INFERRING and run.ticket == ticket else None

    def _next_generation(self) -> int:
        """Newer than every plan of this node, and than the one the control process knows."""
        known = self._link.report.generation if self._link.report else 0
        self._generation = max(self._generation, known) + 1
        return self._generation
