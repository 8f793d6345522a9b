"""The whole language side as one module."""

from __future__ import annotations

from torch import Tensor, nn

from wallwm_model.errors import SpecError
from wallwm_model.lexicon import Lexicon
from wallwm_model.network.language.backbone import Backbone, Prefix
from wallwm_model.network.language.conditioner import Conditioner, Outlook
from wallwm_model.network.language.config import LanguageConfig
from wallwm_model.network.language.reader import Projector, Reader, greedy
from wallwm_model.network.language.staircase import Staircase


class Language(nn.Module):
    """Backbone, conditioner heads, staircase branch, projector, reader; stages say what is frozen."""

    def __init__(self, config: LanguageConfig):
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.conditioner = Conditioner(config)
        self.staircase = Staircase(config, self.backbone)
        self.projector = Projector(config)
        self.reader = Reader(config)

    def prefill(self, pictures: Tensor, text: Tensor) -> Prefix:
        """(B, V, H, W, 3) uint8 pictures and (B, L) int64 text, read once; see `Backbone.prefill`."""
        return self.backbone.prefill(pictures, text)

    def outlook(self, prefix: Prefix, text: Tensor) -> Outlook:
        """What the conditioner's heads say; `text` (B, L) as given to `prefill`."""
        return self.conditioner(prefix, text)

    def latents(self, prefix: Prefix, count: int | None = None) -> Tensor:
        """(B, K_c, D): the reasoning, K_c states of the backbone's width."""
        return self.staircase(self.backbone, prefix, count or self.config.latents)

    def features(self, latents: Tensor) -> Tensor:
        """The reasoning (B, K_c, D) as text features for the video tower (B, K_c, text_width)."""
        return self.staircase.features(latents)

    def explain(self, latents: Tensor, lexicon: Lexicon) -> list[str]:
        """The reasoning latents (B, K_c, D) in words, by greedy decoding of the frozen reader.

        Raises:
            SpecError: latents or lexicon of another size.
        """
        width = self.config.backbone.width
        if latents.ndim != 3 or latents.shape[2] != width:
            raise SpecError(f"latents must be (B, K, {width}); found {tuple(latents.shape)}")
        if lexicon.size != self.config.words:
            raise SpecError(f"the word list must have {self.config.words} words; found {lexicon.size}")
        return [lexicon.text(row) for row in greedy(self.reader, self.projector(latents)).tolist()]
