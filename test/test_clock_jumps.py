"""The clock that stamps the messages is set while goals are under way; the steady clock is turned by hand."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks import task_bench
from benchmarks.task_bench import SECOND, TaskBench
from wallwm_ros.core.events import EventGoal, Outcome, Stage
from wallwm_ros.core.synchronizer import Match, Unsound
from wallwm_ros.core.tasks import TaskGoal

JUMP = "/clock jumped back by 100.0 s"
BLIND = Unsound("head_cam", "missing", f"no picture from head_cam has arrived since {JUMP}")


@pytest.fixture
def bench(monkeypatch):
    """A bench whose message clock can be set: `bench.offset_ns` is added to it."""
    found, plain = TaskBench(), task_bench._report
    found.offset_ns = 0

    def report(status):
        made = plain(status)
        return dataclasses.replace(made, stamp_ns=made.stamp_ns + found.offset_ns)

    monkeypatch.setattr(task_bench, "_report", report)
    monkeypatch.setattr(found, "message_now_ns", lambda: found.clock.now_ns() + found.offset_ns)
    return found


@pytest.mark.parametrize("goal", [TaskGoal(b"g", "sort the cubes"), EventGoal(b"g", "reach")])
def test_a_goal_under_way_ends_with_a_shaped_stop_and_the_reason(bench, goal):
    bench.modes.set("unified" if isinstance(goal, TaskGoal) else "event")
    bench.modes.submit(goal)
    bench.until(lambda: bench.modes.current.stage == Stage.EXECUTING)
    bench.run(0.5)
    bench.modes.clock_jumped(JUMP)
    assert bench.results[b"g"].outcome == Outcome.NO_OBSERVATION and bench.results[b"g"].text == JUMP
    bench.run(1.0)
    assert len(bench.stops) == 1 and bench.statuses[-1].state.name == "HOLD"
    assert max(bench.motion().values()) <= 1.001
    assert bench.modes.idle


@pytest.mark.parametrize("offset_s", [-100, 100])
def test_a_goal_that_waits_for_pictures_waits_for_those_of_the_new_time(bench, offset_s):
    bench.sight = BLIND
    bench.modes.submit(TaskGoal(b"t", "sort the cubes"))
    bench.run(0.5)
    assert bench.modes.current.stage == Stage.WAITING and bench.looks[-1][0] > 0
    bench.offset_ns = offset_s * SECOND
    bench.modes.clock_jumped(JUMP)
    jumped_ns = bench.message_now_ns()
    bench.run(0.2)
    # At rest is known again a little later; and the time is one that does come.
    assert jumped_ns <= bench.looks[-1][0] <= jumped_ns + SECOND // 10
    stamp = bench.message_now_ns()
    bench.sight = Match({}, {"arm": bench.arm}, stamp, 0)
    bench.run(0.1)
    assert bench.modes.current.stage == Stage.INFERRING and b"t" not in bench.results


def test_a_clock_that_goes_on_jumping_ends_the_goal_at_its_deadline(bench):
    bench.sight = BLIND
    bench.modes.submit(TaskGoal(b"t", "sort the cubes"))
    for i in range(30):
        bench.run(0.1)
        bench.offset_ns = -i * SECOND
        bench.modes.clock_jumped(JUMP)
    assert bench.results[b"t"].outcome == Outcome.NO_OBSERVATION
    assert bench.results[b"t"].text == f"no sound observation within 2.0 s: {BLIND.text}"
