"""Chunks on the timeline: what is due when, how a chunk joins the one before, and what is refused."""

import dataclasses

import numpy as np
import pytest

from wallwm_ros.core import quaternions
from wallwm_ros.core.chunk import END_EFFECTOR_POSE, Chunk
from wallwm_ros.core.config import load_robot
from wallwm_ros.core.path import Path
from wallwm_ros.core.smoothing import Bounds
from wallwm_ros.core.timeline import Timeline

SIM, X1 = load_robot("sim"), load_robot("quanta_x1")
STEP = 50_000_000
SECOND = 1_000_000_000
D = len(SIM.joints)
STILL = np.zeros(D)


def minimum_jerk(steps, distance=1.0):
    """(steps, D) targets of a minimum-jerk move from 0; grippers move a twentieth of it."""
    t = np.arange(1, steps + 1) / steps
    scale = np.where([joint.unit == "m" for joint in SIM.joints], 0.05, 1.0)
    return distance * (10 * t**3 - 15 * t**4 + 6 * t**5)[:, None] * scale


def make(values, generation=1, **fields):
    return Chunk(generation, SIM.joint_names, np.asarray(values, dtype=float), STEP, **fields)


def timeline():
    return Timeline(SIM, 2 * SECOND)


def test_rows_are_due_at_the_end_of_their_steps():
    line, rows = timeline(), minimum_jerk(20)
    line.accept(make(rows), 0, 0, STILL, STILL)
    for k, row in enumerate(rows):
        np.testing.assert_allclose(line.target((k + 1) * STEP)[0], row, atol=1e-9)
        assert line.step((k + 1) * STEP - 1) == k
        assert line.step((k + 1) * STEP) == k + 1
    assert line.steps == 20
    assert not line.ran_out(20 * STEP - 1) and line.ran_out(20 * STEP)


def test_the_path_is_smooth_between_rows():
    line, rows = timeline(), minimum_jerk(20)
    line.accept(make(rows), 0, 0, STILL, STILL)
    times = np.arange(0, SECOND, SECOND // 1000)
    position, velocity, acceleration = (
        np.array(x) for x in zip(*(line.target(int(t)) for t in times), strict=True)
    )
    t = times / SECOND
    exact = 10 * t**3 - 15 * t**4 + 6 * t**5
    assert np.abs(position[:, 0] - exact).max() < 1e-4
    assert np.abs(np.gradient(position[:, 0], 1e-3) - velocity[:, 0])[1:-1].max() < 1e-3
    assert np.abs(np.diff(acceleration[:, 0])).max() < 0.1  # continuous


def test_after_the_last_row_it_stands_there():
    line, rows = timeline(), minimum_jerk(10)
    line.accept(make(rows), 0, 0, STILL, STILL)
    for late in (0, 1, 10 * SECOND):
        position, velocity, acceleration = line.target(10 * STEP + late)
        np.testing.assert_array_equal(position, rows[-1])
        assert not velocity.any() and not acceleration.any()


def test_late_rows_are_dropped():
    line, rows = timeline(), minimum_jerk(20)
    now = 5 * STEP + STEP // 2
    present = (rows[4] + rows[5]) / 2
    line.accept(make(rows, first_step=100), now, 0, present, (rows[5] - rows[4]) / 0.05)
    np.testing.assert_allclose(line.target(now)[0], present)
    assert line.step(now) == 105
    assert line.steps == 120
    np.testing.assert_allclose(line.target(6 * STEP)[0], rows[5], atol=1e-9)


def test_a_row_due_almost_now_is_counted_but_not_jumped_to():
    line, rows = timeline(), np.full((3, D), 0.01)
    now = STEP - 1_000_000
    line.accept(make(rows), now, 0, STILL, STILL)
    peak = max(np.abs(line.target(now + dt)[1]).max() for dt in range(0, 2 * STEP, 1_000_000))
    assert peak < 2 * 0.01 / 0.05
    assert line.step(STEP) == 1


def test_a_chunk_joins_the_one_before_in_position_and_velocity():
    line, rows = timeline(), minimum_jerk(40)
    line.accept(make(rows), 0, 0, STILL, STILL)
    now = 8 * STEP + 7_000_000
    before = line.target(now)
    rest = make(rows[8:], sequence=1, first_step=8)
    line.accept(rest, now, 8 * STEP, before[0], before[1])
    after = line.target(now)
    np.testing.assert_allclose(after[0], before[0], atol=1e-12)
    np.testing.assert_allclose(after[1], before[1], atol=1e-9)
    assert line.step(now) == 8 and line.steps == 40
    np.testing.assert_allclose(line.target(12 * STEP)[0], rows[11], atol=1e-9)


def test_a_chunk_without_a_time_starts_where_its_first_step_belongs_in_the_plan():
    line, rows = timeline(), minimum_jerk(40, 0.1)
    line.accept(make(rows[:20], final=False), 0, 0, STILL, STILL)
    now = 13 * STEP + 7_000_000
    follower = make(rows[10:30], sequence=1, first_step=10)
    assert line.start_of(follower, now) == 10 * STEP
    assert line.start_of(make(rows, generation=2), now) == now, "another plan starts at once"
    line.accept(follower, now, line.start_of(follower, now), *line.target(now)[:2])
    assert line.step(now) == 13 and line.step(14 * STEP) == 14 and line.steps == 30
    np.testing.assert_allclose(line.target(20 * STEP)[0], rows[19], atol=1e-9)


def test_a_plan_that_has_run_out_goes_on_from_its_last_row():
    line, rows = timeline(), minimum_jerk(40, 0.1)
    line.accept(make(rows[:20], final=False), 0, 0, STILL, STILL)
    now = 50 * STEP
    follower = make(rows[12:32], sequence=1, first_step=12)
    start = line.start_of(follower, now)
    assert start == now - 8 * STEP and line.refusal(follower, now, start) == ""
    line.accept(follower, now, start, rows[19], STILL)
    assert line.step(now) == 20 and line.step(now + STEP) == 21
    np.testing.assert_allclose(line.target(now + STEP)[0], rows[20], atol=1e-9)
    line.end(now + STEP)
    assert line.start_of(make(rows, sequence=2), now + STEP) == now + STEP


def test_columns_are_matched_by_name():
    line, order = timeline(), np.roll(np.arange(D), 3)
    row = np.arange(D) * 0.001
    chunk = Chunk(1, tuple(SIM.joint_names[i] for i in order), row[order][None].repeat(5, 0), STEP)
    assert line.refusal(chunk, 0, 0) == ""
    line.accept(chunk, 0, 0, STILL, STILL)
    np.testing.assert_allclose(line.target(5 * STEP)[0], row)


@pytest.mark.parametrize(
    ("chunk", "words"),
    [
        (make(minimum_jerk(5), generation=2), "older than plan 3"),
        (make(minimum_jerk(5), generation=3), "sequence must be above 4"),
        (make(minimum_jerk(5), generation=3, sequence=4), "sequence must be above 4"),
        (make(np.full((5, D), np.nan), 4), "row 0, joint left_waist is nan"),
        (make(np.full((5, D), np.inf), 4), "is inf"),
        (make(minimum_jerk(5)[:, :-1], 4), "shape (5, 14)"),
        (make(minimum_jerk(5), 4, action_space=END_EFFECTOR_POSE), "must be joint_position"),
        (dataclasses.replace(make(minimum_jerk(5), 4), step_ns=0), "step_s"),
        (
            dataclasses.replace(make(minimum_jerk(5), 4), joints=("a", *SIM.joint_names[1:])),
            "missing: left_waist",
        ),
        (Chunk(4, ("a",) * D, minimum_jerk(5), STEP), "not valid: a"),
    ],
)
def test_refusals_say_why(chunk, words):
    line = timeline()
    line.accept(make(minimum_jerk(5), 3, sequence=4), 0, 0, STILL, STILL)
    assert words in line.refusal(chunk, 0, 0)


def test_chunks_out_of_time_are_refused():
    line = timeline()
    assert "due 250 ms ago" in line.refusal(make(minimum_jerk(5)), 10 * STEP, 0)
    assert line.refusal(make(minimum_jerk(5)), 5 * STEP - 1, 0) == ""
    assert "3.00 s ahead" in line.refusal(make(minimum_jerk(5)), 0, 3 * SECOND)


def test_a_stopped_plan_stays_stopped():
    line = timeline()
    line.accept(make(minimum_jerk(20), 3), 0, 0, STILL, STILL)
    line.end(5 * STEP)
    assert not line.active
    assert (line.step(9 * STEP), line.steps) == (5, 20)
    assert "was stopped" in line.refusal(make(minimum_jerk(5), 3, sequence=1), 0, 0)
    assert line.refusal(make(minimum_jerk(5), 4), 0, 0) == ""


def test_a_stop_request_needs_no_rows_and_is_never_too_late():
    line = timeline()
    line.accept(make(minimum_jerk(20), 3), 0, 0, STILL, STILL)
    assert line.refusal(Chunk.stop(3, SIM.joint_names), 100 * SECOND, 0) == ""
    assert "older" in line.refusal(Chunk.stop(2, SIM.joint_names), 0, 0)


def test_an_open_end_keeps_moving_to_its_last_row():
    rows = np.arange(1, 6)[:, None] * np.full(D, 0.001)
    closed, opened = timeline(), timeline()
    closed.accept(make(rows), 0, 0, STILL, STILL)
    opened.accept(make(rows, final=False), 0, 0, STILL, STILL)
    assert abs(closed.target(5 * STEP - 1)[1][0]) < 1e-6
    assert opened.target(5 * STEP - 1)[1][0] > 0.01


def test_trembling_targets_are_smoothed_and_jumps_are_not_swung_around():
    rng = np.random.default_rng(0)
    t = np.arange(1, 21) / 20
    exact = 10 * t**3 - 15 * t**4 + 6 * t**5
    rows = np.stack([exact + rng.normal(0, 0.01, 20), np.where(t > 0.5, 1.0, 0.0)], axis=1)
    rows[-1, 0] = 1.0
    bounds = Bounds(np.full(2, 20.0), np.full(2, 400.0), np.full(2, 0.08))
    times = np.arange(21) * 0.05
    path = Path(times, np.concatenate([np.zeros((1, 2)), rows]), np.zeros(2), bounds=bounds)
    fine = np.array([path.state(x) for x in np.arange(0, 1, 0.001)])  # (time, 3, column)
    assert np.abs(fine[:, 2, 0]).max() <= 20.0
    assert np.abs(fine[::50, 0, 0] - np.concatenate([[0], exact])[:20]).max() < 0.03
    assert path.values[-1, 0] == 1.0
    assert fine[:, 0, 1].min() >= 0.0 and fine[:, 0, 1].max() <= 1.0
    assert np.all(np.diff(fine[:, 0, 1]) >= -1e-12)


def _poses(rows):
    """(T, 16) rows of the two-arm pose robot: both arms turn and move alike."""
    one = np.concatenate([np.full((len(rows), 3), 0.4), rows, np.full((len(rows), 1), 1.0)], axis=1)
    return np.concatenate([one, one], axis=1)


def test_orientations_go_the_short_way_whatever_their_signs():
    angles = np.linspace(0.1, 1.0, 10)
    turn = quaternions.exp(angles[:, None] * np.array([0.0, 0.0, 1.0]))
    turn[::2] *= -1  # the same orientations, written with the other sign
    line = Timeline(X1, SECOND)
    chunk = Chunk(1, X1.joint_names, _poses(turn), STEP, action_space=END_EFFECTOR_POSE)
    assert line.refusal(chunk, 0, 0) == ""
    start = _poses(np.array([[0.0, 0.0, 0.0, 1.0]]))[0]
    line.accept(chunk, 0, 0, start, np.zeros(16))
    for at in range(0, 10 * STEP, STEP // 5):
        turned = quaternions.between(start[3:7], line.target(at)[0][3:7])
        np.testing.assert_allclose(turned, [0, 0, 0.1 * at / STEP], atol=1e-9)


def test_a_quaternion_that_is_none_is_refused():
    rows = _poses(np.full((3, 4), 0.9))
    chunk = Chunk(1, X1.joint_names, rows, STEP, action_space=END_EFFECTOR_POSE)
    assert "quaternion left_qx... must have length 1; found 1.800" in Timeline(X1, SECOND).refusal(
        chunk, 0, 0
    )
