"""The small language model that reads latents back as text, and the projector in front of it.

A stand-in for a public small LM (its class is transformers' Qwen2): it is pre-trained here, on reasoning
texts that follow notes about themselves, and frozen from then on. A note is the mean of the embeddings of a
few neighbouring words: so it learns what every language model of use knows, to put facts in front into words.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import Qwen2Model

from wallwm_model.errors import SpecError
from wallwm_model.network.language.config import LanguageConfig
from wallwm_model.network.language.layers import causal, run_layer


class Reader(nn.Module):
    """A small causal LM over vectors in front and words after them."""

    def __init__(self, config: LanguageConfig):
        super().__init__()
        self.config = config
        self.lm = Qwen2Model(config.small())
        length = config.most_latents + config.reason_length
        cos, sin = self.lm.rotary_emb(self.lm.embed_tokens.weight, torch.arange(length)[None])
        self.register_buffer("cos", cos[0], persistent=False)
        self.register_buffer("sin", sin[0], persistent=False)

    def forward(self, front: Tensor, tokens: Tensor) -> Tensor:
        """Logits of every word given the vectors in front and the words before it.

        Args:
            front: (B, K, D) vectors.
            tokens: (B, M) word ids; the last one is not read.

        Returns:
            (B, M, words).
        """
        table = self.lm.embed_tokens
        hidden = torch.cat([front, table(tokens[:, :-1])], dim=1)
        length = hidden.shape[1]
        bias = causal(length, device=hidden.device)
        for layer in self.lm.layers:
            hidden, _ = run_layer(layer, hidden, (self.cos[:length], self.sin[:length]), bias)
        return self.lm.norm(hidden[:, front.shape[1] - 1 :]) @ table.weight.T

    def notes(self, tokens: Tensor, count: int) -> Tensor:
        """(B, count, D): texts (B, M) in `count` parts, each the scaled mean of its words' embeddings."""
        length = tokens.shape[1]
        part = torch.arange(length, device=tokens.device) * count // length
        member = (part[:, None] == torch.arange(count, device=tokens.device)) * (tokens != 0)[..., None]
        total = torch.einsum("blk,bld->bkd", member.float(), self.lm.embed_tokens(tokens))
        return total / member.sum(1)[..., None].clamp(min=1) ** 0.5


class Projector(nn.Sequential):
    """Reasoning latents (B, K, backbone's width) -> the reader's vectors (B, K, reader's width)."""

    def __init__(self, config: LanguageConfig):
        width = config.reader.width
        super().__init__(nn.Linear(config.backbone.width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))


@torch.no_grad()
def greedy(reader: Reader, front: Tensor) -> Tensor:
    """(B, M) most likely words after the vectors (B, K, D), up to `end`; zeros after it.

    Raises:
        SpecError: vectors of another shape.
    """
    config = reader.config
    if (
        front.ndim != 3
        or front.shape[2] != config.reader.width
        or not 1 <= front.shape[1] <= config.most_latents
    ):
        raise SpecError(
            f"the reader needs (B, 1 to {config.most_latents}, {config.reader.width}) vectors; "
            f"found {tuple(front.shape)}"
        )
    tokens = torch.zeros(len(front), config.reason_length, dtype=torch.int64, device=front.device)
    running = torch.ones(len(front), dtype=torch.bool, device=front.device)
    for index in range(config.reason_length):
        word = reader(front, tokens[:, : index + 1])[:, -1].argmax(-1)
        tokens[:, index] = word * running
        running &= word != config.end
        if not running.any():
            break
    return tokens
