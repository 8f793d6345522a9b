"""What is known of the control process: its last word, its life, and how plans for it are numbered."""

from __future__ import annotations

from dataclasses import replace

from wallwm_ros.core.events import ControlReport, ControlState, Outcome
from wallwm_ros.core.rest import RestDetector

SECOND = 1_000_000_000  # nanoseconds
ASLEEP_NS = 200_000_000  # a process that did nothing for so long was stopped, or starved
# Somebody else decides over the arm: how a goal under way ends then, and why no new one is taken.
_SEIZED = {
    ControlState.ESTOPPED: (Outcome.ESTOPPED, "the emergency stop is latched and must be reset"),
    ControlState.TAKEOVER: (Outcome.TAKEN_OVER, "an operator has taken the arm over"),
}


class ControlLink:
    """The last word of the control process, and the numbers of plans for it.

    Every plan, and every stop, has a newer generation than all before it, so that the control process can
    never mistake an old one for a new one.

    Args:
        silence_ns: longest time without a report [ns].
        rest: told of every report.
        generation: no plan is older than this. Seeded from the steady clock in microseconds, a restarted
            node's first plan is newer than the last plan of the one before it.

    Attributes:
        woke_ns: until then this process was stopped or starved and heard nobody [ns, steady clock].
    """

    def __init__(self, silence_ns: int, rest: RestDetector, generation: int = 0) -> None:
        self.silence_ns = silence_ns
        self.report: ControlReport | None = None
        self.heard_ns = 0
        self._rest, self._generation = rest, generation
        self._stop_generation = self._stop_ns = 0
        self._awake_ns = self.woke_ns = 0

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

    def awake(self, now_ns: int) -> None:
        """This process runs; call it often. What it slept through was not the control process's silence."""
        if self._awake_ns and now_ns - self._awake_ns > ASLEEP_NS:
            self.woke_ns = now_ns
        self._awake_ns = now_ns

    def clock_jumped(self) -> None:
        """The stamp of the last report says nothing any more."""
        if self.report is not None:
            self.report = replace(self.report, stamp_ns=0)

    def silent(self, now_ns: int, since_ns: int = 0) -> bool:
        """Nothing was heard for too long, counted from `since_ns` at the earliest."""
        known_ns = max(self.heard_ns, self.woke_ns, since_ns)
        return self.report is None and not since_ns or now_ns - known_ns > self.silence_ns

    @property
    def seized(self) -> tuple[Outcome, str] | None:
        """How every goal ends now and why, if the control process obeys somebody else."""
        if self.report is None or self.report.state not in _SEIZED:
            return None
        outcome, text = _SEIZED[self.report.state]
        return outcome, f"{text}: {reason(self.report)}"

    def refusal(self, now_ns: int) -> str:
        """Why no goal can be taken, empty if it can; a control process never heard of may still come."""
        if self.report is None:
            return ""
        if self.silent(now_ns):
            return self.trouble(now_ns)
        return self.seized[1] if self.seized else ""

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


def reason(report: ControlReport) -> str:
    """The control process's own words, else its state."""
    return report.reason or report.state.name.lower()
