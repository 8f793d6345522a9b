"""The judge of recorded commands: the real controller passes, a command out of line does not."""

from __future__ import annotations

import numpy as np
import pytest

from wallwm_ros.cli.bench import part
from wallwm_ros.core.chunk import Chunk
from wallwm_ros.core.config import ControlConfig, load_robot
from wallwm_ros.core.controller import Controller, Measured

MOTION = part("faults_motion")
ROBOT = load_robot("sim")
HOME = np.tile([0.1, -1.1, 0.5, 0.0, 1.1, 0.0, 0.06], 2)
PERIOD = 10_000_000
SECOND = 1_000_000_000


def record(late=lambda rng: 0.1, seconds=4.0, seed=0, drift=0.0):
    """Commands of the real controller while wild chunks come, each sent `late` periods after its deadline.

    As in the real loop, a deadline that has passed by more than a period is skipped.
    """
    rng = np.random.default_rng(seed)
    controller = Controller(ROBOT, ControlConfig())
    controller.activate()
    arm, times, commands, missed, slot, free = HOME.copy(), [], [], [], 0, 0.0
    low, high = ROBOT.limit("low"), ROBOT.limit("high")
    while slot < seconds * 100:
        slot += 1
        if free - slot > 1:  # behind by whole periods
            slot += int(free - slot)
        if slot % 37 == 0:
            rows = rng.uniform(low - 0.5, high + 0.5, (8, len(low)))
            controller.submit(Chunk(slot, ROBOT.joint_names, rows, 50_000_000))
        now = SECOND + slot * PERIOD
        status = controller.tick(now, Measured(arm, now))
        arm = status.command
        sent = max(slot, free) + late(rng)
        free = sent
        times.append(round(SECOND * 10**9 + sent * PERIOD * (1 + drift)))
        commands.append(arm)
        missed.append(status.missed_periods)
    periods = 1 + np.diff([0, *missed])
    return MOTION.Track(np.array(times), np.arange(len(times)), np.array(commands), periods)


def even(times, commands):
    """Commands that come period by period."""
    return MOTION.Track(times, np.arange(len(times)), commands, np.ones(len(times), np.int64))


LATENESS = {
    "even": lambda rng: 0.05,
    "uneven": lambda rng: rng.uniform(0.02, 0.4),
    "held_up_now_and_then": lambda rng: rng.uniform(0.02, 0.2) + 1.7 * (rng.random() < 0.03),
    "held_up_for_long": lambda rng: rng.uniform(0.02, 0.2) + rng.uniform(2, 9) * (rng.random() < 0.03),
}


@pytest.mark.parametrize("name", LATENESS)
@pytest.mark.parametrize("drift", [0.0, 5e-4])
def test_the_real_controller_keeps_to_every_limit_whatever_the_timing(name, drift):
    track = record(LATENESS[name], drift=drift)
    verdict = MOTION.judge(track, ROBOT, PERIOD)
    assert verdict.violations == 0, verdict.first
    assert verdict.judged == len(track.commands) and verdict.guessed == 0
    assert verdict.shares["acceleration"] > 0.9 and verdict.shares["jerk"] > 0.9, "the motion was a mild one"


@pytest.mark.parametrize(
    ("order", "size"), [("jerk", 0.0004), ("acceleration", 0.006), ("velocity", 0.05), ("position", 9.0)]
)
def test_a_command_out_of_line_is_found_and_named(order, size):
    track = record()
    track.commands[200, 3] += size
    verdict = MOTION.judge(track, ROBOT, PERIOD)
    assert verdict.violations and verdict.shares[order] > 1 and "left_forearm_roll" in verdict.first


def test_a_motion_that_is_slightly_too_fast_is_found_with_even_and_with_uneven_timing():
    for late in (LATENESS["even"], LATENESS["uneven"]):
        track = record(late)
        steady = HOME + np.arange(len(track.commands))[:, None] * 1.01 * 0.01 * ROBOT.limit("velocity")
        steady = MOTION.Track(track.times_ns, track.numbers, steady, track.periods)
        verdict = MOTION.judge(steady, ROBOT, PERIOD)
        assert verdict.shares["velocity"] == pytest.approx(1.01, abs=1e-3)


def test_commands_that_were_not_heard_are_not_held_against_the_control_process():
    track = record()
    keep = np.r_[0:150, 160 : len(track.commands)]
    heard = MOTION.Track(track.times_ns[keep], track.numbers[keep], track.commands[keep], track.periods[keep])
    assert MOTION.judge(heard, ROBOT, PERIOD).violations == 0


def test_time_to_hold_ends_with_the_last_command_that_moved():
    times = np.arange(10) * PERIOD
    commands = np.repeat(HOME[None], 10, axis=0)
    commands[:6, 0] += np.arange(6) * 0.01
    commands[6:, 0] = commands[5, 0]
    track = even(times, commands)
    assert MOTION.hold_ms(track, 20_000_000) == pytest.approx(30.0)
    assert MOTION.hold_ms(track, 60_000_000) == 0.0
    later = track.between(60_000_000, 90_000_000)
    assert len(later.commands) == 3 and MOTION.hold_ms(later, 0) == 0.0


def test_a_record_is_read_back_without_the_row_being_written(tmp_path):
    file = tmp_path / "commands"
    file.write_bytes(MOTION.pack(5, 1, HOME) + MOTION.pack(6, 2, HOME + 1) + MOTION.pack(7, 3, HOME)[:-3])
    track = MOTION.read(file, len(HOME))
    assert track.times_ns.tolist() == [5, 6] and track.numbers.tolist() == [1, 2]
    np.testing.assert_array_equal(track.commands[1], HOME + 1)
    assert MOTION.read(file, len(HOME), skip=1).times_ns.tolist() == [6]


def test_periods_are_those_that_the_control_process_has_counted(tmp_path):
    file, moved = tmp_path / "commands", [HOME + 0.01 * k for k in range(5)]
    sent = ((10, 1), (25, 2), (30, 3), (40, 4), (50, 5))
    file.write_bytes(b"".join(MOTION.pack(at, n, c) for (at, n), c in zip(sent, moved)))
    assert MOTION.read(file, len(HOME)).periods.tolist() == [0] * 5, "without a report nothing is known"
    said = ((11, 7, 0), (26, 8, 1), (31, 8, 2), (51, 9, 4))  # the fourth command has no report
    rows = [MOTION.pack(at, missed, moved[k]) for at, missed, k in said]
    MOTION.reports(file).write_bytes(b"".join(rows))
    assert MOTION.read(file, len(HOME)).periods.tolist() == [0, 2, 1, 0, 0]
    MOTION.reports(file).write_bytes(b"".join([rows[0], MOTION.pack(26, 8, HOME), *rows[2:]]))
    assert MOTION.read(file, len(HOME)).periods.tolist() == [0] * 5, "a report of another command does not count"


def test_commands_an_unknown_number_of_periods_apart_are_judged_gently_and_counted():
    fast = HOME + np.arange(20)[:, None] * 1.5 * 0.01 * ROBOT.limit("velocity") * (np.arange(14) == 3)
    track = even(np.arange(20) * PERIOD, fast)
    assert MOTION.judge(track, ROBOT, PERIOD).violations
    unknown = MOTION.Track(track.times_ns, track.numbers, fast, np.zeros(20, np.int64))
    verdict = MOTION.judge(unknown, ROBOT, PERIOD)
    assert verdict.shares["velocity"] == pytest.approx(0.75) and verdict.guessed == 19


def test_a_link_outside_its_workspace_is_found(tmp_path):
    robot = load_robot(part("faults_processes").noisy_profile(tmp_path))
    middle = np.array([(joint.low + joint.high) / 2 for joint in robot.joints])
    commands = middle + np.linspace(0.0, 1.0, 2000)[:, None] * (np.arange(14) == 1) * 1.4
    track = even(np.arange(2000) * PERIOD, commands)
    verdict = MOTION.judge(track, robot, PERIOD)
    assert verdict.shares["workspace"] > 1.01 and "outside its workspace" in verdict.first
    assert MOTION.judge(track.between(0, 500 * PERIOD), robot, PERIOD).violations == 0
