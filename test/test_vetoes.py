"""What a stream can do wrong, with both clocks turned by hand: each veto names the stream and its figures."""

from __future__ import annotations

import numpy as np
import pytest

from wallwm_ros.core.clock import ManualClock
from wallwm_ros.core.synchronizer import MS, Match, Synchronizer, SyncLimits
from wallwm_ros.core.vetoes import in_words

NAMES = ("head", "left")
SECOND = 1_000_000_000
LIMITS = SyncLimits(max_spread_ns=30 * MS, max_age_ns=200 * MS, max_ahead_ns=20 * MS, frozen=3)


class Rig:
    """Two cameras at 20 Hz and joint states at 100 Hz.

    Attributes:
        offset: stream -> added to its stamps [ns].
        delay: stream -> it comes this much after its stamp [ns], in steps of 10 ms.
        dead: streams that send nothing.
        pace: of the message clock; 0 stops it.
    """

    def __init__(self, limits: SyncLimits = LIMITS) -> None:
        self.steady = ManualClock(50 * SECOND)
        self.sync = Synchronizer(NAMES, {"joints": ()}, limits, noisy=NAMES, clock=self.steady)
        self.now_ns, self.pace = 1000 * SECOND, 1.0
        self.offset, self.delay, self.dead = {}, {}, set()
        self._due: list = []
        self._count = 0
        self.run(0.3)

    def run(self, seconds: float) -> Rig:
        """Let time pass."""
        for _ in range(round(seconds * 100)):
            self._count += 1
            self.steady.advance(0.01)
            self.now_ns += round(self.pace * 10 * MS)
            for name in (*(NAMES if self._count % 5 == 0 else ()), "joints"):
                if name not in self.dead:
                    self._due.append((self._count + self.delay.get(name, 0) // (10 * MS), name, self.now_ns))
            ready = [item for item in self._due if item[0] <= self._count]
            self._due = [item for item in self._due if item[0] > self._count]
            for _, name, stamp_ns in ready:
                self.send(name, stamp_ns + self.offset.get(name, 0))
        return self

    def send(self, name: str, stamp_ns: int) -> None:
        """One sample."""
        if name in NAMES:
            self.sync.add_picture(name, stamp_ns, (name, stamp_ns))
        else:
            self.sync.add_state(name, stamp_ns, np.zeros(2))

    def look(self):
        return self.sync.newest(self.now_ns)

    def verdict(self) -> tuple[str, str]:
        found = self.look()
        assert not isinstance(found, Match), found
        return found.stream, found.kind

    def report(self, name: str):
        return next(r for r in self.sync.report(self.now_ns) if r.name == name)


def test_streams_that_belong_together_are_used():
    rig = Rig()
    assert isinstance(rig.look(), Match)
    assert [(r.name, r.verdict) for r in rig.sync.report(rig.now_ns)] == [
        ("head", None), ("left", None), ("joints", None)
    ]  # fmt: skip


@pytest.mark.parametrize("name", [*NAMES, "joints"])
def test_a_stream_that_dies_is_named_once_its_last_sample_is_too_old(name):
    rig = Rig()
    rig.dead = {name}
    rig.run(0.15)
    assert name == "joints" or isinstance(rig.look(), Match)
    rig.run(0.15)
    found = rig.look()
    assert found.stream == name and found.kind == "stale" and "at most 200 ms is allowed" in found.text
    rig.dead = set()
    assert isinstance(rig.run(0.1).look(), Match)


def test_a_camera_that_is_delayed_is_stale_although_it_comes():
    rig = Rig()
    rig.delay = {"left": 500 * MS}
    rig.run(1.0)
    found = rig.look()
    assert (found.stream, found.kind) == ("left", "stale")
    assert "left is stale: its newest picture is 500 ms old, though it came 0 ms ago" in found.text


@pytest.mark.parametrize(
    ("offset_s", "kind", "words"),
    [
        (0.1, "future", "left is stamped 100 ms ahead of this node's clock, at most 20 ms is allowed"),
        (3600.0, "epoch", "left is stamped by another clock: its newest picture lies 1.0 h ahead of this"),
        (-900.0, "epoch", "left is stamped by another clock: its newest picture lies 900.0 s behind this"),
        (-2.0, "stale", "left is stale: its newest picture is 2000 ms old, though it came 0 ms ago"),
    ],
)
def test_stamps_of_another_clock_are_told_from_delays(offset_s, kind, words):
    rig = Rig()
    rig.offset = {"left": round(offset_s * SECOND)}
    rig.run(0.5)
    found = rig.look()
    assert (found.stream, found.kind) == ("left", kind) and found.text.startswith(words), found
    rig.offset = {}
    rig.run(0.5)
    if offset_s < 1:
        assert isinstance(rig.look(), Match)
    else:  # older stamps than before: the source's clock was set back, and it starts afresh
        assert rig.report("left").age_ns == 0 and isinstance(rig.look(), Match)


def test_a_stamp_of_zero_is_refused_and_takes_the_older_pictures_with_it():
    rig = Rig()
    rig.send("left", 0)
    found = rig.look()
    assert found.kind == "refused" and found.text == "a picture from left was refused: its stamp is zero"
    rig.send("joints", -5)
    assert rig.report("joints").verdict.kind == "refused"
    assert isinstance(rig.run(0.1).look(), Match)
    assert rig.report("left").tally.refused == rig.report("joints").tally.refused == 1


def test_a_stream_that_stays_broken_leaves_no_older_sample():
    rig = Rig()
    rig.dead = {"left"}
    rig.sync.refuse("left", "size must be 192x192; found 640x480")
    assert rig.verdict() == ("left", "refused")
    rig.run(5.0)
    assert rig.verdict() == ("left", "refused") and rig.report("left").age_ns is None


def test_simulated_time_that_stands_still_keeps_nothing_fresh():
    rig = Rig(SyncLimits(30 * MS, 200 * MS, max_wait_ns=2 * SECOND))
    rig.pace, rig.dead = 0.0, {*NAMES, "joints"}
    rig.run(1.5)
    assert isinstance(rig.look(), Match), "a slow simulator is no dead one"
    rig.run(1.0)
    found = rig.look()
    assert found.kind == "stale" and "came 2500 ms ago by the steady clock" in found.text


def test_a_repeated_sample_with_the_same_stamp_keeps_nothing_fresh_either():
    rig = Rig()
    last = rig.now_ns
    rig.dead, rig.pace = {*NAMES, "joints"}, 0.0
    for _ in range(30):
        rig.run(0.01)
        for name in (*NAMES, "joints"):
            rig.send(name, last)
    assert rig.verdict() == ("head", "stale") and rig.report("head").tally.late == 30


def test_what_was_forgotten_is_told_until_something_new_comes():
    rig = Rig()
    rig.sync.clear("/clock jumped back by 4000 ms")
    found = rig.look()
    assert found.kind == "missing"
    assert found.text == "no picture from head has arrived since /clock jumped back by 4000 ms"
    rig.now_ns -= 4 * SECOND
    assert isinstance(rig.run(0.2).look(), Match)
    rig.sync.clear()
    assert rig.look().text == "no picture from head has arrived"


def test_samples_are_counted_by_what_became_of_them():
    rig = Rig()
    rig.run(1.0)
    before = rig.report("left").tally
    rig.dead = {"left"}
    rig.run(0.5)  # ten pictures
    rig.dead = set()
    rig.run(0.5)
    rig.sync.refuse("left", "encoding")
    after = rig.report("left").tally
    assert after.missed == 10 and before.missed == 0
    assert after.refused == 1 and after.received == before.received + 10 + 1
    assert rig.report("head").tally.missed == 0


def test_the_rate_is_that_of_arrival_and_falls_when_nothing_comes():
    rig = Rig()
    rig.run(2.0)
    assert rig.report("left").rate_hz == pytest.approx(20.0)
    assert rig.report("joints").rate_hz == pytest.approx(100.0)
    rig.dead = {"left"}
    rig.run(20.0)
    assert rig.report("left").rate_hz < 3.0
    fresh = Synchronizer(NAMES, {}, LIMITS).report(0)[0]
    assert fresh.rate_hz == 0.0 and fresh.age_ns is None and fresh.verdict.kind == "missing"


def test_identical_pictures_are_counted_and_frozen_ones_named_in_the_report():
    rig = Rig()
    rig.dead = {"left"}
    for i in range(4):
        rig.run(0.05)
        rig.sync.add_picture("left", rig.now_ns, "still")
        assert (rig.report("left").verdict is None) == (i < 2)
    assert rig.report("left").verdict.text == "left is frozen: its last 3 pictures are identical"
    assert rig.report("left").tally.identical >= 2


@pytest.mark.parametrize(
    ("duration_ns", "words"),
    [(310 * MS, "310 ms"), (9_999 * MS, "9999 ms"), (65 * SECOND, "65.0 s"), (3 * 86400 * SECOND, "3 days")],
)
def test_durations_are_told_in_units_that_fit(duration_ns, words):
    assert in_words(duration_ns) == words
