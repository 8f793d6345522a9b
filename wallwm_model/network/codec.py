"""The nano video codec: frozen principal components with Wan's causal 1 + 4x rule.

The first raw frame is coded alone; every following group of four raw frames becomes one latent frame.
A linear code needs no training time and cannot blur positions, which is what a nano policy lives on;
the Wan VAE takes its place in the larger presets. A causal convolutional autoencoder of the same latent size
was tried: 400 steps, 13 minutes of a busy core, gave it 0.2 dB (24.7 against 24.4), not enough to pay for a
network in every observation. Decoding with the keyframe at hand gains 9 dB and costs nothing.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from wallwm_model.errors import SpecError

GROUP = 4  # raw frames per latent frame after the first
# Mean square change of a whitened latent below which a patch counts as unmoved, and below which it still
# shows much the same thing. Of a few values tried on simulated events, the best ones with and without noise.
UNMOVED, SIMILAR = 0.2, 3.0


def check_video(video: Tensor, stride: int) -> None:
    """Raises SpecError unless `video` is (B, 3, 1 + 4n, H, W) with H and W multiples of `stride`."""
    shape = tuple(video.shape)
    whole = len(shape) == 5 and shape[1] == 3 and shape[2] % GROUP == 1
    if not whole or shape[3] % stride or shape[4] % stride:
        raise SpecError(
            f"a video must be (B, 3, 1 + 4n, H, W) with H and W multiples of {stride}; found shape {shape}"
        )


def check_latents(latents: Tensor, channels: int) -> None:
    """Raises SpecError unless `latents` are (B, channels, n, h, w)."""
    shape = tuple(latents.shape)
    if len(shape) != 5 or shape[1] != channels or not shape[2]:
        raise SpecError(f"latents must be (B, {channels}, 1 + n, h, w); found shape {shape}")


class PatchCodec(nn.Module):
    """Whitened principal components of (stride x stride x 3) patches, in two bases: first frames, groups."""

    def __init__(self, channels: int, stride: int):
        super().__init__()
        self.channels, self.stride = channels, stride
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
        check_video(video, self.stride)
        first = self._project("first", video[:, :, :1])[:, :, None]
        groups = video[:, :, 1:].split(GROUP, dim=2) if video.shape[2] > 1 else ()
        return torch.cat([first, *(self._project("group", g)[:, :, None] for g in groups)], dim=2)

    def decode(self, latents: Tensor, keyframe: Tensor | None = None) -> Tensor:
        """Latents (B, C, 1 + n, h, w) -> video (B, 3, 1 + 4n, H, W), clamped to [-1, 1].

        Args:
            keyframe: (B, 3, 1, H, W), the first picture where it is known. The detail that the code loses is
                then taken from it wherever the latents say that nothing moved.

        Raises:
            SpecError: shapes that do not fit.
        """
        check_latents(latents, self.channels)
        count = latents.shape[2]
        if keyframe is None:
            frames = [self._restore("first", latents[:, :, 0], 1)]
            frames += [self._restore("group", latents[:, :, i], GROUP) for i in range(1, count)]
        else:
            check_video(keyframe, self.stride)
            still = keyframe[:, :, :1].repeat(1, 1, GROUP, 1, 1)
            code = self._project("group", still)
            lost = still - self._restore("group", code, GROUP)
            frames = [keyframe[:, :, :1]]
            frames += [self._anchored(latents[:, :, i], code, lost) for i in range(1, count)]
        return torch.cat(frames, dim=2).clamp(-1, 1)

    def _anchored(self, latent: Tensor, code: Tensor, lost: Tensor) -> Tensor:
        """Four frames from their latent, the code of the still keyframe and the detail which that lost."""
        change = (latent - code).square().mean(1, keepdim=True)
        stays, detail = torch.exp(-change / UNMOVED), torch.exp(-change / SIMILAR)
        calm = code * stays + latent * (1 - stays)
        share = detail.repeat_interleave(self.stride, -2).repeat_interleave(self.stride, -1)
        return self._restore("group", calm, GROUP) + lost * share[:, :, None]

    def _project(self, name: str, video: Tensor) -> Tensor:
        rows = (self._patches(video) - getattr(self, f"{name}_mean")) @ getattr(self, f"{name}_basis")
        return rearrange(rows / getattr(self, f"{name}_scale"), "b h w c -> b c h w")

    def _restore(self, name: str, latent: Tensor, frames: int) -> Tensor:
        rows = rearrange(latent, "b c h w -> b h w c") * getattr(self, f"{name}_scale")
        rows = rows @ getattr(self, f"{name}_basis").T + getattr(self, f"{name}_mean")
        return rearrange(
            rows, "b h w (f c p q) -> b c f (h p) (w q)", f=frames, c=3, p=self.stride, q=self.stride
        )
