"""The action tower: a DiT of the video tower's depth that reads it layer by layer and never writes to it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from wallwm_model.network.config import NetworkConfig


def sinusoid(value: Tensor, width: int, period: float = 1000.0) -> Tensor:
    """(...,) -> (..., width): cosines and sines at geometric frequencies."""
    frequency = torch.exp(-math.log(period) * torch.arange(width // 2, device=value.device) / (width // 2))
    angle = value[..., None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def rotate(x: Tensor, position: Tensor) -> Tensor:
    """1-D RoPE: x (B, H, T, d), position (T,)."""
    half = x.shape[-1] // 2
    frequency = torch.exp(-math.log(100.0) * torch.arange(half, device=x.device) / half)
    angle = position[:, None] * frequency
    cos, sin = angle.cos(), angle.sin()
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class ActionBlock(nn.Module):
    """Self-attention, state cross-attention, video cross-attention, gated FFN; AdaLN from the noise level."""

    def __init__(self, width: int, heads: int, ffn: int, video_width: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.scale_shift_table = nn.Parameter(torch.randn(1, 8, width) / width**0.5)
        self.qkv = nn.Linear(width, 3 * width)
        self.self_out = nn.Linear(width, width)
        self.state_q = nn.Linear(width, width)
        self.state_kv = nn.Linear(width, 2 * width)
        self.state_out = nn.Linear(width, width)
        self.video_norm = nn.LayerNorm(video_width)
        self.video_kv = nn.Linear(video_width, 2 * width)
        self.video_q = nn.Linear(width, width)
        self.video_out = nn.Linear(width, width)
        self.ffn_in = nn.Linear(width, 2 * ffn)
        self.ffn_out = nn.Linear(ffn, width)

    def read_video(self, video: Tensor, tau: Tensor) -> Tensor:
        """Keys and values of the matched video block: (B, N, D_v) + tau (D_v,) -> (B, N, 2*width).

        The one-way coupling is here: the video features are detached.
        """
        return self.video_kv(self.video_norm(video.detach()) + tau)

    def forward(self, x: Tensor, time: Tensor, state: Tensor, video: Tensor, mask: Tensor | None) -> Tensor:
        """x (B, T, d), time (B, 8, d), state (B, S, d), video (B, N, 2*d), mask (B, 1, 1, T) bool."""
        parts = (self.scale_shift_table + time).chunk(8, dim=1)
        scale_self, shift_self, gate_self, scale_cross, shift_cross, scale_ffn, shift_ffn, gate_ffn = parts

        q, k, v = self._heads(self.qkv(self.norm(x) * (1 + scale_self) + shift_self), 3)
        position = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)
        attended = F.scaled_dot_product_attention(rotate(q, position), rotate(k, position), v, attn_mask=mask)
        x = x + gate_self * self.self_out(rearrange(attended, "b h t d -> b t (h d)"))

        crossed = self.norm(x) * (1 + scale_cross) + shift_cross
        x = x + self._cross(self.state_q(crossed), self.state_kv(state), self.state_out)
        x = x + self._cross(self.video_q(crossed), video, self.video_out)

        a, b = self.ffn_in(self.norm(x) * (1 + scale_ffn) + shift_ffn).chunk(2, dim=-1)
        return x + gate_ffn * self.ffn_out(F.silu(a) * b)

    def _heads(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        return rearrange(x, "b t (p h d) -> p b h t d", p=parts, h=self.heads).unbind(0)

    def _cross(self, query: Tensor, key_value: Tensor, out: nn.Linear) -> Tensor:
        (q,) = self._heads(query, 1)
        k, v = self._heads(key_value, 2)
        return out(rearrange(F.scaled_dot_product_attention(q, k, v), "b h t d -> b t (h d)"))


class ActionTower(nn.Module):
    """Denoises one event's chunk of joint targets; predicts the clean chunk (x-prediction).

    The prediction is `network + gate * present state`, so that every joint chooses step by step between an
    absolute and a relative target.
    """

    def __init__(self, config: NetworkConfig, joints: int, horizon: int, steps_per_latent: int):
        super().__init__()
        width = config.action_width
        self.horizon, self.steps_per_latent = horizon, steps_per_latent
        self.embed = nn.Linear(joints, width)
        self.progress = nn.Linear(65, width)
        self.frame = nn.Embedding(horizon // steps_per_latent + 1, width)
        self.video_frame = nn.Embedding(horizon // steps_per_latent + 1, config.width)
        self.state = nn.Sequential(nn.Linear(joints, width), nn.SiLU(), nn.Linear(width, width))
        self.time = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.time_proj = nn.Linear(width, 8 * width)  # shared by all blocks; each adds its own table
        self.blocks = nn.ModuleList(
            ActionBlock(width, config.action_heads, config.action_ffn, config.width)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, 2 * joints)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def read_video(self, states: list[Tensor]) -> Tensor:
        """Keyframe features of every video layer (B, N, D_v) -> keys and values (layers, B, N, 2*width).

        Computed once per chunk and shared by all denoising steps. The keyframe is latent frame 0.
        """
        tau = self.video_frame.weight[0]
        return torch.stack([block.read_video(s, tau) for block, s in zip(self.blocks, states)])

    def forward(
        self, noisy: Tensor, t: Tensor, video: Tensor, state: Tensor, length: Tensor, mask: Tensor | None
    ) -> Tensor:
        """One denoising step.

        Args:
            noisy: (B, T, D) noisy normalised actions.
            t: (B,) noise level in (0, 1].
            video: (layers, B, N, 2*width) from `read_video`.
            state: (B, D) normalised joint state.
            length: (B,) length of the event [steps]; T beyond it is padding.
            mask: (B, 1, 1, T) bool, true where a step counts; None when nothing is padding.

        Returns:
            (B, T, D) the estimate of the clean normalised actions.
        """
        k = torch.arange(noisy.shape[1], device=noisy.device, dtype=noisy.dtype)
        done = ((k[None] + 1) / length[:, None]).clamp(max=1)
        left = (length[:, None] - 1 - k[None]).clamp(min=0) / self.horizon
        share = (length / self.horizon)[:, None].expand_as(done)
        clock = torch.cat([sinusoid(done * 50, 32), sinusoid(left * 50, 32), share[..., None]], dim=-1)
        frame = (torch.arange(noisy.shape[1], device=noisy.device) // self.steps_per_latent) + 1
        x = self.embed(noisy) + self.progress(clock) + self.frame(frame)
        time = self.time_proj(self.time(sinusoid(t * 50, 64))).unflatten(1, (8, -1))
        token = self.state(state)[:, None]
        for block, key_value in zip(self.blocks, video):
            x = block(x, time, token, key_value, mask)
        change, gate = self.out(self.norm(x)).chunk(2, dim=-1)
        return change + torch.sigmoid(gate + 2) * state[:, None]
