"""The clock that stamps the messages, watched against a steady one; both turned by hand."""

from __future__ import annotations

import pytest

from wallwm_ros.core.clock_guard import ClockGuard, Reading
from wallwm_ros.core.vetoes import MS

SECOND = 1_000_000_000
TICK = 20 * MS


class Clocks:
    """A message clock and a steady one, read every 20 ms by a guard."""

    def __init__(self, simulated: bool, message_ns: int = 5 * SECOND) -> None:
        self.guard = ClockGuard(still_ns=2 * SECOND)
        self.simulated, self.message_ns, self.steady_ns = simulated, message_ns, 100 * SECOND
        self.heard: list[str] = []
        self.read()

    def read(self, took_ns: int = 0) -> str:
        """Read both; the thread is interrupted for `took_ns` meanwhile."""
        reading = Reading(self.message_ns, self.steady_ns, self.steady_ns + took_ns, self.simulated)
        self.steady_ns += took_ns
        jump = self.guard.check(reading)
        self.heard += [jump] if jump else []
        return jump

    def run(self, seconds: float, pace: float = 1.0) -> None:
        """Both clocks go on, the message clock `pace` times as fast."""
        for _ in range(round(seconds * SECOND / TICK)):
            self.steady_ns += TICK
            self.message_ns += round(pace * TICK)
            self.read()


@pytest.mark.parametrize("pace", [0.02, 0.5, 1.0, 10.0])
def test_simulated_time_may_go_at_any_pace(pace):
    clocks = Clocks(simulated=True)
    clocks.run(10.0, pace)
    assert clocks.heard == [] and clocks.guard.objection() is None


def test_a_real_clock_that_is_slewed_does_not_jump():
    clocks = Clocks(simulated=False)
    clocks.run(10.0, 1.08)
    assert clocks.heard == [] and clocks.guard.objection() is None


def test_a_thread_that_was_interrupted_between_two_readings_is_no_jump():
    clocks = Clocks(simulated=False)
    clocks.message_ns += 300 * MS  # all of it went by while the clocks were being read
    assert clocks.read(took_ns=300 * MS) == ""
    clocks.run(0.1)
    assert clocks.heard == []


@pytest.mark.parametrize(
    ("by_ns", "words"),
    [
        (5 * SECOND, "the system clock was set forward by 5000 ms"),
        (-300 * MS, "the system clock was set back by 300 ms"),
        (-90 * 86400 * SECOND, "the system clock was set back by 90 days"),
        (80 * MS, ""),
        (-80 * MS, ""),
    ],
)
def test_a_real_clock_that_is_set_jumps(by_ns, words):
    clocks = Clocks(simulated=False, message_ns=200 * 86400 * SECOND)
    clocks.run(1.0)
    clocks.message_ns += by_ns
    assert clocks.read() == words
    clocks.run(1.0)
    assert clocks.guard.jumps == bool(words) and clocks.guard.last_jump == words
    assert clocks.guard.objection() is None, "what comes after the jump is sound"


@pytest.mark.parametrize(
    ("by_ns", "words"),
    [
        (-1, "/clock jumped back by 0 ms"),
        (-4 * SECOND, "/clock jumped back by 4000 ms"),
        (30 * SECOND, "/clock jumped forward by 30.0 s"),
        (900 * MS, ""),  # time may come in lumps
    ],
)
def test_simulated_time_that_jumps_is_told_of_once(by_ns, words):
    clocks = Clocks(simulated=True)
    clocks.run(1.0)
    clocks.message_ns += by_ns
    assert clocks.read() == words
    clocks.run(1.0)
    assert clocks.heard == ([words] if words else [])


def test_a_jump_is_remembered_for_a_while():
    clocks = Clocks(simulated=True)
    assert not clocks.guard.recently_jumped()
    clocks.message_ns -= SECOND
    clocks.read()
    clocks.run(5.0)
    assert clocks.guard.recently_jumped()
    clocks.run(6.0)
    assert not clocks.guard.recently_jumped() and clocks.guard.last_jump


def test_use_sim_time_without_clock_is_named_at_once():
    clocks = Clocks(simulated=True, message_ns=0)
    clocks.run(1.2, pace=0.0)
    found = clocks.guard.objection()
    assert (found.stream, found.kind) == ("clock", "clock")
    assert found.text == "use_sim_time is true, but no time has come on /clock for 1200 ms"
    clocks.message_ns = 70 * SECOND  # the first time is no jump
    assert clocks.read() == "" and clocks.guard.objection() is None


def test_simulated_time_that_stands_still_is_paused_until_it_goes_on():
    clocks = Clocks(simulated=True)
    clocks.run(1.9, pace=0.0)
    assert clocks.guard.objection() is None
    clocks.run(0.6, pace=0.0)
    assert clocks.guard.objection().text == "/clock has stood still at 5.000 s for 2500 ms"
    clocks.run(TICK / SECOND)
    assert clocks.guard.objection() is None and clocks.heard == []


def test_time_that_is_delivered_after_a_stall_is_no_jump():
    clocks = Clocks(simulated=True)
    clocks.run(1.5, pace=0.0)
    clocks.message_ns += round(1.5 * SECOND)
    assert clocks.read() == ""


@pytest.mark.parametrize("pace", [1.0, 5.0, 15.0])
@pytest.mark.parametrize("awake", [True, False])
@pytest.mark.parametrize("lumps", [1, 3])
def test_a_backlog_that_is_handed_over_bit_by_bit_is_no_jump(pace, awake, lumps):
    """First comes what had been taken before the silence, only then what came during it."""
    clocks = Clocks(simulated=True)
    clocks.run(1.0, pace)
    held_up_ns = round(pace * 3 * SECOND)
    if awake:  # the messages were late, not their reader
        clocks.run(3.0, pace=0.0)
    else:
        clocks.steady_ns += 3 * SECOND
    clocks.message_ns += round(pace * TICK)
    clocks.read()
    for _ in range(lumps):
        clocks.steady_ns += 5 * MS
        clocks.message_ns += held_up_ns // lumps
        clocks.read()
    clocks.run(2.0, pace)
    assert clocks.heard == []


def test_a_reader_that_is_starved_again_and_again_hears_no_jump():
    clocks = Clocks(simulated=True)
    late_ns = 0
    for slept_s in (3.0, 1.5, 0.02, 2.5, 0.02, 0.02):
        clocks.steady_ns += round(slept_s * SECOND)
        clocks.message_ns += 50 * MS + late_ns  # what it had taken when it fell asleep
        clocks.read()
        late_ns = round(5 * slept_s * SECOND)
    assert clocks.heard == []


@pytest.mark.parametrize("by_s", [2, 10])
def test_once_a_backlog_was_caught_up_with_a_jump_shows_again(by_s):
    clocks = Clocks(simulated=True)
    clocks.steady_ns += 3 * SECOND
    clocks.run(1.1)
    clocks.message_ns += by_s * SECOND
    assert clocks.read().startswith("/clock jumped forward by ")


def test_a_hitch_hides_no_jump():
    clocks = Clocks(simulated=True)
    clocks.steady_ns += 300 * MS
    clocks.run(0.1)
    clocks.message_ns += 10 * SECOND
    assert clocks.read() == "/clock jumped forward by 10.0 s"


def test_time_that_goes_back_amid_a_backlog_shows_at_once():
    clocks = Clocks(simulated=True)
    clocks.steady_ns += 3 * SECOND
    clocks.message_ns += 3 * SECOND
    assert clocks.read() == ""
    clocks.message_ns -= 10 * SECOND
    assert clocks.read() == "/clock jumped back by 10.0 s"


def test_a_jump_shows_although_time_is_published_slowly():
    clocks = Clocks(simulated=True)
    for _ in range(30):  # at 10 Hz
        clocks.run(0.08, pace=0.0)
        clocks.run(0.02, pace=5.0)
    clocks.message_ns += 10 * SECOND
    assert clocks.read() == "/clock jumped forward by 10.0 s"


def test_a_change_of_use_sim_time_is_a_jump():
    clocks = Clocks(simulated=False, message_ns=10**18)
    clocks.simulated, clocks.message_ns = True, 0
    assert clocks.read() == "use_sim_time was changed"
    assert "no time has come" in clocks.guard.objection().text
