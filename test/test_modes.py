"""Switching between events and tasks while the arm moves, through the real controller."""

from __future__ import annotations

import dataclasses

import pytest
from task_bench import HOME, PACE, TaskBench
from tiny_engine import tiny_spec

from wallwm_model.errors import ConfigError, WallWMError
from wallwm_ros.core.admission import check_goal
from wallwm_ros.core.compatibility import check_unified
from wallwm_ros.core.events import EventGoal, Outcome
from wallwm_ros.core.tasks import TaskGoal

TASK, EVENT = TaskGoal(b"t", "tidy up"), EventGoal(b"e", "retract the left arm")


def inside_limits(bench):
    return all(share <= 1.0 + 1e-6 for share in bench.motion().values())


def test_a_task_ends_after_its_chunk_and_the_event_that_waited_begins_from_rest():
    bench = TaskBench()
    bench.modes.submit(TASK)
    bench.run(2.6)
    assert bench.statuses[-1].state.name == "TRACKING"
    bench.modes.set("event")
    bench.modes.submit(EVENT)
    planned = bench.published[-1]
    assert planned[0].final and b"t" not in bench.results, "the chunk under way is sent again as the last"
    bench.until(lambda: b"t" in bench.results)
    result = bench.results[b"t"]
    assert (result.outcome, result.text) == (Outcome.PREEMPTED, "mode was set to 'event'")
    assert bench.statuses[-1].step == planned[0].first_step + len(planned[1])
    assert (bench.visits() == 1).all() and bench.steps() == (0, 0)
    reached = bench.arm[0]
    bench.until(lambda: b"e" in bench.results)
    assert bench.results[b"e"].outcome == Outcome.SUCCEEDED and bench.results[b"e"].steps_executed == 12
    assert bench.arm[0] == pytest.approx(reached - 12 * PACE, abs=2e-3)
    assert bench.stops == [] and inside_limits(bench)


def test_an_event_ends_as_it_would_have_and_the_task_that_waited_begins():
    bench = TaskBench()
    bench.modes.set("event")
    bench.modes.submit(EVENT)
    waiting = EventGoal(b"w", "reach", queue=True)
    bench.modes.submit(waiting)
    bench.run(0.5)
    bench.modes.set("unified")
    bench.modes.submit(TASK)
    assert (bench.results[b"w"].outcome, bench.results[b"w"].text) == (
        Outcome.PREEMPTED,
        "mode was set to 'unified'",
    )
    assert [q.text for q in bench.questions] == [EVENT.caption] and b"e" not in bench.results
    bench.until(lambda: b"e" in bench.results)
    assert bench.results[b"e"].outcome == Outcome.SUCCEEDED
    bench.run(3.0)
    assert len(bench.published) > 3 and bench.steps() == (0, 0)
    assert bench.stops == [] and inside_limits(bench)


def test_goals_of_the_mode_that_is_not_set_are_refused():
    bench = TaskBench()
    with pytest.raises(ConfigError, match="events need mode 'event'; found 'unified'"):
        bench.modes.submit(EVENT)
    bench.modes.set("event")
    with pytest.raises(ConfigError, match="tasks need mode 'unified'; found 'event'"):
        bench.modes.submit(TASK)
    assert bench.modes.idle and bench.results == {}


def test_a_task_for_which_nothing_moves_yet_ends_at_once():
    bench = TaskBench(latency=0.5)
    bench.modes.submit(TASK)
    bench.run(0.2)
    bench.modes.set("event")
    assert bench.results[b"t"].outcome == Outcome.PREEMPTED and bench.modes.idle
    bench.run(1.0)
    assert bench.published == [] and (bench.arm == HOME).all()


def test_a_mode_set_back_lets_a_new_task_wait_for_the_old_ones_end():
    bench = TaskBench()
    bench.modes.submit(TASK)
    bench.run(2.0)
    bench.modes.set("event")
    bench.modes.submit(EVENT)
    bench.modes.set("unified")
    assert bench.results[b"e"].outcome == Outcome.PREEMPTED
    bench.modes.submit(TaskGoal(b"u", "sort the cubes"))
    bench.run(6.0)
    assert bench.results[b"t"].outcome == Outcome.PREEMPTED and b"u" not in bench.results
    assert bench.questions[-1].text == "sort the cubes" and bench.stops == []
    assert bench.steps() == (0, 0) and inside_limits(bench)


def test_a_waiting_goal_gets_feedback_and_can_be_cancelled():
    bench = TaskBench()
    bench.modes.submit(TASK)
    bench.run(2.0)
    bench.modes.set("event")
    bench.modes.submit(EVENT)
    before = sum(key == b"e" for key, _ in bench.progress)
    bench.run(0.5)
    assert sum(key == b"e" for key, _ in bench.progress) - before >= 5
    bench.modes.cancel(b"e")
    assert bench.results[b"e"].outcome == Outcome.CANCELLED and bench.stops == []
    bench.run(2.0)
    assert bench.results[b"t"].outcome == Outcome.PREEMPTED and bench.modes.idle


@pytest.mark.parametrize("mode", ["event", "unified"])
def test_cancelling_while_the_mode_changes_stops_the_arm(mode):
    bench = TaskBench()
    bench.modes.set(mode)
    bench.modes.submit(EVENT if mode == "event" else TASK)
    bench.run(0.6)
    bench.modes.set("unified" if mode == "event" else "event")
    bench.modes.cancel(b"e" if mode == "event" else b"t")
    bench.run(1.0)
    assert len(bench.stops) == 1 and bench.statuses[-1].state.name == "HOLD" and inside_limits(bench)
    assert [r.outcome for r in bench.results.values()] == [Outcome.CANCELLED] and bench.modes.idle


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        (TaskGoal(b"t", " "), "an instruction must name a task; found an empty one"),
        (TaskGoal(b"t", "fly away"), "unknown word 'fly'"),
        (TaskGoal(b"t", "reach", timeout_s=float("nan")), "timeout_s must be 0 to 3600 s; found nan"),
    ],
)
def test_an_unsound_task_is_refused_before_anything_is_looked_at(goal, words):
    with pytest.raises(WallWMError, match=words):
        check_goal(goal, tiny_spec())
    check_goal(TaskGoal(b"t", "reach", timeout_s=60.0), tiny_spec())


def test_parameters_of_unified_mode_must_fit_the_bundle():
    with pytest.raises(ConfigError, match="this one has: none, it lacks unified mode"):
        check_unified(tiny_spec(), "instruction", 0)
    language = {"words": tiny_spec().vocabulary, "reason_length": 4}
    spec = dataclasses.replace(
        tiny_spec(), modes=("event", "unified"), sources=("atomic", "staircase"), **language
    )
    check_unified(spec, "staircase", 32)
    with pytest.raises(ConfigError, match="'instruction' needs a bundle .* has: atomic, staircase"):
        check_unified(spec, "instruction", 0)
    with pytest.raises(ConfigError, match="at most 32, the length of a chunk; found 33"):
        check_unified(spec, "atomic", 33)
