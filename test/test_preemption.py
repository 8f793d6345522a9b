"""A newer goal gets the arm within 100 ms: it takes the plan over, or a shaped stop begins."""

from __future__ import annotations

import numpy as np
import pytest
from task_bench import HOME, PACE, SECOND, STEP, TaskBench

from wallwm_ros.core.events import EventGoal, Outcome
from wallwm_ros.core.tasks import TaskGoal

PREEMPT_S = 0.1
MODES = ("event", "unified")


def start(mode: str, latency: float) -> TaskBench:
    """A goal `old` that moves the arm, in a bench whose goals give way within `PREEMPT_S`."""
    bench = TaskBench(prefix=True, latency=latency, replan_s=0.5, preempt_s=PREEMPT_S)
    bench.event_engine = away
    bench.modes.set(mode)
    submit(bench, mode, b"old", "tidy up")
    bench.run(1.6)
    assert bench.published and not bench.results
    return bench


def away(match, question) -> tuple[np.ndarray, float]:
    """An event of four seconds, on from the step at which the arm was seen."""
    rows = np.repeat(HOME[None], 80, axis=0)
    rows[:, 0] += PACE * (question.first_step + np.arange(1, 81))
    return rows, 80 * STEP / SECOND


def submit(bench: TaskBench, mode: str, key: bytes, text: str) -> None:
    bench.modes.submit(EventGoal(key, text) if mode == "event" else TaskGoal(key, text))


def end_of(bench: TaskBench, key: bytes, limit_s: float) -> float:
    """How long it takes until a goal has ended [s]."""
    began = bench.clock.now_ns()
    bench.until(lambda: key in bench.results, limit_s)
    return (bench.clock.now_ns() - began) / SECOND


@pytest.mark.parametrize("mode", MODES)
def test_a_model_that_answers_in_time_goes_on_without_a_stop(mode):
    bench = start(mode, 0.04)
    submit(bench, mode, b"new", "sort the cubes")
    assert end_of(bench, b"old", 1.0) <= PREEMPT_S
    assert bench.results[b"old"].outcome == Outcome.PREEMPTED and "sort the cubes" in bench.results[b"old"].text
    bench.run(1.0)
    assert bench.stops == [] and len({place.generation for place, _ in bench.published}) == 1
    assert max(bench.motion().values()) <= 1.0 + 1e-6 and b"new" not in bench.results


@pytest.mark.parametrize("mode", MODES)
def test_for_a_model_that_is_too_slow_the_arm_is_stopped_at_once(mode):
    bench = start(mode, 0.3)
    submit(bench, mode, b"new", "sort the cubes")
    assert bench.results[b"old"].outcome == Outcome.PREEMPTED and len(bench.stops) == 1
    bench.run(2.0)
    assert len({place.generation for place, _ in bench.published}) == 2 and b"new" not in bench.results
    assert max(bench.motion().values()) <= 1.0 + 1e-6


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_that_does_not_come_in_time_is_not_waited_for(mode):
    bench = start(mode, 0.04)
    bench.latency = 2.0  # from the next question on
    submit(bench, mode, b"new", "sort the cubes")
    assert bench.stops == []
    took_s = end_of(bench, b"old", 1.0)
    assert PREEMPT_S < took_s <= PREEMPT_S + 0.04, "within two turns of the state machine after its time"
    assert bench.results[b"old"].outcome == Outcome.PREEMPTED and len(bench.stops) == 1
    bench.latency = 0.04
    bench.run(1.5)
    own = [question for question in bench.questions if question.text == "sort the cubes"]
    assert own[0].first_step > 0 and own[1].first_step == 0, "asked to take over, then from rest"
    assert len({place.generation for place, _ in bench.published}) == 2
    assert max(bench.motion().values()) <= 1.0 + 1e-6 and b"new" not in bench.results
