"""Sizes of a network. One frozen dataclass per model; presets by name."""

from __future__ import annotations

from dataclasses import dataclass

from wallwm_model.errors import SpecError


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of both towers.

    Attributes:
        views: cameras, V.
        image: side of the square pictures [px].
        layers: depth of the video tower and of the action tower alike.
        width, heads, ffn: of the video tower; width = heads x head dimension.
        latent_channels, latent_stride: of the video codec.
        patch: side of a token's window of latents.
        queries: extra tokens per view that the grounding heads read.
        keypoints: spatial-softmax maps of the keyframe stem.
        text_width, text_layers: of the caption encoder.
        action_width, action_heads, action_ffn: of the action tower.
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

    @property
    def extras(self) -> int:
        """Tokens per view beside the patches: the key-point token and the query tokens."""
        return 1 + self.queries

    @property
    def patches(self) -> int:
        """Patch tokens per view and latent frame."""
        return (self.image // self.latent_stride // self.patch) ** 2


PRESETS = {"nano": NetworkConfig()}


def preset(name: str) -> NetworkConfig:
    """The sizes of preset `name`.

    Raises:
        SpecError: no such preset.
    """
    if name not in PRESETS:
        raise SpecError(f"preset must be one of {', '.join(PRESETS)}; found {name!r}")
    return PRESETS[name]
