"""The action tower: a DiT of the video tower's depth that reads it layer by layer and never writes to it.

Every action token has a noise level of its own, so that steps which are already committed stand in front as a
clean prefix (training-time real-time chunking, arXiv 2512.05964).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from wallwm_model.errors import SpecError
from wallwm_model.network.checks import expect, expect_batches
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
        """Keys and values of the matched video block: (B, N, D_v) + tau (B or 1, N, D_v) -> (B, N, 2*width)."""
        return self.video_kv(self.video_norm(video) + tau)

    def forward(self, x: Tensor, time: Tensor, state: Tensor, video: Tensor, mask: Tensor | None) -> Tensor:
        """x (B, T, d), time (B, T, 8, d), state (B, S, d), video (B, N, 2*d), mask (B, 1, 1, T) bool."""
        parts = (self.scale_shift_table + time).unbind(2)
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


WINDOWS = ("event", "observation")  # event-centric; observation-centred (unified mode)


@dataclass
class Timing:
    """When a chunk's steps are.

    Attributes:
        length: (B,) length of the event, or of the fixed chunk [steps]; steps beyond it are padding.
        window: (B,) index into `WINDOWS`.
    """

    length: Tensor
    window: Tensor


class ActionTower(nn.Module):
    """Denoises one chunk of actions; always answers with an estimate of the clean chunk.

    With x-prediction the estimate is `network + gate * present state`, so that every joint chooses step by step
    between an absolute and a relative target. With v-prediction it is `noisy - t * network`.
    """

    def __init__(self, config: NetworkConfig, joints: int, horizon: int, steps_per_latent: int):
        super().__init__()
        width = config.action_width
        self.horizon, self.steps_per_latent = horizon, steps_per_latent
        self.prediction, self.history = config.prediction, config.history
        self.embed = nn.Linear(joints, width)
        self.progress = nn.Linear(65, width)
        self.window = nn.Embedding(len(WINDOWS), width)
        self.frame = nn.Embedding(horizon // steps_per_latent + 1, width)
        self.video_frame = nn.Embedding(config.history + 1 + horizon // steps_per_latent, config.width)
        self.chunk = nn.Embedding(config.chunks + 1, config.width)  # 0: unknown, or event mode
        self.goal = nn.Sequential(nn.Linear(6, config.width), nn.SiLU(), nn.Linear(config.width, config.width))
        self.state = nn.Sequential(nn.Linear(joints, width), nn.SiLU(), nn.Linear(width, width))
        self.time = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.time_proj = nn.Linear(width, 8 * width)  # shared by all blocks; each adds its own table
        self.blocks = nn.ModuleList(
            ActionBlock(width, config.action_heads, config.action_ffn, config.width)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, 2 * joints)
        nn.init.zeros_(self.chunk.weight)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def read_video(self, states: list[Tensor], tau: Tensor, chunk: Tensor, end: Tensor) -> Tensor:
        """Features of every video layer (B, N, D_v) -> keys and values (layers, B, N + 1, 2*width).

        Computed once per chunk and shared by all denoising steps (method.md, section 3). The one-way coupling is
        here: what comes from the video tower is detached.

        Args:
            tau: (N,) latent frame of each token; 0 is the keyframe.
            chunk: (B,) index of the chunk within its task, counted from 1; 0 says nothing.
            end: (B, 2, 3) where the video tower expects both grippers at the event's end, normalised; it becomes
                the last token of every layer.

        Raises:
            SpecError: not one state per layer, or inputs that do not fit each other.
        """
        if len(states) != len(self.blocks):
            raise SpecError(f"states must be {len(self.blocks)}, one per video layer; found {len(states)}")
        expect("chunk", chunk, ("B",), "int64", low=0)
        expect("tau", tau, (states[0].shape[1],), "int64", low=-self.history)
        expect("end", end, ("B", 2, 3))
        expect_batches(states=states[0], chunk=chunk, end=end)
        goal = self.goal(end.detach().flatten(1))[:, None]
        tau = torch.cat([tau, torch.zeros_like(tau[:1])])
        known = chunk.clamp(max=self.chunk.num_embeddings - 1)
        when = self.video_frame(tau + self.history)[None] + self.chunk(known)[:, None]
        read = [torch.cat([s.detach(), goal], dim=1) for s in states]
        return torch.stack([block.read_video(s, when) for block, s in zip(self.blocks, read)])

    def forward(
        self, noisy: Tensor, t: Tensor, video: Tensor, state: Tensor, timing: Timing, mask: Tensor | None
    ) -> Tensor:
        """One denoising step.

        Args:
            noisy: (B, T, D) noisy normalised actions; a committed prefix is clean.
            t: (B, T) noise level of every step in [0, 1]; 0 for a committed prefix.
            video: (layers, B, N, 2*width) from `read_video`.
            state: (B, D) normalised joint state.
            timing: length and window of the chunk.
            mask: (B, 1, 1, T) bool, true where a step counts; None when nothing is padding.

        Returns:
            (B, T, D) the estimate of the clean normalised actions.

        Raises:
            SpecError: inputs that do not fit the tower or each other.
        """
        self._check(noisy, t, video, state, timing, mask)
        x = self.embed(noisy) + self._clock(noisy, timing)
        time = self.time_proj(self.time(sinusoid(t * 50, 64))).unflatten(-1, (8, -1))
        token = self.state(state)[:, None]
        for block, key_value in zip(self.blocks, video):
            x = block(x, time, token, key_value, mask)
        change, gate = self.out(self.norm(x)).chunk(2, dim=-1)
        if self.prediction == "v":
            return noisy - t[..., None] * change
        return change + torch.sigmoid(gate + 2) * state[:, None]

    def _check(self, noisy, t, video, state, timing, mask) -> None:
        joints, layers, width = self.embed.in_features, len(self.blocks), self.embed.out_features
        expect("noisy", noisy, ("B", "T", joints))
        if noisy.shape[1] > self.horizon:
            raise SpecError(f"a chunk must have at most {self.horizon} steps; found {noisy.shape[1]}")
        expect("t", t, ("B", noisy.shape[1]), low=0, high=1)
        expect("video", video, (layers, "B", "tokens", 2 * width))
        expect("state", state, ("B", joints))
        expect("length", timing.length, ("B",), low=1)
        expect("window", timing.window, ("B",), "int64", low=0, high=len(WINDOWS) - 1)
        if mask is not None:
            expect("mask", mask, ("B", 1, 1, noisy.shape[1]), "bool")
        expect_batches(
            noisy=noisy, t=t, video=video[0], state=state, length=timing.length, window=timing.window,
            mask=mask,
        )  # fmt: skip

    def _clock(self, noisy: Tensor, timing: Timing) -> Tensor:
        """(B, T, width): how much of the chunk is done and left, its length, latent frame and window."""
        steps, length = noisy.shape[1], timing.length[:, None]
        k = torch.arange(steps, device=noisy.device, dtype=noisy.dtype)
        done = ((k[None] + 1) / length).clamp(max=1)
        left = (length - 1 - k[None]).clamp(min=0) / self.horizon
        share = (length / self.horizon).expand_as(done)
        clock = torch.cat([sinusoid(done * 50, 32), sinusoid(left * 50, 32), share[..., None]], dim=-1)
        frame = torch.arange(steps, device=noisy.device) // self.steps_per_latent + 1
        return self.progress(clock) + self.frame(frame) + self.window(timing.window)[:, None]
