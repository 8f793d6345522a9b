"""The simulated robot: servos, cameras, judge, and how it finds a way to draw."""

import numpy as np
import pytest

from wallwm_model.errors import SimulationError
from wallwm_model.preprocess import resize
from wallwm_model.sim import rendering
from wallwm_model.sim.robot import CAMERAS, HOME, JOINTS
from wallwm_model.sim.scene import sample_scene
from wallwm_model.sim.simulation import Simulation


@pytest.fixture(scope="module")
def sim():
    return Simulation(image_size=64, renderer="rays")


def test_before_a_reset_it_says_what_to_do(sim):
    with pytest.raises(SimulationError, match="call reset"):
        sim.judge("")


def test_reset_gives_the_scenes_posture_and_objects(sim):
    scene = sample_scene("pick_place", 2)
    sim.reset(scene)
    np.testing.assert_allclose(sim.state(), scene.start, atol=3e-3)
    assert np.abs(sim.velocity()).max() < 0.05
    assert sim.time == 0.0
    found = sim.object_positions()
    assert len(found) == len(scene.cubes) + len(scene.pads) + 2
    for colour, cube in scene.cubes.items():
        np.testing.assert_allclose(found[f"cube_{colour}"], (cube.x, cube.y, cube.half), atol=2e-3)


def test_same_scene_and_targets_same_motion(sim):
    scene, ends = sample_scene("pick_place", 4), []
    for _ in range(2):
        sim.reset(scene)
        sim.follow(np.linspace(scene.start, HOME, 10))
        ends.append(sim.state())
    np.testing.assert_array_equal(ends[0], ends[1])


def test_time_follows_physics(sim):
    sim.reset(sample_scene("pick_place", 0))
    sim.advance(0.01)
    assert sim.time == pytest.approx(0.01)
    sim.follow(np.tile(sim.targets, (3, 1)))
    assert sim.time == pytest.approx(0.16)


def test_servos_follow_a_20_hz_stream_smoothly(sim):
    sim.reset(sample_scene("pick_place", 1))
    start, sign = sim.targets, np.array((0.4, 0.3, -0.3, 0.2, 0.3, 0.4, -0.03) * 2)
    progress = np.arange(1, 25) / 24
    path = start + (progress**3 * (10 - 15 * progress + 6 * progress**2))[:, None] * sign
    lag, speeds = [], [sim.velocity()]

    def watch(done):
        lag.append(np.abs(path[done - 1] - sim.state()))
        speeds.append(sim.velocity())

    sim.follow(path, watch)
    assert np.max(lag) < 0.08
    changes = np.abs(np.diff(speeds, axis=0))[:, [i for i, n in enumerate(JOINTS) if "gripper" not in n]]
    assert changes.max() < 0.2  # rad/s per step: no jerks
    sim.advance(0.3)
    np.testing.assert_allclose(sim.state(), path[-1], atol=3e-3)


@pytest.mark.parametrize("bad", [np.zeros(13), np.full(14, np.nan), np.zeros((1, 14))])
def test_bad_targets_are_refused(sim, bad):
    with pytest.raises(SimulationError, match="14 finite"):
        sim.set_targets(bad)


def test_targets_are_cut_to_the_limits(sim):
    sim.set_targets(np.full(14, 9.0))
    assert sim.targets[0] == 1.9 and sim.targets[6] == pytest.approx(0.088)


def test_pictures_show_the_cubes(sim):
    scene = sample_scene("pick_place", 11)
    sim.reset(scene)
    pictures = sim.render()
    assert tuple(pictures) == CAMERAS
    assert all(p.shape == (64, 64, 3) and p.dtype == np.uint8 for p in pictures.values())
    head = pictures["head_cam"].reshape(-1, 3).astype(int)
    looks = {"red": (200, 25, 25), "green": (25, 150, 45), "blue": (25, 65, 210), "yellow": (230, 205, 25)}
    for colour in scene.cubes:
        assert (np.abs(head - looks[colour]).max(axis=1) < 70).sum() >= 6, colour


def test_unknown_camera_is_refused(sim):
    with pytest.raises(SimulationError, match="head_cam, wrist_cam_left"):
        sim.render_camera("tail_cam")
    with pytest.raises(SimulationError, match="head_cam"):
        sim.camera_info("overview")


@pytest.mark.parametrize(("name", "mount"), [("head_cam", "world"), ("wrist_cam_right", "right_gripper")])
def test_camera_info_projects_to_the_picture(sim, name, mount):
    info = sim.camera_info(name)
    assert (info["width"], info["height"], info["mount"]) == (64, 64, mount)
    assert info["K"][0, 0] == pytest.approx(32 / np.tan(info["fovy"] / 2))
    assert info["K"][0, 2] == info["K"][1, 2] == 31.5  # between the two middle pixels


def test_head_camera_intrinsics_find_a_cube(sim):
    scene = sample_scene("pick_place", 11)
    sim.reset(scene)
    model, k = sim.model, sim.camera_info("head_cam")["K"]
    camera = model.camera("head_cam").id
    rotation = sim.data.cam_xmat[camera].reshape(3, 3)
    point = rotation.T @ (sim.cube_pose(scene.cube)[0] - sim.data.cam_xpos[camera])
    u, v, w = k @ (point * (1, -1, -1))
    pixel = sim.render_camera("head_cam")[round(v / w), round(u / w)]
    strongest = {"red": 0, "green": 1, "blue": 2, "yellow": 0}[scene.cube]
    assert pixel[strongest] == pixel.max() > 120


def test_judge_refuses_objects_that_are_not_there(sim):
    scene = sample_scene("pick_place", 3)
    sim.reset(scene)
    missing = next(c for c in ("red", "green", "blue", "yellow") if c not in scene.cubes)
    with pytest.raises(SimulationError, match=missing):
        sim.judge(f"lift the {missing} cube with the left arm")


def test_nothing_is_done_at_the_start(sim):
    for task in ("pick_place", "handover"):
        scene = sample_scene(task, 8)
        sim.reset(scene)
        assert not sim.judge("")[0]
        for text in scene.captions():
            done, reason = sim.judge(text)
            assert isinstance(done, bool) and reason
            assert done == text.startswith("retract")


def test_without_graphics_rays_are_cast(monkeypatch):
    monkeypatch.setenv("WALLWM_RENDERER", "")
    monkeypatch.setattr(rendering, "_LIBRARIES", {"egl": ("libnone.so",), "osmesa": ("libnone.so",)})
    assert rendering.choose("auto") == "rays"
    monkeypatch.setenv("WALLWM_RENDERER", "")
    with pytest.raises(SimulationError, match="egl needs"):
        rendering.choose("egl")
    with pytest.raises(SimulationError, match="auto, egl, osmesa, rays"):
        rendering.choose("vulkan")


def test_a_driver_that_fails_is_passed_over(monkeypatch):
    monkeypatch.setenv("WALLWM_RENDERER", "")
    monkeypatch.setattr(rendering, "_works", lambda name: name == "osmesa")
    assert rendering.choose("auto") == "osmesa"


def test_graphics_and_rays_agree():
    graphics = Simulation(renderer="auto")
    if graphics.renderer == "rays":
        pytest.skip("no OpenGL on this machine")
    rays = Simulation(renderer="rays")
    scene = sample_scene("pick_place", 6)
    for one in (graphics, rays):
        one.reset(scene)
    first, second = graphics.render(), rays.render()
    graphics.close()
    for name in CAMERAS:
        a, b = (resize(p[name], 64, 64).astype(int) for p in (first, second))
        assert np.abs(a - b).mean() < 8, name
