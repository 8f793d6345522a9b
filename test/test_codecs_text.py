"""Video codecs and text encoders answer alike, whichever preset they belong to."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the network needs the training environment")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from public_fixtures import write_tokenizer  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from wallwm_model.captions import vocabulary  # noqa: E402
from wallwm_model.errors import CaptionError, SpecError  # noqa: E402
from wallwm_model.network.codec import PatchCodec  # noqa: E402
from wallwm_model.network.config import NetworkConfig, preset  # noqa: E402
from wallwm_model.network.presets import parameters  # noqa: E402
from wallwm_model.network.umt5 import UMT5_XXL, Umt5Encoder  # noqa: E402
from wallwm_model.network.vae import WAN_VAES, WanCodec, build_codec  # noqa: E402
from wallwm_model.subwords import tokenise  # noqa: E402

pytestmark = pytest.mark.train

TINY21 = dict(base_dim=3, dim_mult=[1, 2, 2, 2], num_res_blocks=1)
TINY22 = WAN_VAES["wan2.2"] | dict(base_dim=4, decoder_base_dim=4, dim_mult=[1, 2, 2, 2], num_res_blocks=1)
TINY_T5 = UMT5_XXL | dict(vocab_size=64, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
# float32, float32 and bfloat16 files of 508 MB, 1.31 GiB and 11.4 GB in the public checkpoints
PUBLIC = {"wan2.1": 126_892_531, "wan2.2": 704_688_668, "umt5": 5_680_910_336}


def codec(name: str):
    torch.manual_seed(0)
    if name == "patch":
        made = PatchCodec(16, 8)
        frames = torch.rand(40, 3, 4, 16, 16) * 2 - 1
        made.fit(frames[:, :, :1], frames)
        return made
    return WanCodec({"wan2.1": TINY21, "wan2.2": TINY22}[name])


@pytest.mark.parametrize("name", ["patch", "wan2.1", "wan2.2"])
def test_one_frame_then_one_latent_for_every_four_and_never_a_look_ahead(name):
    made = codec(name)
    side = 2 * made.stride
    video = torch.rand(1, 3, 9, side, side) * 2 - 1
    latents = made.encode(video)
    assert latents.shape == (1, made.channels, 3, 2, 2)
    assert made.decode(latents).shape == video.shape and made.decode(latents).abs().max() <= 1
    other = video.clone()
    other[:, :, 5:] = 0
    changed = made.encode(other)
    assert torch.allclose(changed[:, :, :2], latents[:, :, :2], atol=1e-5)
    assert not torch.allclose(changed[:, :, 2], latents[:, :, 2], atol=1e-3)
    later = latents.clone()
    later[:, :, 2] += 1
    assert torch.allclose(made.decode(later)[:, :, :5], made.decode(latents)[:, :, :5], atol=1e-5)
    assert torch.allclose(made.encode(video[:, :, :1]), latents[:, :, :1], atol=1e-5)


@pytest.mark.parametrize("name", ["patch", "wan2.1", "wan2.2"])
def test_a_known_keyframe_is_the_first_picture(name):
    made = codec(name)
    video = torch.rand(2, 3, 5, 2 * made.stride, made.stride) * 2 - 1
    shown = made.decode(made.encode(video), video[:, :, :1])
    assert shown.shape == video.shape and torch.equal(shown[:, :, :1], video[:, :, :1])


def test_detail_that_the_code_loses_stays_where_nothing_moves():
    """One patch changes, the other does not: the still one is shown exactly, the changed one as decoded."""
    made = codec("patch")
    video = (torch.rand(1, 3, 1, 8, 16) * 2 - 1).repeat(1, 1, 5, 1, 1)
    video[:, :, 1:, :, 8:] = torch.rand(1, 3, 4, 8, 8) * 2 - 1
    latents = made.encode(video)
    latents[:, :, 1, :, 1] += 5  # far from anything that the keyframe shows
    plain, shown = made.decode(latents), made.decode(latents, video[:, :, :1])
    assert torch.allclose(shown[..., :8], video[..., :8], atol=1e-5)
    assert not torch.allclose(plain[..., :8], video[..., :8], atol=0.1)
    assert torch.allclose(shown[:, :, 1:, :, 8:], plain[:, :, 1:, :, 8:], atol=0.01)


@pytest.mark.parametrize("name", ["patch", "wan2.1", "wan2.2"])
def test_videos_of_another_shape_are_refused(name):
    made = codec(name)
    side = made.stride
    for shape in (
        (1, 3, 4, side, side),
        (1, 1, 5, side, side),
        (1, 3, 5, side, side + 1),
        (3, 5, side, side),
    ):
        with pytest.raises(SpecError, match=rf"multiples of {side}; found shape"):
            made.encode(torch.zeros(shape))
    with pytest.raises(SpecError, match="latents must be"):
        made.decode(torch.zeros(1, 5, 1, 2, 2))


@pytest.mark.parametrize("name", ["nano", "small", "wan2.1-1.3b", "wan2.2-5b"])
def test_a_preset_gets_its_codec(name):
    config = preset(name)
    with torch.device("meta"):
        made = build_codec(config)
    assert (made.channels, made.stride) == (config.latent_channels, config.latent_stride)
    if isinstance(made, WanCodec):
        assert parameters(made) == PUBLIC[config.codec]


def test_a_codec_that_does_not_fit_the_tower_is_refused():
    wrong = NetworkConfig(codec="wan2.1", latent_channels=48, text="umt5")
    with pytest.raises(SpecError, match=r"codec wan2.1, \(16, 8\); found \(48, 8\)"), torch.device("meta"):
        build_codec(wrong)


def test_the_wan_codec_is_frozen_and_loads_from_a_folder(tmp_path):
    made, other = codec("wan2.1"), WanCodec(TINY21)
    (tmp_path / "vae").mkdir()
    save_file(made.vae.state_dict(), tmp_path / "vae" / "diffusion_pytorch_model.safetensors")
    video = torch.rand(1, 3, 5, 16, 16) * 2 - 1
    assert not torch.equal(other.encode(video), made.encode(video))
    assert torch.equal(other.load(tmp_path).encode(video), made.encode(video))
    assert not any(parameter.requires_grad for parameter in other.parameters())
    assert not other.train().training and not other.vae.training


def test_latents_are_standardised_as_in_the_public_pipelines():
    made = codec("wan2.1")
    video = torch.rand(1, 3, 5, 16, 16) * 2 - 1
    with torch.no_grad():
        raw = made.vae.encode(video).latent_dist.mode()
    config = made.vae.config
    mean = torch.tensor(config.latents_mean)[:, None, None, None]
    deviation = torch.tensor(config.latents_std)[:, None, None, None]
    assert torch.allclose(made.encode(video) * deviation + mean, raw, atol=1e-5)


def encoder() -> Umt5Encoder:
    torch.manual_seed(0)
    return Umt5Encoder(TINY_T5)


def test_umt5_has_the_public_size():
    with torch.device("meta"):
        made = Umt5Encoder(UMT5_XXL)
    assert parameters(made) == PUBLIC["umt5"] and made.width == preset("wan2.2-5b").text_width


def test_padding_gives_zeros_and_changes_no_word():
    made = encoder()
    tokens = torch.randint(1, 64, (2, 9))
    tokens[0, 5:] = 0
    found = made.features(tokens)
    assert found.shape == (2, 9, made.width) and not found[0, 5:].any() and found[0, :5].any()
    assert torch.allclose(found[0, :5], made(tokens[:1, :5])[0], atol=1e-5)
    assert not found.requires_grad and not made.train().encoder.training


@pytest.mark.parametrize(
    "tokens, said",
    [
        (torch.ones(3, dtype=torch.int64), r"tokens must be \(B, L\) int64; found shape \(3,\)"),
        (torch.ones(1, 3), "found shape .*, float32"),
        (torch.tensor([[1, 64]]), r"token ids must be in 0..63; found 1 to 64"),
        (torch.tensor([[0, 3]]), "found words after padding"),
    ],
)
def test_wrong_tokens_are_refused(tokens, said):
    with pytest.raises(CaptionError, match=said):
        encoder().features(tokens)


@pytest.mark.parametrize("held", ["shared.weight", "encoder.embed_tokens.weight"])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_umt5_loads_whichever_name_the_file_gives_the_embedding(tmp_path, held, device):
    made = encoder()
    weights = {name: tensor.clone() for name, tensor in made.encoder.state_dict().items()}
    both = {"shared.weight", "encoder.embed_tokens.weight"}
    for name in both & weights.keys() - {held}:
        weights[held] = weights.pop(name)
    save_file(weights, tmp_path / "model.safetensors")
    with torch.device(device):
        other = Umt5Encoder(TINY_T5)
    tokens = torch.randint(1, 64, (1, 6))
    assert torch.equal(other.load(tmp_path).features(tokens), made.features(tokens))
    assert parameters(other) == parameters(made), "the embedding is one tensor under two names"


def test_captions_become_padded_tokens(tmp_path):
    file = write_tokenizer(tmp_path)
    reach, cube = (vocabulary().index(word) + 2 for word in ("reach", "cube"))
    assert tokenise("reach  cube", file, 5).tolist() == [reach, cube, 1, 0, 0]
    assert encoder().features(torch.from_numpy(tokenise("reach cube", file, 5))[None]).shape == (1, 5, 32)
    with pytest.raises(CaptionError, match="must have 1 to 2 tokens; found 3"):
        tokenise("reach the cube", file, 3)
    with pytest.raises(CaptionError, match="1 to 2 tokens; found 0"):
        tokenise("  ", file, 3)
    for mark in ("<pad>", "</s>"):
        with pytest.raises(CaptionError, match=f"may not have the mark '{mark}'; found it in 'reach {mark} cube'"):
            tokenise(f"reach {mark} cube", file, 9)
    other = tmp_path / "other"
    file.write_text(write_tokenizer(other).read_text().replace('"reach"', '"grab"'))
    assert tokenise("grab cube", file, 5)[0] == reach, "a file that was replaced is read anew"
    file.write_text(file.read_text().replace(f'"cube": {cube}', '"cube": 1000000'))
    with pytest.raises(SpecError, match="ids of .*tokenizer.json must be below 256384; found 1000000"):
        tokenise("cube", file, 5)


def test_folders_without_tokenizer_are_refused(tmp_path):
    with pytest.raises(SpecError, match="need a tokenizer beside its spec.json; found .*nowhere.json"):
        tokenise("reach", tmp_path / "nowhere.json", 4)
    broken = tmp_path / "tokenizer.json"
    broken.write_text("{}")
    with pytest.raises(SpecError, match="must be a file of the package tokenizers; found: "):
        tokenise("reach", broken, 4)
    file = write_tokenizer(tmp_path / "other")
    file.write_text(file.read_text().replace("<pad>", "<gap>"))
    with pytest.raises(SpecError, match="padding <pad> must have id 0; found None"):
        tokenise("reach", file, 4)
