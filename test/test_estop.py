"""The latched emergency stop, with the clock turned by hand."""

import numpy as np
import pytest
from controller_bench import HOME, MS, PROFILE, Bench, move

from wallwm_ros.core.chunk import Chunk
from wallwm_ros.core.control_state import ControlState, Measured
from wallwm_ros.core.estop import Estop

WHY = "emergency stop: button"


@pytest.fixture
def estop():
    return Estop()


@pytest.fixture
def bench(estop):
    bench = Bench(estop=estop)
    bench.tick()
    return bench


def stopped(bench, estop):
    """Latched in full motion, and at rest."""
    bench.submit(move(1.0))
    bench.tick(45)
    estop.latch("button")
    assert bench.tick().state == ControlState.STOPPING
    status = bench.tick(60)
    assert (status.state, status.reason) == (ControlState.ESTOPPED, WHY)
    return status


def test_it_stops_the_arm_inside_the_limits_and_holds(bench, estop):
    status = stopped(bench, estop)
    assert 0.05 < status.command[0] - HOME[0] < 0.95
    held = bench.tick(100)
    np.testing.assert_allclose(held.command, status.command, atol=1e-9)
    bench.assert_inside()


def test_every_chunk_is_refused_with_the_reason_and_its_plan_is_over(bench, estop):
    stopped(bench, estop)
    status = bench.submit(move(generation=7, begin=bench.arm))
    assert (status.state, status.rejected) == (ControlState.ESTOPPED, 1)
    assert f"chunk 7/0 refused: {WHY}" in status.reason
    bench.controller.reset_estop()
    status = bench.submit(move(generation=7, sequence=1, begin=bench.arm))
    assert status.state == ControlState.HOLD and "its plan was stopped" in status.reason
    assert bench.submit(move(generation=8, begin=bench.arm)).state == ControlState.TRACKING


def test_a_chunk_that_waits_for_its_start_is_forgotten(bench, estop):
    bench.submit(move(generation=3), bench.now + 200 * MS)
    estop.latch("button")
    bench.tick(5)
    bench.controller.reset_estop()
    assert bench.tick(60).state == ControlState.HOLD
    np.testing.assert_allclose(bench.arm, HOME, atol=1e-9)


def test_only_a_reset_ends_it_and_the_arm_then_holds(bench, estop):
    before = stopped(bench, estop)
    bench.tick(200)
    assert bench.controller.reset_estop() == ""
    status = bench.tick(100)
    assert status.state == ControlState.HOLD and "was reset; waiting for a new plan" in status.reason
    np.testing.assert_allclose(status.command, before.command, atol=1e-9)
    assert "its plan was stopped" in bench.submit(move(generation=1, sequence=1)).reason


def test_the_first_reason_stays(bench, estop):
    stopped(bench, estop)
    estop.latch("somebody else")
    assert bench.tick().reason == WHY


def test_a_reset_is_refused_while_the_arm_moves(bench, estop):
    bench.submit(move(1.0))
    bench.tick(45)
    estop.latch("button")
    assert "not come to rest" in bench.controller.reset_estop()
    bench.tick()
    assert "not come to rest" in bench.controller.reset_estop() and estop.latched
    bench.tick(60)
    assert bench.controller.reset_estop() == "" and not estop.latched


def test_it_is_obeyed_during_another_stop(bench, estop):
    bench.submit(move(1.0))
    bench.tick(45)
    bench.submit(Chunk.stop(2, PROFILE.joint_names))
    estop.latch("button")
    status = bench.tick()
    assert (status.state, status.reason) == (ControlState.STOPPING, WHY)
    assert bench.tick(60).state == ControlState.ESTOPPED
    bench.assert_inside()


def test_latched_before_activation_the_arm_is_held_but_not_moved(estop):
    estop.latch("button")
    bench = Bench(estop=estop)
    assert bench.tick(measured=False).state == ControlState.ESTOPPED
    status = bench.tick(3)
    assert (status.state, status.reason) == (ControlState.ESTOPPED, WHY)
    np.testing.assert_array_equal(status.command, HOME)
    assert bench.submit(move()).rejected == 1


def test_it_survives_deactivation_and_says_so_meanwhile(bench, estop):
    stopped(bench, estop)
    bench.controller.deactivate()
    status = bench.tick()
    assert (status.state, status.command) == (ControlState.INACTIVE, None) and WHY in status.reason
    bench.controller.activate()
    assert bench.tick(3).state == ControlState.ESTOPPED
    bench.controller.deactivate()
    assert bench.controller.reset_estop() == ""
    bench.controller.activate()
    assert bench.tick().state == ControlState.HOLD


def test_it_stands_without_joint_states_and_when_time_goes_back(bench, estop):
    stopped(bench, estop)
    bench.measured_at = bench.now
    assert bench.tick(60).state == ControlState.ESTOPPED
    bench.measured_at = None
    bench.now -= 500 * MS
    bench.tick()
    assert bench.tick().state == ControlState.ESTOPPED


def test_an_arm_that_was_moved_meanwhile_is_held_where_it_is(bench, estop):
    before = stopped(bench, estop).command
    bench.tick(60)
    moved = before.copy()
    moved[1] += 0.2  # it sank while its drives were off
    for _ in range(3):
        bench.now += 10 * MS
        status = bench.controller.tick(bench.now, Measured(moved, bench.now))
        np.testing.assert_allclose(status.command, before, atol=1e-9)
    bench.controller.reset_estop()
    np.testing.assert_allclose(bench.tick().command, moved, atol=1e-9)


def test_a_stop_request_is_no_reset(bench, estop):
    stopped(bench, estop)
    status = bench.submit(Chunk.stop(9, PROFILE.joint_names))
    assert (status.state, status.reason, status.generation) == (ControlState.ESTOPPED, WHY, 9)
