"""One interface for the text side of the video tower: a text, and what is seen, become text features.

`T5Text` reads the text alone (nano: the word encoder, large: UMT5); `VlmText` reads it beside the pictures,
with the frozen vision-language backbone, aligned to what T5 says of the same text.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from wallwm_model.network.language.model import Language


class TextSide(Protocol):
    """Text features for the video tower."""

    def features(self, text: Tensor, pictures: Tensor) -> Tensor:
        """(B, L) int64 ids and (B, V, H, W, 3) uint8 pictures -> (B, L, text_width); padding is zero."""


class T5Text(nn.Module):
    """The T5 path behind `TextSide`; `encoder` maps ids (B, L) to features (B, L, text_width)."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def features(self, text: Tensor, pictures: Tensor) -> Tensor:
        """See `TextSide`; the pictures are not looked at."""
        return self.encoder(text)


class VlmText(nn.Module):
    """The VLM conditioner behind `TextSide`."""

    def __init__(self, language: Language):
        super().__init__()
        self.language = language

    def features(self, text: Tensor, pictures: Tensor) -> Tensor:
        """See `TextSide`.

        Raises:
            SpecError: pictures or text of another shape or type.
        """
        return self.language.conditioner.features(self.language.prefill(pictures, text), text)
