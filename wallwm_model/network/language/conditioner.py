"""The VLM text conditioner's heads on the frozen backbone: text features, the next event, its time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wallwm_model.network.language.backbone import Prefix
from wallwm_model.network.language.config import LanguageConfig


@dataclass
class Outlook:
    """What the heads make of an observation.

    Attributes:
        features: (B, L, text_width) as the T5 path would give for the same text; padding is zero.
        caption: (B, L, words) logits of the next event's caption, word by word.
        remaining: (B,) remaining length of the event under way, or about to begin / horizon.
    """

    features: Tensor
    caption: Tensor
    remaining: Tensor


class Conditioner(nn.Module):
    """Project-out, next-event head, remaining-time head."""

    def __init__(self, config: LanguageConfig, text_heads: int = 4):
        super().__init__()
        width, hidden = config.backbone.width, config.head_width
        self.project = nn.Linear(width, config.text_width)
        # The backbone is causal, T5 is not: one layer lets words hear what comes after them.
        self.mix = nn.TransformerEncoderLayer(
            config.text_width, text_heads, 2 * config.text_width, dropout=0.0, activation="gelu",
            batch_first=True,
            norm_first=True,
        )  # fmt: skip
        self.norm = nn.LayerNorm(config.text_width)
        self.place = nn.Parameter(torch.randn(config.text_length, hidden) * 0.02)
        self.caption = nn.Linear(width, hidden)
        self.caption_mix = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, config.words)
        self.remaining = nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, 1))

    def forward(self, prefix: Prefix, text: Tensor) -> Outlook:
        """The prefix of an observation whose text had the word ids (B, L)."""
        spread = self.caption(prefix.last)[:, None] * (1 + self.place) + self.place
        spread = spread + self.caption_mix(nn.functional.gelu(spread))
        remaining = self.remaining(prefix.last).squeeze(-1)
        return Outlook(self.features(prefix, text), self.out(nn.functional.gelu(spread)), remaining)

    def features(self, prefix: Prefix, text: Tensor) -> Tensor:
        """(B, L, text_width): the text as the backbone understands it beside the pictures."""
        empty = text == 0
        bias = torch.zeros(text.shape, device=text.device).masked_fill(empty, -1e4)
        mixed = self.mix(self.project(prefix.text), src_key_padding_mask=bias)
        return self.norm(mixed) * (~empty)[..., None]
