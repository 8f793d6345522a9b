"""The nano video codec: frozen principal components with Wan's causal 1 + 4x rule.

The first raw frame is coded alone; every following group of four raw frames becomes one latent frame.
A linear code needs no training time and cannot blur positions, which is what a nano policy lives on;
the Wan VAE takes its place in the larger presets.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

GROUP = 4  # raw frames per latent frame after the first


class PatchCodec(nn.Module):
    """Whitened principal components of (stride x stride x 3) patches, one basis for first frames, one for groups."""

    def __init__(self, channels: int, stride: int):
        super().__init__()
        self.stride = stride
        size = 3 * stride * stride
        for name, frames in (("first", 1), ("group", GROUP)):
            self.register_buffer(f"{name}_basis", torch.zeros(frames * size, channels))
            self.register_buffer(f"{name}_mean", torch.zeros(frames * size))
            self.register_buffer(f"{name}_scale", torch.ones(channels))

    def _patches(self, video: Tensor) -> Tensor:
        """(B, 3, F, H, W) in [-1, 1] -> (B, h, w, F*3*s*s)."""
        return rearrange(video, "b c f (h p) (w q) -> b h w (f c p q)", p=self.stride, q=self.stride)

    @torch.no_grad()
    def fit(self, first: Tensor, groups: Tensor) -> None:
        """Fit both bases: `first` (B, 3, 1, H, W) and `groups` (B, 3, 4, H, W), in [-1, 1]."""
        for name, video in (("first", first), ("group", groups)):
            rows = self._patches(video).flatten(0, 2)
            mean = rows.mean(0)
            _, values, basis = torch.linalg.svd(rows - mean, full_matrices=False)
            channels = getattr(self, f"{name}_scale").numel()
            getattr(self, f"{name}_basis").copy_(basis[:channels].T)
            getattr(self, f"{name}_mean").copy_(mean)
            getattr(self, f"{name}_scale").copy_(values[:channels] / rows.shape[0] ** 0.5)

    def encode(self, video: Tensor) -> Tensor:
        """(B, 3, 1 + 4n, H, W) in [-1, 1] -> latents (B, C, 1 + n, h, w), about unit variance."""
        if (video.shape[2] - 1) % GROUP:
            raise ValueError(f"a video must have 1 + 4n frames; found {video.shape[2]}")
        first = self._project("first", video[:, :, :1])[:, :, None]
        groups = video[:, :, 1:].split(GROUP, dim=2) if video.shape[2] > 1 else ()
        return torch.cat([first, *(self._project("group", g)[:, :, None] for g in groups)], dim=2)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, C, 1 + n, h, w) -> video (B, 3, 1 + 4n, H, W), clamped to [-1, 1]."""
        frames = [self._restore("first", latents[:, :, 0], 1)]
        frames += [self._restore("group", latents[:, :, i], GROUP) for i in range(1, latents.shape[2])]
        return torch.cat(frames, dim=2).clamp(-1, 1)

    def _project(self, name: str, video: Tensor) -> Tensor:
        rows = (self._patches(video) - getattr(self, f"{name}_mean")) @ getattr(self, f"{name}_basis")
        return rearrange(rows / getattr(self, f"{name}_scale"), "b h w c -> b c h w")

    def _restore(self, name: str, latent: Tensor, frames: int) -> Tensor:
        rows = rearrange(latent, "b c h w -> b h w c") * getattr(self, f"{name}_scale")
        rows = rows @ getattr(self, f"{name}_basis").T + getattr(self, f"{name}_mean")
        return rearrange(
            rows, "b h w (f c p q) -> b c f (h p) (w q)", f=frames, c=3, p=self.stride, q=self.stride
        )
