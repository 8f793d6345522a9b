"""Following published chunks: what has the control process really done with them?"""

from __future__ import annotations

from dataclasses import dataclass

from wallwm_ros.core.events import ControlReport, ControlState, Outcome, Plan, Stage
from wallwm_ros.core.rest import RestDetector

SECOND = 1_000_000_000  # nanoseconds


class ControlLink:
    """The last word of the control process, whether it is still alive, and how plans for it are numbered.

    Every plan, and every stop, has a newer generation than all before it, so that the control process can
    never mistake an old one for a new one.

    Args:
        silence_ns: longest time without a report [ns].
        rest: told of every report.
        generation: no plan is older than this. Seeded from the steady clock in microseconds, a restarted
            node's first plan is newer than the last plan of the one before it.
    """

    def __init__(self, silence_ns: int, rest: RestDetector, generation: int = 0) -> None:
        self.silence_ns = silence_ns
        self.report: ControlReport | None = None
        self.heard_ns = 0
        self._rest, self._generation = rest, generation
        self._stop_generation = self._stop_ns = 0

    @property
    def rejected(self) -> int:
        """Chunks that the control process has refused so far."""
        return self.report.rejected if self.report else 0

    def next_generation(self) -> int:
        """Newer than every plan of this node, and than the one the control process knows."""
        known = self.report.generation if self.report else 0
        self._generation = max(self._generation, known) + 1
        return self._generation

    def next_stop(self, now_ns: int) -> int:
        """The generation of a stop that is being sent [ns, steady clock]."""
        self._stop_generation, self._stop_ns = self.next_generation(), now_ns
        return self._stop_generation

    def stopping(self, now_ns: int) -> bool:
        """A stop is on its way to the control process; one that was restarted since never hears of it."""
        behind = self.report is None or self.report.generation < self._stop_generation
        return behind and now_ns - self._stop_ns <= self.silence_ns

    def hear(self, report: ControlReport, now_ns: int) -> None:
        """Take in a report heard at `now_ns` (steady clock) [ns]."""
        self.report, self.heard_ns = report, now_ns
        self._rest.add(report, now_ns)

    def silent(self, now_ns: int, since_ns: int = 0) -> bool:
        """Nothing was heard for too long, counted from `since_ns` at the earliest."""
        return self.report is None and not since_ns or now_ns - max(self.heard_ns, since_ns) > self.silence_ns

    def at_rest(self, now_ns: int) -> bool:
        """Command and arm stand still."""
        return self._rest.at_rest(now_ns)

    def trouble(self, now_ns: int) -> str:
        """One sentence about what is wrong with it."""
        if self.report is None:
            return "the control process has never been heard of"
        if now_ns - self.heard_ns > self.silence_ns:
            return f"the control process has been silent for {(now_ns - self.heard_ns) / SECOND:.2f} s"
        return f"the control process is not active: {reason(self.report)}"


@dataclass
class Execution:
    """One chunk on its way through the control process.

    Attributes:
        plan: what was published.
        generation: under which number.
        published_ns: when [ns, steady clock].
        rejected: chunks that the control process had refused before.
        stage: `EXECUTING`, then `SETTLING`.
        step: steps of the event executed.
        taken_up: the control process has begun with it.
        superseded: another sender's plan has taken over.
        complete: it has ended, and the arm rests; nothing is left to be stopped.
    """

    plan: Plan
    generation: int
    published_ns: int
    rejected: int
    stage: Stage = Stage.EXECUTING
    step: int = 0
    taken_up: bool = False
    superseded: bool = False
    complete: bool = False

    @property
    def planned(self) -> int:
        """Steps of the chunk."""
        return len(self.plan.actions)

    def update(self, link: ControlLink, now_ns: int) -> tuple[Outcome, str] | None:
        """How the event ended and why, or nothing while it goes on."""
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
        if self.step >= self.planned and report.settled:
            self.stage, self.complete = Stage.SETTLING, link.at_rest(now_ns)
            return (Outcome.SUCCEEDED, f"{self.planned} steps executed") if self.complete else None
        if report.state != ControlState.TRACKING:
            return self._stopped(report)
        self.stage = Stage.SETTLING if self.step >= self.planned else Stage.EXECUTING
        return None

    def _stopped(self, report: ControlReport) -> tuple[Outcome, str]:
        stopped = f"the control process stopped at step {self.step} of {self.planned}"
        return Outcome.CONTROL_LOST, f"{stopped}: {reason(report)}"

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
        if report.rejected > self.rejected:
            return Outcome.CONTROL_LOST, f"the control process refused the chunk: {reason(report)}"
        if now_ns - self.published_ns > link.silence_ns:
            text = f"the control process has not taken up the chunk within {link.silence_ns / SECOND:.2f} s"
            return Outcome.CONTROL_LOST, f"{text}: {reason(report)}"
        return None


def reason(report: ControlReport) -> str:
    """The control process's own words, else its state."""
    return report.reason or report.state.name.lower()
