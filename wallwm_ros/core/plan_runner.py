"""Moves the arm along one plan of chunks, in events and in tasks alike: the next chunk is inferred while the
present one moves the arm, and joins it at the step that is due.

All chunks from one rest to the next are one plan: one generation, rising sequence, steps counted through.
The control process puts a chunk where its first step belongs in the plan, so that a late answer loses the
rows that are due already, and no step is executed twice or left out. A newer goal may take the plan over with
its first chunk, if that comes soon enough (`RunnerLimits.preempt_ns`); else the arm is stopped for it.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from wallwm_ros.core.clock import Clock
from wallwm_ros.core.control_link import SECOND, ControlLink
from wallwm_ros.core.delay import DelayEstimate
from wallwm_ros.core.event_run import BaseRun, RunnerLimits
from wallwm_ros.core.events import EventTuning, Outcome, Plan, Stage
from wallwm_ros.core.execution import Execution
from wallwm_ros.core.plans import ChunkShape, Port
from wallwm_ros.core.runner import Runner
from wallwm_ros.core.splice import splice
from wallwm_ros.core.steps import StepClock
from wallwm_ros.core.synchronizer import Match
from wallwm_ros.core.tasks import TaskTuning

R = TypeVar("R", bound=BaseRun)
CLOSING_STEPS = 6  # what is sent for nearer steps than this may be due before it arrives


class PlanRunner(Runner[R]):
    """Asks the model, and lets its answers join the plan.

    Args:
        port, clock, limits, link: see `Runner`.
        shape: of the chunks.
        tuning: live parameters.

    Attributes:
        tuning: may be exchanged at any time.
        delay: from an observation to the chunk that was made of it.
        answering: from a question to its answer.
    """

    _ends = False  # every chunk leads to a rest

    def __init__(
        self,
        port: Port,
        clock: Clock,
        limits: RunnerLimits,
        link: ControlLink,
        shape: ChunkShape,
        tuning: EventTuning | TaskTuning,
    ) -> None:
        super().__init__(port, clock, limits, link)
        self._shape, self.tuning = shape, tuning
        self.delay, self.answering = DelayEstimate(), DelayEstimate()
        self._ticket = 0
        self._asked: tuple[R, Any, int] | None = None  # who, what, and when [ns, steady clock]

    @abstractmethod
    def _question(self, run: R, match: Match, first_step: int, committed: np.ndarray | None) -> Any:
        """What to ask the model for a run; its ticket is `_ticket`."""

    @abstractmethod
    def _due(self, run: R) -> bool:
        """The next chunk of a run that moves the arm is wanted."""

    @abstractmethod
    def _rows(self, run: R, question: Any, plan: Plan, due: int) -> np.ndarray | None:
        """What of an answer may join the plan, whose next row is the answer's row `due`; none: nothing."""

    @abstractmethod
    def _heed(self, run: R, plan: Plan, first_step: int) -> None:
        """An answer was taken; its row 0 is step `first_step` of the plan."""

    def _foresee(self, run: R) -> None:  # noqa: B027
        """Decide how the run would end if the plan's last row were reached now."""

    @property
    def _soon(self) -> bool:
        """The model answers soon enough to let a goal take the plan over."""
        return self.answering.ns <= self._limits.preempt_ns

    @property
    @abstractmethod
    def _heir(self) -> R | None:
        """The waiting run that is to take the plan over."""

    def inferred(self, ticket: int, plan: Plan) -> None:
        """The engine has answered: publish at once, unless nobody wants it any more."""
        asked_ns = self._asked[2] if self._asked is not None else 0
        run, question = self._take(ticket)
        if run is None:
            return
        now, done, self._current.due_ns = self._clock.now_ns(), self._current.execution, None
        self.answering.add(now - asked_ns)
        self.delay.add(self._port.message_now_ns() - plan.observation_stamp_ns)
        if done is None:
            self._begin(run, plan, now)
        elif done.halted_ns or not self._join(run, question, plan, now):
            return
        done, run.chunks, run.trouble = run.execution, run.chunks + 1, ""
        run.inference_s += plan.inference_s
        self._port.publish(done.place, done.plan, run.goal, run.wait_ms)
        self._enter(run, Stage.EXECUTING, now, f"plan {done.generation}")

    def unseen(self, ticket: int, text: str) -> None:
        """The chosen pictures turned out to be unusable; look for newer ones until the deadline."""
        run, question = self._take(ticket)
        if run is None:
            return
        self._current.trouble = text
        if self._current.execution is None:
            run.not_before_ns = self._now()
            self._enter(run, Stage.WAITING, self._clock.now_ns(), text)
        else:
            self._current.execution.observed_ns = question.stamp_ns

    def inference_failed(self, ticket: int, text: str) -> None:
        """The engine raised, its answer was not sound, or none came."""
        run, _ = self._take(ticket)
        if run is None:
            return
        if run is not self._current:  # it was to take over
            self._queue.remove(run)
            self._end(Outcome.PREEMPTED, f"replaced by {run.goal.caption!r}")
            self._finish(run, Outcome.ENGINE_FAILED, text)
        else:
            self._end(Outcome.ENGINE_FAILED, text)

    def tick(self) -> None:
        """See `Runner`; an answer that does not come is thrown away when it comes after all."""
        if self._asked is not None:
            _, question, asked_ns = self._asked
            waited_ns = self._clock.now_ns() - max(asked_ns, self._link.woke_ns)
            if waited_ns > self._limits.inference_ns:
                limit = f"{self._limits.inference_ns / SECOND:.1f} s"
                self.inference_failed(question.ticket, f"the engine has not answered within {limit}")
        super().tick()

    def _ask(self, run: R, match: Match) -> None:
        self._put(run, match, 0, None)

    def _put(self, run: R, match: Match, first_step: int, committed: np.ndarray | None) -> None:
        self._ticket += 1
        question = self._question(run, match, first_step, committed)
        self._asked = run, question, self._clock.now_ns()
        self._port.infer(match, question)

    def _work(self, run: R, now: int) -> None:
        if run.execution is None:
            return
        self._foresee(run)
        ended = run.execution.update(self._link, now)
        if ended is not None:
            self._end(*ended)
            return
        self._enter(run, run.execution.stage, now)
        if run.moving and not run.execution.halted_ns:
            self._go_on(run, now)

    def _go_on(self, run: R, now: int) -> None:
        """See to the next chunk in time."""
        done, heir = run.execution, self._heir
        if heir is not None and now - heir.arrived_ns > self._limits.preempt_ns:
            self._end(Outcome.PREEMPTED, f"replaced by {heir.goal.caption!r}")
            return
        if self._asked is not None or not done.taken_up or (heir is None and not self._due(run)):
            return
        if run.due_ns is None:
            run.due_ns, run.not_before_ns = now, self._now()
        fresh_ns = run.not_before_ns if heir is None and self._at_leisure(done) else 0
        found = self._port.look(max(done.observed_ns + 1, fresh_ns), done.rested_ns)
        if not isinstance(found, Match):
            self._miss(run, found, run.due_ns, now)
            return
        next_run = heir or run
        next_run.wait_ms = (now - run.due_ns) / 1e6
        step = done.step_of(found.stamp_ns)
        self._put(next_run, found, step, self._committed(done, step))

    def _at_leisure(self, done: Execution) -> bool:
        """The arm has enough to do while the next picture is waited for.

        Where it comes from a pause it lags behind the steps counted, and no picture tells its step: the one from
        before it moved does.
        """
        spare = done.planned - done.step - self.delay.steps(self._shape.step_ns)
        return spare > CLOSING_STEPS and not done.ran_dry

    def _committed(self, done: Execution, step: int) -> np.ndarray | None:
        """What will be executed from `step` on before an answer comes; half a chunk at most."""
        if not self._shape.takes_prefix:
            return None
        count = min(self.delay.steps(self._shape.step_ns), self._shape.steps // 2)
        return done.committed(step, count)

    def _begin(self, run: R, plan: Plan, now: int) -> None:
        """The first chunk of a plan starts as soon as the control process has it."""
        run.execution = Execution(
            plan,
            self._link.next_generation(),
            now,
            self._link.rejected,
            steps=StepClock(self._shape.step_ns),
            observed_ns=plan.observation_stamp_ns,
            rested_ns=plan.observation_stamp_ns,
            ends=self._ends,
        )
        run.seen_ns = now
        self._heed(run, plan, 0)

    def _join(self, run: R, question: Any, plan: Plan, now: int) -> bool:
        """Let a chunk join the plan at the step that is due next; false if it has no row for that."""
        done = self._current.execution
        due = max(done.step - question.first_step, 0)
        rows = self._rows(run, question, plan, due)
        if rows is None:
            return False
        known = 0 if question.committed is None else len(question.committed)
        blend = self.tuning.blend_steps if due > known or not known else 0
        offset = question.first_step - done.first_step
        rows = splice(done.plan.actions, rows, offset, due, blend, self._shape.quaternions)
        if run is not self._current:
            self._take_over(run, question.first_step, now)
        done.join(replace(plan, actions=rows), question.first_step, now, self._link)
        self._heed(run, plan, question.first_step)
        return True

    def _take_over(self, heir: R, step: int, now: int) -> None:
        """The plan is the newer goal's from now on, which began at `step`."""
        old, self._current, heir.began_step = self._current, heir, step
        self._queue.remove(heir)
        heir.execution, heir.started_ns, heir.seen_ns = old.execution, now, old.seen_ns
        self._finish(old, Outcome.PREEMPTED, f"replaced by {heir.goal.caption!r}")

    def _give_way(self, text: str, *, spliced: bool) -> None:
        """A newer goal has come: end those that wait, and the current one unless its plan is taken over."""
        while self._queue:
            self._finish(self._queue.popleft(), Outcome.PREEMPTED, text)
        if self._current is not None and not spliced:
            self._end(Outcome.PREEMPTED, text)

    def _take(self, ticket: int) -> tuple[R | None, Any]:
        """Who asked the question, if the answer is still wanted; no question is open then."""
        if self._asked is None or self._asked[1].ticket != ticket:
            return None, None
        (run, question, _), self._asked = self._asked, None
        return run, question

    def _end(self, outcome: Outcome, text: str) -> None:
        self._asked = None  # whoever asked, it was about a plan that is over
        super()._end(outcome, text)

    def _finish(self, run: R, outcome: Outcome, text: str) -> None:
        if self._asked is not None and self._asked[0] is run:
            self._asked = None
        super()._finish(run, outcome, text)
