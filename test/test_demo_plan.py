"""What a demonstration will run is decided, and refused, before any process starts."""

import pytest

from wallwm_model.captions import CUBE_COLOURS, vocabulary
from wallwm_model.errors import CaptionError, ConfigError
from wallwm_model.sim.scene import sample_scene
from wallwm_model.spec import ModelSpec, Normalisation
from wallwm_ros.demo.plan import Episode, missing_objects, parse_events, plan

SPEC = ModelSpec(
    name="tiny", robot="sim", cameras=(), joints=("a",), rate_hz=20.0, horizon=64, steps_per_latent=16,
    normalisation=Normalisation((0.0,), (1.0,)), vocabulary=vocabulary(),
)  # fmt: skip


def test_default_shows_both_tasks():
    assert plan(None, None, 5) == [Episode("pick_place", 5), Episode("handover", 5)]


def test_a_count_alone_means_pick_and_place_with_consecutive_seeds():
    assert plan(None, 3, 1000) == [Episode("pick_place", s) for s in (1000, 1001, 1002)]


def test_a_task_alone_means_one_episode():
    assert plan("handover", None, 2) == [Episode("handover", 2)]


def test_own_events_choose_a_scene_that_suits():
    captions = ("reach the red cube with the right arm", "grasp the red cube with the right arm")
    first, second = plan(None, 2, None, captions)
    assert first.seed < second.seed
    for episode in (first, second):
        scene = sample_scene(episode.task, episode.seed)
        assert (scene.task, scene.arm, scene.cube) == ("pick_place", "right", "red")
        assert episode.captions == captions


def test_own_events_of_an_exchange_choose_a_hand_over_scene():
    assert (
        plan(None, None, None, ("offer the red cube to the right arm with the left arm",))[0].task
        == "handover"
    )


def test_a_given_seed_is_taken_exactly_or_refused():
    cubes = sample_scene("pick_place", 2).cubes
    there, absent = next(iter(cubes)), next(colour for colour in CUBE_COLOURS if colour not in cubes)
    assert plan(None, None, 2, (f"reach the {there} cube with the left arm",))[0].seed == 2
    with pytest.raises(ConfigError, match=f"seed 2 must have a {absent} cube; found cubes"):
        plan(None, None, 2, (f"reach the {absent} cube with the left arm",))


@pytest.mark.parametrize(
    ("task", "count", "seed", "words"),
    [
        ("handoverr", None, 0, "pick_place, handover; found 'handoverr'; did you mean handover"),
        ("juggle", None, 0, "pick_place, handover; found 'juggle'"),
        (None, 0, 0, "at least 1; found 0"),
        (None, 1, -4, "not be negative; found -4"),
    ],
)
def test_impossible_plans_are_refused(task, count, seed, words):
    with pytest.raises(ConfigError, match=words):
        plan(task, count, seed)


def test_events_are_split_at_semicolons():
    text = "reach the red cube with the right arm; retract the right arm;"
    assert parse_events(text, SPEC) == ("reach the red cube with the right arm", "retract the right arm")


def test_an_unknown_colour_is_refused_with_the_known_words():
    with pytest.raises(CaptionError, match="unknown word 'pink'.*the model knows.*red"):
        parse_events("reach the pink cube with the right arm", SPEC)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" ; ", "found none"),
        ("cube red the reach", "must start with one of reach"),
        ("reach the red cube", "must read 'reach the {cube} cube with the {arm} arm'"),
    ],
)
def test_sentences_without_an_event_are_refused(text, words):
    with pytest.raises(CaptionError, match=words):
        parse_events(text, SPEC)


def test_objects_that_the_scene_lacks_are_named():
    scene = sample_scene("pick_place", 4)
    cube, pad = next(iter(scene.cubes)), next(p for p in ("white", "orange", "purple") if p not in scene.pads)
    assert missing_objects((f"reach the {cube} cube with the left arm",), scene) == []
    assert missing_objects((f"place the {cube} cube on the {pad} pad with the left arm",), scene) == [
        f"{pad} pad"
    ]
