"""The parts of splicing: how long it takes, which step it was, how rows are led over. No ROS."""

from __future__ import annotations

import numpy as np
import pytest

from wallwm_ros.core import quaternions
from wallwm_ros.core.delay import DelayEstimate
from wallwm_ros.core.events import Plan
from wallwm_ros.core.execution import Execution
from wallwm_ros.core.splice import splice
from wallwm_ros.core.steps import StepClock

MS, SECOND = 1_000_000, 1_000_000_000
STEP = 50 * MS


def measured(*delays_ms):
    estimate = DelayEstimate()
    for delay in delays_ms:
        estimate.add(delay * MS)
    return estimate


def test_nothing_measured_is_no_delay():
    assert DelayEstimate().ns == 0 and DelayEstimate().steps(STEP) == 0


def test_a_steady_delay_is_rounded_up_to_steps():
    assert measured(*[230] * 20).steps(STEP) == 5
    assert measured(*[250] * 20).steps(STEP) == 5
    assert measured(*[251] * 20).steps(STEP) == 6


def test_most_delays_lie_below_the_estimate_and_a_spike_is_forgotten():
    rng = np.random.default_rng(0)
    delays = rng.uniform(100, 600, 400).round().astype(int)
    estimate, below = DelayEstimate(), []
    for delay in delays:
        below.append(delay * MS <= estimate.ns)
        estimate.add(int(delay) * MS)
    assert 0.75 < np.mean(below[20:]) < 0.95
    assert measured(*[200] * 20, 3000).ns == 3000 * MS
    assert measured(*[200] * 20, 3000, *[200] * 3).ns == 200 * MS


def test_a_change_of_pace_is_followed():
    assert measured(*[100] * 30, *[400] * 3).ns == 400 * MS
    assert measured(*[400] * 30, *[100] * 25).ns == 100 * MS


def test_a_cold_start_is_the_first_estimate_and_is_forgotten_too():
    assert measured(3000).ns == 3000 * MS
    assert measured(3000, *[200] * 7).ns == 200 * MS


def clock(origin_ms, stop=None, resume_ms=0):
    """Reports every 20 ms of a plan begun at `origin_ms`; it may run out at a step, and go on later."""
    steps = StepClock(STEP)
    for now in range(origin_ms, origin_ms + 3000, 20):
        done = (now - origin_ms) // 50
        if stop is not None and done >= stop:
            done = stop if now < resume_ms else stop + (now - resume_ms) // 50
        steps.hear(now * MS, done)
    return steps


@pytest.mark.parametrize("origin_ms", [0, 7, 13, 31])
def test_a_pictures_step_is_known_to_within_the_reports_distance(origin_ms):
    steps = clock(origin_ms)
    for stamp in range(origin_ms + 20, origin_ms + 2900, 9):
        assert abs(steps.at(stamp * MS, 1000) - (stamp - origin_ms) / 50) <= 10 / 50


def test_before_the_first_report_it_is_the_beginning_and_without_any_too():
    assert clock(1000).at(0, 32) == 0 and StepClock(STEP).at(5 * MS, 32) == 0


def test_a_plan_that_has_run_out_stands_still_until_it_goes_on():
    still = clock(0, stop=20, resume_ms=10_000)
    assert [still.at(t * MS, 64) for t in (1000, 1200, 2980, 3010)] == [20] * 4
    later = clock(0, stop=20, resume_ms=2000)
    assert [round(later.at(t * MS, 64)) for t in (500, 1500, 1900)] == [10, 20, 20]
    assert abs(later.at(2500 * MS, 64) - 30) <= 1


def test_chunks_mean_the_same_by_a_step_whatever_part_of_one_their_pictures_were_taken_after_it():
    rows = np.zeros((60, 2))
    done = Execution(Plan(rows, 0.05, 0.0, 0, {}), 1, 0, 0, steps=clock(0))
    found = [done.step_of(round(50 * MS * steps)) for steps in (2.4, 10.6, 20.9, 30.2, 40.6)]
    assert found == [2, 10, 21, 30, 40], "the same part is left over, unless it is too much of a step"
    done.ran_dry = True
    assert done.step_of(round(50 * MS * 42.6)) == 43 and done.step_of(100 * SECOND) == 60, "the last one known"


def test_no_step_beyond_those_known():
    assert clock(0).at(3100 * MS, 60) == 60


def test_rows_already_under_way_stay_and_the_next_ones_are_led_over():
    old, new = np.zeros((10, 2)), np.ones((8, 2))
    rows = splice(old, new, offset=4, join=2, blend=3)
    assert rows[:, 0] == pytest.approx([0, 0, 0.25, 0.5, 0.75, 1, 1, 1])
    assert (new == 1).all(), "the answer itself is left alone"
    assert splice(old, new, 4, 2, 0)[:, 1] == pytest.approx([0, 0, 1, 1, 1, 1, 1, 1])


def test_where_the_old_rows_have_ended_their_last_one_counts():
    rows = splice(np.arange(4.0)[:, None], np.full((6, 1), 10.0), offset=3, join=1, blend=1)
    assert rows[:, 0] == pytest.approx([3, 6.5, 10, 10, 10, 10])


def test_orientations_are_led_over_the_short_way_whatever_their_signs():
    turn = quaternions.exp(np.array([[0.0, 0.0, 1.0]]))
    old = np.concatenate([np.zeros((4, 1)), np.tile([0.0, 0.0, 0.0, 1.0], (4, 1))], axis=1)
    new = np.concatenate([np.ones((4, 1)), np.repeat(-turn, 4, axis=0)], axis=1)
    rows = splice(old, new, offset=0, join=0, blend=3, quaternion_columns=(1,))
    angles = [quaternions.between(old[0, 1:], row[1:])[2] for row in rows]
    assert angles == pytest.approx([0.25, 0.5, 0.75, 1.0]) and rows[:3, 0] == pytest.approx([0.25, 0.5, 0.75])
