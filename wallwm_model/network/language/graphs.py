"""The language side as graphs: `Reason` reads an observation, `Explain` reads latents back."""

from __future__ import annotations

from torch import Tensor, nn

from wallwm_model.network.language.model import Language


class Reason(nn.Module):
    """Pictures and instruction -> reasoning latents, next event, remaining time. One prefill serves all."""

    def __init__(self, language: Language, horizon: int):
        super().__init__()
        self.language, self.horizon = language, horizon

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """images (1, V, H, W, 3) uint8, tokens (1, L) int64 ids of the instruction.

        Returns:
            latents (1, K_c, text_width); features (1, L, text_width) of the instruction as the backbone reads
            it; atomic (1, L, words) logits of the next event's caption; remaining (1,) [steps].
        """
        prefix = self.language.prefill(images, tokens)
        outlook = self.language.outlook(prefix, tokens)
        return (
            self.language.latents(prefix),
            outlook.features,
            outlook.caption,
            outlook.remaining * self.horizon,
        )


class Explain(nn.Module):
    """Reasoning latents and the words so far -> logits of the next word, at every place at once."""

    def __init__(self, language: Language):
        super().__init__()
        self.projector, self.reader = language.projector, language.reader

    def forward(self, latents: Tensor, tokens: Tensor) -> Tensor:
        """latents (1, K_c, text_width), tokens (1, M) int64, 0 from the first unknown word on.

        Returns:
            (1, M, words): row m depends on the latents and the words before m alone.
        """
        return self.reader(self.projector(latents), tokens)
