"""What each language stage minimises (method.md, sections 4 and 6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wallwm_model.network.language.backbone import Prefix
from wallwm_model.network.language.conditioner import Conditioner
from wallwm_model.network.language.model import Language
from wallwm_model.network.model import normalise
from wallwm_model.train.language_data import Moments
from wallwm_model.train.language_recipes import NOTES

# The T5 path's features (B, L, text_width) of word ids (B, L), and which rows it understands (B,).
Teacher = Callable[[Tensor], tuple[Tensor, Tensor]]


class Probe(nn.Module):
    """Extra questions to the backbone while it is pre-trained; thrown away afterwards.

    They make its picture tokens say where things are, and its last state what comes next.
    """

    def __init__(self, language: Language, slots: int = 9):
        super().__init__()
        config = language.config
        tokens = config.views * config.picture_tokens * config.backbone.width
        self.places = nn.Sequential(
            nn.LayerNorm(tokens), nn.Linear(tokens, 128), nn.SiLU(), nn.Linear(128, 3 * slots)
        )
        self.heads = Conditioner(config)
        self.slots = slots

    def forward(self, seen: Tensor) -> Tensor:
        """Picture tokens (B, V * S, D) -> normalised positions (B, slots, 3)."""
        return self.places(seen.flatten(1)).unflatten(-1, (self.slots, 3))


@dataclass
class LanguageTask:
    """What the losses need beside the batch.

    Attributes:
        teacher: the T5 path's features for the stages `vlm` and `staircase`; without it nothing is aligned.
        probe: of the backbone's pre-training.
    """

    language: Language
    teacher: Teacher | None
    probe: nn.Module

    def losses(self, stage: str, batch: Moments, step: int) -> dict[str, Tensor]:
        """What stage `stage` minimises at step `step`."""
        if stage == "reader":
            return self.reader(batch, step)
        return getattr(self, stage)(batch)

    def backbone(self, batch: Moments) -> dict[str, Tensor]:
        """Reasoning text after the observation; next event, its time, places of things from probes."""
        backbone, probe = self.language.backbone, self.probe
        prefix = backbone.prefill(batch.pictures, batch.instruction)
        hidden = backbone.read(prefix, backbone.embed(batch.reason[:, :-1]))
        logits = backbone.words(torch.cat([prefix.last[:, None], hidden], dim=1))
        outlook = probe.heads(prefix, batch.instruction)
        error = F.smooth_l1_loss(probe(prefix.seen), normalise(batch.xyz), beta=0.05, reduction="none")
        mask = batch.mask[..., None].float()
        return {
            "text": words_loss(logits, batch.reason),
            "caption": words_loss(outlook.caption, batch.caption, padding=True),
            "remaining": remaining_loss(outlook.remaining, batch.remaining),
            "places": (error * mask).sum() / (3 * mask.sum()),
        }

    def reader(self, batch: Moments, step: int) -> dict[str, Tensor]:
        """Reasoning text after notes about itself."""
        reader = self.language.reader
        counts = [count for count in NOTES if count <= self.language.config.most_latents]
        count = counts[step % len(counts)]
        return {"text": words_loss(reader(reader.notes(batch.reason, count), batch.reason), batch.reason)}

    def vlm(self, batch: Moments) -> dict[str, Tensor]:
        """Features as of the T5 path; after an instruction also the next event; remaining time.

        Every second text is the event's caption, which says itself what comes next.
        """
        even = torch.arange(len(batch.caption)) % 2 == 0
        text = torch.where(even[:, None], batch.instruction, batch.caption)
        outlook = self.language.outlook(self.prefix(batch, text), text)
        losses = {
            "caption": words_loss(outlook.caption[even], batch.caption[even], padding=True),
            "remaining": 2 * remaining_loss(outlook.remaining, batch.remaining),
        }
        return losses | self.align(outlook.features, text)

    def staircase(self, batch: Moments) -> dict[str, Tensor]:
        """The reasoning text by the frozen reader; the next caption's features of the T5 path."""
        language = self.language
        latents = language.latents(self.prefix(batch, batch.instruction))
        logits = language.reader(language.projector(latents), batch.reason)
        said = self.align(language.features(latents), batch.caption)
        return {"text": words_loss(logits, batch.reason)} | said

    @torch.no_grad()
    def prefix(self, batch: Moments, text: Tensor) -> Prefix:
        """The frozen backbone's reading, from the picture tokens where they are known already."""
        backbone = self.language.backbone
        if batch.seen is None:
            return backbone.prefill(batch.pictures, text)
        return backbone.read_seen(batch.seen, text)

    def align(self, found: Tensor, text: Tensor) -> dict[str, Tensor]:
        """Distance of features (B, K, text_width) from the teacher's of (B, L) words."""
        if self.teacher is None:
            return {}
        wanted, known = self.teacher(text)
        if not known.any():
            return {}
        wanted = F.pad(wanted, (0, 0, 0, max(0, found.shape[1] - wanted.shape[1])))[:, : found.shape[1]]
        return {"align": F.mse_loss(found[known], wanted[known])}


def words_loss(logits: Tensor, tokens: Tensor, *, padding: bool = False) -> Tensor:
    """Cross-entropy of (B, M, words) against (B, M); with `padding` the words after the end count too."""
    return F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), ignore_index=-100 if padding else 0)


def remaining_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Huber distance of remaining lengths (B,)."""
    return F.smooth_l1_loss(found, wanted, beta=0.05)
