"""The scripted expert: it does its events, physically, within the horizon, to well-defined ends."""

import numpy as np
import pytest

from wallwm_model.data.episode import HORIZON, run_episode
from wallwm_model.sim import paths
from wallwm_model.sim.expert import Expert, face_yaw
from wallwm_model.sim.robot import HOME, LOWER, UPPER, arm_slice
from wallwm_model.sim.scene import sample_scene
from wallwm_model.sim.simulation import Simulation


@pytest.fixture(scope="module")
def sim():
    return Simulation(image_size=64, renderer="rays")


@pytest.mark.parametrize("task", ["pick_place", "handover"])
def test_every_event_is_done(sim, task):
    for seed in range(20, 26):
        scene = sample_scene(task, seed)
        sim.reset(scene)
        for text in scene.captions():
            actions = Expert(sim).plan(text)
            assert 8 <= len(actions) <= HORIZON
            assert ((actions >= LOWER) & (actions <= UPPER)).all()
            sim.follow(actions)
            sim.advance(0.15)
            done, reason = sim.judge(text)
            assert done, (seed, text, reason)
        assert sim.judge("")[0], seed


def test_disturbed_starts_are_recovered_from(sim, monkeypatch):
    monkeypatch.setattr("wallwm_model.data.episode.look", lambda sim, size: np.zeros((3, size, size, 3), np.uint8))
    work = [(task, seed) for seed in (70, 71, 72) for task in ("pick_place", "handover")]
    assert sum(run_episode(sim, task, seed, disturbed=1.0).success for task, seed in work) >= 5


def test_the_idle_arm_holds_still(sim):
    scene = sample_scene("pick_place", 12)
    sim.reset(scene)
    actions = Expert(sim).plan(scene.captions()[0])
    idle = actions[:, arm_slice(scene.other)]
    assert (idle == idle[0]).all()


def test_the_end_does_not_depend_on_the_start(sim):
    scene = sample_scene("pick_place", 13)
    reach, ends = scene.captions()[0], []
    for offset in (0.0, 0.08, -0.08):
        sim.reset(scene)
        posture = sim.targets
        posture[arm_slice(scene.arm)][:6] += offset
        sim.follow(np.linspace(sim.targets, posture, 10))
        ends.append(Expert(sim).plan(reach)[-1][arm_slice(scene.arm)])
    np.testing.assert_allclose(ends, [ends[0]] * 3, atol=2e-3)


def test_retract_ends_at_home(sim):
    scene = sample_scene("pick_place", 14)
    sim.reset(scene)
    part = arm_slice(scene.arm)
    np.testing.assert_allclose(Expert(sim).plan(f"retract the {scene.arm} arm")[-1][part], HOME[part])


def test_lengths_follow_distance_and_speed(sim):
    lengths = set()
    for seed in range(8):
        scene = sample_scene("pick_place", seed)
        sim.reset(scene)
        reach = scene.captions()[0]
        lengths.add(len(Expert(sim).plan(reach)))
        assert len(Expert(sim, speed=0.8).plan(reach)) > len(Expert(sim, speed=1.3).plan(reach))
    assert len(lengths) >= 4


def test_motions_start_and_end_gently():
    path = paths.line(np.zeros(6), np.ones(6), 30)
    speed = np.diff(np.vstack([np.zeros(6), path]), axis=0)[:, 0]
    assert path[-1] == pytest.approx(np.ones(6))
    assert speed[0] < 0.1 * speed.max() and speed[-1] < 0.1 * speed.max()
    curve = paths.bezier(np.zeros(6), np.full(6, 2.0), np.ones(6), 30)
    assert curve[-1] == pytest.approx(np.ones(6)) and curve.max() > 1.2


@pytest.mark.parametrize("quarter", range(4))
def test_a_cubes_turn_is_the_same_on_every_face(quarter):
    yaw = 0.3
    angle = yaw + quarter * np.pi / 2
    c, s = np.cos(angle), np.sin(angle)
    upright = np.array([(c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)])
    tipped = upright @ np.array([(1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)])
    assert face_yaw(upright) == pytest.approx(yaw)
    assert face_yaw(tipped) == pytest.approx(yaw)
