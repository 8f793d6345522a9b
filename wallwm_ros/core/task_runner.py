"""Carries tasks out in chunks of fixed length: the next one is inferred while the present one moves the arm.

A newer task takes the plan over. A model says nothing of a task being done. It is taken to be done when it has
held still for the length of a whole chunk: targets that move less than a bound, in every chunk inferred since.
Then the plan is closed, and the task has succeeded once the arm rests.
"""

from __future__ import annotations

import numpy as np

from wallwm_model.spec import EXECUTED
from wallwm_ros.core.events import Outcome, Plan, Stage
from wallwm_ros.core.plan_runner import CLOSING_STEPS, PlanRunner
from wallwm_ros.core.synchronizer import Match
from wallwm_ros.core.task_run import TaskRun
from wallwm_ros.core.tasks import Question, TaskGoal, TaskTuning


class TaskRunner(PlanRunner[TaskRun]):
    """Runs tasks."""

    tuning: TaskTuning

    def submit(self, goal: TaskGoal) -> None:
        """Take in a sound goal: it takes over from the task under way, if the model answers soon enough."""
        spliced = self._current is not None and self._current.execution is not None and self._soon
        self._give_way(f"replaced by {goal.caption!r}", spliced=spliced)
        self._take_in(TaskRun(goal, self._clock.now_ns()))

    def retire(self, text: str) -> None:
        """See `Runner`: the chunk under way is the last one, and the arm comes to rest at its end."""
        run = self._current
        self._give_way(text, spliced=run is not None and run.execution is not None)
        if run is not None and run.moving:
            self._close(run, run.execution.planned, (Outcome.PREEMPTED, text))

    @property
    def _heir(self) -> TaskRun | None:
        return self._queue[0] if self._queue else None

    def _question(
        self, run: TaskRun, match: Match, first_step: int, committed: np.ndarray | None
    ) -> Question:
        source, done = self.tuning.source, first_step - run.began_step if run.chunks else 0
        # As in training, counted in time; an atomic instruction does not tell when its whole task began.
        index = 0 if source == "atomic" else 1 + done // self._shape.steps
        return Question(self._ticket, run.goal.caption, source, index, committed, first_step, match.stamp_ns)

    def _go_on(self, run: TaskRun, now: int) -> None:
        """Close the plan when the model has held still long enough; else see to the next chunk in time."""
        done, still = run.execution, run.still_since
        if self._heir is None and still is not None and done.step - still >= self._shape.steps:
            text = f"the model has held still for a whole chunk after {run.chunks} chunks"
            self._close(run, done.step + CLOSING_STEPS, (Outcome.SUCCEEDED, text))
        else:
            super()._go_on(run, now)

    def _due(self, run: TaskRun) -> bool:
        """From a step on; at once where the plan ran dry, while a picture still shows where the arm paused."""
        if run.execution.ran_dry:
            return True
        return run.execution.step >= run.execution.first_step + self._replan()

    def _replan(self) -> int:
        """Steps of a chunk before the next one is inferred: as set, or late, yet so that it should come in time."""
        steps = self._shape.steps
        if self.tuning.replan_steps:
            return min(self.tuning.replan_steps, steps)
        last = steps - self.delay.steps(self._shape.step_ns) - CLOSING_STEPS
        return max(steps // 2, min(int(EXECUTED * steps), last))

    def _rows(self, run: TaskRun, question: Question, plan: Plan, due: int) -> np.ndarray | None:
        further = question.first_step + len(plan.actions) > self._current.execution.planned
        return plan.actions if further or len(plan.actions) - due >= CLOSING_STEPS else None

    def _heed(self, run: TaskRun, plan: Plan, first_step: int) -> None:
        """Note since when the model has held still."""
        if np.ptp(plan.actions, axis=0).max() >= self.tuning.still:
            run.still_since = None
        elif run.still_since is None:
            run.still_since = run.execution.step

    def _close(self, run: TaskRun, until: int, closing: tuple[Outcome, str]) -> None:
        """Send the rest of the newest chunk again, up to step `until`, as the last of its plan."""
        done, now = run.execution, self._clock.now_ns()
        done.closing, done.stage, self._asked = closing, Stage.SETTLING, None
        if done.planned - done.step >= CLOSING_STEPS:  # else it is as good as there, and comes to rest so
            done.cut(min(until, done.planned))
            done.join(done.plan, done.first_step, now, self._link)
            self._port.publish(done.place, done.plan, run.goal, None)
        self._enter(run, Stage.SETTLING, now, closing[1])
