"""The steady loop: a thread of its own at absolute deadlines."""

import threading
import time

import numpy as np

from wallwm_ros.core.clock import ManualClock, SteadyClock
from wallwm_ros.core.loop import SteadyLoop

PERIOD_NS = 5_000_000


def run_until(loop, done, patience_s=20.0):
    loop.start()
    assert done.wait(patience_s)
    loop.stop()
    assert not loop.running


def test_deadlines_are_whole_periods_apart():
    deadlines, done = [], threading.Event()

    def call(deadline_ns):
        deadlines.append(deadline_ns)
        if len(deadlines) == 20:
            done.set()

    loop = SteadyLoop(200.0, call)
    run_until(loop, done)
    gaps = np.diff(deadlines)
    assert np.all(gaps >= PERIOD_NS) and np.all(gaps % PERIOD_NS == 0)
    assert gaps.sum() == (len(gaps) + loop.missed) * PERIOD_NS or loop.missed  # skipped ones are counted
    assert len(loop.starts_ns()) == len(loop.lateness_ns()) == len(deadlines)
    assert all(start >= deadline for start, deadline in zip(loop.starts_ns(), deadlines, strict=True))


def test_missed_deadlines_are_skipped_and_counted():
    calls, done = [], threading.Event()

    def call(deadline_ns):
        calls.append(deadline_ns)
        if len(calls) == 1:
            time.sleep(0.06)
        if len(calls) == 3:
            done.set()

    loop = SteadyLoop(200.0, call)
    run_until(loop, done)
    assert loop.missed >= 8
    assert calls[1] - calls[0] >= 9 * PERIOD_NS


def test_an_error_ends_the_loop_and_is_handed_on():
    errors, done = [], threading.Event()

    def fail(_):
        raise ValueError("broken")

    def hear(error):
        errors.append(error)
        done.set()

    run_until(SteadyLoop(200.0, fail, on_error=hear), done)
    assert str(errors[0]) == "broken"


def test_clocks():
    clock = ManualClock(5)
    assert clock.advance(1e-6) == clock.now_ns() == 1005
    assert SteadyClock().now_ns() <= SteadyClock().now_ns()
