"""The language side's network: equal to transformers where it must be, and a staircase that is one."""

from __future__ import annotations

import dataclasses

import pytest

torch = pytest.importorskip("torch", reason="the network needs the training environment")
pytest.importorskip("transformers")

from language_fixtures import observation, tiny_config, tiny_language  # noqa: E402

from wallwm_model.errors import SpecError  # noqa: E402
from wallwm_model.lexicon import WordList  # noqa: E402
from wallwm_model.network.config import PRESETS as NETWORKS  # noqa: E402
from wallwm_model.network.language.backbone import positions, shrink, shrinking  # noqa: E402
from wallwm_model.network.language.config import PRESETS, beside, preset  # noqa: E402
from wallwm_model.network.language.model import Language  # noqa: E402

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def language():
    return tiny_language()


@pytest.fixture(scope="module")
def seen(language):
    with torch.no_grad():
        return language.prefill(*observation(language))


def patched():
    """With Qwen's own patch embedding and windows of a quarter of a picture."""
    vision = dataclasses.replace(tiny_config().vision, stem="patch", window=16)
    return tiny_language(vision=vision)


def qwen_patches(pictures):
    """Patches as transformers' image processor lays them out, for pictures (N, 32, 32, 3), 8 px patches."""
    x = (pictures.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    x = x[:, None].repeat(1, 2, 1, 1, 1).reshape(len(x), 1, 2, 3, 2, 2, 8, 2, 2, 8)
    return x.permute(0, 1, 4, 7, 5, 8, 3, 2, 6, 9).reshape(len(x) * 16, -1), torch.tensor(
        [[1, 4, 4]] * len(x)
    )


@torch.no_grad()
def test_vision_equals_transformers():
    language = patched()
    pictures, _ = observation(language, batch=1)
    tower = language.backbone.qwen.visual
    ours = language.backbone.sight(tower, pictures[:1]).flatten(0, 1)
    theirs = tower(*qwen_patches(pictures[0])).pooler_output
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    wide = language.backbone.sight
    wide.windowed = False
    assert (wide(tower, pictures[:1]).flatten(0, 1) - theirs).abs().max() > 1e-3, (
        "windows must matter in this test"
    )


@torch.no_grad()
def test_prefill_equals_transformers():
    language = patched()
    config, qwen = language.config, language.backbone.qwen
    pictures, text = observation(language, batch=1)
    text = text.clamp(min=1)
    marked = [
        config.picture,
        *[config.picture_token] * config.picture_tokens,
        config.picture_end,
    ] * config.views
    ids = torch.cat([torch.tensor([marked]), text, torch.tensor([[config.think]])], dim=1)
    pictured = ids == config.picture_token
    grids = torch.tensor([[1, 4, 4]] * config.views)
    places, _ = qwen.get_rope_index(ids, mm_token_type_ids=pictured.int(), image_grid_thw=grids)
    assert (places[:, 0] == positions(config, 0)).all()
    embedded = language.backbone.embed(ids.masked_fill(pictured, 0)).clone()
    embedded[pictured] = language.backbone.sight(qwen.visual, pictures[:1]).flatten(0, 1)
    theirs = qwen.language_model(inputs_embeds=embedded, position_ids=places).last_hidden_state
    prefix = language.prefill(pictures, text)
    torch.testing.assert_close(prefix.last, theirs[:, -1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(prefix.text, theirs[:, -1 - config.text_length : -1], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_cache_grown_word_by_word_reads_as_all_at_once(language, seen):
    tokens = language.backbone.embed(torch.randint(1, 30, (2, 5)))
    at_once, grown = language.backbone.read(seen, tokens), seen.caches
    for index in range(5):
        state, grown = language.backbone.step(seen, grown, tokens[:, index : index + 1])
        torch.testing.assert_close(state[:, 0], at_once[:, index], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_one_position_is_the_backbones_own_reading_of_one_token(language, seen):
    fresh = Language(language.config).eval()
    fresh.backbone.load_state_dict(language.backbone.state_dict())
    fresh.staircase.start_from(fresh.backbone)
    token = fresh.staircase.start.expand(2, 1, -1)
    torch.testing.assert_close(
        fresh.staircase(fresh.backbone, seen, 1), fresh.backbone.read(seen, token)
    )
    later = fresh.staircase(fresh.backbone, seen, 3)[:, :1]
    torch.testing.assert_close(later, fresh.backbone.read(seen, token), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_only_the_first_position_runs_the_lower_layers_once(language, seen):
    widths = []
    hooks = [
        layer.mlp.register_forward_hook(lambda m, i, o: widths.append(o.shape[1]))
        for layer in language.backbone.layers
    ]
    upper = []
    hooks += [
        layer.mlp.register_forward_hook(lambda m, i, o: upper.append(o.shape[1]))
        for layer in language.staircase.layers
    ]
    language.latents(seen, 6)
    for hook in hooks:
        hook.remove()
    assert widths == [1] * language.config.relay
    assert upper == [6] * (language.config.backbone.layers - language.config.relay)


@torch.no_grad()
def test_all_positions_share_the_relay_state_and_none_sees_another(language, seen, monkeypatch):
    staircase, backbone = language.staircase, language.backbone
    plain = staircase(backbone, seen, 4)
    relay = staircase.relay(backbone, seen)
    monkeypatch.setattr(staircase, "relay", lambda *_: relay + 0.1)
    assert ((staircase(backbone, seen, 4) - plain).abs().amax(-1) > 1e-4).all()
    monkeypatch.undo()
    kept = staircase.steps.data.clone()
    staircase.steps.data[2] += 0.5
    moved = (staircase(backbone, seen, 4) - plain).abs().amax((0, 2))
    staircase.steps.data.copy_(kept)
    assert moved[2] > 1e-3 and moved[[0, 1, 3]].max() == 0


@torch.no_grad()
def test_every_position_sees_the_whole_observation_but_no_padding(language, seen):
    staircase, backbone = language.staircase, language.backbone
    plain, last = (
        staircase(backbone, seen, 4),
        language.config.prefix - 2,
    )  # the last word's place is padding
    for place, matters in ((1, True), (last, False)):
        caches = [(k.clone(), v.clone()) for k, v in seen.caches]
        for _, values in caches[language.config.relay :]:
            values[:, :, place] += 5.0
        moved = staircase(backbone, dataclasses.replace(seen, caches=caches), 4) - plain
        assert bool((moved.abs().amax(-1) > 1e-5).all()) is matters


@torch.no_grad()
def test_one_prefill_serves_everything(language):
    calls = []
    hooks = [
        language.backbone.qwen.visual.merger.mlp.register_forward_hook(lambda *_: calls.append("pictures")),
        language.backbone.layers[0].mlp.register_forward_hook(lambda m, i, o: calls.append(o.shape[1])),
    ]
    pictures, text = observation(language)
    prefix = language.prefill(pictures, text)
    language.outlook(prefix, text)
    for count in (1, 4, 8):
        language.latents(prefix, count)
    for hook in hooks:
        hook.remove()
    assert calls == ["pictures", language.config.prefix, 1, 1, 1]


@torch.no_grad()
def test_the_conditioner_gives_features_as_a_text_encoder_does_and_sees(language):
    pictures, text = observation(language)
    features, other = (
        language.conditioner.features(language.prefill(shown, text), text) for shown in (pictures, 255 - pictures)
    )
    assert features.shape == (*text.shape, language.config.text_width)
    assert (features[text == 0] == 0).all() and (features[text != 0].abs().amax(-1) > 0).all()
    assert (other - features).abs().max() > 1e-4


@torch.no_grad()
def test_reasoning_as_text_features_may_fade_out_where_a_text_has_ended(language, seen):
    latents = language.latents(seen)
    plain = language.features(latents)
    assert plain.shape == (2, language.config.latents, language.config.text_width)
    kept = language.staircase.keep.bias.clone()
    language.staircase.keep.bias.fill_(-60.0)
    assert language.features(latents).abs().max() < 1e-20 < plain.abs().max()
    language.staircase.keep.bias.copy_(kept)


def test_the_language_side_of_a_network_has_its_views_eyes_and_text_width():
    small = beside(NETWORKS["small"])
    assert (small.text_width, small.vision.keypoints, small.vision.image) == (256, 96, 64)
    assert beside(NETWORKS["nano"]) == preset("nano")
    assert beside(NETWORKS["wan2.2-5b"]) == dataclasses.replace(preset("qwen2.5-vl-3b"), picture_side=704)
    assert {config.language for config in NETWORKS.values()} <= set(PRESETS)


def test_the_large_preset_has_the_public_sizes():
    """Public counts, head and table being one: Qwen2.5-VL-3B 3,754,622,976, Qwen2.5-0.5B 494,032,768."""
    from wallwm_model.network.language.reader import Reader

    config = preset("qwen2.5-vl-3b")
    with torch.device("meta"):
        language = Language(config)
        reader = Reader(config)
    assert sum(p.numel() for p in language.backbone.parameters()) == 3_754_622_976
    assert sum(p.numel() for p in reader.parameters()) == 494_032_768
    assert language.backbone.qwen.visual.patch_embed.proj.weight.shape == (1280, 3, 2, 14, 14)


def test_the_nano_preset_is_small():
    assert sum(p.numel() for p in Language(preset("nano")).parameters()) * 2 < 5e6  # bytes in fp16


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda la, p, t: la.prefill(p[:, :2], t),
            r"pictures must be \(B, 3, 32, 32, 3\) uint8; found \(2, 2, 32, 32, 3\)",
        ),
        (lambda la, p, t: la.prefill(p.float(), t), "uint8; found .* float32"),
        (lambda la, p, t: la.prefill(p, t[:, :5]), r"text must be \(B, 16\) int64; found \(2, 5\)"),
        (lambda la, p, t: la.prefill(p, t.int()), "int64; found .* int32"),
        (lambda la, p, t: la.prefill(p, t[:1]), "same number of rows; found pictures 2, text 1"),
        (lambda la, p, t: la.prefill(p, t + 900), "text must lie in 0..[0-9]+; found 9"),
        (lambda la, p, t: la.latents(la.prefill(p, t), 9), "latents must be 1 to 8; found 9"),
        (lambda la, p, t: la.explain(torch.zeros(1, 4, 5), WordList(("a",))), r"latents must be \(B, K, 24\)"),
        (lambda la, p, t: la.explain(torch.zeros(1, 4, 24), WordList(("a",))), "must have .* words; found 1"),
        (lambda la, p, t: preset("giant"), "one of nano, qwen2.5-vl-3b; found 'giant'"),
        (lambda la, p, t: tiny_config(relay=4), "relay must lie inside 4 layers; found 4"),
        (lambda la, p, t: tiny_config(sections=(2, 2, 3)), "sections must add up to 6"),
        (lambda la, p, t: tiny_config(latents=9), "latents must be 1 to 8; found 9"),
    ],
)
def test_bad_input_says_what_was_expected(language, call, message):
    with pytest.raises(SpecError, match=message):
        call(language, *observation(language))


def test_presets_are_named():
    assert set(PRESETS) == {"nano", "qwen2.5-vl-3b"}


@torch.no_grad()
def test_larger_pictures_are_shrunk_to_what_the_picture_encoder_takes():
    language = tiny_language(picture_side=64)
    large = torch.randint(0, 256, (2, 3, 32, 32, 3), dtype=torch.uint8)
    large = large.repeat_interleave(2, 2).repeat_interleave(2, 3)
    small = shrink(large, shrinking(64, 32))
    plain = torch.nn.functional.interpolate(
        large[0].movedim(-1, 1).float(), (32, 32), mode="bilinear", antialias=True, align_corners=False
    )
    torch.testing.assert_close(small[0].movedim(-1, 1), plain, atol=1e-2, rtol=1e-5)
    assert small.shape == (2, 3, 32, 32, 3) and 0 <= small.min() and small.max() <= 255
    assert (small - large[:, :, ::2, ::2]).abs().float().mean() < 30, "the same scene"
    text = observation(language)[1]
    assert language.prefill(large, text).seen.shape == tiny_language().prefill(large[:, :, ::2, ::2], text).seen.shape
    with pytest.raises(SpecError, match=r"pictures must be \(B, 3, 64, 64, 3\) uint8; found"):
        language.prefill(large[:, :, ::2, ::2], text)
