"""The limiter: exact on what is possible, never outside the limits on what is not."""

import numpy as np
import pytest

from wallwm_ros.core import quaternions
from wallwm_ros.core.config import load_robot
from wallwm_ros.core.limits import AxisLimits, MotionLimiter, MotionState
from wallwm_ros.core.path import Path
from wallwm_ros.core.shaper import CommandShaper

DT = 0.01
# One arm joint [rad] and one gripper [m].
LIMITS = AxisLimits(
    low=np.array([-3.1, 0.0]),
    high=np.array([3.1, 0.08]),
    velocity=np.array([3.0, 0.5]),
    acceleration=np.array([20.0, 6.0]),
    jerk=np.array([400.0, 200.0]),
)


def follow(limiter, target, ticks):
    """(ticks + 1, N) commands while following `target(seconds)`."""
    out = [limiter.state.position]
    for k in range(1, ticks + 1):
        limiter.track(MotionState(*target(k * DT)), DT)
        out.append(limiter.state.position)
    return np.array(out)


def assert_inside(positions, limits=LIMITS):
    """Finite differences of a command stay inside the limits."""
    for order, name in ((1, "velocity"), (2, "acceleration"), (3, "jerk")):
        worst = np.abs(np.diff(positions, n=order, axis=0)).max(axis=0) / DT**order
        assert np.all(worst <= getattr(limits, name) * (1 + 1e-6) + 1e-6), (name, worst)
    assert np.all(positions >= limits.low - 1e-9) and np.all(positions <= limits.high + 1e-9)


def rest(position):
    still = np.zeros(len(position))
    return lambda _: (np.array(position, dtype=float), still, still)


def minimum_jerk_path(duration, distance, steps_s=0.05):
    t = np.arange(1, round(duration / steps_s) + 1) * steps_s / duration
    rows = (10 * t**3 - 15 * t**4 + 6 * t**5)[:, None] * np.asarray(distance)
    times = np.arange(len(rows) + 1) * steps_s
    return Path(times, np.concatenate([np.zeros((1, rows.shape[1])), rows]), np.zeros(rows.shape[1]))


@pytest.mark.parametrize("duration", [0.6, 1.0, 2.0])
def test_a_possible_move_is_followed_without_lag(duration):
    path, limiter = minimum_jerk_path(duration, [0.9, 0.06]), MotionLimiter(LIMITS)
    limiter.reset(np.zeros(2))
    out = follow(limiter, path.state, round(duration / DT) + 20)
    nominal = np.array([path.state(k * DT)[0] for k in range(len(out))])
    assert np.abs(out - nominal)[:, 0].max() < 1e-4  # rad
    assert np.abs(out - nominal)[:, 1].max() < 1e-5  # m
    assert_inside(out)


def test_a_step_is_reached_without_overshoot():
    limiter = MotionLimiter(LIMITS)
    limiter.reset(np.zeros(2))
    out = follow(limiter, rest([1.0, 0.08]), 100)
    assert_inside(out)
    np.testing.assert_allclose(out[-1], [1.0, 0.08], atol=1e-9)
    assert np.all(np.diff(out, axis=0) >= -1e-9)


def test_a_target_beyond_the_limits_is_approached_up_to_them():
    limiter = MotionLimiter(LIMITS)
    limiter.reset(np.array([3.0, 0.01]))
    out = follow(limiter, rest([9.0, -5.0]), 150)
    assert_inside(out)
    np.testing.assert_allclose(out[-1], [3.1, 0.0], atol=1e-9)


@pytest.mark.parametrize("distance", [0.1, 0.2, 0.95, 1.0])
def test_limits_that_are_reached_at_the_same_moment(distance):
    limiter = MotionLimiter(LIMITS)
    limiter.reset(np.zeros(2))
    out = follow(limiter, rest([distance, 0.0]), 100)  # 0.1 rad: full acceleration for no time at all
    assert_inside(out)
    assert abs(out[-1, 0] - distance) < 1e-9


@pytest.mark.parametrize("seed", range(12))
def test_wild_targets_never_break_a_limit(seed):
    rng = np.random.default_rng(seed)
    limiter = MotionLimiter(LIMITS)
    limiter.reset(rng.uniform(LIMITS.low, LIMITS.high))
    out = [limiter.state.position]
    target = MotionState.at_rest(limiter.state.position)
    for _ in range(400):
        if rng.random() < 0.3:
            scale = 10.0 ** rng.uniform(-3, 4, 3)
            target = MotionState(*(rng.normal(0, s, 2) for s in scale))
        if rng.random() < 0.1:
            limiter.stop(DT)
        else:
            limiter.track(target, DT)
        out.append(limiter.state.position)
    assert_inside(np.array(out))


@pytest.mark.parametrize("seed", range(4))
def test_it_can_always_stop_inside_the_limits(seed):
    rng = np.random.default_rng(seed)
    limiter = MotionLimiter(LIMITS)
    limiter.reset(np.array([2.0, 0.04]))
    out = follow(
        limiter, lambda _: (rng.normal(0, 10, 2), rng.normal(0, 10, 2), np.zeros(2)), rng.integers(20, 60)
    )
    stop = [*out]
    for _ in range(100):
        limiter.stop(DT)
        stop.append(limiter.state.position)
    assert_inside(np.array(stop))
    assert limiter.standing(1e-6)


def test_a_start_outside_the_limits_is_let_back_in():
    limiter = MotionLimiter(LIMITS)
    limiter.reset(np.array([3.3, -0.01]))
    held = follow(limiter, rest([3.3, -0.01]), 20)
    np.testing.assert_allclose(held[-1], held[0], atol=1e-12)
    out = follow(limiter, rest([0.0, 0.04]), 150)
    np.testing.assert_allclose(out[-1], [0.0, 0.04], atol=1e-9)
    assert np.all(np.diff(out[:, 0]) <= 1e-9)


def test_trembling_targets_move_the_command_no_more_than_they_tremble():
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.002, (100, 2)) * [1, 0.1]
    limiter = MotionLimiter(LIMITS)
    limiter.reset(np.array([0.5, 0.04]))
    out = [limiter.state.position]
    for row in noise:
        limiter.track(MotionState.at_rest(np.array([0.5, 0.04]) + row), DT)
        out.append(limiter.state.position)
    assert np.abs(np.array(out) - [0.5, 0.04]).max(axis=0)[0] < 0.01
    assert_inside(np.array(out))


def test_a_longer_tick_moves_further_at_the_same_speed():
    path = minimum_jerk_path(1.0, [0.9, 0.06])
    limiter = MotionLimiter(LIMITS)
    limiter.reset(np.zeros(2))
    at = 0.0
    for k in range(80):
        period = DT if k % 3 else 2 * DT
        at += period
        limiter.track(MotionState(*path.state(at)), period)
        np.testing.assert_allclose(limiter.state.position, path.state(at)[0], atol=5e-4)


def test_an_orientation_turns_inside_its_limits():
    profile = load_robot("quanta_x1")
    shaper = CommandShaper(profile)
    start = np.tile([0.4, 0.0, 0.5, 0.0, 0.0, 0.0, 1.0, 1.0], 2)
    start[9] = -0.1
    goal = start.copy()
    goal[3:7] = quaternions.exp(np.array([0.5, -1.0, 2.0]))
    goal[11:15] = -quaternions.exp(np.array([0.0, 0.3, 0.0]))  # the other sign of a small turn
    shaper.reset(start)
    still, out = np.zeros(16), [shaper.position]
    for _ in range(600):
        shaper.track(lambda _: (goal, still, still), DT)
        out.append(shaper.position)
    out = np.array(out)
    for column, most in ((3, 2.5), (11, 0.31)):
        turned = quaternions.between(out[:-1, column : column + 4], out[1:, column : column + 4])
        limit = profile.joints[column]
        assert np.abs(turned).max() / DT <= limit.velocity * (1 + 1e-6)
        assert np.abs(np.diff(turned, axis=0)).max() / DT**2 <= limit.acceleration * 1.01
        assert np.abs(turned).sum(axis=0).max() < most * 1.2
        np.testing.assert_allclose(np.linalg.norm(out[:, column : column + 4], axis=1), 1.0, atol=1e-12)
    assert shaper.distance(goal) < 1e-6 and shaper.standing(1e-6)
