"""The control state machine, with the clock turned by hand."""

import numpy as np
import pytest
from controller_bench import HOME, MS, PROFILE, STEP, Bench, D, move

from wallwm_ros.core.chunk import Chunk
from wallwm_ros.core.config import ControlConfig
from wallwm_ros.core.control_state import ControlState, Measured
from wallwm_ros.core.controller import Controller
from wallwm_ros.core.cycle import ControlCycle, SimulatedClock, start_in


@pytest.fixture
def bench():
    bench = Bench()
    bench.tick()
    return bench


def test_nothing_is_commanded_before_activation():
    controller = Controller(PROFILE, ControlConfig())
    controller.submit(move())
    status = controller.tick(10, Measured(HOME, 10))
    assert (status.state, status.command, status.reason) == (ControlState.INACTIVE, None, "not activated")


def test_nothing_is_commanded_before_the_first_joint_state():
    bench = Bench()
    status = bench.tick(5, measured=False)
    assert status.command is None and "no joint state" in status.reason
    bench.submit(move())
    bench.controller.submit(move())
    status = bench.tick(measured=False)
    assert status.rejected == 1 and "chunk 1/0 refused: no joint state" in status.reason


def test_the_command_starts_where_the_arm_is():
    bench = Bench()
    bench.arm = HOME + 0.123
    status = bench.tick()
    np.testing.assert_array_equal(status.command, HOME + 0.123)
    assert (status.state, status.reason, status.settled) == (ControlState.HOLD, "ready", False)
    bench.tick(50)
    np.testing.assert_allclose(bench.arm, HOME + 0.123, atol=1e-12)


def test_a_chunk_is_executed_and_then_held(bench):
    chunk = move(caption="reach the red cube with the left arm")
    status = bench.submit(chunk)
    assert status.state == ControlState.TRACKING and "1/0: reach the red cube" in status.reason
    steps = [bench.tick(5).step for _ in range(10)]
    assert steps == list(range(1, 11))
    status = bench.tick(60)
    assert (status.state, status.settled, status.step, status.steps) == (ControlState.HOLD, True, 20, 20)
    np.testing.assert_allclose(status.command, chunk.values[-1], atol=1e-6)
    held = bench.tick(100)
    np.testing.assert_allclose(held.command, chunk.values[-1], atol=1e-9)
    assert held.settled and (held.generation, held.step) == (1, 20)


def test_the_command_follows_without_lag(bench):
    chunk = move(1.0)
    bench.submit(chunk)
    start = len(bench.commands)
    bench.tick(120)
    for i, command in enumerate(bench.commands[start:], 1):
        t = min(1.0, i * 10 * MS / 1e9)
        exact = HOME + (10 * t**3 - 15 * t**4 + 6 * t**5) * (chunk.values[-1] - HOME)
        assert np.abs(command - exact).max() < 1e-3, i


def test_a_chunk_that_starts_late_loses_its_late_rows(bench):
    chunk = move(0.3)
    status = bench.submit(chunk, bench.now - 4 * STEP)
    assert status.step == 4
    status = bench.tick(80)
    assert status.step == 20
    bench.tick(40)
    np.testing.assert_allclose(bench.arm, chunk.values[-1], atol=1e-6)


def test_a_chunk_waits_for_its_start(bench):
    begin = bench.now + 300 * MS
    status = bench.submit(move(), begin)
    assert status.state == ControlState.HOLD and status.generation == 0
    while bench.now < begin - 10 * MS:
        status = bench.tick()
        np.testing.assert_allclose(status.command, HOME, atol=1e-12)
    status = bench.tick()
    assert status.state == ControlState.TRACKING and status.step == 0
    assert bench.tick(5).step == 1


def test_a_newer_chunk_replaces_one_that_waits(bench):
    bench.submit(move(0.5, generation=2), bench.now + 200 * MS)
    status = bench.submit(move(0.1, generation=1))
    assert "chunk 2/0 is newer" in status.reason
    bench.submit(move(-0.2, generation=3), bench.now + 200 * MS)
    status = bench.tick(200)
    assert status.generation == 3
    np.testing.assert_allclose(bench.arm[0], HOME[0] - 0.2, atol=1e-6)


def test_chunks_are_joined_without_a_jolt(bench):
    bench.submit(move(1.0))
    bench.tick(40)
    bench.submit(move(-0.4, generation=2, begin=bench.arm))
    bench.tick(150)
    bench.assert_inside()


def test_a_stop_request_stops_inside_the_limits_and_holds(bench):
    bench.submit(move(1.0))
    bench.tick(45)
    status = bench.submit(Chunk.stop(2, PROFILE.joint_names))
    assert status.state == ControlState.STOPPING and "request of plan 2" in status.reason
    status = bench.tick(60)
    assert (status.state, status.generation, status.settled) == (ControlState.HOLD, 2, False)
    stopped = bench.arm
    bench.tick(100)
    np.testing.assert_allclose(bench.arm, stopped, atol=1e-9)
    assert 0.05 < stopped[0] - HOME[0] < 0.95
    late = bench.submit(move(generation=1, sequence=9))
    assert late.rejected == 1 and "older than plan 2" in late.reason


def test_a_stop_request_at_rest_changes_nothing(bench):
    bench.submit(move(0.2))
    bench.tick(150)
    before = bench.arm
    bench.submit(Chunk.stop(2, PROFILE.joint_names))
    status = bench.tick(50)
    assert status.state == ControlState.HOLD
    np.testing.assert_allclose(bench.arm, before, atol=1e-9)


def test_old_joint_states_stop_the_arm(bench):
    bench.submit(move(1.0))
    bench.tick(30)
    bench.measured_at = bench.now
    assert bench.tick(24).state == ControlState.TRACKING
    status = bench.tick(2)
    assert status.state == ControlState.STOPPING and "joint states are older than 250 ms" in status.reason
    status = bench.tick(60)
    assert status.state == ControlState.HOLD and "older than 250 ms" in status.reason
    status = bench.submit(move(generation=2))
    assert status.rejected == 1 and status.state == ControlState.HOLD
    bench.measured_at = None
    assert bench.tick().reason.startswith("ready again; stopped: joint states are older")
    status = bench.submit(move(generation=1, sequence=5))
    assert "was stopped" in status.reason
    status = bench.submit(move(0.2, generation=3, begin=bench.arm))
    assert status.state == ControlState.TRACKING and "refused" not in status.reason


def test_joint_states_that_are_not_finite_stop_the_arm(bench):
    bench.submit(move(1.0))
    bench.tick(30)
    bench.now += 10 * MS
    status = bench.controller.tick(bench.now, Measured(np.full(D, np.nan), bench.now))
    assert status.state == ControlState.STOPPING and "not finite" in status.reason


def test_a_chunk_that_runs_out_is_held(bench):
    chunk = move(0.3, final=False)
    bench.submit(chunk)
    status = bench.tick(200)
    assert status.state == ControlState.HOLD and status.settled and "ran out" in status.reason
    np.testing.assert_allclose(bench.arm, chunk.values[-1], atol=1e-6)


def test_a_target_beyond_the_limits_ends_at_the_limits(bench):
    bench.submit(move(5.0))
    status = bench.tick(300)
    assert status.settled
    np.testing.assert_allclose(status.command[0], PROFILE.joints[0].high, atol=1e-6)


def test_refusals_are_counted_and_told_until_the_next_chunk(bench):
    bench.controller.reject("chunk 9/9 refused: not readable")
    status = bench.submit(move(np.nan))
    assert status.rejected == 2 and "nan" in status.reason and status.state == ControlState.HOLD
    status = bench.submit(move(generation=2))
    assert status.rejected == 2 and "refused" not in status.reason


def test_missed_ticks_do_not_make_the_command_leap(bench):
    bench.submit(move(1.0))
    bench.tick(40)
    before = bench.arm
    bench.tick(period=300 * MS)
    assert np.abs(bench.arm - before).max() <= 3.4 * 0.02 + 1e-9
    status = bench.tick(150)
    assert status.settled


def test_time_that_goes_back_is_a_new_beginning(bench):
    bench.submit(move(1.0))
    bench.tick(30)
    bench.now -= 20_000 * MS
    bench.arm = HOME + 0.3
    status = bench.tick()
    assert status.state == ControlState.HOLD
    np.testing.assert_array_equal(status.command, HOME + 0.3)


def test_activation_starts_again_from_the_measured_arm(bench):
    bench.submit(move(0.5))
    bench.tick(30)
    bench.controller.deactivate()
    assert bench.tick().command is None
    bench.controller.activate()
    bench.arm = HOME - 0.2
    status = bench.tick()
    np.testing.assert_array_equal(status.command, HOME - 0.2)
    assert not status.settled


def test_a_halt_ends_the_plan(bench):
    bench.submit(move(1.0))
    bench.tick(40)
    bench.controller.halt("being switched off")
    assert bench.tick().state == ControlState.STOPPING
    assert bench.tick(50).reason == "being switched off"


def test_the_same_tick_again_repeats_the_command(bench):
    bench.submit(move(1.0))
    bench.tick(20)
    before = bench.arm
    np.testing.assert_array_equal(bench.tick(period=0).command, before)


def test_the_cycle_reports_at_its_own_rate_and_every_change():
    clock, sent, reports = SimulatedClock(), [], []
    measured = Measured(HOME, 0)
    cycle = ControlCycle(
        Controller(PROFILE, ControlConfig()),
        clock,
        lambda: measured,
        sent.append,
        lambda status, period_ns: reports.append((status, period_ns)),
        report_ns=50 * MS,
    )

    def run(count):
        nonlocal measured
        for _ in range(count):
            clock.set(clock.now_ns() + 10 * MS)
            measured = Measured(HOME, clock.now_ns())
            cycle.tick(clock.now_ns())

    run(20)
    assert not sent and len(reports) == 4 and cycle.standing()
    cycle.activate()
    run(20)
    assert len(sent) == 20 and 4 <= len(reports) - 4 <= 6
    cycle.submit(move(), 0)
    run(1)
    assert (
        reports[-1][0].state == ControlState.TRACKING and reports[-1][1] == 10 * MS and not cycle.standing()
    )
    cycle.deactivate()
    run(10)
    assert len(sent) == 21


def test_a_start_is_carried_into_the_control_clock():
    clock = SimulatedClock()
    clock.set(500)
    assert start_in(clock, 1_000_100, 1_000_000) == 600
    assert start_in(clock, 0, 1_000_000) == 0
