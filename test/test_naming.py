"""Which things words name, and that the video tower finds them by the words alone."""

from __future__ import annotations

import numpy as np
import pytest

from wallwm_model.captions import ARMS, CUBE_COLOURS, INSTRUCTIONS, PAD_COLOURS, TEMPLATES, caption, instruction, mirror
from wallwm_model.data.naming import THINGS, named_things

NONE = len(THINGS)


def slots(*names: str) -> list[int]:
    return [THINGS.index(name) if name else NONE for name in names]


@pytest.mark.parametrize("event", TEMPLATES)
def test_a_caption_names_its_cube_its_pad_and_the_arm_that_acts(event):
    template = TEMPLATES[event]
    cube, pad = ("blue" if "{cube}" in template else ""), ("purple" if "{pad}" in template else "")
    for arm in ARMS:
        text = caption(event, arm=arm, cube="blue", pad="purple")
        assert named_things(text).tolist() == slots(cube, pad, arm), text


@pytest.mark.parametrize("task", INSTRUCTIONS)
def test_an_instruction_names_its_cube_and_its_pad(task):
    for cube in CUBE_COLOURS:
        for pad in PAD_COLOURS:
            found = named_things(instruction(task, arm="left", cube=cube, pad=pad))
            assert found[:2].tolist() == slots(cube, pad)


def test_mirrored_words_name_the_other_arm_and_the_same_things():
    text = caption("place", arm="right", cube="red", pad="white")
    assert named_things(mirror(text)).tolist() == slots("red", "white", "left")


def test_things_are_the_rows_of_the_places_in_the_data():
    assert THINGS == (*CUBE_COLOURS, *PAD_COLOURS, *ARMS) and named_things("go home").tolist() == [NONE] * 3


def test_the_token_of_what_is_named_is_that_things_own():
    torch = pytest.importorskip("torch")
    from wallwm_model.network.pointing import Pointers

    pointers, things = Pointers(8, 4, 6), torch.randn(2, 4, 8)
    with torch.no_grad():  # whatever the text: the third thing, as every role
        pointers.choice.weight.zero_()
        pointers.choice.bias.copy_(torch.tensor([0.0, 0.0, 40.0, 0.0, 0.0]))
        _, tokens, summary = pointers(torch.randn(2, 5, 8), things)
    assert summary.shape == (2, 6)
    np.testing.assert_allclose(tokens, things[:, 2:3].expand(-1, 3, -1), atol=1e-5)


def test_text_of_another_width_is_refused():
    torch = pytest.importorskip("torch")
    from wallwm_model.errors import SpecError
    from wallwm_model.network.pointing import Pointers

    with pytest.raises(SpecError, match="text must be"):
        Pointers(8, 4, 6).choose(torch.zeros(2, 5, 7))
