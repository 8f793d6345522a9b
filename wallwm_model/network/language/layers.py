"""One Qwen decoder layer, run on tokens that may look back at a cache. Used for every path through the
backbone.

The layers' own modules hold the weights; only the order of operations is written out here, so that a cache
can be shared, extended by one position or by many side by side, and exported. Equal to transformers' forward.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FORBIDDEN = -1e4  # attention bias; finite, so that exported graphs agree on every backend
Cache = tuple[Tensor, Tensor]  # keys and values (B, kv_heads, S, head)
Rotary = tuple[Tensor, Tensor]  # cosines and sines (S, head)


def run_layer(
    layer: nn.Module, hidden: Tensor, rotary: Rotary, bias: Tensor, past: Cache | None = None
) -> tuple[Tensor, Cache]:
    """One layer over new tokens.

    Args:
        layer: a `Qwen2_5_VLDecoderLayer` or `Qwen2DecoderLayer`.
        hidden: (B, S, D).
        rotary: of the S positions.
        bias: added to the scores, broadcast to (B, heads, S, P + S).
        past: cache of P earlier tokens; a batch of 1 serves any B.

    Returns:
        (B, S, D), and the new tokens' own cache.
    """
    attention = layer.self_attn
    normal = layer.input_layernorm(hidden)
    query, key, value = (
        project(normal).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    query, key = rotate(query, rotary), rotate(key, rotary)
    own = (key, value)
    if past is not None:
        key, value = (torch.cat([a.expand(len(b), -1, -1, -1), b], dim=2) for a, b in zip(past, own))
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.expand(len(query), -1, -1, -1))
    hidden = hidden + attention.o_proj(mixed.transpose(1, 2).flatten(2))
    return hidden + layer.mlp(layer.post_attention_layernorm(hidden)), own


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Rotary embedding of (B, heads, S, head), halves paired as in Qwen."""
    cos, sin = rotary
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def causal(length: int, past: int = 0, device: torch.device | None = None) -> Tensor:
    """(1, 1, length, past + length) bias: new token i sees all earlier tokens and itself."""
    later = torch.ones(length, length, dtype=torch.bool, device=device).triu(1)
    bias = torch.zeros(length, length, device=device).masked_fill(later, FORBIDDEN)
    return F.pad(bias, (past, 0))[None, None]


def side_by_side(length: int, past: int, device: torch.device | None = None) -> Tensor:
    """(1, 1, length, past + length) bias: each new token sees earlier tokens and itself, no neighbour."""
    other = ~torch.eye(length, dtype=torch.bool, device=device)
    bias = torch.zeros(length, length, device=device).masked_fill(other, FORBIDDEN)
    return F.pad(bias, (past, 0))[None, None]
