"""What training does to its batches: other light, dropped captions, tubes of noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from einops import repeat
from torch import Tensor

from wallwm_model.geometry import tube_region
from wallwm_model.network.config import NetworkConfig
from wallwm_model.network.model import network_pictures
from wallwm_model.spec import ModelSpec
from wallwm_model.train.dataset import Batch

TINT = 0.04  # largest relative change of one colour channel
DROP = (0.1, 0.9)  # share of captions dropped from short and from long clips (method.md, section 6)
CLIP = (129, 220)  # raw frames between which that share rises


def relight(
    batch: Batch, strength: float, generator: torch.Generator
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Keyframes (B, V, 3, H, W), past and future (B, V, 3, n, H, W) in [-1, 1] under a light of their own.

    One gain per sample and view, the same for all its frames, with a slight tint.
    """
    shape = (*batch.images.shape[:2], 3)
    gain = 1 + strength * (2 * torch.rand(*shape[:2], 1, generator=generator) - 1)
    gain = gain * (1 + TINT * (2 * torch.rand(shape, generator=generator) - 1))

    def lit(pictures: Tensor | None) -> Tensor | None:
        if pictures is None:
            return None
        found = network_pictures(pictures)  # (B, V, 3, H, W) or (B, V, n, 3, H, W)
        factor = gain[..., None, None] if found.ndim == 5 else gain[:, :, None, :, None, None]
        found = ((found + 1) * factor - 1).clamp(-1, 1)
        return found if found.ndim == 5 else found.transpose(2, 3)

    return lit(batch.images), lit(batch.history), lit(batch.future)


def drop_share(raw_frames: Tensor) -> Tensor:
    """Share of captions to drop from clips of so many raw frames: half a cosine from `DROP[0]` to `DROP[1]`."""
    way = ((raw_frames - CLIP[0]) / (CLIP[1] - CLIP[0])).clamp(0, 1)
    return DROP[0] + (DROP[1] - DROP[0]) * (1 - torch.cos(math.pi * way)) / 2


def drop_captions(steps: Tensor, spec: ModelSpec, generator: torch.Generator) -> Tensor:
    """(B,) action steps -> (B,) bool, whose caption is dropped."""
    share = drop_share(1 + steps / spec.picture_steps)
    return torch.rand(len(steps), generator=generator) < share


@dataclass
class Tube:
    """Windows that are noise in every latent frame of one view (method.md, section 2).

    Attributes:
        patches: (B, V, side, side) bool, the patches in the tube.
        side: patches per side of a picture.
        patch: latents per side of a patch.
    """

    patches: Tensor
    side: int
    patch: int

    @classmethod
    def draw(
        cls, masks: Tensor, config: NetworkConfig, share: float, generator: torch.Generator
    ) -> Tube:
        """Choose windows co-visible with another view, for a share of the samples; masks (B, V*P, V*P) bool."""
        side = int(config.patches**0.5)
        found = torch.zeros(len(masks), config.views, side, side, dtype=torch.bool)
        rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        for i in torch.nonzero(torch.rand(len(masks), generator=generator) < share).flatten().tolist():
            region = tube_region(masks[i].cpu().numpy(), config.views, (side, side), rng)
            if region is not None:
                found[i, region.view, region.rows, region.columns] = True
        return cls(found, side, config.patch)

    def hide(self, noisy: Tensor, noise: Tensor) -> Tensor:
        """Latents (B, V, C, F, h, w) with pure noise inside the tube."""
        return torch.where(self._latents(), noise, noisy)

    def weigh(self, weight: Tensor, inside: float) -> Tensor:
        """Loss weights (B, V, C, F, h, w), `inside` times as much in the tube."""
        return torch.where(self._latents(), inside * weight, weight)

    def hide_conditions(
        self, keyframes: Tensor, past: Tensor | None, share: float, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Keyframes (B, V, 3, H, W) and latents of the past (B, V, C, M, h, w) with noise inside the tube, for a
        share of the samples."""
        scale = keyframes.shape[-1] // self.side
        inside = repeat(self.patches, "b v r c -> b v 1 (r p) (c q)", p=scale, q=scale)
        chosen = (torch.rand(len(keyframes), generator=generator) < share)[:, None, None, None, None]
        noise = torch.randn(keyframes.shape, generator=generator).clamp(-1, 1)
        keyframes = torch.where(inside & chosen, noise, keyframes)
        if past is not None:
            noise = torch.randn(past.shape, generator=generator)
            past = torch.where(self._latents() & chosen[..., None], noise, past)
        return keyframes, past

    def _latents(self) -> Tensor:
        return repeat(self.patches, "b v r c -> b v 1 1 (r p) (c q)", p=self.patch, q=self.patch)
