"""The nano caption encoder: words in, text features out. It stands where UMT5 stands in the large presets."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wallwm_model.network.checks import expect


class CaptionEncoder(nn.Module):
    """A two-layer transformer over word ids; padding positions come out as zeros, as Wan's text features do."""

    def __init__(self, words: int, length: int, width: int, layers: int, heads: int = 4):
        super().__init__()
        self.embed = nn.Embedding(words, width, padding_idx=0)
        self.position = nn.Parameter(torch.randn(1, length, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L) int64 word ids, 0 = padding -> (B, L, width).

        Raises:
            SpecError: another shape or type, or an id outside the vocabulary.
        """
        last = self.embed.num_embeddings - 1
        expect("tokens", tokens, ("B", self.position.shape[1]), "int64", low=0, high=last)
        padding = tokens == 0
        bias = torch.zeros(tokens.shape, dtype=self.position.dtype, device=tokens.device)
        bias = bias.masked_fill(padding, -1e4)  # finite, so that exported graphs agree on every backend
        hidden = self.layers(self.embed(tokens) + self.position, src_key_padding_mask=bias)
        return self.norm(hidden) * (~padding)[..., None]
