"""Models of Wan's make, small enough to run: presets, and public checkpoints in diffusers' layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2ForCausalLM

from wallwm_model.network import config, umt5, vae
from wallwm_model.network.config import NetworkConfig
from wallwm_model.network.language import config as language
from wallwm_model.network.language.config import Transformer, VisionConfig
from wallwm_model.network.presets import is_new
from wallwm_model.network.umt5 import Umt5Encoder, build_text
from wallwm_model.network.vae import build_codec
from wallwm_model.network.video import MultiViewWan
from wallwm_model.train import recipes
from wallwm_model.train.recipes import TrainConfig

_SIZES = dict(
    image=64, layers=2, width=48, heads=2, ffn=64, keypoints=8, text="umt5", text_width=32, text_layers=1,
    action_width=32, action_heads=2, action_ffn=32, language="qwen-tiny",
)  # fmt: skip
# Codecs of the two public shapes: strides 8 and 16, 16 and 48 channels.
SMALL = {
    "wan2.1-tiny": NetworkConfig(codec="wan2.1", **_SIZES),
    "wan2.2-tiny": NetworkConfig(codec="wan2.2", latent_channels=48, latent_stride=16, **_SIZES),
}
_VAES = {
    "wan2.1": dict(base_dim=3, dim_mult=[1, 2, 2, 2], num_res_blocks=1),
    "wan2.2": vae.WAN22_VAE | dict(base_dim=4, decoder_base_dim=4, dim_mult=[1, 2, 2, 2], num_res_blocks=1),
}
_TRANSFORMER = Transformer(width=32, layers=4, heads=2, kv_heads=2, ffn=32)
_LANGUAGE = replace(
    language.PRESETS["qwen2.5-vl-3b"],
    vision=VisionConfig(
        image=56, patch=14, width=32, layers=2, heads=2, ffn=32, stem="patch", window=56, full=(1,)
    ),
    backbone=_TRANSFORMER, reader=_TRANSFORMER, relay=2, sections=(2, 3, 3), head_width=16,
    latents=4, most_latents=8, text_length=20, reason_length=60,
)  # fmt: skip
_T5 = dict(vocab_size=128, d_kv=8, d_ff=48, num_heads=4)
_STAGE = TrainConfig(steps=2, batch=2, look=0.0, video_every=1, muon_lr=0.0, warmup=1)


def add_presets(monkeypatch) -> None:
    """Let the small models be presets and recipes, and make codecs and UMT5 small."""
    for name, sizes in SMALL.items():
        monkeypatch.setitem(config.PRESETS, name, sizes)
        made = recipes.Recipe(name, {stage: _STAGE for stage in recipes.STAGES})
        monkeypatch.setitem(recipes.RECIPES, name, made)
    for name, sizes in _VAES.items():
        monkeypatch.setitem(vae.WAN_VAES, name, sizes)
    monkeypatch.setitem(language.PRESETS, "qwen-tiny", _LANGUAGE)
    for name, value in _T5.items():
        monkeypatch.setitem(umt5.UMT5_XXL, name, value)


def write_public(name: str, folder: Path) -> Path:
    """A public checkpoint for `SMALL[name]`; its tokenizer knows every word that a caption may have."""
    torch.manual_seed(3)
    sizes = SMALL[name]
    text = build_text(sizes, 0, 0)
    assert isinstance(text, Umt5Encoder)
    stock = {k: v for k, v in MultiViewWan(views=1, **sizes.wan).state_dict().items() if not is_new(k)}
    for part, file, tensors in (
        ("transformer", "diffusion_pytorch_model", stock),
        ("vae", "diffusion_pytorch_model", build_codec(sizes).vae.state_dict()),
        ("text_encoder", "model", {k: v.bfloat16() for k, v in text.encoder.state_dict().items()}),
    ):
        (folder / part).mkdir(parents=True)
        tensors.pop("encoder.embed_tokens.weight", None)  # one tensor under two names
        save_file(tensors, folder / part / f"{file}.safetensors")
    write_tokenizer(folder / "tokenizer")
    return folder


def write_qwen(folder: Path) -> tuple[Path, Path]:
    """Public checkpoints for the language side of `SMALL`, as transformers writes them: backbone, reader."""
    torch.manual_seed(4)
    backbone, reader = folder / "backbone", folder / "reader"
    Qwen2_5_VLForConditionalGeneration(_LANGUAGE.qwen()).save_pretrained(backbone)
    Qwen2ForCausalLM(_LANGUAGE.small()).save_pretrained(reader)
    write_tokenizer(backbone)
    return backbone, reader


def write_tokenizer(folder: Path) -> Path:
    """A tokenizer of whole words that ends every text with </s>, as UMT5's does."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    from wallwm_model.wording import vocabulary

    words = ["<pad>", "</s>", "<unk>", *vocabulary()[1:]]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens(words[:2])
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"
