"""What the language stages report on held-out moments."""

from __future__ import annotations

from torch import Tensor, nn

from wallwm_model.network.language.model import Language
from wallwm_model.network.language.reader import greedy
from wallwm_model.network.model import WORLD_SCALE, normalise
from wallwm_model.train.language_data import Moments


def accuracy(found: Tensor, wanted: Tensor) -> dict[str, float]:
    """Share of words and of whole texts that agree; (B, M) ids each, the wanted ones padded with 0."""
    valid = wanted != 0
    same = (found == wanted) & valid
    return {"tokens": float(same.sum() / valid.sum()), "exact": float((same | ~valid).all(1).float().mean())}


def measure(stage: str, language: Language, batch: Moments, probe: nn.Module) -> dict[str, float]:
    """Held-out figures of one stage and batch; `tokens` and `exact` are of texts that were decoded freely."""
    if stage == "reader":
        notes = language.reader.notes(batch.reason, language.config.latents)
        return accuracy(greedy(language.reader, notes), batch.reason)
    prefix = language.prefill(batch.pictures, batch.instruction)
    if stage == "backbone":
        guess = probe.heads(prefix, batch.instruction).caption.argmax(-1)
        return accuracy(language.backbone.decode(prefix), batch.reason) | {
            "next_event": accuracy(guess, batch.caption)["exact"],
            "place_mm": 1e3 * WORLD_SCALE * place_error(probe(prefix.seen), batch),
        }
    if stage == "vlm":
        outlook = language.outlook(prefix, batch.instruction)
        steps = (outlook.remaining - batch.remaining).abs().median()
        return {
            "next_event": accuracy(outlook.caption.argmax(-1), batch.caption)["exact"],
            "remaining": float(steps),
        }
    front = language.projector(language.latents(prefix))
    return accuracy(greedy(language.reader, front), batch.reason)


def place_error(found: Tensor, batch: Moments) -> float:
    """Median distance of what is there, in normalised units."""
    return float((found - normalise(batch.xyz)).norm(dim=-1)[batch.mask].median())
