"""A plan of chunks on its way through the control process: what has really been done with it?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from wallwm_ros.core.control_link import SECOND, ControlLink, reason
from wallwm_ros.core.events import ControlReport, ControlState, Outcome, Plan, Stage
from wallwm_ros.core.plans import Place
from wallwm_ros.core.steps import StepClock

_MOST_PART = 0.75  # of a step that a chunk's beginning may be off


@dataclass
class Execution:
    """Chunks of one generation, each joining the one before at a step of the plan.

    Attributes:
        plan: the newest chunk, as it was published.
        generation: under which number.
        published_ns: when [ns, steady clock].
        rejected: chunks that the control process had refused before.
        steps: tells at which step a picture was taken.
        observed_ns: when the newest chunk's observation was taken (message clock) [ns].
        rested_ns: the first one's: until then the robot rested [ns].
        ends: every chunk leads to a rest, as an event's does.
        stage: `EXECUTING`, then `SETTLING`.
        step: steps of the plan executed.
        sequence, first_step: of the newest chunk.
        halted_ns: since when the control process has been stopping the arm by itself [ns, steady clock].
        closing: how the goal ends once the last row is reached and the arm rests; none: more may come.
        part: of a step, by which the newest question's picture was taken after the step that it was put to.
        ran_dry: the newest chunk came when all steps before it had been executed.
        taken_up: the control process has begun with it.
        superseded: another sender's plan has taken over.
        complete: it has ended, and the arm rests; nothing is left to be stopped.
    """

    plan: Plan
    generation: int
    published_ns: int
    rejected: int
    steps: StepClock = field(default_factory=lambda: StepClock(1))
    observed_ns: int = 0
    rested_ns: int = 0
    ends: bool = False
    stage: Stage = Stage.EXECUTING
    step: int = 0
    sequence: int = 0
    first_step: int = 0
    halted_ns: int = 0
    closing: tuple[Outcome, str] | None = None
    part: float = 0.0
    ran_dry: bool = False
    taken_up: bool = False
    superseded: bool = False
    complete: bool = False

    @property
    def planned(self) -> int:
        """Steps of the plan known so far."""
        return self.first_step + len(self.plan.actions)

    @property
    def place(self) -> Place:
        """Where the newest chunk belongs."""
        final = self.ends or self.closing is not None
        return Place(self.generation, self.sequence, self.first_step, final)

    def committed(self, first_step: int, count: int) -> np.ndarray | None:
        """(up to `count`, D) targets from a step of the plan on; none after the last row."""
        begin = first_step - self.first_step
        rows = self.plan.actions[begin : begin + count]
        return rows if len(rows) else None

    def join(self, plan: Plan, first_step: int, now_ns: int, link: ControlLink) -> None:
        """The next chunk is being sent, at `now_ns` (steady clock)."""
        self.ran_dry = self.step >= self.planned
        self.plan, self.first_step, self.sequence = plan, first_step, self.sequence + 1
        self.published_ns, self.rejected = now_ns, link.rejected
        self.observed_ns = plan.observation_stamp_ns

    def step_of(self, stamp_ns: int) -> int:
        """The step of the plan to which a picture taken at `stamp_ns` (message clock) belongs [ns].

        Chunks begin with whole steps. Of the two that are near, it is the one that leaves the same part of a step
        over as last time, so that what both chunks mean by a step is the same; not so where the arm paused.
        """
        exact = min(max(self.steps.at(stamp_ns, self.planned), self.first_step), self.planned)
        step = round(exact - (0.0 if self.ran_dry else self.part))
        if abs(exact - step) > _MOST_PART or not self.first_step <= step <= self.planned:
            step = round(exact)
        self.part = exact - step
        return step

    def cut(self, until: int) -> None:
        """Leave away what comes after step `until`."""
        rows = self.plan.actions[: until - self.first_step]
        self.plan = replace(self.plan, actions=rows)

    def update(self, link: ControlLink, now_ns: int) -> tuple[Outcome, str] | None:
        """How the goal ended and why, or nothing while it goes on."""
        report = link.report
        if link.silent(now_ns, self.published_ns):
            return Outcome.CONTROL_LOST, link.trouble(now_ns)
        if report is None:
            return None
        if report.generation != self.generation:
            return self._not_taken_up(report, link, now_ns)
        self.taken_up, self.step = True, max(self.step, report.step)
        return self._going_on(report, link, now_ns)

    def _going_on(self, report: ControlReport, link: ControlLink, now_ns: int) -> tuple[Outcome, str] | None:
        """The control process follows this plan."""
        self.steps.hear(report.stamp_ns, report.step)
        if report.state != ControlState.TRACKING and not report.settled:
            self.halted_ns = self.halted_ns or now_ns
            if report.state == ControlState.STOPPING and now_ns - self.halted_ns <= link.silence_ns:
                return None  # once the arm stands, it is known on whose behalf
            stopped = f"the control process stopped at step {self.step} of {self.planned}"
            return Outcome.CONTROL_LOST, f"{stopped}: {reason(report)}"
        if report.sequence < self.sequence:
            return self._overdue(f"chunk {self.sequence} of the plan", report, link, now_ns)
        if self.closing is None or self.step < self.planned:
            return None
        self.stage = Stage.SETTLING
        self.complete = report.settled and link.at_rest(now_ns)
        return self.closing if self.complete else None

    def _not_taken_up(
        self, report: ControlReport, link: ControlLink, now_ns: int
    ) -> tuple[Outcome, str] | None:
        if report.generation > self.generation:
            self.superseded = True
            text = f"the control process follows another sender's plan {report.generation}"
            return Outcome.CONTROL_LOST, text
        if self.taken_up:
            text = f"the control process was restarted at step {self.step} of {self.planned}"
            return Outcome.CONTROL_LOST, text
        return self._overdue("the chunk", report, link, now_ns)

    def _overdue(
        self, chunk: str, report: ControlReport, link: ControlLink, now_ns: int
    ) -> tuple[Outcome, str] | None:
        """The newest chunk has been sent, and the control process does not follow it yet."""
        if report.rejected > self.rejected:
            return Outcome.CONTROL_LOST, f"the control process refused {chunk}: {reason(report)}"
        if now_ns - max(self.published_ns, link.woke_ns) > link.silence_ns:
            text = f"the control process has not taken up {chunk} within {link.silence_ns / SECOND:.2f} s"
            return Outcome.CONTROL_LOST, f"{text}: {reason(report)}"
        return None
