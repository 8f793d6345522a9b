"""Video codecs behind one small interface, and the Wan VAE as one of them.

Every codec follows Wan's causal rule: the first raw frame becomes one latent frame, every four more frames
one more, and a latent frame depends on no later picture.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from wallwm_model.errors import SpecError
from wallwm_model.network.checkpoint import read_weights, sub_folder
from wallwm_model.network.codec import PatchCodec, check_latents, check_video
from wallwm_model.network.config import NetworkConfig

# Differences of Wan2.2's VAE from diffusers' defaults, which are Wan2.1's (z 16, stride 8). Source: the
# public vae/config.json of Wan-AI/Wan2.2-TI2V-5B-Diffusers, Apache-2.0.
_MEAN22 = [
    -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542, 0.2813, 0.0891,
    0.1570, -0.0098, 0.0375, -0.1825, -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502,
    -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230, -0.0313, -0.1649, 0.0117, 0.0723,
    -0.2839, -0.2083, -0.0520, 0.3748, 0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667,
]  # fmt: skip
_DEVIATION22 = [
    0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013, 0.8158, 1.0344, 0.5894, 1.0901,
    0.6885, 0.6165, 0.8454, 0.4978, 0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659,
    0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093, 0.5709, 0.6065, 0.6415, 0.4944,
    0.5726, 1.2042, 0.5458, 1.6887, 0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744,
]  # fmt: skip
WAN22_VAE: dict[str, Any] = dict(
    base_dim=160,
    decoder_base_dim=256,
    z_dim=48,
    is_residual=True,
    in_channels=12,
    out_channels=12,
    patch_size=2,
    scale_factor_spatial=16,
    latents_mean=_MEAN22,
    latents_std=_DEVIATION22,
)
WAN_VAES: dict[str, dict[str, Any]] = {"wan2.1": {}, "wan2.2": WAN22_VAE}


class VideoCodec(Protocol):
    """Pictures <-> latents.

    Attributes:
        channels: of a latent, C.
        stride: picture pixels per latent, in height and width.
    """

    channels: int
    stride: int

    def encode(self, video: Tensor) -> Tensor:
        """(B, 3, 1 + 4n, H, W) in [-1, 1] -> latents (B, C, 1 + n, H/stride, W/stride), about unit
        variance.

        Raises:
            SpecError: another shape.
        """

    def decode(self, latents: Tensor, keyframe: Tensor | None = None) -> Tensor:
        """The way back: (B, C, 1 + n, h, w) -> (B, 3, 1 + 4n, h*stride, w*stride) in [-1, 1].

        Where the first picture is known, `keyframe` (B, 3, 1, H, W), it is the first one of the answer.
        """


class WanCodec(nn.Module):
    """`AutoencoderKLWan`, frozen: encodes to the mean of its posterior, standardised per channel.

    Args:
        config: arguments of `AutoencoderKLWan` that differ from diffusers' defaults.
    """

    def __init__(self, config: dict[str, Any]):
        super().__init__()
        from diffusers import AutoencoderKLWan

        self.vae = AutoencoderKLWan(**config)
        self.requires_grad_(False)
        self.channels = self.vae.config.z_dim
        self.stride = self.vae.config.scale_factor_spatial

    def train(self, mode: bool = True) -> WanCodec:
        """Stays in evaluation mode, whatever is asked of the model around it."""
        return super().train(False)

    @torch.no_grad()
    def encode(self, video: Tensor) -> Tensor:
        """See `VideoCodec`."""
        check_video(video, self.stride)
        mean, deviation = self._scales(video)
        latents = self.vae.encode(video.to(self.vae.dtype)).latent_dist.mode()
        return ((latents - mean) / deviation).to(video.dtype)

    @torch.no_grad()
    def decode(self, latents: Tensor, keyframe: Tensor | None = None) -> Tensor:
        """See `VideoCodec`."""
        check_latents(latents, self.channels)
        mean, deviation = self._scales(latents)
        video = self.vae.decode((latents * deviation + mean).to(self.vae.dtype)).sample.to(latents.dtype)
        return video if keyframe is None else torch.cat([keyframe[:, :, :1], video[:, :, 1:]], dim=2)

    def _scales(self, like: Tensor) -> tuple[Tensor, Tensor]:
        config = self.vae.config
        return tuple(
            torch.tensor(values, device=like.device)[:, None, None, None]
            for values in (config.latents_mean, config.latents_std)
        )

    def load(self, folder: Path) -> WanCodec:
        """Read the weights of a public checkpoint: its folder, or the `vae` folder inside.

        Raises:
            SpecError: no weights there, or those of another architecture.
        """
        read_weights(self.vae, sub_folder(folder, "vae"))
        return self


def build_codec(config: NetworkConfig) -> PatchCodec | WanCodec:
    """The codec that a preset names; its weights are still to be fitted or loaded."""
    if config.codec == "patch":
        return PatchCodec(config.latent_channels, config.latent_stride)
    if config.codec not in WAN_VAES:
        raise SpecError(f"codec must be one of patch, {', '.join(WAN_VAES)}; found {config.codec!r}")
    codec = WanCodec(WAN_VAES[config.codec])
    found = (codec.channels, codec.stride)
    if found != (config.latent_channels, config.latent_stride):
        raise SpecError(
            f"latent_channels and latent_stride must be those of codec {config.codec}, {found}; "
            f"found {(config.latent_channels, config.latent_stride)}"
        )
    return codec
