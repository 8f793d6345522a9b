"""An operator takes the arm over, with the clock turned by hand."""

import numpy as np
import pytest
from controller_bench import HOME, MS, PROFILE, Bench, move

from wallwm_ros.core.config import ControlConfig, load_robot
from wallwm_ros.core.control_state import ControlState, Measured
from wallwm_ros.core.controller import Controller
from wallwm_ros.core.estop import Estop

NAMES = PROFILE.joint_names
ARM = np.tile([1, 1, 1, 1, 1, 1, 0], 2)


@pytest.fixture
def estop():
    return Estop()


@pytest.fixture
def bench(estop):
    bench = Bench(estop=estop)
    bench.tick()
    return bench


def taken(bench):
    """Taken over at rest."""
    bench.controller.takeover.engage()
    status = bench.tick(2)
    assert status.state == ControlState.TAKEOVER
    return bench.controller.takeover


def lead(bench, target, seconds, names=NAMES, every=3):
    """A stream of commands, one each `every` ticks, towards a target at its own pace."""
    begin = bench.arm.copy()
    count = round(seconds * 100)
    for k in range(1, count + 1):
        if k % every == 0:
            values = begin + (target - begin) * min(1.0, k / (0.8 * count))
            said = [values[NAMES.index(name)] for name in names]
            assert bench.controller.takeover.hear(names, said, bench.now) == ""
        status = bench.tick()
    return status


def test_it_ends_the_plan_without_a_jump_and_holds_until_commands_come(bench):
    bench.submit(move(1.0))
    bench.tick(45)
    bench.controller.takeover.engage()
    assert bench.tick().state == ControlState.TAKEOVER
    status = bench.tick(100)
    assert status.state == ControlState.TAKEOVER and "no command within 250 ms, holding" in status.reason
    assert 0.05 < status.command[0] - HOME[0] < 0.95
    bench.assert_inside()


def test_the_stream_is_followed_inside_the_limits(bench):
    taken(bench)
    status = lead(bench, HOME + 0.4 * ARM, 2.0)
    assert "following the commands" in status.reason
    np.testing.assert_allclose(bench.arm, HOME + 0.4 * ARM, atol=1e-3)
    bench.assert_inside()


def test_a_slow_stream_of_steps_becomes_a_steady_motion(bench):
    taken(bench)
    start = len(bench.commands)
    lead(bench, HOME + 0.8 * ARM, 2.0, every=5)
    speed = np.diff(np.array(bench.commands)[start:, 0]) / 0.01
    steady = speed[40:140]
    assert np.abs(steady - 0.5).max() < 0.05


def test_a_first_command_far_away_is_approached_inside_the_limits(bench):
    stream = taken(bench)
    far = HOME + 1.0 * ARM
    for _ in range(200):
        stream.hear(NAMES, far, bench.now)
        bench.tick()
    np.testing.assert_allclose(
        bench.arm, np.clip(far, PROFILE.limit("low"), PROFILE.limit("high")), atol=1e-3
    )
    bench.assert_inside()


def test_columns_that_are_not_named_hold(bench):
    taken(bench)
    target = HOME.copy()
    target[0] += 0.3
    lead(bench, target, 1.5, names=NAMES[:1])
    np.testing.assert_allclose(bench.arm[1:], HOME[1:], atol=1e-9)
    np.testing.assert_allclose(bench.arm[0], target[0], atol=1e-3)


@pytest.mark.parametrize(
    ("names", "values", "words"),
    [
        (("left_waist",), (np.nan,), "found left_waist = nan"),
        (("left_waist",), (np.inf,), "found left_waist = inf"),
        (("left_waist",), (1e9,), "at most 1e+06 from zero"),
        (("waist",), (0.1,), "not valid: waist"),
        (("left_waist", "left_waist"), (0.1, 0.2), "not valid: left_waist"),
        (("left_waist",), (0.1, 0.2), "found 1 names, 2 positions"),
        ((), (), "not valid: none"),
    ],
)
def test_a_command_that_is_not_sound_is_refused_and_moves_nothing(bench, names, values, words):
    refusal = taken(bench).hear(names, values, bench.now)
    assert refusal.startswith("operator's command refused: ") and words in refusal
    bench.controller.reject(refusal)
    status = bench.tick(5)
    assert status.rejected == 1 and words in status.reason
    np.testing.assert_allclose(bench.arm, HOME, atol=1e-9)


def test_a_stream_that_falls_silent_ends_in_a_shaped_stop_and_may_go_on(bench):
    stream = taken(bench)
    begin = bench.arm.copy()
    for k in range(1, 60):
        stream.hear(NAMES, begin + 0.01 * k * ARM, bench.now)
        bench.tick()
    status = bench.tick(40)
    assert status.state == ControlState.TAKEOVER and "no command within 250 ms" in status.reason
    held = bench.tick(50).command
    np.testing.assert_allclose(bench.tick(50).command, held, atol=1e-9)
    lead(bench, begin, 2.0)
    np.testing.assert_allclose(bench.arm, begin, atol=1e-3)
    bench.assert_inside()


def test_commands_count_only_after_the_takeover(bench):
    stream = bench.controller.takeover
    stream.hear(NAMES, HOME + 0.5 * ARM, bench.now)
    bench.tick(20)
    taken(bench)
    bench.tick(20)
    np.testing.assert_allclose(bench.arm, HOME, atol=1e-9)


def test_chunks_are_refused_meanwhile_and_their_plans_are_over(bench):
    taken(bench)
    status = bench.submit(move(generation=5))
    assert status.rejected == 1 and "chunk 5/0 refused: an operator has taken over" in status.reason
    bench.controller.takeover.release()
    status = bench.tick(20)
    assert status.state == ControlState.HOLD
    assert status.reason == "handed back by the operator; waiting for a new plan"
    assert "its plan was stopped" in bench.submit(move(generation=5, sequence=1)).reason
    assert bench.submit(move(generation=6)).state == ControlState.TRACKING


def test_the_plan_before_is_stale_and_the_arm_holds_where_the_operator_left_it(bench):
    bench.submit(move(0.2))
    bench.tick(20)
    bench.controller.takeover.engage()
    bench.tick(60)
    lead(bench, HOME + 0.5 * ARM, 1.5)
    bench.controller.takeover.release()
    assert bench.tick(60).state == ControlState.HOLD
    left = bench.arm
    np.testing.assert_allclose(left, HOME + 0.5 * ARM, atol=2e-3)
    assert bench.submit(move(generation=1, sequence=1)).state == ControlState.HOLD
    np.testing.assert_allclose(bench.tick(100).command, left, atol=1e-9)
    bench.assert_inside()


def test_handed_back_in_motion_it_stops_inside_the_limits(bench):
    stream = taken(bench)
    for k in range(1, 40):
        stream.hear(NAMES, HOME + 0.02 * k * ARM, bench.now)
        bench.tick()
    stream.release()
    assert bench.tick().state == ControlState.STOPPING
    assert bench.tick(60).state == ControlState.HOLD
    bench.assert_inside()


def test_an_emergency_stop_beats_the_operator_who_must_take_over_anew(bench, estop):
    stream = taken(bench)
    for k in range(1, 40):
        stream.hear(NAMES, HOME + 0.02 * k * ARM, bench.now)
        bench.tick()
    estop.latch("button")
    stream.hear(NAMES, HOME, bench.now)
    assert bench.tick().state == ControlState.STOPPING
    assert bench.tick(60).state == ControlState.ESTOPPED and not stream.engaged
    stream.engage()
    assert bench.tick(5).state == ControlState.ESTOPPED
    held = bench.arm
    bench.controller.reset_estop()
    stream.hear(NAMES, HOME, bench.now)
    assert bench.tick(20).state == ControlState.HOLD
    np.testing.assert_allclose(bench.arm, held, atol=1e-9)
    bench.assert_inside()


def test_lost_joint_states_stop_the_operator_too(bench):
    stream = taken(bench)
    for k in range(1, 80):
        if k == 30:
            bench.measured_at = bench.now
        stream.hear(NAMES, HOME + 0.01 * k * ARM, bench.now)
        status = bench.tick()
    assert status.state == ControlState.TAKEOVER and "joint states are older than 250 ms" in status.reason
    held = bench.arm
    np.testing.assert_allclose(bench.tick(30).command, held, atol=1e-9)
    bench.assert_inside()


def test_a_halt_stops_the_operator(bench):
    stream = taken(bench)
    bench.controller.halt("being switched off")
    for _ in range(30):
        stream.hear(NAMES, HOME + 0.5 * ARM, bench.now)
        status = bench.tick()
    assert (status.state, status.reason) == (ControlState.HOLD, "being switched off")
    np.testing.assert_allclose(bench.arm, HOME, atol=1e-9)


def test_it_survives_deactivation(bench):
    taken(bench)
    bench.controller.deactivate()
    assert bench.tick().state == ControlState.INACTIVE
    bench.controller.activate()
    assert bench.tick(3).state == ControlState.TAKEOVER


def test_orientations_are_led_too():
    profile = load_robot("quanta_x1")
    start = np.tile([0.4, 0.2, 0.5, 0.0, 0.0, 0.0, 1.0, 1.0], 2)
    start[9] = -0.2
    bench = Bench(profile, start)
    bench.tick()
    stream = taken(bench)
    names = profile.joint_names
    assert "must be whole" in stream.hear(names[3:5], (0.0, 1.0), bench.now)
    assert "of length 1" in stream.hear(names[3:7], (0.0, 0.0, 0.0, 2.0), bench.now)
    turn = (0.0, 0.0, np.sin(0.2), np.cos(0.2))
    for k in range(300):
        sign = (-1) ** k
        assert stream.hear(names[3:7], [sign * part for part in turn], bench.now) == ""
        bench.tick()
    assert abs(bench.arm[3:7] @ turn) > 1 - 1e-6
    np.testing.assert_allclose(np.linalg.norm(np.array(bench.commands)[:, 3:7], axis=1), 1.0, atol=1e-9)


def test_the_patience_with_the_stream_is_a_parameter():
    controller = Controller(PROFILE, ControlConfig(takeover_timeout_s=1.0))
    controller.activate()
    controller.takeover.engage()
    status = controller.tick(10, Measured(HOME, 10))
    status = controller.tick(10 * MS, Measured(HOME, 10 * MS))
    assert "within 1000 ms" in status.reason
