"""Sizes of the language side. One frozen dataclass per model; presets by name."""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers import Qwen2_5_VLConfig, Qwen2Config

from wallwm_model import lexicon
from wallwm_model.errors import SpecError
from wallwm_model.network.config import NetworkConfig
from wallwm_model.wording import END, PICTURE, PICTURE_END, THINK, vocabulary

_WORDS = vocabulary()


@dataclass(frozen=True)
class Transformer:
    """Sizes of one Qwen transformer; `kv_heads` share keys and values between heads."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int


@dataclass(frozen=True)
class VisionConfig:
    """Sizes of the picture encoder.

    Attributes:
        image: side of the square pictures [px].
        patch: side of a patch [px]; `merge` x `merge` patches become one token of the backbone.
        stem: `keypoints` (the video tower's convolutions and key points, so many per picture) or `patch`
            (Qwen's own linear embedding).
        window: side of an attention window [px]; the layers `full` attend over the whole picture.
        mean, std: of pictures in [0, 1], per colour.
    """

    image: int
    patch: int
    width: int
    layers: int
    heads: int
    ffn: int
    stem: str
    window: int
    full: tuple[int, ...]
    merge: int = 2
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    keypoints: int = 48

    @property
    def grid(self) -> int:
        """Backbone tokens along one side of a picture."""
        return self.image // self.patch // self.merge


@dataclass(frozen=True)
class LanguageConfig:
    """Sizes of the language side.

    Attributes:
        views: pictures, V.
        words: of the word list or tokeniser; `end`, `think`, `picture`, `picture_end` are ids in it,
            `picture_token` stands for a picture's token where transformers wants ids.
        backbone: the Qwen2.5-VL text stack; `reader`: the small Qwen2 LM that reads latents back as text.
        sections: how many rotary frequencies go to time, height and width (M-RoPE); their sum is half a head.
        relay: depth N_r at which the staircase is cut.
        latents: reasoning positions, K_c, that weights are trained for; `most_latents`: the most there
            may be.
        text_length: words of an instruction or caption, L; `reason_length`: of a reasoning text with its end.
        text_width: width of the video tower's text features.
        picture_side: side of the pictures that come in [px]; 0: `vision.image`. Others are made that size.
    """

    vision: VisionConfig
    backbone: Transformer
    reader: Transformer
    relay: int
    sections: tuple[int, int, int]
    words: int = len(_WORDS)
    end: int = _WORDS.index(END)
    think: int = _WORDS.index(THINK)
    picture: int = _WORDS.index(PICTURE)
    picture_end: int = _WORDS.index(PICTURE_END)
    picture_token: int = len(_WORDS)
    views: int = 3
    latents: int = 16
    most_latents: int = 32
    text_length: int = 16
    reason_length: int = 44
    text_width: int = 96
    picture_side: int = 0
    head_width: int = 128
    theta: float = 1e6

    def __post_init__(self) -> None:
        head = self.backbone.width // self.backbone.heads
        checks = (
            (
                0 < self.relay < self.backbone.layers,
                f"relay must lie inside {self.backbone.layers} layers; found {self.relay}",
            ),
            (2 * sum(self.sections) == head, f"sections must add up to {head // 2}; found {self.sections}"),
            (
                0 < self.latents <= self.most_latents,
                f"latents must be 1 to {self.most_latents}; found {self.latents}",
            ),
            (
                self.vision.stem in ("keypoints", "patch"),
                f"stem must be keypoints or patch; found {self.vision.stem!r}",
            ),
            (
                self.vision.image % (self.vision.patch * self.vision.merge) == 0,
                f"image must be a multiple of {self.vision.patch * self.vision.merge} px; "
                f"found {self.vision.image}",
            ),
        )
        for good, message in checks:
            if not good:
                raise SpecError(message)

    @property
    def side(self) -> int:
        """Of the pictures that come in [px]."""
        return self.picture_side or self.vision.image

    @property
    def public(self) -> bool:
        """Whether backbone and reader are public models; else they are stand-ins, pre-trained here."""
        return self.vision.stem == "patch"

    @property
    def picture_tokens(self) -> int:
        """Backbone tokens of one picture, without the marks around it."""
        return self.vision.grid**2

    @property
    def prefix(self) -> int:
        """Tokens of an observation: marked pictures, the text, and the mark that asks for reasoning."""
        return self.views * (self.picture_tokens + 2) + self.text_length + 1

    def qwen(self) -> Qwen2_5_VLConfig:
        """The backbone as transformers describes it."""
        see, text = self.vision, self.backbone
        return Qwen2_5_VLConfig(
            vision_config={
                "depth": see.layers, "hidden_size": see.width, "intermediate_size": see.ffn, "num_heads":
                see.heads,
                "patch_size": see.patch, "spatial_merge_size": see.merge, "window_size": see.window,
                "fullatt_block_indexes": list(see.full), "out_hidden_size": text.width,
            },
            text_config=_text(text, self.words)
            | {"rope_parameters": {**_rope(self.theta), "mrope_section": list(self.sections)}},
            image_token_id=self.picture_token, vision_start_token_id=self.picture,
            vision_end_token_id=self.picture_end,
            tie_word_embeddings=True,
        )  # fmt: skip

    def small(self) -> Qwen2Config:
        """The small LM as transformers describes it."""
        text = _text(self.reader, self.words)
        return Qwen2Config(**text, rope_parameters=_rope(self.theta), tie_word_embeddings=True)


def _rope(theta: float) -> dict:
    return {"rope_type": "default", "rope_theta": theta}


def _text(sizes: Transformer, words: int) -> dict:
    return {
        "vocab_size": words, "hidden_size": sizes.width, "intermediate_size": sizes.ffn, "rms_norm_eps": 1e-6,
        "num_hidden_layers": sizes.layers, "num_attention_heads": sizes.heads, "num_key_value_heads":
        sizes.kv_heads,
        "bos_token_id": None, "eos_token_id": None, "max_position_embeddings": 32768,
    }  # fmt: skip


PRESETS = {
    "nano": LanguageConfig(
        vision=VisionConfig(
            image=64, patch=16, width=96, layers=2, heads=4, ffn=192, stem="keypoints", window=64, full=(1,)
        ),
        backbone=Transformer(width=96, layers=6, heads=4, kv_heads=4, ffn=192),
        reader=Transformer(width=96, layers=2, heads=4, kv_heads=4, ffn=256),
        relay=3,
        sections=(4, 4, 4),
    ),
    # Sizes of the public Qwen2.5-VL-3B-Instruct and Qwen2.5-0.5B; ids of their tokeniser.
    "qwen2.5-vl-3b": LanguageConfig(
        vision=VisionConfig(
            image=224, patch=14, width=1280, layers=32, heads=16, ffn=3420, stem="patch", window=112,
            full=(7, 15, 23, 31), mean=(0.48145466, 0.4578275, 0.40821073),
            std=(0.26862954, 0.26130258, 0.27577711),
        ),
        backbone=Transformer(width=2048, layers=36, heads=16, kv_heads=2, ffn=11008),
        reader=Transformer(width=896, layers=24, heads=14, kv_heads=2, ffn=4864),
        relay=28, sections=(16, 24, 24), words=lexicon.QWEN_IDS, end=lexicon.QWEN_END,
        think=lexicon.QWEN_THINK, picture=lexicon.QWEN_PICTURE, picture_end=lexicon.QWEN_PICTURE_END,
        picture_token=lexicon.QWEN_PICTURE_TOKEN,
        most_latents=64, text_length=64, reason_length=256,
        text_width=4096,
        head_width=2048,
    ),
}  # fmt: skip


def preset(name: str) -> LanguageConfig:
    """The sizes of preset `name`.

    Raises:
        SpecError: no such preset.
    """
    if name not in PRESETS:
        raise SpecError(f"language preset must be one of {', '.join(PRESETS)}; found {name!r}")
    return PRESETS[name]


def beside(network: NetworkConfig) -> LanguageConfig:
    """The language side of a network: the preset that it names, with the network's views and text features.

    Raises:
        SpecError: no such preset, or sizes that contradict each other.
    """
    config, see = preset(network.language), preset(network.language).vision
    if see.stem == "keypoints":  # its eyes are the video tower's
        see = replace(see, image=network.image, keypoints=network.keypoints)
    side = 0 if see.image == network.image else network.image
    return replace(config, vision=see, views=network.views, text_width=network.text_width, picture_side=side)
