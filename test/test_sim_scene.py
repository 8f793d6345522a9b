"""Scenes: reproducible, varied, and never impossible by construction."""

import numpy as np
import pytest

from wallwm_model.captions import CUBE_COLOURS, EVENTS, PAD_COLOURS, caption, tokenise, vocabulary
from wallwm_model.errors import CaptionError, SimulationError
from wallwm_model.sim import scene as scenes
from wallwm_model.sim.grammar import Event, parse
from wallwm_model.sim.scene import TASKS, Scene, sample_scene

SEEDS = range(60)


@pytest.mark.parametrize("task", TASKS)
def test_same_seed_same_scene(task):
    assert sample_scene(task, 5) == sample_scene(task, 5)
    assert sample_scene(task, 5) != sample_scene(task, 6)


@pytest.mark.parametrize("task", TASKS)
def test_json_round_trip(task):
    scene = sample_scene(task, 9)
    assert Scene.from_json(scene.to_json()) == scene


def test_unknown_task_is_refused_with_the_valid_ones():
    with pytest.raises(SimulationError, match="pick_place, handover"):
        sample_scene("stack", 0)


@pytest.mark.parametrize("task", TASKS)
def test_objects_are_apart_and_on_the_right_side(task):
    for seed in SEEDS:
        scene = sample_scene(task, seed)
        side = 1 if scene.arm == "left" else -1
        assert len(scene.cubes) in (2, 3) and len(scene.pads) == 2
        assert set(scene.cubes) <= set(CUBE_COLOURS) and set(scene.pads) <= set(PAD_COLOURS)
        assert side * scene.cubes[scene.cube].y >= 0
        pad_side = side if task == "pick_place" else -side
        assert pad_side * scene.pads[scene.pad][1] >= 0
        cubes = [np.array((cube.x, cube.y)) for cube in scene.cubes.values()]
        pads = [np.array(xy) for xy in scene.pads.values()]
        for i, cube in enumerate(cubes):
            assert all(np.linalg.norm(cube - other) >= scenes.GAPS[0] for other in cubes[i + 1 :])
            assert all(np.linalg.norm(cube - pad) >= scenes.GAPS[1] for pad in pads)


def test_every_arm_and_colour_occurs():
    drawn = [sample_scene("pick_place", seed) for seed in SEEDS]
    assert {scene.arm for scene in drawn} == {"left", "right"}
    assert {scene.cube for scene in drawn} == set(CUBE_COLOURS)
    assert {scene.pad for scene in drawn} == set(PAD_COLOURS)


@pytest.mark.parametrize(("task", "count"), [("pick_place", 6), ("handover", 10)])
def test_captions_are_known_words_and_parse_back(task, count):
    scene = sample_scene(task, 3)
    texts = scene.captions()
    assert len(texts) == count
    for text in texts:
        assert tokenise(text, vocabulary(), 16).any()
        assert parse(text).arm in ("left", "right")
    placing = [parse(text).arm for text in texts if text.startswith("place")]
    assert placing == [scene.arm if task == "pick_place" else scene.other]


@pytest.mark.parametrize("event", EVENTS)
def test_parse_inverts_caption(event):
    found = parse(caption(event, arm="left", cube="red", pad="white"))
    assert (found.name, found.arm, found.other) == (event, "left", "right")
    assert found.cube in ("", "red") and found.pad in ("", "white")


@pytest.mark.parametrize(
    "text",
    ["reach the red cube", "lift the pink cube with the left arm", "dance", "",
     "offer the red cube to the left arm with the left arm"],
)  # fmt: skip
def test_parse_refuses_other_sentences(text):
    with pytest.raises(CaptionError):
        parse(text)


def test_event_is_a_value():
    assert Event("retract", "left") == parse("retract the left arm")
