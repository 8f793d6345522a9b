"""The language stages: what is frozen stays bit-identical, what trains learns, and can be read back."""

from __future__ import annotations

import dataclasses

import pytest

torch = pytest.importorskip("torch", reason="training needs the training environment")
pytest.importorskip("transformers")

from language_fixtures import moments, observation, tiny_language  # noqa: E402

from wallwm_model.errors import BundleError, SpecError  # noqa: E402
from wallwm_model.lexicon import WordList  # noqa: E402
from wallwm_model.network.caption import CaptionEncoder  # noqa: E402
from wallwm_model.train.language import LanguageStage  # noqa: E402
from wallwm_model.train.language_recipes import PARTS, STAGES, LanguageRecipe  # noqa: E402
from wallwm_model.train.language_teacher import EncoderTeacher, bundle_teacher  # noqa: E402
from wallwm_model.wording import decode, vocabulary  # noqa: E402

pytestmark = pytest.mark.train

RECIPE = LanguageRecipe(steps=4, batch=4, warmup=1, muon_lr=0.01)


def teacher():
    torch.manual_seed(1)
    return EncoderTeacher(CaptionEncoder(40, 16, 16, 1), vocabulary()[:40])


def everything(module):
    return {name: value.clone() for name, value in (*module.named_parameters(), *module.named_buffers())}


@pytest.mark.parametrize("name", STAGES)
def test_only_the_stage_s_own_parts_change(name):
    language = tiny_language()
    stage = LanguageStage(name, language, RECIPE, teacher())
    before = everything(language)
    stage.advance(moments(language))
    changed = {name for name, value in everything(language).items() if not torch.equal(value, before[name])}
    assert {key.split(".")[0] for key in changed} == set(PARTS[name])
    assert all(p.grad is None for p in language.parameters() if not p.requires_grad)


def test_staircase_gradients_reach_the_branch_and_the_projector_alone():
    language = tiny_language()
    stage = LanguageStage("staircase", language, RECIPE, teacher())
    sum(stage.losses(moments(language)).values()).backward()
    touched = {
        name for name, p in language.named_parameters() if p.grad is not None and p.grad.abs().max() > 0
    }
    assert {name.split(".")[0] for name in touched} == {"staircase", "projector"}
    missed = {n for n, _ in language.staircase.named_parameters()} - {
        n.removeprefix("staircase.") for n in touched
    }
    # A key bias shifts all scores of a query alike, except that a position's own key and the others' differ.
    assert not missed, missed


@pytest.mark.parametrize("name", ["backbone", "reader", "vlm"])
def test_stages_learn(name):  # the staircase: below
    language = tiny_language()
    stage = LanguageStage(name, language, dataclasses.replace(RECIPE, steps=20, decay=0.1), teacher())
    batch = moments(language)
    totals = [sum(stage.advance(batch).values()) for _ in range(20)]
    assert sum(totals[-3:]) < 0.9 * sum(totals[:3])


def test_a_memorised_text_is_read_back_word_for_word():
    language = tiny_language()
    batch = moments(language, batch=2)
    for name, steps in (("reader", 100), ("staircase", 100)):
        stage = LanguageStage(name, language, dataclasses.replace(RECIPE, steps=steps, decay=0.3))
        for _ in range(steps):
            stage.advance(batch)
    words = vocabulary()
    prefix = language.prefill(batch.pictures, batch.instruction)
    assert language.explain(language.latents(prefix), WordList(words)) == [
        decode(row, words) for row in batch.reason.tolist()
    ]
    assert stage.validate([batch]) == {"tokens": 1.0, "exact": 1.0}


def test_a_resumed_stage_equals_an_uninterrupted_one(tmp_path):
    def advance(stage, steps):
        for _ in range(steps):
            stage.advance(moments(stage.language, seed=stage.step))

    whole = LanguageStage("staircase", tiny_language(), RECIPE, folder=tmp_path)
    advance(whole, 4)
    first = LanguageStage("staircase", tiny_language(), RECIPE, folder=tmp_path)
    advance(first, 2)
    first.save()
    second = LanguageStage("staircase", tiny_language(), RECIPE, folder=tmp_path)
    second.resume()
    advance(second, 2)
    for (name, wanted), (_, found) in zip(
        whole.language.named_parameters(), second.language.named_parameters()
    ):
        assert torch.equal(wanted, found), name


def test_only_texts_that_the_teacher_knows_are_aligned():
    words = vocabulary()
    few = EncoderTeacher(CaptionEncoder(30, 16, 16, 1), words[:30])
    text = torch.ones(2, 16, dtype=torch.int64)
    text[1, 3] = 31
    features, known = few(text)
    assert features.shape == (2, 16, 16) and known.tolist() == [True, False]


def test_the_teacher_finds_words_by_name_not_by_number():
    encoder = CaptionEncoder(4, 16, 16, 1)
    shuffled = EncoderTeacher(encoder, ("<pad>", "left", "arm", "blue"))
    text = torch.zeros(1, 16, dtype=torch.int64)
    text[0, :2] = torch.tensor([vocabulary().index("arm"), vocabulary().index("left")])
    wanted = torch.zeros(1, 16, dtype=torch.int64)
    wanted[0, :2] = torch.tensor([2, 1])
    assert torch.equal(shuffled(text)[0], encoder(wanted))


def test_errors(tmp_path):
    with pytest.raises(
        SpecError, match="stage must be one of backbone, reader, vlm, staircase; found 'video'"
    ):
        LanguageStage("video", tiny_language(), RECIPE)
    with pytest.raises(BundleError, match="found neither"):
        bundle_teacher(tmp_path)


def test_pictures_matter_to_the_latents():
    language = tiny_language()
    pictures, text = observation(language)
    first, second = (language.latents(language.prefill(p, text)) for p in (pictures, 255 - pictures))
    assert (first - second).abs().max() > 1e-4
