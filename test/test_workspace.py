"""Workspace boxes for links of a robot whose joints are commanded: no command leads out of them."""

import dataclasses

import numpy as np
import pytest
from controller_bench import HOME, PROFILE, STEP, Bench, move

pytest.importorskip("mujoco")

from wallwm_model.errors import ConfigError  # noqa: E402
from wallwm_model.forward_kinematics import MujocoKinematics  # noqa: E402
from wallwm_ros.core.chunk import Chunk  # noqa: E402
from wallwm_ros.core.control_state import ControlState  # noqa: E402
from wallwm_ros.core.robot import WorkspaceBox  # noqa: E402
from wallwm_ros.core.workspace import Workspace  # noqa: E402

LINKS = ("left_gripper", "right_gripper")
FK = MujocoKinematics()


def place(link, posture):
    return FK.pose(link, dict(zip(PROFILE.joint_names, posture.tolist(), strict=True)))[:3, 3]


def boxed(margin=0.1, home=HOME):
    """Boxes of `margin` [m] to all sides of where the grippers are at home."""
    boxes = []
    for link in LINKS:
        at = place(link, home)
        boxes.append(WorkspaceBox(link, tuple(at - margin), tuple(at + margin)))
    return dataclasses.replace(PROFILE, workspace=tuple(boxes))


def bench_in(profile):
    bench = Bench(profile, workspace=Workspace(profile, MujocoKinematics))
    bench.tick()
    return bench


def beyond(profile, commands):
    """Farthest that any command was outside a box [m]."""
    out = -np.inf
    for command in commands:
        for box in profile.workspace:
            at = place(box.link, command)
            out = max(out, (np.array(box.low) - at).max(), (at - np.array(box.high)).max())
    return out


def test_a_chunk_inside_the_boxes_is_carried_out():
    bench = bench_in(boxed(0.2))
    bench.submit(move(0.1))
    assert bench.tick(150).settled


def test_a_chunk_whose_rows_leave_a_box_is_refused_with_link_and_axis():
    bench = bench_in(boxed(0.05))
    status = bench.submit(move(0.5))
    assert status.state == ControlState.HOLD and status.rejected == 1
    assert "chunk 1/0 refused: row" in status.reason and "_gripper to" in status.reason
    assert "its workspace is" in status.reason


def test_rows_just_outside_are_taken_but_the_command_stops_inside():
    profile = boxed(0.05)
    bench = bench_in(profile)
    rows = move(0.5).values
    outside = [beyond(profile, [row]) for row in rows]
    last = int(np.argmax(np.array(outside) > 0.0))
    tuned = np.linspace(rows[last - 1], rows[last], 50)
    row = next(r for r in tuned if 0.003 < beyond(profile, [r]) < 0.009)
    bench.submit(Chunk(1, PROFILE.joint_names, np.concatenate([rows[:last], np.tile(row, (10, 1))]), STEP))
    status = bench.tick(200)
    assert status.state == ControlState.HOLD and not status.settled
    assert "stopped: the motion leads" in status.reason
    assert beyond(profile, bench.commands) <= 0.0
    bench.assert_inside()


@pytest.mark.parametrize("seed", range(4))
def test_no_operator_leads_a_link_out_of_its_box(seed):
    profile = boxed(0.06)
    bench, rng = bench_in(profile), np.random.default_rng(seed)
    bench.controller.takeover.engage()
    bench.tick(2)
    edges = 0
    for _ in range(12):
        target = HOME + rng.normal(scale=0.6, size=len(HOME))
        for k in range(30):
            if k % 3 == 0:
                bench.controller.takeover.hear(PROFILE.joint_names, target, bench.now)
            edges += "edge of the workspace" in bench.tick().reason
    assert edges and beyond(profile, bench.commands) <= 0.0
    assert np.abs(np.diff(np.array(bench.commands), axis=0)).max() > 0.001  # it did move
    bench.assert_inside()


def test_a_link_that_is_outside_may_come_back_but_not_go_further():
    way = 0.4 * np.tile([0, 1, 0, 0, 0, 0, 0], 2)
    profile = boxed(0.05, HOME + way)
    assert beyond(profile, [HOME]) > 0.02
    bench = bench_in(profile)
    shares = np.linspace(0.05, 1, 20)[:, None]
    assert bench.submit(Chunk(1, PROFILE.joint_names, HOME - shares * way, STEP)).rejected == 1
    status = bench.submit(Chunk(2, PROFILE.joint_names, HOME + shares * way, STEP))
    status = bench.tick(200)
    assert status.settled, status.reason
    assert np.all(np.diff([beyond(profile, [c]) for c in bench.commands[::10]]) <= 1e-6)


def test_a_link_that_the_robot_lacks_is_named():
    profile = dataclasses.replace(PROFILE, workspace=(WorkspaceBox("left_hand", (0, 0, 0), (1, 1, 1)),))
    with pytest.raises(ConfigError, match="left_hand"):
        Workspace(profile, MujocoKinematics)


def test_unsound_chunks_are_left_to_those_who_name_them():
    bench = bench_in(boxed(0.05))
    assert "nan" in bench.submit(move(np.nan)).reason
    assert "missing" in bench.submit(dataclasses.replace(move(), joints=("a",) * 14)).reason
