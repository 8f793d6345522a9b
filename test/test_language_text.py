"""Words of the language side: reasoning texts of simulated moments, word ids and back, latents to text."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from wallwm_model import captions
from wallwm_model.data.reasoning import Story, reason, region
from wallwm_model.engines.explain import explain, next_caption
from wallwm_model.errors import CaptionError, EngineError
from wallwm_model.lexicon import WordList
from wallwm_model.sim.robot import HOME
from wallwm_model.sim.scene import TASKS, sample_scene
from wallwm_model.wording import END, decode, encode, readable, vocabulary

WORDS = vocabulary()
LENGTH = 44


def lying(scene):
    """True positions (9, 3) with everything on the table and the hands far above."""
    xyz = np.zeros((9, 3))
    for slot, colour in enumerate(captions.CUBE_COLOURS):
        if cube := scene.cubes.get(colour):
            xyz[slot] = cube.x, cube.y, cube.half
    for slot, colour in enumerate(captions.PAD_COLOURS):
        xyz[4 + slot, :2] = scene.pads.get(colour, (0.0, 0.0))
    xyz[7], xyz[8] = (0.2, 0.3, 0.4), (0.2, -0.3, 0.4)
    return xyz


def held(scene, xyz, *arms):
    """The task's cube in the grippers of `arms`: positions and state."""
    xyz, state = xyz.copy(), HOME.copy()
    cube = captions.CUBE_COLOURS.index(scene.cube)
    xyz[cube] = 0.3, 0.02, 0.2
    for arm in arms:
        xyz[7 + captions.ARMS.index(arm)] = xyz[cube] + 0.01
        state[6 if arm == "left" else 13] = 0.044
    return xyz, state


@pytest.mark.parametrize("task", TASKS)
def test_every_reasoning_text_of_a_task_has_known_words_and_fits(task):
    for seed in range(40):
        scene = sample_scene(task, seed)
        story = Story(scene)
        for caption in scene.captions():
            text = reason(story.at(caption, lying(scene), HOME))
            assert decode(encode(text, WORDS, LENGTH), WORDS) == text
            assert f"next {caption} ." in text and text.startswith(f"the {scene.cube} cube is on the table")
        captions.tokenise(story.instruction(), WORDS, 16)


def test_the_text_says_where_the_cube_is():
    scene = sample_scene("handover", 3)
    story, xyz = Story(scene), lying(scene)
    take = scene.captions()[5]
    cube, pad = captions.CUBE_COLOURS.index(scene.cube), 4 + captions.PAD_COLOURS.index(scene.pad)
    assert f"cube is on the table {region(xyz[cube])} ," in reason(story.at(take, xyz, HOME))
    assert "cube is in the left gripper ," in reason(story.at(take, *held(scene, xyz, "left")))
    assert "cube is in both grippers ," in reason(story.at(take, *held(scene, xyz, "left", "right")))
    xyz[cube, :2] = xyz[pad, :2] + 0.02
    assert f"cube is on the {scene.pad} pad ," in reason(story.at(take, xyz, HOME))


def test_the_text_says_what_was_done_and_what_remains():
    scene = sample_scene("pick_place", 5)
    story, xyz = Story(scene), lying(scene)
    texts = [reason(story.at(caption, xyz, HOME)) for caption in scene.captions()]
    assert [t.split(" . ")[1] for t in texts] == [
        f"{name} is done" for name in ("nothing", "reach", "grasp", "lift", "move", "place")
    ]
    assert texts[0].endswith("6 events , about 6 seconds remain .")
    assert texts[-1].endswith("1 event , about 1 second remain .")


@pytest.mark.parametrize("task", TASKS)
def test_a_mirrored_text_reads_like_one_of_the_mirrored_scene(task):
    scene = sample_scene(task, 11)
    xyz, flipped = lying(scene), lying(scene) * (1, -1, 1)
    flipped[[7, 8]] = flipped[[8, 7]]
    other = dataclasses.replace(scene, arm=scene.other)
    for caption in scene.captions():
        wanted = reason(Story(other).at(captions.mirror(caption), flipped, HOME))
        assert captions.mirror(reason(Story(scene).at(caption, xyz, HOME))) == wanted


def test_the_word_list_starts_with_the_captions_own():
    known = captions.vocabulary()
    assert WORDS[: len(known)] == known and len(set(WORDS)) == len(WORDS)


@pytest.mark.parametrize(
    ("text", "message"), [("the pink cube", "unknown word 'pink'"), ("the " * 50, "found 50 words")]
)
def test_a_text_that_cannot_be_written_is_refused(text, message):
    with pytest.raises(CaptionError, match=message):
        encode(text, WORDS, LENGTH)


def speaking(ids):
    """An explain graph that says `ids`, whatever the latents."""

    def graph(inputs):
        logits = np.zeros((1, inputs["tokens"].shape[1], len(WORDS)), np.float32)
        logits[0, np.arange(len(ids)), ids] = 5.0
        return {"logits": logits}

    return graph


def test_marks_stand_close_to_their_words_for_people():
    assert readable("the red cube is near left , grasp is done . next lift .") == (
        "the red cube is near left, grasp is done. next lift."
    )


def test_explain_reads_words_up_to_the_end():
    ids = encode("the red cube is on the table", WORDS, LENGTH)
    assert (
        explain(speaking(ids), np.zeros((4, 16), np.float32), WordList(WORDS), LENGTH) == "the red cube is on the table"
    )
    assert END in WORDS


def test_explain_refuses_what_it_cannot_read():
    with pytest.raises(EngineError, match=r"must be \(K, W\) float32; found \(4,\)"):
        explain(speaking([1]), np.zeros(4, np.float32), WordList(WORDS), LENGTH)
    with pytest.raises(EngineError, match="finite logits"):
        explain(
            lambda _: {"logits": np.full((1, LENGTH, len(WORDS)), np.nan)},
            np.zeros((4, 16), np.float32),
            WordList(WORDS),
            LENGTH,
        )


def test_next_caption_is_the_likeliest_words():
    ids = encode("retract the left arm", WORDS, 6)
    logits = np.full((6, len(WORDS)), -9.0, np.float32)
    logits[np.arange(6), ids] = 9.0
    text, sure = next_caption(logits, WordList(WORDS))
    assert text == "retract the left arm" and 0.99 < sure <= 1.0
    with pytest.raises(EngineError, match="next-event logits must be finite"):
        next_caption(logits[:, :3], WordList(WORDS))
