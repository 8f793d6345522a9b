"""Scenes that a policy finds hard: drawn from a seed, and undone by the next reset."""

from __future__ import annotations

import numpy as np
import pytest

from wallwm_model.captions import UNSEEN_PAIRS
from wallwm_model.errors import SimulationError
from wallwm_model.sim.scene import Scene, sample_scene
from wallwm_model.sim.simulation import Simulation
from wallwm_model.sim.variations import VARIATIONS, vary


@pytest.fixture(scope="module")
def sim():
    return Simulation(renderer="rays")


@pytest.mark.parametrize("task", ["pick_place", "handover"])
@pytest.mark.parametrize("variation", VARIATIONS)
def test_the_same_seed_gives_the_same_scene_and_json_keeps_it(variation, task):
    scene = vary(variation, task, 1003)
    assert scene == vary(variation, task, 1003) != vary(variation, task, 1004)
    assert Scene.from_json(scene.to_json()) == scene
    assert (scene.task, scene.seed) == (task, 1003)


def test_a_crowded_scene_has_five_cubes_two_alike_and_not_the_one_asked_for():
    for seed in range(1000, 1010):
        scene = vary("crowded", "pick_place", seed)
        colour, twin = scene.twin
        assert len(scene.cubes) == 4 and colour in scene.cubes and colour != scene.cube
        spots = np.array([(c.x, c.y) for c in (*scene.cubes.values(), twin)])
        apart = np.linalg.norm(spots[:, None] - spots[None], axis=-1)
        assert apart[np.triu_indices(5, 1)].min() >= 0.075


def test_unseen_pairs_are_those_that_training_leaves_out():
    for seed in range(1000, 1010):
        scene = vary("unseen_pair", "handover", seed)
        assert (scene.cube, scene.pad) in UNSEEN_PAIRS


def test_the_twin_is_one_more_cube_in_the_picture(sim):
    scene = vary("crowded", "pick_place", 1003)
    sim.reset(scene)
    with_twin = sim.render_camera("head_cam")
    place = sim.data.body("cube_twin").xpos
    np.testing.assert_allclose(place[:2], (scene.twin[1].x, scene.twin[1].y), atol=5e-3)
    material = sim.model.geom_matid[sim.model.geom("cube_twin").id]
    assert sim.model.material(material).name == scene.twin[0]
    sim.reset(sample_scene("pick_place", 1003))
    assert (with_twin != sim.render_camera("head_cam")).any()
    assert sim.data.body("cube_twin").xpos[2] < -1


@pytest.mark.parametrize("variation", ["moved_camera", "new_light"])
def test_appearance_changes_the_picture_and_the_next_reset_undoes_it(variation, sim):
    plain = sample_scene("pick_place", 1005)
    sim.reset(plain)
    before = sim.render_camera("head_cam")
    sim.reset(vary(variation, "pick_place", 1005))
    assert (sim.render_camera("head_cam") != before).mean() > 0.05
    sim.reset(plain)
    np.testing.assert_array_equal(sim.render_camera("head_cam"), before)


def test_an_unknown_variation_is_refused():
    with pytest.raises(SimulationError, match="must be one of plain, crowded"):
        vary("foggy", "pick_place", 1)
