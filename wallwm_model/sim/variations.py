"""Scenes that a policy finds hard: more cubes, two alike, a moved camera, other light, pairs never seen together."""

from __future__ import annotations

import dataclasses

import numpy as np

from wallwm_model.captions import CUBE_COLOURS, UNSEEN_PAIRS
from wallwm_model.errors import SimulationError
from wallwm_model.sim.scene import CUBE_HALF, MAX_YAW, Appearance, Cube, Scene, place, sample_scene

VARIATIONS = ("plain", "crowded", "moved_camera", "new_light", "unseen_pair")
CROWDED_GAPS = 0.075, 0.088, 0.112  # distractors may stand nearer to each other than in training [m]
CAMERA_SHIFT, CAMERA_TURN = 0.02, 0.03  # largest, per axis [m], [rad]
LIGHT = (0.6, 1.35)


def vary(variation: str, task: str, seed: int) -> Scene:
    """Draw a scene; the same arguments always give the same one.

    Raises:
        SimulationError: unknown variation or task.
    """
    if variation not in VARIATIONS:
        raise SimulationError(f"variation must be one of {', '.join(VARIATIONS)}; found {variation!r}")
    scene, rng = sample_scene(task, seed), np.random.default_rng([seed, 2])
    if variation == "crowded":
        return _crowd(scene, rng)
    if variation == "moved_camera":
        shift, turn = rng.uniform(-CAMERA_SHIFT, CAMERA_SHIFT, 3), rng.uniform(-CAMERA_TURN, CAMERA_TURN, 3)
        return dataclasses.replace(scene, appearance=Appearance(tuple(shift.tolist()), tuple(turn.tolist())))
    if variation == "new_light":
        sun = (*rng.uniform(-0.8, 0.8, 2).tolist(), 0.0)
        return dataclasses.replace(scene, appearance=Appearance(light=float(rng.uniform(*LIGHT)), sun=sun))
    while variation == "unseen_pair" and (scene.cube, scene.pad) not in UNSEEN_PAIRS:
        seed += 1_000  # stays below the training seeds: one scene in six has such a pair
        scene = dataclasses.replace(sample_scene(task, seed % 100_000), seed=scene.seed)
    return scene


def _crowd(scene: Scene, rng: np.random.Generator) -> Scene:
    """Five cubes: all four colours, and a twin of one that is not asked for."""
    layout = None
    while layout is None:
        layout = place(rng, scene.task, 1.0 if scene.arm == "left" else -1.0, 5, CROWDED_GAPS)
    pads, spots = layout
    others = [str(c) for c in rng.permutation([c for c in CUBE_COLOURS if c != scene.cube])]
    cubes = [
        Cube(float(x), float(y), float(rng.uniform(-MAX_YAW, MAX_YAW)), float(rng.uniform(*CUBE_HALF)))
        for x, y in spots
    ]
    return dataclasses.replace(
        scene,
        cubes=dict(zip([scene.cube, *others], cubes)),
        pads={name: (float(x), float(y)) for name, (x, y) in zip(scene.pads, pads)},
        twin=(others[0], cubes[4]),
    )
