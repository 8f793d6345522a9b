"""The text encoders: that of a preset, and UMT5, which the large ones read from a local folder, frozen.

It answers as nano's `CaptionEncoder` does: token ids with 0 = padding in, features with zeros at the padding
out, as Wan was trained on them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wallwm_model.errors import CaptionError
from wallwm_model.network.caption import CaptionEncoder
from wallwm_model.network.checkpoint import read_weights, sub_folder
from wallwm_model.network.config import NetworkConfig
from wallwm_model.subwords import PADDING, UMT5_IDS

# UMT5-XXL's encoder: the public text_encoder/config.json of both Wan checkpoints. Apache-2.0.
UMT5_XXL: dict[str, Any] = dict(
    vocab_size=UMT5_IDS,
    d_model=4096,
    d_kv=64,
    d_ff=10240,
    num_layers=24,
    num_heads=64,
    relative_attention_num_buckets=32,
    relative_attention_max_distance=128,
    feed_forward_proj="gated-gelu",
    layer_norm_epsilon=1e-6,
    dropout_rate=0.1,
)


class Umt5Encoder(nn.Module):
    """Frozen text features.

    Args:
        config: arguments of transformers' `UMT5Config`.
    """

    def __init__(self, config: dict[str, Any]):
        super().__init__()
        from transformers import UMT5Config, UMT5EncoderModel

        self.encoder = UMT5EncoderModel(UMT5Config(**config))
        self.requires_grad_(False)
        self.train()

    @property
    def width(self) -> int:
        """Channels of a feature."""
        return self.encoder.config.d_model

    def train(self, mode: bool = True) -> Umt5Encoder:
        """Stays in evaluation mode (no dropout), whatever is asked of the model around it."""
        return super().train(False)

    @torch.no_grad()
    def features(self, tokens: Tensor) -> Tensor:
        """(B, L) int64 token ids, 0 = padding -> (B, L, width) float32, zeros at the padding.

        Raises:
            CaptionError: not such a tensor, an id out of the vocabulary, or words after padding.
        """
        self._check(tokens)
        words = tokens != PADDING
        hidden = self.encoder(input_ids=tokens, attention_mask=words.long()).last_hidden_state.float()
        # Selected, not multiplied: a padding token's feature must be zero even where it was not finite.
        return torch.where(words[..., None], hidden, torch.zeros_like(hidden))

    forward = features

    def _check(self, tokens: Tensor) -> None:
        if tokens.ndim != 2 or tokens.dtype != torch.int64:
            raise CaptionError(
                f"tokens must be (B, L) int64; found shape {tuple(tokens.shape)}, {str(tokens.dtype)[6:]}"
            )
        if tokens.is_meta or torch.compiler.is_exporting():
            return
        size = self.encoder.config.vocab_size
        if tokens.numel() and not 0 <= int(tokens.min()) <= int(tokens.max()) < size:
            raise CaptionError(
                f"token ids must be in 0..{size - 1}; found {int(tokens.min())} to {int(tokens.max())}"
            )
        if bool(((tokens[:, :-1] == PADDING) & (tokens[:, 1:] != PADDING)).any()):
            raise CaptionError("padding (0) must follow the words of a caption; found words after padding")

    def load(self, folder: Path) -> Umt5Encoder:
        """Read the weights of a public checkpoint: its folder, or the `text_encoder` folder inside.

        Raises:
            SpecError: no weights there, or those of another architecture.
        """
        # Files carry the embedding under either of its two tied names.
        tied = {"encoder.embed_tokens.weight", "shared.weight"}
        read_weights(self.encoder, sub_folder(folder, "text_encoder"), tied=tied)
        self.encoder.encoder.embed_tokens.weight = self.encoder.shared.weight  # one again, if read twice
        return self


def build_text(config: NetworkConfig, words: int, length: int) -> CaptionEncoder | Umt5Encoder:
    """The text encoder that a preset names; the weights of UMT5 are still to be loaded.

    Args:
        words, length: of the specification's vocabulary and captions; UMT5 has its own.
    """
    if config.text == "words":
        return CaptionEncoder(words, length, config.text_width, config.text_layers)
    return Umt5Encoder(UMT5_XXL | {"d_model": config.text_width, "num_layers": config.text_layers})
