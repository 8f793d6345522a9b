"""Specification, captions, pictures: what is sound comes back unchanged, what is not is refused in words."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from model_fixtures import small_spec

from wallwm_model.captions import CUBE_COLOURS, EVENTS, caption, event_of, mirror, vocabulary
from wallwm_model.errors import CaptionError, ObservationError, SpecError
from wallwm_model.preprocess import Observation, network_images, network_state, resize
from wallwm_model.spec import ModelSpec


def test_spec_round_trips():
    spec = small_spec()
    assert ModelSpec.from_json(spec.to_json()) == spec


def altered(**changes) -> str:
    return json.dumps(json.loads(small_spec().to_json()) | changes)


@pytest.mark.parametrize(
    "text, words",
    [
        ("{", "must be JSON"),
        ("[]", "version 1"),
        (altered(version=9), "version 1; found 9"),
        (altered(joints=["a"]), "1 entries"),
        (altered(horizon=63), "multiple of steps_per_latent"),
        (altered(extra=1), "unknown field"),
        (altered(normalisation={"mean": [0.2] * 14, "std": [0.5] * 14}), "do not belong to these weights"),
        (altered(normalisation={"mean": [0.1] * 14, "std": [0.0] * 14}), "must be positive"),
    ],
)
def test_unsound_spec_is_refused(text, words):
    with pytest.raises(SpecError, match=words):
        ModelSpec.from_json(text)


def test_every_caption_of_the_grammar_is_in_the_vocabulary():
    spec = small_spec()
    for event in EVENTS:
        text = caption(event, arm="left", cube="red", pad="white")
        ids = spec.tokenise(text)
        assert ids.shape == (16,) and ids.max() < len(vocabulary())
        assert event_of(text) == event
        assert mirror(mirror(text)) == text != mirror(text)


@pytest.mark.parametrize(
    "text, words",
    [
        ("reach the pink cube", "unknown word 'pink'"),
        ("reach the gren cube", "did you mean green"),
        ("", "1 to 16 words; found 0"),
        ("red " * 17, "found 17"),
    ],
)
def test_unknown_words_are_named(text, words):
    with pytest.raises(CaptionError, match=words):
        small_spec().tokenise(text)
    assert set(CUBE_COLOURS) <= set(vocabulary())


def observation(**changes) -> Observation:
    spec = small_spec()
    images = {c.name: np.zeros((192, 192, 3), np.uint8) for c in spec.cameras}
    return Observation(**({"images": images, "state": np.full(14, 0.6), "stamp_ns": 0} | changes))


def test_observation_becomes_network_input():
    spec = small_spec()
    assert network_images(observation(), spec).shape == (3, 64, 64, 3)
    assert np.allclose(network_state(observation(), spec), 1.0)
    assert np.allclose(spec.normalisation.decode(np.ones(14)), 0.6)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"images": {}}, "wrist_cam_left, wrist_cam_right missing"),
        ({"state": np.zeros(13)}, r"shape \(14,\); found \(13,\)"),
        ({"state": np.full(14, np.nan)}, "non-finite value for joint_0"),
    ],
)
def test_unsound_observation_is_refused(changes, words):
    spec = small_spec()
    with pytest.raises(ObservationError, match=words):
        network_images(observation(**changes), spec)
        network_state(observation(**changes), spec)


@pytest.mark.parametrize(
    "image", [np.zeros((64, 96, 3), np.uint8), np.zeros((32, 32, 3), np.uint8), np.zeros((64, 64, 3), np.float32)]
)
def test_pictures_are_never_stretched_or_guessed(image):
    with pytest.raises(ObservationError):
        resize(image, 64, 64)


def test_resize_averages_areas():
    image = np.zeros((128, 128, 3), np.uint8)
    image[::2] = 200
    assert np.all(resize(image, 64, 64) == 100)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(language_length=-5), "language_length must be 0 or more tokens; found -5"),
        (dict(language="qwen"), "a language side needs words .* texts of 1 word or more; found 0 words and texts of 0"),
        (dict(reason_length=9), "a language side needs words"),
        (dict(words=("a", "b")), "a language side needs words"),
        (dict(text="bert"), "text must be one of words, umt5; found 'bert'"),
    ],
)
def test_a_language_side_is_whole_or_not_there(changes, said):
    with pytest.raises(SpecError, match=said):
        dataclasses.replace(small_spec(), **changes)
