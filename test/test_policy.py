"""Event mode and the bundle, with an engine that stands for a network whose answer is known."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from model_fixtures import small_spec
from test_spec import observation

from wallwm_model.bundle import MANIFEST, REQUIRED, verify, write_manifest
from wallwm_model.engines import load_engine
from wallwm_model.engines.graphs import GraphEngine
from wallwm_model.errors import BundleError, EngineError, ObservationError, SpecError
from wallwm_model.policy import Policy
from wallwm_model.thought import Thought
from wallwm_model.wording import encode, vocabulary

CAPTION = "reach the red cube with the left arm"
WORDS = vocabulary()


def engine(remaining: float = 23.4, value: float = 1.0) -> GraphEngine:
    def observe(inputs):
        return {
            "video": np.zeros((2, 1, 4, 8), np.float32),
            "remaining": np.array([remaining], np.float32),
            "positions": np.zeros((1, 9, 3), np.float32),
        }

    graphs = {
        "text": lambda x: {"text": np.zeros((1, 16, 96), np.float32)},
        "observe": observe,
        "act": lambda x: {"clean": np.full_like(x["noisy"], value)},
    }
    return GraphEngine("known", small_spec(), graphs)


def test_chunk_has_the_length_that_the_model_estimates():
    for remaining, steps in ((23.4, 23), (1.0, 4), (500.0, 64)):
        chunk = Policy(engine(remaining)).event(observation(), CAPTION)
        assert chunk.actions.shape == (steps, 14)
        assert np.allclose(chunk.actions, 0.6, atol=1e-5)
        assert chunk.remaining_s == pytest.approx(remaining * 0.05)


def test_given_duration_wins_over_the_estimate():
    assert len(Policy(engine()).event(observation(), CAPTION, 1.5).actions) == 30
    with pytest.raises(ObservationError, match="0.05 to 3.2 s; found 9 s"):
        Policy(engine()).event(observation(), CAPTION, 9.0)


def test_same_seed_same_chunk():
    spec = small_spec()
    graphs = engine()._graphs | {"act": lambda x: {"clean": 0.5 * x["noisy"]}}
    noisy = GraphEngine("noisy", spec, graphs)
    first, again, other = (Policy(noisy).event(observation(), CAPTION, seed=s).actions for s in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize("broken", [engine(remaining=np.nan), engine(value=np.inf)])
def test_values_that_are_not_finite_never_leave_the_engine(broken):
    with pytest.raises(EngineError, match="finite"):
        Policy(broken).event(observation(), CAPTION)


def test_a_mode_that_the_model_lacks_is_refused():
    with pytest.raises(SpecError, match="unified mode and that source; nano has: event mode only"):
        Policy(engine()).unified(observation(), CAPTION)


def test_committed_steps_need_a_model_that_was_trained_for_them():
    with pytest.raises(EngineError, match="not trained to go on from committed steps"):
        Policy(engine()).event(observation(), CAPTION, committed=np.zeros((3, 14)))


def unified_engine():
    """Reads pictures of the past; remembers what it was given."""
    known = engine()
    spec = dataclasses.replace(
        known.spec, modes=("event", "unified"), sources=("instruction", "staircase"), takes_prefix=True,
        conditioners=("words", "vlm"), words=WORDS, reason_length=44,
    )  # fmt: skip
    given = []

    def observe(inputs):
        given.append(inputs)
        return known._graphs["observe"](inputs)

    return GraphEngine("unified", spec, known._graphs | reasoning() | {"observe_past": observe}), given


def reasoning(remaining: float = 11.0, thought: str = "the red cube is on the table near left"):
    """The two graphs of a language side that always thinks the same."""
    caption = encode(CAPTION, WORDS, 16)

    def reason(inputs):
        assert inputs["images"].shape == (1, 3, 64, 64, 3) and inputs["tokens"].shape == (1, 16)
        return {
            "vlm": np.full((1, 16, 96), 2.0, np.float32),
            "staircase": np.ones((1, 8, 96), np.float32),
            "latents": np.full((1, 8, 24), 3.0, np.float32),
            "caption": np.eye(len(WORDS), dtype=np.float32)[caption][None],
            "remaining": np.array([remaining], np.float32),
        }

    def explain(inputs):
        assert (inputs["latents"] == 3.0).all()
        return {"logits": np.eye(len(WORDS), dtype=np.float32)[encode(thought, WORDS, 44)][None]}

    return {"reason": reason, "explain": explain}


def test_unified_chunks_have_a_fixed_length_and_begin_with_what_is_committed():
    both, given = unified_engine()
    seen = observation(history=(observation().images,) * 4)
    committed = np.full((3, 14), 0.25)
    chunk = Policy(both).unified(seen, CAPTION, "staircase", chunk=2, committed=committed)
    assert chunk.actions.shape == (32, 14)
    np.testing.assert_allclose(chunk.actions[:3], committed, atol=1e-6)
    assert given[0]["history"].shape == (1, 3, 4, 64, 64, 3) and given[0]["chunk"][0] == 2
    assert given[0]["text"].shape == (1, 8, 96)
    with pytest.raises(ObservationError, match="reads 4 earlier pictures; found 0"):
        Policy(both).unified(observation(), CAPTION)
    with pytest.raises(SpecError, match="source 'atomic'"):
        Policy(both).unified(seen, CAPTION, "atomic")


def test_modes_leave_nothing_behind():
    both, given = unified_engine()
    seen = observation(history=(observation().images,) * 4)
    before = Policy(both).event(seen, CAPTION).actions
    policy = Policy(both)
    for source in ("instruction", "staircase", "instruction"):
        policy.explain(policy.unified(seen, CAPTION, source))
    assert [g["text"].shape[1] for g in given] == [16, 8, 16]
    assert np.array_equal(policy.event(seen, CAPTION).actions, before)


def test_a_thought_is_read_after_the_chunk_was_handed_out():
    both, _ = unified_engine()
    seen, policy = observation(history=(observation().images,) * 4), Policy(both)
    chunk = policy.unified(seen, CAPTION, "staircase")
    assert chunk.reasoning == "" and chunk.thought.next_event == CAPTION
    assert chunk.remaining_s == pytest.approx(11 * 0.05), "the language side's own estimate"
    other = policy.unified(seen, CAPTION, "instruction")
    assert (other.thought, policy.explain(other), other.reasoning) == (None, "", "")
    assert policy.explain(chunk) == chunk.reasoning == "the red cube is on the table near left"
    both.close()
    assert policy.explain(chunk) == chunk.reasoning, "read once"
    with pytest.raises(EngineError, match="closed"):
        policy.explain(dataclasses.replace(chunk, thought=Thought(chunk.thought._put)))


def test_reading_stops_between_words_when_something_newer_is_asked():
    both, _ = unified_engine()
    seen = observation(history=(observation().images,) * 4)
    thought = Policy(both).unified(seen, CAPTION, "staircase").thought
    asked = iter([False, False, True])
    assert thought.read(lambda: next(asked)) == "" == thought.text
    assert next(asked, None) is None, "asked before each word, and no more"
    assert thought.read() == "the red cube is on the table near left"


def test_events_may_be_read_by_the_vlm_conditioner_which_sizes_them():
    both, given = unified_engine()
    event = Policy(both, conditioner="vlm").event(observation(), CAPTION)
    assert event.actions.shape == (11, 14) and event.thought is None
    assert len(Policy(both, conditioner="words").event(observation(), CAPTION).actions) == 23
    seen = observation(history=(observation().images,) * 4)
    Policy(both, conditioner="vlm").unified(seen, CAPTION)
    assert (given[-1]["text"] == 2.0).all()
    with pytest.raises(SpecError, match="conditioner of model nano must be among words; found 'vlm'"):
        Policy(engine(), conditioner="vlm")


def test_a_language_side_that_is_promised_must_be_there():
    both, _ = unified_engine()
    graphs = {k: v for k, v in both._graphs.items() if k != "explain"}
    with pytest.raises(EngineError, match="must have the graphs reason and explain; explain is missing"):
        GraphEngine("half", both.spec, graphs)
    with pytest.raises(SpecError, match="language side needs words that begin with the"):
        dataclasses.replace(both.spec, words=())
    with pytest.raises(SpecError, match="conditioners must be among words, vlm; found t5"):
        dataclasses.replace(both.spec, conditioners=("t5",))


def test_closed_engine_says_so():
    closed = engine()
    closed.close()
    with pytest.raises(EngineError, match="closed"):
        Policy(closed).event(observation(), CAPTION)


@pytest.fixture
def bundle(tmp_path):
    (tmp_path / "spec.json").write_text(small_spec().to_json())
    for name in REQUIRED[1:]:
        (tmp_path / name).write_bytes(b"graph")
    write_manifest(tmp_path)
    return tmp_path


def test_sound_bundle_gives_its_spec(bundle):
    assert verify(bundle) == small_spec()


def test_altered_bundle_is_refused(bundle):
    (bundle / "act.onnx").write_bytes(b"grapf")
    with pytest.raises(BundleError, match="act.onnx must have SHA-256 .* corrupt or altered"):
        load_engine(bundle)


@pytest.mark.parametrize("missing", ["bundle.json", "spec.json", "observe.onnx"])
def test_incomplete_bundle_is_refused(bundle, missing):
    (bundle / missing).unlink()
    with pytest.raises(BundleError, match=missing):
        verify(bundle)


@pytest.mark.parametrize(
    "text, words",
    [
        ("{", "manifest in JSON"),
        ('{"version": 7, "files": {}}', "version must be 2; found 7"),
        ('{"version": 2, "files": {}}', "spec.json is missing"),
    ],
)
def test_unsound_manifest_is_refused(bundle, text, words):
    (bundle / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match=words):
        verify(bundle)


def test_manifest_cannot_point_outside_its_folder(bundle):
    body = json.loads((bundle / MANIFEST).read_text())
    body["files"]["../spec.json"] = body["files"]["spec.json"]
    (bundle / MANIFEST).write_text(json.dumps(body))
    with pytest.raises(BundleError, match="not there"):
        verify(bundle)


def test_unknown_engine_and_unreadable_graph_are_refused(bundle):
    with pytest.raises(EngineError, match="auto, one of openvino, onnx, .*found 'magic'"):
        load_engine(bundle, "magic")
    with pytest.raises(BundleError, match="must be a sound ONNX graph"):
        load_engine(bundle)
