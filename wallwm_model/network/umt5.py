"""The large presets' text path: a frozen UMT5 encoder and its tokenizer, both read from local folders.

It answers as nano's `CaptionEncoder` does: token ids with 0 = padding in, features with zeros at the padding
out, as Wan was trained on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wallwm_model.errors import CaptionError, SpecError
from wallwm_model.network.checkpoint import read_weights, sub_folder

PADDING = 0
LENGTH = 512  # tokens of a prompt in Wan

# UMT5-XXL's encoder: the public text_encoder/config.json of both Wan checkpoints. Apache-2.0.
UMT5_XXL: dict[str, Any] = dict(
    vocab_size=256384,
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
        """(B, L) int64 token ids, 0 = padding -> (B, L, width), zeros at the padding.

        Raises:
            CaptionError: not such a tensor, an id out of the vocabulary, or words after padding.
        """
        self._check(tokens)
        words = tokens != PADDING
        hidden = self.encoder(input_ids=tokens, attention_mask=words.long()).last_hidden_state
        # Selected, not multiplied: a padding token's feature must be zero even where it was not finite.
        return torch.where(words[..., None], hidden, torch.zeros_like(hidden))

    forward = features

    def _check(self, tokens: Tensor) -> None:
        if tokens.ndim != 2 or tokens.dtype != torch.int64:
            raise CaptionError(
                f"tokens must be (B, L) int64; found shape {tuple(tokens.shape)}, {str(tokens.dtype)[6:]}"
            )
        if tokens.is_meta:
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


class TextTokenizer:
    """Captions -> token ids, by the tokenizer in a local folder (or in `tokenizer` inside). Never downloads.

    Raises:
        SpecError: no usable tokenizer there, or one whose padding id is not 0.
    """

    def __init__(self, folder: Path, length: int = LENGTH):
        from transformers import AutoTokenizer

        place = sub_folder(folder, "tokenizer")
        if not place.is_dir():
            raise SpecError(f"a tokenizer must be a local folder; found no folder {place}")
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).partition("\n")[0]
            raise SpecError(f"{place} must hold a tokenizer for transformers; found: {reason}") from None
        if self._tokenizer.pad_token_id != PADDING:
            found = self._tokenizer.pad_token_id
            raise SpecError(f"the tokenizer's padding id must be 0; found {found} in {place}")
        self.length = length

    def __call__(self, captions: Sequence[str]) -> Tensor:
        """B captions -> (B, length) int64, padded with 0.

        Raises:
            CaptionError: a caption is longer than `length` tokens; nothing is cut off silently.
        """
        ids = [self._tokenizer(" ".join(caption.split())).input_ids for caption in captions]
        for caption, found in zip(captions, ids):
            if len(found) > self.length:
                raise CaptionError(
                    f"a caption may have {self.length} tokens; found {len(found)} in {caption[:40]!r}"
                )
        padded = [found + [PADDING] * (self.length - len(found)) for found in ids]
        return torch.tensor(padded, dtype=torch.int64)
