"""The world half of WALL-WM: what the cameras show, what the caption asks, what will be seen next.

`VideoTower` wraps the multi-view Wan DiT with the keyframe stem and with query tokens whose outputs are
grounded in space. It is trained on video and grounding alone; action gradients never enter it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from wallwm_model.network.caption import CaptionEncoder
from wallwm_model.network.codec import PatchCodec
from wallwm_model.network.config import NetworkConfig
from wallwm_model.network.stem import Stem
from wallwm_model.network.video import MultiViewWan

TIME_SCALE = 1000.0  # Wan's timesteps run from 0 (clean) to 1000 (noise)


@dataclass
class Grounding:
    """Where things are and will be, as the query tokens see it.

    Attributes:
        position: (B, slots, 3) cubes, pads, grippers in the normalised world frame.
        yaw: (B, cubes) of every cube [rad].
        end: (B, 2, 3) pinch points of both grippers when the event ends, normalised.
    """

    position: Tensor
    yaw: Tensor
    end: Tensor


@dataclass
class World:
    """One look at the world.

    Attributes:
        states: per layer, (B, V*S0, D): the keyframe's tokens of all views.
        groundings: from every layer but the first; the last is the best.
        remaining: (B,) remaining length of the event / horizon.
        velocity: (B, V, C, F, h, w) for the future latents, or None without them.
    """

    states: list[Tensor]
    groundings: list[Grounding]
    remaining: Tensor
    velocity: Tensor | None = None


class GroundingHead(nn.Module):
    """Query tokens of all views -> positions. One per depth, so that early layers learn places too."""

    def __init__(self, width: int, slots: int, cubes: int):
        super().__init__()
        self.slots, self.cubes = slots, cubes
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, 160)
        self.out = nn.Linear(160, slots * 3 + cubes + 6)

    def forward(self, queries: Tensor) -> Grounding:
        """(B, V*Q*D) -> Grounding."""
        flat = self.out(nn.functional.silu(self.hidden(self.norm(queries))))
        position, yaw, end = flat.split([self.slots * 3, self.cubes, 6], dim=-1)
        return Grounding(position.unflatten(-1, (self.slots, 3)), yaw, end.unflatten(-1, (2, 3)))


class VideoTower(nn.Module):
    """Keyframes and a caption in, features for the action tower and predicted video out."""

    def __init__(self, config: NetworkConfig, words: int, caption_length: int, slots: int, cubes: int):
        super().__init__()
        self.config = config
        self.captions = CaptionEncoder(words, caption_length, config.text_width, config.text_layers)
        self.codec = PatchCodec(config.latent_channels, config.latent_stride)
        self.stems = nn.ModuleList(
            Stem(config.image, config.width, config.keypoints) for _ in ("fixed", "arm-mounted")
        )
        self.queries = nn.Parameter(torch.randn(config.views, config.queries, config.width) * 0.02)
        self.dit = MultiViewWan(
            views=config.views,
            patch_size=(1, config.patch, config.patch),
            num_attention_heads=config.heads,
            attention_head_dim=config.width // config.heads,
            in_channels=config.latent_channels,
            out_channels=config.latent_channels,
            text_dim=config.text_width,
            freq_dim=64,
            ffn_dim=config.ffn,
            num_layers=config.layers,
            rope_max_seq_len=32,
        )
        query_width = config.views * config.queries * config.width
        self.grounding = nn.ModuleList(
            GroundingHead(query_width, slots, cubes) for _ in range(config.layers - 1)
        )
        self.remaining = nn.Sequential(
            nn.LayerNorm(query_width), nn.Linear(query_width, 128), nn.SiLU(), nn.Linear(128, 1)
        )

    def forward(
        self, keyframes: Tensor, tokens: Tensor, noisy: Tensor | None = None, t: Tensor | None = None
    ) -> World:
        """One pass.

        Args:
            keyframes: (B, V, 3, H, W) in [-1, 1].
            tokens: (B, L) word ids of the caption.
            noisy: (B, V, C, F, h, w) noisy future latents; None looks at the keyframes only.
            t: (B,) their noise level in (0, 1].
        """
        batch, views = keyframes.shape[:2]
        hidden, size = self._embed(keyframes, noisy)
        frames = 1 if noisy is None else 1 + noisy.shape[3]
        text = repeat(self.captions(tokens), "b l d -> (b v) l d", v=views)
        temb, modulation, words = self._times(text, t, hidden.shape[1])
        states = self.dit.run(
            hidden,
            words,
            modulation,
            self.dit.rotary(frames, size, size, self.config.extras),
            self.dit.layout(size, size, self.config.extras, frames),
        )
        velocity = None
        if noisy is not None:
            patches = states[-1][:, self.config.extras :]
            velocity = self.dit.velocity(patches, temb[:, self.config.extras :], frames, size, size)
            velocity = velocity.unflatten(0, (batch, views))[:, :, :, 1:]
        return self._read(states, views, velocity)

    def _embed(self, keyframes: Tensor, noisy: Tensor | None) -> tuple[Tensor, int]:
        """Tokens (B*V, extras + F*patches, D) and the latent's side."""
        batch, views = keyframes.shape[:2]
        fixed, mounted = self.stems[0](keyframes[:, 0]), self.stems[1](keyframes[:, 1:].flatten(0, 1))
        patches, keypoint = (
            torch.cat([f[:, None], m.unflatten(0, (batch, views - 1))], dim=1).flatten(0, 1)
            for f, m in zip(fixed, mounted)
        )
        latents = self.codec.encode(keyframes.flatten(0, 1)[:, :, None])
        if noisy is not None:
            latents = torch.cat([latents, noisy.flatten(0, 1)], dim=2)
        embedded = self.dit.embed_patches(latents)
        first = embedded[:, : self.config.patches] + patches
        queries = repeat(self.queries, "v q d -> (b v) q d", b=batch)
        hidden = torch.cat([keypoint, queries, first, embedded[:, self.config.patches :]], dim=1)
        return hidden, latents.shape[-1]

    def _times(self, text: Tensor, t: Tensor | None, length: int) -> tuple[Tensor, Tensor, Tensor]:
        """Clean keyframe tokens have timestep 0, future tokens their own (first-frame conditioning)."""
        rows = text.shape[0]
        clean = torch.zeros(rows, device=text.device)
        temb, modulation, words = self.dit.embed_time(clean, text)
        if t is None:
            return temb, modulation, words
        later = (t * TIME_SCALE).repeat_interleave(rows // t.shape[0])
        temb_later, modulation_later, _ = self.dit.embed_time(later, text)
        first = self.config.extras + self.config.patches
        temb, modulation = (
            torch.cat(
                [
                    a[:, None].expand(-1, first, *a.shape[1:]),
                    b[:, None].expand(-1, length - first, *b.shape[1:]),
                ],
                dim=1,
            )
            for a, b in ((temb, temb_later), (modulation, modulation_later))
        )
        return temb, modulation, words

    def _read(self, states: list[Tensor], views: int, velocity: Tensor | None) -> World:
        first = self.config.extras + self.config.patches
        keyframe = [rearrange(s[:, :first], "(b v) s d -> b (v s) d", v=views) for s in states]
        queries = [rearrange(s[:, 1 : self.config.extras], "(b v) q d -> b (v q d)", v=views) for s in states]
        groundings = [head(q) for head, q in zip(self.grounding, queries[1:])]
        remaining = self.remaining(queries[-1]).squeeze(-1)
        return World(keyframe, groundings, remaining, velocity)
