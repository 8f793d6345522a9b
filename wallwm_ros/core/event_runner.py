"""Carries out events one after another: look, infer, publish, follow what the control process really does."""

from __future__ import annotations

from collections import deque

from wallwm_ros.core.event_run import Run
from wallwm_ros.core.events import EventGoal, EventPort, Outcome, Plan, Stage
from wallwm_ros.core.execution import Execution
from wallwm_ros.core.runner import Runner
from wallwm_ros.core.synchronizer import Match


class EventRunner(Runner[Run]):
    """Runs events through an `EventPort`: one chunk each, from rest to rest."""

    _port: EventPort

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

    def inferred(self, ticket: int, plan: Plan) -> None:
        """The engine has answered; publish at once unless the event is over."""
        run = self._awaiting(ticket)
        if run is None:
            return
        now = self._clock.now_ns()
        run.execution = Execution(plan, self._link.next_generation(), now, self._link.rejected)
        run.stage = Stage.EXECUTING
        self._port.publish(run.execution.generation, plan, run.goal, run.wait_ms)
        self._feedback(run, now)

    def retire(self, text: str) -> None:
        """See `Runner`: an event that has begun ends as it would have."""
        waiting, self._queue = list(self._queue), deque()
        for run in waiting:
            self._finish(run, Outcome.PREEMPTED, text)

    def _ask(self, run: Run, match: Match) -> None:
        self._port.infer(run.ticket, match, run.goal)

    def _work(self, run: Run, now: int) -> None:
        """EXECUTING and SETTLING."""
        if run.execution is None:
            return
        before, ended = run.stage, run.execution.update(self._link, now)
        run.stage = run.execution.stage
        if ended is not None:
            self._end(*ended)
        elif run.stage != before:
            self._feedback(run, now)
