"""How goals of both modes end when something is in the way: cameras, engine, emergency stop, operator.

On the real controller, the clock turned by hand.
"""

from __future__ import annotations

import numpy as np
import pytest
from task_bench import HOME, PACE, SECOND, STEP, TaskBench

from wallwm_ros.core.events import ControlState, EventGoal, Outcome, Stage
from wallwm_ros.core.modes import NotReadyError
from wallwm_ros.core.synchronizer import Unsound
from wallwm_ros.core.tasks import TaskGoal

MODES = ("event", "unified")
BLIND = Unsound("head_cam", "stale", "head_cam is stale: its newest picture is 900 ms old")
STEP_S = STEP / SECOND


def long_event(match, question):
    """Sixty steps on from where the arm was seen."""
    rows = np.repeat(match.states["arm"][None], 60, axis=0)
    rows[:, 0] += PACE * np.arange(1, 61)
    return rows, 60 * STEP_S


def make(mode, **more):
    bench = TaskBench(**more)
    bench.event_engine = long_event
    bench.modes.set(mode)
    return bench


def goal(mode, key=b"a", **fields):
    if mode == "event":
        return EventGoal(key, "reach the red cube", **fields)
    return TaskGoal(key, "tidy up", **fields)


def moving(mode, seconds=1.0, **more):
    """A bench whose arm has moved for a goal for so long."""
    bench = make(mode, **more)
    bench.modes.submit(goal(mode))
    bench.until(lambda: bench.statuses[-1].state == ControlState.TRACKING)
    bench.run(seconds)
    return bench


def stopped(bench):
    """The arm came to rest by a shaped stop, inside its limits."""
    last = bench.statuses[-1]
    return (
        last.state in (ControlState.HOLD, ControlState.ESTOPPED)
        and np.abs(last.velocity).max() < 1e-6
        and max(bench.motion().values()) <= 1.0 + 1e-6
    )


# Observations that veto while the arm moves.


@pytest.mark.parametrize("mode", MODES)
def test_cameras_lost_while_the_arm_moves_end_the_goal_by_a_shaped_stop(mode):
    bench = moving(mode, 0.4, latency=0.1)
    bench.sight, lost = BLIND, bench.clock.now_ns()
    bench.until(lambda: b"a" in bench.results, 3.0)
    waited_s = (bench.clock.now_ns() - lost) / SECOND
    result = bench.results[b"a"]
    assert result.outcome == Outcome.NO_OBSERVATION and 1.9 <= waited_s <= 2.25
    assert result.text == f"no sound observation within 2.0 s: {BLIND.text}"
    assert len(bench.stops) == 1
    bench.run(1.0)
    assert stopped(bench)


def test_an_event_does_not_go_on_blindly_to_its_end():
    bench = moving("event", 0.4)
    bench.sight = BLIND
    bench.until(lambda: b"a" in bench.results, 4.0)
    assert 44 <= bench.results[b"a"].steps_executed <= 54 < bench.results[b"a"].steps_planned


@pytest.mark.parametrize("mode", MODES)
def test_cameras_that_are_sound_now_and_then_do_no_harm(mode):
    bench = moving(mode, 0.2)
    for _ in range(6):  # of a slow camera, the newest picture is too old most of the time
        bench.sight = BLIND
        bench.run(0.3)
        bench.sight = None
        bench.run(0.12)
    assert bench.results == {} and bench.stops == []


@pytest.mark.parametrize("mode", MODES)
def test_a_process_that_slept_gives_the_cameras_their_time(mode):
    bench = moving(mode, 0.3)
    seen = bench.modes.current.seen_ns
    bench.modes.current.seen_ns = seen - 5 * SECOND  # as after five seconds without a turn
    bench.modes._link.woke_ns = bench.clock.now_ns()
    bench.sight = BLIND
    bench.run(0.3)
    assert bench.results == {}
    bench.sight = None
    bench.run(0.3)
    assert bench.results == {}


@pytest.mark.parametrize("mode", MODES)
def test_a_process_that_slept_gives_the_engine_its_time(mode):
    bench = make(mode, latency=0.6)
    bench.modes.submit(goal(mode))
    runner = bench.events if mode == "event" else bench.tasks
    bench.until(lambda: runner._asked is not None)
    run, question, asked_ns = runner._asked
    runner._asked = run, question, asked_ns - 9 * SECOND
    bench.modes._link.woke_ns = bench.clock.now_ns()
    bench.run(1.0)
    assert bench.results == {} and len(bench.published) >= 1


# Engines that fail.


@pytest.mark.parametrize("mode", MODES)
def test_an_engine_that_hangs_before_anything_moves_ends_the_goal_and_its_answer_is_thrown_away(mode):
    bench = make(mode, latency=iter([5.0, *[0.1] * 99]))
    bench.modes.submit(goal(mode))
    bench.run(4.4)
    result = bench.results[b"a"]
    assert result.outcome == Outcome.ENGINE_FAILED
    assert result.text == "the engine has not answered within 4.0 s"
    assert bench.stops == [] and bench.published == []
    bench.run(1.0)
    assert bench.published == [] and (bench.arm == HOME).all()
    bench.modes.submit(goal(mode, b"b"))
    bench.run(1.0)
    assert bench.published and b"b" not in bench.results


@pytest.mark.parametrize("mode", MODES)
def test_an_engine_that_hangs_while_the_arm_moves_lets_it_hold_at_the_chunks_end(mode):
    bench = make(mode, latency=iter([0.1, 9.0]), replan_s=0.4)
    bench.event_engine = lambda *given: (long_event(*given)[0][:30], 3.0)
    bench.modes.submit(goal(mode))
    bench.until(lambda: b"a" in bench.results, 8.0)
    assert bench.results[b"a"].outcome == Outcome.ENGINE_FAILED
    last = bench.published[-1][0].first_step + len(bench.published[-1][1])
    assert bench.statuses[-2].state == ControlState.HOLD and bench.statuses[-2].step == last
    published = len(bench.published)
    bench.run(6.0)
    assert len(bench.published) == published and stopped(bench)


@pytest.mark.parametrize("mode", MODES)
def test_an_engine_that_fails_while_the_arm_moves_stops_it(mode):
    bench = make(mode, latency=0.1, replan_s=0.4)
    bench.modes.submit(goal(mode))
    bench.until(lambda: len(bench.published) == 1)

    def broken(*_):
        raise RuntimeError("the engine must give finite actions; found a non-finite value for left_waist")

    bench.engine = bench.event_engine = broken
    bench.until(lambda: b"a" in bench.results, 3.0)
    result = bench.results[b"a"]
    assert result.outcome == Outcome.ENGINE_FAILED and "left_waist" in result.text
    bench.run(1.0)
    assert len(bench.stops) == 1 and stopped(bench)


# Emergency stop, operator, control process.


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("who", ["estop", "operator"])
def test_who_takes_the_arm_ends_every_goal_and_new_ones_are_refused_until_it_is_given_back(mode, who):
    bench = moving(mode)
    other = EventGoal(b"q", "lift", queue=True) if mode == "event" else TaskGoal(b"q", "sort")
    bench.latency = 2.0
    bench.modes.submit(other)
    if who == "estop":
        bench.estop.latch("button")
        words = "the emergency stop is latched and must be reset: emergency stop: button"
        outcome = Outcome.ESTOPPED
    else:
        bench.controller.takeover.engage()
        outcome, words = Outcome.TAKEN_OVER, "an operator has taken the arm over"
    bench.run(1.0)
    assert {key: result.outcome for key, result in bench.results.items()} == {b"a": outcome, b"q": outcome}
    assert all(words in result.text for result in bench.results.values())
    assert bench.modes.idle and bench.stops == [], "the control process has dropped the plan by itself"
    with pytest.raises(NotReadyError, match=words):
        bench.modes.submit(goal(mode, b"b"))
    assert b"b" not in bench.results
    if who == "estop":
        assert bench.controller.reset_estop() == ""
    else:
        bench.controller.takeover.release()
    bench.run(0.1)
    bench.latency = 0.1
    bench.modes.submit(goal(mode, b"c"))
    bench.run(1.5)
    assert b"c" not in bench.results and bench.statuses[-1].state == ControlState.TRACKING
    assert max(bench.motion().values()) <= 1.0 + 1e-6


@pytest.mark.parametrize("mode", MODES)
def test_a_goal_that_was_to_take_over_begins_from_rest_when_the_plan_ends_before(mode):
    bench = moving(mode, 0.6, prefix=True, replan_s=0.4, latency=0.1)
    bench.until(lambda: (bench.events if mode == "event" else bench.tasks)._asked is None)
    bench.latency = 0.6
    asked = len(bench.questions)
    bench.modes.submit(goal(mode, b"b"))
    bench.until(lambda: len(bench.questions) > asked, 1.0)
    heir = bench.questions[-1]
    assert heir.first_step > 0 and b"a" not in bench.results
    bench.run(0.56)
    published = len(bench.published)
    bench.modes.cancel(b"a")
    bench.run(0.2)
    assert len(bench.published) == published, "an answer about a plan that is over is of no use"
    bench.run(1.2)
    assert bench.questions[-1].ticket > heir.ticket and b"b" not in bench.results
    first = next(place for place, _ in bench.published[published:])
    assert (first.sequence, first.first_step) == (0, 0) and first.generation > bench.stops[0]


@pytest.mark.parametrize("mode", MODES)
def test_a_goal_that_comes_while_the_arm_is_being_stopped_ends_as_stopped(mode):
    bench = moving(mode)
    bench.modes.cancel(b"a")
    bench.modes.submit(goal(mode, b"b"))
    bench.estop.latch("button")
    bench.run(1.0)
    assert bench.results[b"b"].outcome == Outcome.ESTOPPED


@pytest.mark.parametrize("mode", MODES)
def test_a_control_process_known_to_be_lost_refuses_goals_with_the_reason(mode):
    bench = make(mode)
    bench.control = False
    bench.run(1.2)
    with pytest.raises(NotReadyError, match="the control process has been silent for 1.2"):
        bench.modes.submit(goal(mode))
    bench.control = True
    bench.run(0.1)
    bench.modes.submit(goal(mode))
    bench.run(1.0)
    assert bench.results == {} and bench.published


# Cancelling and replacing at any step.


@pytest.mark.parametrize(("mode", "how"), [("event", "cancel"), ("event", "replace"), ("unified", "cancel")])
def test_at_any_step_the_arm_is_told_to_stop_at_once_and_slows_down_in_the_same_period(mode, how):
    for step in range(1, 40, 3):
        bench = make(mode, latency=0.1)
        bench.modes.submit(goal(mode))
        bench.until(lambda step=step, bench=bench: bench.statuses[-1].step >= step, 5.0)
        speed, at = abs(bench.statuses[-1].velocity[0]), len(bench.statuses)
        if how == "cancel":
            bench.modes.cancel(b"a")
        else:
            bench.modes.submit(goal(mode, b"b"))
        assert len(bench.stops) == 1, "before anything else is done"
        assert bench.results[b"a"].outcome == (Outcome.CANCELLED if how == "cancel" else Outcome.PREEMPTED)
        bench.run(0.02)
        assert abs(bench.statuses[at].velocity[0]) < speed or speed < 1e-3
        bench.run(0.8)
        assert max(bench.motion().values()) <= 1.0 + 1e-6
        assert how == "replace" or stopped(bench)


def test_every_change_of_stage_is_told_once():
    bench = make("event", latency=0.1)
    bench.modes.submit(goal("event"))
    bench.until(lambda: b"a" in bench.results)
    stages = [stage for key, stage in bench.stages if key == b"a"]
    assert stages == [Stage.WAITING, Stage.INFERRING, Stage.EXECUTING, Stage.SETTLING]
