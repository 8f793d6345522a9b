"""Can the clock that stamps the messages be trusted? The steady clock, which never jumps, tells."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from wallwm_ros.core.vetoes import MS, Unsound, in_words

SECOND = 1_000_000_000
JUMP_NS = 100 * MS  # a real clock that gains or loses this much at once was set
LEAP_NS = SECOND  # simulated time that gains less than this at once may just be delivered in lumps
FASTEST = 20  # nobody simulates faster than so many times real time with cameras
CATCH_UP_NS = SECOND  # time that was held up on its way here is caught up with within this
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

    A thread that was kept from running reads late, and at first what it had been handed before: an old time,
    then suddenly the newest. So simulated time may gain what it could have gained since it last went on, and
    during the longest silence of late as well. Only what is beyond both is no time that went by.

    Args:
        still_ns: simulated time that stands still for this long is paused [ns, steady clock].

    Attributes:
        jumps: how many there were.
        last_jump: what the newest was, in words; empty if there was none.
    """

    def __init__(self, still_ns: int = 2 * SECOND) -> None:
        self._still_ns = still_ns
        self._last: Reading | None = None
        self._moved_ns = 0  # when simulated time was last seen to go on [steady clock]
        # How long it had stood then: ends and lengths, a longer one before every shorter one.
        self._silences: deque[tuple[int, int]] = deque()
        self._jumped_ns: int | None = None
        self.jumps, self.last_jump = 0, ""

    @property
    def simulated(self) -> bool:
        """The time comes from /clock."""
        return self._last is not None and self._last.simulated

    def check(self, reading: Reading) -> str:
        """Take in a reading; how the clock has jumped since the one before, empty if it has not."""
        last, self._last = self._last, reading
        if last is None:
            self._moved_ns = reading.before_ns
            return ""
        jump = _jump(last, reading, reading.after_ns - self._moved_ns + self._longest_silence())
        if last.message_ns != reading.message_ns:
            self._went_on(reading.before_ns)
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

    def _went_on(self, now_ns: int) -> None:
        silences, stood_ns = self._silences, now_ns - self._moved_ns
        while silences and silences[-1][1] <= stood_ns:
            silences.pop()
        silences.append((now_ns, stood_ns))
        while now_ns - silences[0][0] > CATCH_UP_NS:
            silences.popleft()
        self._moved_ns = now_ns

    def _longest_silence(self) -> int:
        """Of those that ended within `CATCH_UP_NS` before simulated time was last seen to go on [ns]."""
        return self._silences[0][1] if self._silences else 0


def _jump(last: Reading, now: Reading, passed_ns: int) -> str:
    """How the clock jumped between two readings; simulated time may have gone on for `passed_ns` [ns]."""
    if last.simulated != now.simulated:
        return "use_sim_time was changed"
    gained_ns = now.message_ns - last.message_ns
    if now.simulated:
        if gained_ns < 0:
            return f"/clock jumped back by {in_words(-gained_ns)}"
        begun = last.message_ns > 0
        if begun and gained_ns > max(LEAP_NS, FASTEST * passed_ns):
            return f"/clock jumped forward by {in_words(gained_ns)}"
        return ""
    least_ns, most_ns = now.before_ns - last.after_ns, now.after_ns - last.before_ns
    if gained_ns - most_ns > JUMP_NS:
        return f"the system clock was set forward by {in_words(gained_ns - most_ns)}"
    if least_ns - gained_ns > JUMP_NS:
        return f"the system clock was set back by {in_words(least_ns - gained_ns)}"
    return ""
