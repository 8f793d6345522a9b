"""What the status says of joins, missed periods and leads, with the clock turned by hand."""

import dataclasses

import numpy as np
import pytest
from controller_bench import HOME, MS, PROFILE, STEP, Bench, D, move

from wallwm_ros.core.chunk import Chunk
from wallwm_ros.core.control_state import ControlState
from wallwm_ros.core.lead import advance


@pytest.fixture
def bench():
    bench = Bench()
    bench.tick()
    return bench


def test_rows_that_were_due_already_are_counted_as_dropped(bench):
    status = bench.submit(move(0.3), bench.now + 10 * MS - 4 * STEP)
    assert status.dropped_steps == 3  # row k is due at k + 1 steps; the fourth is due at this very command
    status = bench.submit(move(0.3, generation=2))
    assert status.dropped_steps == 0


def test_a_join_at_the_step_due_drops_what_was_carried_out_and_nothing_else(bench):
    whole = move(0.4, steps=40)
    bench.submit(Chunk(1, PROFILE.joint_names, whole.values[:20], STEP, final=False))
    bench.tick(62)
    again = Chunk(1, PROFILE.joint_names, whole.values[5:], STEP, sequence=1, first_step=5)
    status = bench.submit(again)
    assert (status.step, status.dropped_steps) == (12, 7)
    assert status.seam_velocity < 0.1 and status.seam_acceleration < 0.1  # the motion goes on as it was
    status = bench.tick(200)
    assert (status.step, status.settled) == (40, True)


def test_the_seam_is_the_largest_change_in_one_period_as_a_share_of_the_limit(bench):
    bench.submit(move(1.0))
    bench.tick(40)
    before = bench.tick().velocity
    status = bench.submit(move(-0.4, generation=2, begin=bench.arm))
    change = (np.abs(status.velocity - before) / (0.01 * PROFILE.limit("acceleration"))).max()
    assert status.seam_velocity == pytest.approx(change) and change > 0.01
    assert status.seam_velocity <= 1 + 1e-9 and 0.1 < status.seam_acceleration <= 1 + 1e-9
    seam = status.seam_velocity, status.seam_acceleration
    status = bench.tick(30)
    assert (status.seam_velocity, status.seam_acceleration) == seam  # of the newest join, until the next one


def test_missed_periods_are_counted_since_activation(bench):
    assert bench.tick(20).missed_periods == 0
    assert bench.tick(period=50 * MS).missed_periods == 4
    assert bench.tick(period=20 * MS).missed_periods == 5
    assert bench.tick(20).missed_periods == 5
    bench.controller.deactivate()
    bench.tick(period=500 * MS)
    bench.controller.activate()
    assert bench.tick(5).missed_periods == 0


@pytest.mark.parametrize("rate", [50, 200, 333, 500])
def test_commands_keep_to_the_limits_at_every_rate(rate):
    bench, period = Bench(rate_hz=rate), round(1e9 / rate)
    bench.tick(period=period)
    for generation in range(1, 5):
        bench.controller.submit(move((-0.6) ** generation, generation=generation, begin=bench.arm))
        status = bench.tick(rate // 2, period=period)
    assert status.missed_periods == 0
    bench.tick(3 * rate, period=period)
    commands = np.array(bench.commands)
    for order, name in ((1, "velocity"), (2, "acceleration"), (3, "jerk")):
        worst = np.abs(np.diff(commands, n=order, axis=0)).max(axis=0) / (period / 1e9) ** order
        assert np.all(worst <= PROFILE.limit(name) * (1 + 1e-6) + 1e-4), name


def test_advanced_rows_are_those_of_later_and_end_at_the_last():
    rows = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [4.0, 4.0]])
    early = advance(rows, np.array([0.0, 1.5]))
    np.testing.assert_array_equal(early[:, 0], rows[:, 0])
    np.testing.assert_allclose(early[:, 1], [1.5, 3.0, 4.0, 4.0])
    np.testing.assert_array_equal(advance(rows[:1], np.array([0.0, 3.0])), rows[:1])


def led(lead):
    joints = tuple(
        dataclasses.replace(joint, lead=lead if joint.name == "left_gripper" else 0.0)
        for joint in PROFILE.joints
    )
    return dataclasses.replace(PROFILE, joints=joints)


def closing(steps=30):
    """Both grippers close in the middle of an arm move."""
    rows = move(0.3, steps).values.copy()
    rows[:, [6, 13]] = np.where(np.arange(steps) < steps // 2, 0.06, 0.02)[:, None]
    return rows


def test_a_slow_gripper_is_told_earlier_by_its_lead_and_ends_at_the_same_place():
    bench = Bench(led(0.2))
    bench.tick()
    bench.submit(Chunk(1, PROFILE.joint_names, closing(), STEP))
    status = bench.tick(220)
    assert status.settled and status.step == 30
    commands = np.array(bench.commands)
    half = [int(np.argmax(commands[:, column] < 0.04)) for column in (6, 13)]
    assert half[1] - half[0] == pytest.approx(20, abs=2)  # ticks of 10 ms
    np.testing.assert_allclose(commands[-1], closing()[-1], atol=1e-6)
    bench.assert_inside()


def test_a_lead_makes_no_step_at_a_join_of_the_same_plan():
    bench = Bench(led(0.2))
    bench.tick()
    rows = closing(40)
    bench.submit(Chunk(1, PROFILE.joint_names, rows[:30], STEP, final=False))
    bench.tick(60)
    bench.submit(Chunk(1, PROFILE.joint_names, rows[10:], STEP, sequence=1, first_step=10))
    status = bench.tick(220)
    assert status.state == ControlState.HOLD and status.settled
    np.testing.assert_allclose(status.command, rows[-1], atol=1e-6)
    bench.assert_inside()


def test_no_lead_changes_nothing():
    rows = np.random.default_rng(0).normal(size=(5, D))
    np.testing.assert_array_equal(advance(rows, np.zeros(D)), rows)
    assert not PROFILE.limit("lead").any() and HOME.shape == (D,)
