"""Can the clock that stamps the messages be trusted? The steady clock, which never jumps, tells."""

from __future__ import annotations

from dataclasses import dataclass

from wallwm_ros.core.vetoes import MS, Unsound, in_words

SECOND = 1_000_000_000
JUMP_NS = 100 * MS  # a real clock that gains or loses this much at once was set
LEAP_NS = SECOND  # simulated time that gains less than this at once may just be delivered in lumps
FASTEST = 20  # nobody simulates faster than so many times real time with cameras
REMEMBERED_NS = 10 * SECOND  # a jump is told of for this long

CLOCK = "clock"  # the stream to blame


@dataclass(frozen=True)
class Reading:
    """One look at both clocks.

    Attributes:
        message_ns: of the clock that stamps the messages [ns]; 0: it has no time yet.
        before_ns, after_ns: of the steady clock, just before and just after [ns]: the thread may have been
            interrupted in between.
        simulated: the time comes from /clock.
    """

    message_ns: int
    before_ns: int
    after_ns: int
    simulated: bool


class ClockGuard:
    """Watches the message clock; tell it of both clocks at 50 Hz or so, and before every look.

    Args:
        still_ns: simulated time that stands still for this long is paused [ns, steady clock].

    Attributes:
        jumps: how many there were.
        last_jump: what the newest was, in words; empty if there was none.
    """

    def __init__(self, still_ns: int) -> None:
        self._still_ns = still_ns
        self._last: Reading | None = None
        self._moved_ns = 0  # when simulated time was last seen to go on [steady clock]
        self._jumped_ns: int | None = None
        self.jumps, self.last_jump = 0, ""

    @property
    def simulated(self) -> bool:
        """The time comes from /clock."""
        return self._last is not None and self._last.simulated

    def check(self, reading: Reading) -> str:
        """Take in a reading; how the clock has jumped since the one before, empty if it has not."""
        last, self._last = self._last, reading
        jump = _jump(last, reading, self._moved_ns) if last is not None else ""
        if last is None or last.message_ns != reading.message_ns:
            self._moved_ns = reading.before_ns
        if jump:
            self.jumps, self.last_jump, self._jumped_ns = self.jumps + 1, jump, reading.after_ns
        return jump

    def objection(self) -> Unsound | None:
        """Why nothing that is stamped by this clock may be used at present, if so."""
        now = self._last
        if now is None or not now.simulated:
            return None
        stood_ns = now.after_ns - self._moved_ns
        if now.message_ns <= 0:
            text = f"use_sim_time is true, but no time has come on /clock for {in_words(stood_ns)}"
            return Unsound(CLOCK, CLOCK, text)
        if stood_ns > self._still_ns:
            text = f"/clock has stood still at {now.message_ns / SECOND:.3f} s for {in_words(stood_ns)}"
            return Unsound(CLOCK, CLOCK, text)
        return None

    def recently_jumped(self) -> bool:
        """The newest jump is worth telling of."""
        return self._jumped_ns is not None and self._last.after_ns - self._jumped_ns < REMEMBERED_NS


def _jump(last: Reading, now: Reading, moved_ns: int) -> str:
    """How the clock jumped between two readings; `moved_ns`: when simulated time last went on [ns]."""
    if last.simulated != now.simulated:
        return "use_sim_time was changed"
    gained_ns = now.message_ns - last.message_ns
    if now.simulated:
        if gained_ns < 0:
            return f"/clock jumped back by {in_words(-gained_ns)}"
        begun = last.message_ns > 0
        if begun and gained_ns > max(LEAP_NS, FASTEST * (now.after_ns - moved_ns)):
            return f"/clock jumped forward by {in_words(gained_ns)}"
        return ""
    least_ns, most_ns = now.before_ns - last.after_ns, now.after_ns - last.before_ns
    if gained_ns - most_ns > JUMP_NS:
        return f"the system clock was set forward by {in_words(gained_ns - most_ns)}"
    if least_ns - gained_ns > JUMP_NS:
        return f"the system clock was set back by {in_words(least_ns - gained_ns)}"
    return ""
