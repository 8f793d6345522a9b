"""The world is exactly symmetric about y = 0: pictures, physics and expert."""

import dataclasses

import numpy as np
import pytest

from wallwm_model.data.mirror import mirror_frames
from wallwm_model.preprocess import resize
from wallwm_model.sim.expert import Expert
from wallwm_model.sim.robot import CAMERAS, mirror_joints
from wallwm_model.sim.scene import Cube, Scene, sample_scene
from wallwm_model.sim.simulation import Simulation


def mirrored(scene: Scene) -> Scene:
    """The same scene seen in a mirror."""
    return dataclasses.replace(
        scene,
        arm=scene.other,
        cubes={c: Cube(v.x, -v.y, -v.yaw, v.half) for c, v in scene.cubes.items()},
        pads={c: (x, -y) for c, (x, y) in scene.pads.items()},
        start=tuple(mirror_joints(np.array(scene.start))),
    )


def pictures(sim: Simulation) -> np.ndarray:
    """(3, 64, 64, 3) as the network sees them."""
    found = sim.render()
    return np.stack([resize(found[name], 64, 64) for name in CAMERAS])


@pytest.mark.parametrize("renderer", ["rays", "auto"])
def test_a_mirrored_handover_is_the_mirror_image(renderer):
    here, there = Simulation(renderer=renderer), Simulation(renderer=renderer)
    scene = sample_scene("handover", 7)
    here.reset(scene)
    there.reset(mirrored(scene))
    for first, second in zip(scene.captions(), mirrored(scene).captions()):
        a, b = pictures(here), mirror_frames(pictures(there))
        assert np.abs(a.astype(int) - b).mean() < 0.5, first
        np.testing.assert_allclose(here.state(), mirror_joints(there.state()), atol=1e-4)
        one, two = Expert(here).plan(first), Expert(there).plan(second)
        np.testing.assert_allclose(one, mirror_joints(two), atol=1e-3)
        for sim, actions in ((here, one), (there, two)):
            sim.follow(actions)
            sim.advance(0.15)
    assert here.judge("")[0] and there.judge("")[0]
    here.close()
    there.close()
