"""Sizes of a network. One frozen dataclass per model; presets by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from wallwm_model.errors import SpecError

TOKEN_FRAMES = 1  # latent frames per token: Wan never joins frames into one token


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of both towers, and which codec and text encoder feed the video tower.

    Attributes:
        views: cameras, V.
        image: side of the square pictures [px].
        layers: depth of the video tower and of the action tower alike.
        width, heads, ffn: of the video tower; width = heads x head dimension.
        latent_channels, latent_stride: of the video codec; the stride in picture pixels.
        patch: side of a token's window of latents.
        queries: extra tokens per view that the grounding heads read.
        keypoints: spatial-softmax maps of the keyframe stem.
        text_width, text_layers: of the text encoder.
        action_width, action_heads, action_ffn: of the action tower.
        prediction: what the action tower predicts: `x` the clean chunk, `v` the velocity noise - x.
        history: most latent frames of the past that either tower reads, M.
        chunks: how many chunks of one task have an embedding of their own; later ones share the last.
        codec: `patch` (principal components), `wan2.1` or `wan2.2` (AutoencoderKLWan).
        text: `words` (the caption encoder trained along) or `umt5` (UMT5-XXL, frozen).
        time_width: of the sinusoids that embed the noise level.
        rope_length: longest side of the token grid, in tokens, time included.
        language: sizes of the language side, a name in `language/config.py`.
    """

    views: int = 3
    image: int = 64
    layers: int = 4
    width: int = 192
    heads: int = 6
    ffn: int = 576
    latent_channels: int = 16
    latent_stride: int = 8
    patch: int = 2
    queries: int = 2
    keypoints: int = 48
    text_width: int = 96
    text_layers: int = 2
    action_width: int = 128
    action_heads: int = 4
    action_ffn: int = 256
    prediction: Literal["x", "v"] = "x"
    history: int = 1
    chunks: int = 24
    codec: Literal["patch", "wan2.1", "wan2.2"] = "patch"
    text: Literal["words", "umt5"] = "words"
    time_width: int = 64
    rope_length: int = 32
    language: str = "nano"

    def __post_init__(self) -> None:
        """Raises SpecError when the sizes contradict each other."""
        if self.width % self.heads or self.width // self.heads % 2:
            raise SpecError(
                f"width must be heads x an even head dimension; found width {self.width}, heads {self.heads}"
            )
        if self.token_stride < 8 or self.token_stride & (self.token_stride - 1):
            raise SpecError(
                f"latent_stride x patch must be a power of 2 from 8 px up; found {self.latent_stride} x {self.patch}"
            )
        if self.image % self.token_stride:
            raise SpecError(
                f"image must be a multiple of latent_stride x patch = {self.token_stride} px; found {self.image}"
            )
        if (self.text == "umt5") != (self.codec != "patch"):
            raise SpecError(
                f"text umt5 goes with a codec of Wan, words with codec patch; found {self.text} with {self.codec}"
            )

    @property
    def public(self) -> bool:
        """Whether it starts from a public checkpoint of Wan: its DiT, its codec, its text encoder."""
        return self.text == "umt5"

    @property
    def token_stride(self) -> int:
        """Side of the square that one token covers [px]."""
        return self.latent_stride * self.patch

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patch tokens per view."""
        return (self.image // self.token_stride,) * 2

    @property
    def extras(self) -> int:
        """Tokens per view beside the patches: the key-point token and the query tokens."""
        return 1 + self.queries

    @property
    def patches(self) -> int:
        """Patch tokens per view and latent frame."""
        return self.grid[0] * self.grid[1]

    @property
    def latent(self) -> tuple[int, int, int]:
        """Channels, height and width of one latent frame."""
        side = self.image // self.latent_stride
        return self.latent_channels, side, side

    @property
    def wan(self) -> dict[str, Any]:
        """The video tower's DiT as arguments of diffusers' `WanTransformer3DModel`."""
        return dict(
            patch_size=(TOKEN_FRAMES, self.patch, self.patch),
            num_attention_heads=self.heads,
            attention_head_dim=self.width // self.heads,
            in_channels=self.latent_channels,
            out_channels=self.latent_channels,
            text_dim=self.text_width,
            freq_dim=self.time_width,
            ffn_dim=self.ffn,
            num_layers=self.layers,
            rope_max_seq_len=self.rope_length,
        )


# The sizes of Wan are those of the public configurations (Apache-2.0): transformer/, vae/ and text_encoder/
# of Wan-AI/Wan2.1-T2V-1.3B-Diffusers and Wan-AI/Wan2.2-TI2V-5B-Diffusers. The action towers' sizes are ours.
_WAN = dict(
    text="umt5", text_width=4096, text_layers=24, time_width=256, rope_length=1024, layers=30, keypoints=96,
    language="qwen2.5-vl-3b",
)
PRESETS = {
    "nano": NetworkConfig(),
    "small": NetworkConfig(
        layers=8, width=512, heads=8, ffn=1536, keypoints=96, text_width=256, text_layers=4,
        action_width=384, action_heads=6, action_ffn=1024, time_width=128,
    ),
    "wan2.1-1.3b": NetworkConfig(
        image=480, width=1536, heads=12, ffn=8960, latent_channels=16, latent_stride=8, codec="wan2.1",
        action_width=768, action_heads=12, action_ffn=2048, **_WAN,
    ),
    "wan2.2-5b": NetworkConfig(
        image=704, width=3072, heads=24, ffn=14336, latent_channels=48, latent_stride=16, codec="wan2.2",
        action_width=1024, action_heads=16, action_ffn=2816, **_WAN,
    ),
}  # fmt: skip


def preset(name: str) -> NetworkConfig:
    """The sizes of preset `name`.

    Raises:
        SpecError: no such preset.
    """
    if name not in PRESETS:
        raise SpecError(f"preset must be one of {', '.join(PRESETS)}; found {name!r}")
    return PRESETS[name]
