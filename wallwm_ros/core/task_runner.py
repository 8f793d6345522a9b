"""Carries tasks out in chunks of fixed length: the next one is inferred while the present one moves the arm.

All chunks from one rest to the next are one plan: one generation, rising sequence, steps counted through.
The control process puts a chunk where its first step belongs in the plan, so that a late answer loses the
rows that are due already, and no step is executed twice or left out. A newer task takes the plan over at the
next chunk.

A model says nothing of a task being done. It is taken to be done when it has held still for the length of a
whole chunk: targets that move less than a bound, in every chunk inferred since. Then the plan is closed, and
the task has succeeded once the arm rests.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wallwm_ros.core.clock import Clock
from wallwm_ros.core.delay import DelayEstimate
from wallwm_ros.core.event_run import RunnerLimits
from wallwm_ros.core.events import Outcome, Plan, Stage
from wallwm_ros.core.execution import ControlLink
from wallwm_ros.core.runner import Runner
from wallwm_ros.core.splice import splice
from wallwm_ros.core.steps import StepClock
from wallwm_ros.core.synchronizer import Match
from wallwm_ros.core.task_run import PlanExecution, TaskRun
from wallwm_ros.core.tasks import ChunkShape, Question, TaskGoal, TaskPort, TaskTuning

CLOSING_STEPS = 6  # what is sent for nearer steps than this may be due before it arrives


class TaskRunner(Runner[TaskRun]):
    """Runs tasks through a `TaskPort`.

    Args:
        port, clock, limits, link: see `Runner`.
        shape: of the chunks.
        tuning: live parameters.

    Attributes:
        tuning: may be exchanged at any time.
        delay: from an observation to the chunk that was made of it.
    """

    _port: TaskPort

    def __init__(
        self,
        port: TaskPort,
        clock: Clock,
        limits: RunnerLimits,
        link: ControlLink,
        shape: ChunkShape,
        tuning: TaskTuning,
    ) -> None:
        super().__init__(port, clock, limits, link)
        self._shape, self.tuning, self.delay = shape, tuning, DelayEstimate()
        self._asked: tuple[TaskRun, Question] | None = None

    def submit(self, goal: TaskGoal) -> None:
        """Take in a sound goal: it takes over from the task under way at the next chunk."""
        text = f"replaced by {goal.caption!r}"
        while self._queue:
            self._finish(self._queue.popleft(), Outcome.PREEMPTED, text)
        if self._current is not None and self._current.execution is None:
            self._end(Outcome.PREEMPTED, text)
        self._queue.append(TaskRun(goal, self._clock.now_ns()))
        self.tick()

    def inferred(self, ticket: int, plan: Plan) -> None:
        """The engine has answered: publish, unless nobody wants it any more."""
        run, question = self._take(ticket)
        if run is None:
            return
        now, self._current.due_ns = self._clock.now_ns(), None
        self.delay.add(self._port.message_now_ns() - plan.observation_stamp_ns)
        if self._current.execution is None:
            self._begin(run, plan, now)
        elif not self._join(run, question, plan, now):
            return  # every row is due already; asked anew with the next tick
        run.chunks, run.trouble = run.chunks + 1, ""
        self._port.publish(run.execution.place, run.execution.plan, run.goal, run.wait_ms)
        self._feedback(run, now)

    def unseen(self, ticket: int, text: str) -> None:
        """See `Runner`; while the arm moves, the next tick looks again."""
        run, question = self._take(ticket)
        if run is None:
            return
        if self._current.execution is None:
            super().unseen(ticket, text)
        else:
            self._current.trouble = text
            self._current.execution.observed_ns = question.stamp_ns

    def inference_failed(self, ticket: int, text: str) -> None:
        """See `Runner`."""
        run, _ = self._take(ticket)
        if run is None:
            return
        if run is not self._current:  # it was to take over
            self._queue.remove(run)
            self._end(Outcome.PREEMPTED, f"replaced by {run.goal.caption!r}")
            self._finish(run, Outcome.ENGINE_FAILED, text)
        else:
            self._end(Outcome.ENGINE_FAILED, text)

    def retire(self, text: str) -> None:
        """See `Runner`: the chunk under way is the last one, and the arm comes to rest at its end."""
        while self._queue:
            self._finish(self._queue.popleft(), Outcome.PREEMPTED, text)
        run = self._current
        if run is not None and run.moving:
            self._close(run, run.execution.planned, (Outcome.PREEMPTED, text))
        elif run is not None and run.execution is None:
            self._end(Outcome.PREEMPTED, text)

    def _ask(self, run: TaskRun, match: Match) -> None:
        """For the first chunk, from rest."""
        self._question(run, match, 0, None)

    def _question(self, run: TaskRun, match: Match, first_step: int, committed: np.ndarray | None) -> None:
        source, done = self.tuning.source, first_step - run.began_step if run.chunks else 0
        # As in training, counted in time; an atomic instruction does not tell when its whole task began.
        index = 0 if source == "atomic" else 1 + done // self._shape.steps
        question = Question(
            self._ticket, run.goal.caption, source, index, committed, first_step, match.stamp_ns
        )
        self._asked = run, question
        self._port.infer(match, question)

    def _work(self, run: TaskRun, now: int) -> None:
        """INFERRING, EXECUTING and SETTLING."""
        if run.execution is None:
            return
        ended = run.execution.update(self._link, now)
        if ended is not None:
            self._end(*ended)
        elif run.moving:
            self._go_on(run, now)

    def _go_on(self, run: TaskRun, now: int) -> None:
        """Close the plan when the model has held still long enough; else see to the next chunk in time."""
        done, heir = run.execution, self._queue[0] if self._queue else None
        if heir is None and run.still_since is not None and done.step - run.still_since >= self._shape.steps:
            text = f"the model has held still for a whole chunk after {run.chunks} chunks"
            self._close(run, done.step + CLOSING_STEPS, (Outcome.SUCCEEDED, text))
            return
        replan = min(self.tuning.replan_steps or self._shape.steps // 2, self._shape.steps)
        due = heir is not None or done.step >= done.first_step + replan
        if not due or not done.taken_up or self._asked is not None:
            return
        run.due_ns = run.due_ns or now
        found = self._port.look(done.observed_ns + 1, done.rested_ns)
        if not isinstance(found, Match):
            self._miss(run, found, run.due_ns, now)
            return
        self._ticket += 1
        next_run = heir or run
        next_run.wait_ms = (now - run.due_ns) / 1e6
        step = min(max(done.steps.at(found.stamp_ns, done.planned), done.first_step), done.planned)
        self._question(next_run, found, step, self._committed(done, step))

    def _committed(self, done: PlanExecution, step: int) -> np.ndarray | None:
        """What will be executed from `step` on before an answer comes; half a chunk at most."""
        if not self._shape.takes_prefix:
            return None
        count = min(self.delay.steps(self._shape.step_ns), self._shape.steps // 2)
        return done.committed(step, count)

    def _begin(self, run: TaskRun, plan: Plan, now: int) -> None:
        """The first chunk of a plan starts as soon as the control process has it."""
        run.execution = PlanExecution(
            plan,
            self._link.next_generation(),
            now,
            self._link.rejected,
            steps=StepClock(self._shape.step_ns),
            observed_ns=plan.observation_stamp_ns,
            rested_ns=plan.observation_stamp_ns,
        )
        run.stage = Stage.EXECUTING
        self._mind(run, plan.actions, 0)

    def _join(self, run: TaskRun, question: Question, plan: Plan, now: int) -> bool:
        """Let a chunk join the plan at the step that is due next; false if it has no row left."""
        done = self._current.execution
        due = max(done.step - question.first_step, 0)
        further = question.first_step + len(plan.actions) > done.planned
        if not further and len(plan.actions) - due < CLOSING_STEPS:
            return False
        known = 0 if question.committed is None else len(question.committed)
        blend = self.tuning.blend_steps if due > known or not known else 0
        offset = question.first_step - done.first_step
        rows = splice(done.plan.actions, plan.actions, offset, due, blend, self._shape.quaternions)
        if run is not self._current:
            self._take_over(run, question.first_step, now)
        done.join(replace(plan, actions=rows), question.first_step, now, self._link)
        self._mind(run, plan.actions, done.step)
        return True

    def _take_over(self, heir: TaskRun, step: int, now: int) -> None:
        """The plan is the newer task's from now on, which began at `step`."""
        old, self._current, heir.began_step = self._current, heir, step
        self._queue.remove(heir)
        heir.execution, heir.stage, heir.started_ns = old.execution, Stage.EXECUTING, now
        self._finish(old, Outcome.PREEMPTED, f"replaced by {heir.goal.caption!r}")

    def _mind(self, run: TaskRun, rows: np.ndarray, step: int) -> None:
        """Note since when the model has held still."""
        if np.ptp(rows, axis=0).max() >= self.tuning.still:
            run.still_since = None
        elif run.still_since is None:
            run.still_since = step

    def _close(self, run: TaskRun, until: int, closing: tuple[Outcome, str]) -> None:
        """Send the rest of the newest chunk again, up to step `until`, as the last of its plan."""
        done = run.execution
        run.stage, done.closing, self._asked = Stage.SETTLING, closing, None
        done.stage = Stage.SETTLING
        if done.planned - done.step < CLOSING_STEPS:
            return  # as good as there; it comes to rest by itself
        done.cut(min(until, done.planned))
        done.join(done.plan, done.first_step, self._clock.now_ns(), self._link)
        self._port.publish(done.place, done.plan, run.goal, 0.0)

    def _take(self, ticket: int) -> tuple[TaskRun | None, Question | None]:
        """Who asked the question, if the answer is still wanted; no question is open then."""
        if self._asked is None or self._asked[1].ticket != ticket:
            return None, None
        (run, question), self._asked = self._asked, None
        wanted = run is self._current or run in self._queue
        return (run, question) if wanted and self._current is not None else (None, None)

    def _end(self, outcome: Outcome, text: str) -> None:
        super()._end(outcome, text)
        self._asked = None
