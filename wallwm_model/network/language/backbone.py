"""The frozen vision-language backbone: one prefill of an observation, then any number of readings of its
cache.

Class and key layout are transformers' Qwen2.5-VL, so that public checkpoints load (`public.py`). The nano backbone is a
stand-in of the same family: no public weights are that small, so it is first pre-trained here, on instruction
and pictures -> reasoning text, and frozen from then on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen2_5_VLModel

from wallwm_model.network.checks import expect, expect_batches
from wallwm_model.network.language.config import LanguageConfig
from wallwm_model.network.language.layers import FORBIDDEN, Cache, Rotary, causal, run_layer
from wallwm_model.network.language.vision import KeypointStem, Sight


@dataclass
class Prefix:
    """An observation as the backbone has read it: P tokens.

    Attributes:
        caches: keys and values of every layer, (B, kv_heads, P, head) each.
        bias: (B, 1, 1, P) forbids looking at the padding of the text.
        text: (B, L, D) states at the text's words.
        last: (B, D) state at the mark that asks for reasoning; it has seen everything.
        seen: (B, V * S, D) what the picture encoder gave, before any word was read.
    """

    caches: list[Cache]
    bias: Tensor
    text: Tensor
    last: Tensor
    seen: Tensor


class Backbone(nn.Module):
    """Qwen2.5-VL over V pictures of a fixed size and one text."""

    def __init__(self, config: LanguageConfig):
        super().__init__()
        self.config = config
        self.qwen = Qwen2_5_VLModel(config.qwen())
        if config.vision.stem == "keypoints":
            see = config.vision
            stem = KeypointStem(config.views, see.image, see.patch, see.width, see.keypoints)
            self.qwen.visual.patch_embed = stem
        self.sight = Sight(config.vision, self.qwen.visual)
        places = positions(config, config.reason_length + config.most_latents)
        cos, sin = self.qwen.language_model.rotary_emb(self.sight.cos, places[:, None])
        self.register_buffer("cos", cos[0], persistent=False)
        self.register_buffer("sin", sin[0], persistent=False)
        self.register_buffer("smaller", shrinking(config.side, config.vision.image), persistent=False)
        self.register_buffer("order", causal(config.prefix), persistent=False)

    @property
    def layers(self) -> nn.ModuleList:
        """The text stack's layers."""
        return self.qwen.language_model.layers

    def embed(self, tokens: Tensor) -> Tensor:
        """Word ids (...) -> (..., D)."""
        return self.qwen.language_model.embed_tokens(tokens)

    def words(self, hidden: Tensor) -> Tensor:
        """Final states (..., D) -> logits over the words (..., words); input and output table are one."""
        return hidden @ self.qwen.language_model.embed_tokens.weight.T

    def rotary(self, first: int, count: int) -> Rotary:
        """Of `count` positions, `first` tokens after the start."""
        return self.cos[first : first + count], self.sin[first : first + count]

    def prefill(self, pictures: Tensor, text: Tensor) -> Prefix:
        """Read an observation once.

        Args:
            pictures: (B, V, H, W, 3) uint8.
            text: (B, L) int64 word ids, 0 = padding.

        Raises:
            SpecError: other shapes or types, or a word that has no id.
        """
        self._check(pictures, text)
        return self.read_seen(self.see(pictures), text)

    def see(self, pictures: Tensor) -> Tensor:
        """(B, V, H, W, 3) uint8 pictures -> (B, V * S, D): all that the text stack gets of them."""
        if self.config.picture_side:
            pictures = shrink(pictures, self.smaller)
        return self.sight(self.qwen.visual, pictures).unflatten(0, (-1, self.config.views)).flatten(1, 2)

    def read_seen(self, seen: Tensor, text: Tensor) -> Prefix:
        """The second half of `prefill`: (B, V * S, D) from `see`, and the text (B, L)."""
        config = self.config
        pictures = seen.unflatten(1, (config.views, -1))
        marks = self.embed(
            torch.tensor([config.picture, config.picture_end, config.think], device=text.device)
        )
        before, after, think = (m.expand(len(text), config.views, 1, -1) for m in marks)
        pictured = torch.cat([before, pictures, after], dim=2).flatten(1, 2)
        hidden = torch.cat([pictured, self.embed(text), think[:, 0]], dim=1)
        empty = torch.nn.functional.pad(text == 0, (pictured.shape[1], 1))
        bias = torch.zeros(empty.shape, device=text.device).masked_fill(empty, FORBIDDEN)[:, None, None]
        caches = []
        for layer in self.layers:
            hidden, own = run_layer(layer, hidden, self.rotary(0, config.prefix), self.order + bias)
            caches.append(own)
        hidden = self.qwen.language_model.norm(hidden)
        return Prefix(caches, bias, hidden[:, -1 - config.text_length : -1], hidden[:, -1], seen)

    def read(self, prefix: Prefix, embedded: Tensor) -> Tensor:
        """Final states (B, S, D) of S tokens (B, S, D) after the observation, all at once (training)."""
        rotary = self.rotary(self.config.prefix, embedded.shape[1])
        own = causal(embedded.shape[1], device=embedded.device)
        bias = torch.cat(
            [prefix.bias.expand(-1, -1, embedded.shape[1], -1), own.expand(len(embedded), -1, -1, -1)], dim=-1
        )
        hidden = embedded
        for layer, past in zip(self.layers, prefix.caches):
            hidden, _ = run_layer(layer, hidden, rotary, bias, past)
        return self.qwen.language_model.norm(hidden)

    def step(self, prefix: Prefix, grown: list[Cache], token: Tensor) -> tuple[Tensor, list[Cache]]:
        """One more token (B, 1, D) after the observation and the tokens in `grown`: state (B, 1, D),
        longer caches.

        This is token-by-token decoding with a cache; `grown` is `prefix.caches` at the start.
        """
        length = grown[0][0].shape[2]
        rotary = self.rotary(length, 1)
        bias = torch.nn.functional.pad(prefix.bias, (0, length + 1 - self.config.prefix))
        hidden, longer = token, []
        for layer, past in zip(self.layers, grown):
            hidden, own = run_layer(layer, hidden, rotary, bias, past)
            longer.append(tuple(torch.cat(pair, dim=2) for pair in zip(past, own)))
        return self.qwen.language_model.norm(hidden), longer

    @torch.no_grad()
    def decode(self, prefix: Prefix) -> Tensor:
        """(B, M) the backbone's own reasoning, word by word with a cache, up to `end`; zeros after it."""
        config, grown, state = self.config, prefix.caches, prefix.last[:, None]
        running = torch.ones(len(prefix.last), 1, dtype=torch.bool, device=prefix.last.device)
        found = []
        while len(found) < config.reason_length and running.any():
            word = self.words(state).argmax(-1) * running
            found.append(word)
            running = running & (word != config.end)
            state, grown = self.step(prefix, grown, self.embed(word))
        tokens = torch.cat(found, dim=1)
        return nn.functional.pad(tokens, (0, config.reason_length - tokens.shape[1]))

    def _check(self, pictures: Tensor, text: Tensor) -> None:
        config, side = self.config, self.config.side
        expect("pictures", pictures, ("B", config.views, side, side, 3), "uint8")
        expect("text", text, ("B", config.text_length), "int64", low=0, high=config.words - 1)
        expect_batches(pictures=pictures, text=text)


def shrinking(side: int, smaller: int) -> Tensor:
    """(side, smaller): what each of `side` pixels in a row gives to each of fewer, bilinear with antialiasing."""
    rows = torch.eye(side)[None, None]
    return F.interpolate(rows, (side, smaller), mode="bilinear", antialias=True, align_corners=False)[0, 0]


def shrink(pictures: Tensor, weights: Tensor) -> Tensor:
    """(..., H, W, 3) uint8 -> (..., h, w, 3) float32, still 0 to 255, by the weights (H, h) of `shrinking`.

    As matrix products, which all engines have: OpenVINO crashes at an antialiased Resize. Not rounded: engines
    would not agree on which way.
    """
    return torch.einsum("...hwc,hi,wj->...ijc", pictures.float(), weights, weights)


def positions(config: LanguageConfig, later: int) -> Tensor:
    """(3, P + later) M-RoPE positions (time, height, width) of the observation and of `later` tokens
    after it.

    A picture's tokens share one time and spread over height and width; what follows starts after its side.
    """
    grid, start, parts = config.vision.grid, 0, []
    row, column = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
    square = torch.stack([torch.zeros_like(row), row, column]).flatten(1)
    for _ in range(config.views):
        parts += [torch.full((3, 1), start), square + start + 1, torch.full((3, 1), start + 1 + grid)]
        start += grid + 2
    tail = config.text_length + 1 + later
    return torch.cat([*parts, (torch.arange(tail) + start).expand(3, -1)], dim=1)
