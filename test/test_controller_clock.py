"""The control clock jumps while the arm moves: the clock is turned by hand."""

import numpy as np
import pytest
from controller_bench import HOME, MS, Bench, move

from wallwm_ros.core.control_state import ControlState
from wallwm_ros.core.estop import Estop

SECOND = 1000 * MS
AHEAD = "/clock jumped forward by 10.0 s"  # as the guard of the clock tells it
JUMPS = {-10: "stopped: time went back by 9990 ms", 10: f"stopped: {AHEAD}"}
FAST = {"steps": 12}  # of `move(1.0)`: 3.1 rad/s at the peak, of 3.4 that are allowed
PEAK = 30  # ticks into it


@pytest.fixture
def bench():
    bench = Bench()
    bench.tick()
    return bench


def jump(bench, by_s, *, heard_before=False):
    """One tick, across the jump; `heard_before`: the joint states of that tick came before its time did."""
    before = bench.now
    bench.now += by_s * SECOND
    bench.measured_at = before if heard_before else None
    status = bench.tick(jump=AHEAD if by_s > 0 else "")
    bench.measured_at = None
    return status


@pytest.mark.parametrize("heard_before", [True, False])
@pytest.mark.parametrize("ticks", [10, PEAK, 45])
@pytest.mark.parametrize("by_s", JUMPS)
def test_a_jump_amid_a_motion_is_a_shaped_stop_with_the_reason(bench, by_s, ticks, heard_before):
    bench.submit(move(1.0, **FAST))
    bench.tick(ticks)
    status = jump(bench, by_s, heard_before=heard_before)
    assert status.state == ControlState.STOPPING and status.reason.startswith(JUMPS[by_s])
    assert status.step == (ticks + 1) // 5, "only what was really executed"
    status = bench.tick(60)
    assert (status.state, status.settled) == (ControlState.HOLD, False)
    assert status.reason == f"ready again; {JUMPS[by_s]}"
    bench.assert_inside()
    stopped = bench.arm
    assert 0.005 < stopped[0] - HOME[0] < 0.99
    bench.tick(100)
    np.testing.assert_allclose(bench.arm, stopped, atol=1e-9)


@pytest.mark.parametrize("by_s", JUMPS)
def test_after_a_jump_only_a_new_plan_moves_the_arm(bench, by_s):
    bench.submit(move(1.0, **FAST))
    bench.tick(PEAK)
    jump(bench, by_s)
    bench.tick(60)
    status = bench.submit(move(1.0, generation=1, sequence=1))
    assert "was stopped" in status.reason and status.state == ControlState.HOLD
    chunk = move(-0.3, generation=2, begin=bench.arm)
    status = bench.submit(chunk, bench.now)
    assert status.state == ControlState.TRACKING and status.reason == "executing chunk 2/0"
    status = bench.tick(150)
    assert status.settled
    np.testing.assert_allclose(bench.arm, chunk.values[-1], atol=1e-6)
    bench.assert_inside()


@pytest.mark.parametrize("by_s", JUMPS)
@pytest.mark.parametrize("old_start_s", [-0.1, 0.1])
def test_a_chunk_that_was_planned_for_the_time_before_is_refused(bench, by_s, old_start_s):
    bench.submit(move(1.0, **FAST))
    bench.tick(PEAK)
    start_ns = bench.now + round(old_start_s * SECOND)
    jump(bench, by_s)
    bench.tick(60)
    status = bench.submit(move(0.5, generation=2, begin=bench.arm), start_ns)
    assert status.state == ControlState.HOLD and "chunk 2/0 refused: it" in status.reason
    bench.assert_inside()


@pytest.mark.parametrize("by_s", JUMPS)
def test_a_chunk_that_waits_for_its_start_does_not_outlast_a_jump(bench, by_s):
    bench.submit(move(0.5), bench.now + 300 * MS)
    jump(bench, by_s)
    bench.tick(200)
    np.testing.assert_allclose(bench.arm, HOME, atol=1e-9)


@pytest.mark.parametrize("by_s", JUMPS)
def test_a_motion_that_is_over_is_not_repeated(bench, by_s):
    chunk = move(0.5)
    bench.submit(chunk)
    bench.tick(150)
    jump(bench, by_s)
    assert bench.tick(100).state == ControlState.HOLD
    np.testing.assert_allclose(bench.arm, chunk.values[-1], atol=1e-6)
    bench.assert_inside()


def test_an_arm_that_was_put_elsewhere_meanwhile_is_held_there(bench):
    """A simulation that begins anew."""
    bench.submit(move(1.0, **FAST))
    bench.tick(PEAK)
    bench.arm = HOME.copy()
    bench.commands.clear()
    status = jump(bench, -10, heard_before=True)
    assert status.state == ControlState.HOLD and JUMPS[-10] in status.reason
    status = bench.tick(20)
    assert status.reason == f"ready again; {JUMPS[-10]}"
    np.testing.assert_allclose(bench.commands, np.tile(HOME, (20, 1)), atol=1e-12)
    status = bench.submit(move(0.2, generation=2))
    assert status.state == ControlState.TRACKING
    bench.tick(150)
    bench.assert_inside()


@pytest.mark.parametrize("by_s", JUMPS)
def test_what_is_switched_off_stays_off(bench, by_s):
    bench.controller.deactivate()
    bench.tick()
    status = jump(bench, by_s)
    assert (status.state, status.command, status.reason) == (ControlState.INACTIVE, None, "not activated")
    assert bench.tick(5).state == ControlState.INACTIVE


@pytest.mark.parametrize("by_s", JUMPS)
def test_a_stop_that_was_imposed_lasts(by_s):
    estop = Estop()
    bench = Bench(estop=estop)
    bench.tick()
    bench.submit(move(1.0, **FAST))
    bench.tick(PEAK)
    estop.latch("emergency stop: test")
    bench.tick(3)
    assert jump(bench, by_s).state == ControlState.STOPPING
    assert bench.tick(60).state == ControlState.ESTOPPED
    assert jump(bench, by_s).state == ControlState.ESTOPPED
    bench.assert_inside()


@pytest.mark.parametrize("by_s", JUMPS)
def test_an_operators_commands_from_before_do_not_count(bench, by_s):
    takeover = bench.controller.takeover
    takeover.engage()
    bench.tick(2)
    for i in range(30):
        takeover.hear(["left_waist"], [HOME[0] + 0.02 * i], bench.now)
        bench.tick()
    takeover.hear(["left_waist"], [HOME[0] + 1.5], bench.now)
    jump(bench, by_s)
    status = bench.tick(100)
    assert status.state == ControlState.TAKEOVER and "no command within" in status.reason
    assert bench.arm[0] < HOME[0] + 0.8
    takeover.hear(["left_waist"], [HOME[0]], bench.now)
    bench.tick(10)
    assert bench.tick().velocity[0] < 0
    bench.assert_inside()


def test_joint_states_from_before_the_clock_went_back_do_not_count(bench):
    """They would look fresh until that time has come again."""
    heard = bench.now
    bench.tick()
    jump(bench, -10)
    bench.measured_at = heard
    bench.tick(5)
    status = bench.submit(move(0.5))
    assert status.state == ControlState.HOLD
    assert "chunk 1/0 refused: joint states are from before the control clock went back" in status.reason


def test_a_chunk_whose_rows_were_all_due_while_nobody_ticked_is_refused(bench):
    bench.submit(move(0.5), bench.now + 300 * MS)
    bench.tick()
    status = bench.tick(period=3000 * MS)
    assert (status.state, status.rejected) == (ControlState.HOLD, 1)
    assert "chunk 1/0 refused: its last row was due" in status.reason
    bench.tick(100)
    np.testing.assert_allclose(bench.arm, HOME, atol=1e-9)
