"""The language side as graphs: `Reason` reads an observation, `Explain` reads latents back."""

from __future__ import annotations

from torch import Tensor, nn

from wallwm_model.network.language.model import Language


class Reason(nn.Module):
    """Pictures and instruction -> reasoning latents, next event, remaining time. One prefill serves all."""

    def __init__(self, language: Language, horizon: int):
        super().__init__()
        self.language, self.horizon = language, horizon

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, ...]:
        """images (1, V, H, W, 3) uint8, tokens (1, L) int64 ids of the caption or instruction.

        Returns:
            vlm (1, L, text_width): the words as the backbone reads them beside the pictures;
            staircase (1, K_c, text_width): the reasoning as text features;
            latents (1, K_c, D): the reasoning, for `explain`;
            caption (1, L, words): logits of the next event's caption;
            remaining (1,): of the event under way, or about to begin [steps].
        """
        prefix = self.language.prefill(images, tokens)
        outlook = self.language.outlook(prefix, tokens)
        latents = self.language.latents(prefix)
        features = self.language.features(latents)
        return outlook.features, features, latents, outlook.caption, outlook.remaining * self.horizon


class Explain(nn.Module):
    """Reasoning latents and the words so far -> logits of the next word, at every place at once."""

    def __init__(self, language: Language):
        super().__init__()
        self.projector, self.reader = language.projector, language.reader

    def forward(self, latents: Tensor, tokens: Tensor) -> Tensor:
        """latents (1, K_c, D), tokens (1, M) int64, 0 from the first unknown word on.

        Returns:
            (1, M, words): row m depends on the latents and the words before m alone.
        """
        return self.reader(self.projector(latents), tokens)
