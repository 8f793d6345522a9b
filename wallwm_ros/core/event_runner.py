"""Carries out events one after another: one chunk each, the whole event, from rest to rest.

Where the model is asked again while an event moves the arm (`EventTuning.replan_ns`), each answer is the
whole rest of the event and joins the plan. The estimate of the remaining time extends the event beyond the
plan's end, or ends it earlier. The event is over when the last row is reached at rest, no question is due or
open, and the newest estimate does not say otherwise.
"""

from __future__ import annotations

import numpy as np

from wallwm_model.policy import SHORTEST
from wallwm_ros.core.event_run import Run
from wallwm_ros.core.events import EventGoal, EventQuestion, EventTuning, Outcome, Plan
from wallwm_ros.core.plan_runner import CLOSING_STEPS, PlanRunner
from wallwm_ros.core.synchronizer import Match


class EventRunner(PlanRunner[Run]):
    """Runs events.

    One that replaces another takes its plan over where the model is asked again, goes on from committed steps
    and answers soon; else it begins from rest. An event that should last up to `SHORTEST` beyond its plan is over
    there.
    """

    tuning: EventTuning
    _ends = True

    def submit(self, goal: EventGoal) -> None:
        """Take in a sound goal: it replaces every event before it, or waits for its turn."""
        run = Run(goal, self._clock.now_ns())
        if goal.queue and len(self._queue) >= self._limits.queue_length:
            text = f"at most {self._limits.queue_length} events may wait; all places are taken"
            self._finish(run, Outcome.REFUSED, text)
            return
        if not goal.queue:
            spliced = self._splices and self._soon and self._current is not None and self._current.moving
            self._give_way(f"replaced by {goal.caption!r}", spliced=spliced)
        self._take_in(run)

    def retire(self, text: str) -> None:
        """See `Runner`: an event that has begun ends as it would have."""
        while self._queue:
            self._finish(self._queue.popleft(), Outcome.PREEMPTED, text)

    @property
    def _splices(self) -> bool:
        return self._shape.takes_prefix and self.tuning.replan_ns > 0

    @property
    def _heir(self) -> Run | None:
        first = self._queue[0] if self._queue else None
        return first if first is not None and not first.goal.queue and self._splices else None

    def _question(
        self, run: Run, match: Match, first_step: int, committed: np.ndarray | None
    ) -> EventQuestion:
        run.asked_step, run.again = first_step, False
        begun = first_step - run.began_step if run.chunks else 0
        rest = round(run.goal.duration_s * 1e9 / self._shape.step_ns) - begun
        known = 0 if committed is None else len(committed)
        duration_s = run.goal.duration_s
        if begun or known:  # what is left of it; once that is over, the model says how long it takes
            duration_s = rest * self._shape.step_ns / 1e9 if rest >= known + CLOSING_STEPS else 0.0
        return EventQuestion(
            self._ticket, run.goal.caption, duration_s, committed, first_step, match.stamp_ns
        )

    def _due(self, run: Run) -> bool:
        """On the period, once more in time before the plan ends, and at its end if the event is not over."""
        if not self.tuning.replan_ns:
            return False
        step, planned = run.execution.step, run.execution.planned
        if run.again or step >= planned:
            return True
        every = max(self.tuning.replan_ns // self._shape.step_ns, 1)
        last = planned - self.delay.steps(self._shape.step_ns) - CLOSING_STEPS
        return step >= run.asked_step + every or run.asked_step < last <= step

    def _rows(self, run: Run, question: EventQuestion, plan: Plan, due: int) -> np.ndarray | None:
        done, rows, first = self._current.execution, plan.actions, question.first_step
        if len(rows) <= due:
            run.again = True
            return None
        if run is self._current:
            self._heed(run, plan, first)
            extends = run.expected_end > done.planned + SHORTEST and first + len(rows) > done.planned
            if not extends and done.planned - done.step < CLOSING_STEPS:
                return None  # as good as there; it comes to rest by itself
        short = due + CLOSING_STEPS - len(rows)
        return rows if short <= 0 else np.concatenate([rows, np.repeat(rows[-1:], short, axis=0)])

    def _heed(self, run: Run, plan: Plan, first_step: int) -> None:
        expected = first_step + plan.remaining_s * 1e9 / self._shape.step_ns
        run.expected_end = expected if self.tuning.replan_ns else 0.0

    def _foresee(self, run: Run) -> None:
        done = run.execution
        asking = self._asked is not None or run.due_ns is not None
        if self.tuning.replan_ns and (asking or run.expected_end > done.planned + SHORTEST):
            done.closing = None
        else:
            done.closing = Outcome.SUCCEEDED, f"{done.planned - run.began_step} steps executed"
