"""What the language stages report on held-out moments."""

from __future__ import annotations

from torch import Tensor

from wallwm_model.network.language.reader import greedy
from wallwm_model.network.model import WORLD_SCALE, normalise
from wallwm_model.train.language_data import Moments
from wallwm_model.train.language_losses import LanguageTask


def accuracy(found: Tensor, wanted: Tensor) -> dict[str, float]:
    """Share of words and of whole texts that agree; (B, M) ids each, the wanted ones padded with 0."""
    valid = wanted != 0
    same = (found == wanted) & valid
    return {"tokens": float(same.sum() / valid.sum()), "exact": float((same | ~valid).all(1).float().mean())}


def measure(stage: str, task: LanguageTask, batch: Moments) -> dict[str, float]:
    """Held-out figures of one stage and batch.

    `tokens` and `exact` are of texts that were decoded freely; `align_error` is the distance from the T5
    path's features, whose variance is about 1; `remaining_error` the median error / horizon.
    """
    language, probe = task.language, task.probe
    if stage == "reader":
        notes = language.reader.notes(batch.reason, language.config.latents)
        return accuracy(greedy(language.reader, notes), batch.reason)
    prefix = task.prefix(batch, batch.instruction)
    if stage == "backbone":
        guess = probe.heads(prefix, batch.instruction).caption.argmax(-1)
        return accuracy(language.backbone.decode(prefix), batch.reason) | {
            "next_event": accuracy(guess, batch.caption)["exact"],
            "place_mm": 1e3 * WORLD_SCALE * place_error(probe(prefix.seen), batch),
        }
    if stage == "vlm":
        outlook = language.outlook(prefix, batch.instruction)
        error = (outlook.remaining - batch.remaining).abs().median()
        return {
            "next_event": accuracy(outlook.caption.argmax(-1), batch.caption)["exact"],
            "remaining_error": float(error),
            **_distance(task, outlook.features, batch.instruction),
        }
    latents = language.latents(prefix)
    found = accuracy(greedy(language.reader, language.projector(latents)), batch.reason)
    return found | _distance(task, language.features(latents), batch.caption)


def _distance(task: LanguageTask, found: Tensor, text: Tensor) -> dict[str, float]:
    return {f"{name}_error": float(value) for name, value in task.align(found, text).items()}


def place_error(found: Tensor, batch: Moments) -> float:
    """Median distance of what is there, in normalised units."""
    return float((found - normalise(batch.xyz)).norm(dim=-1)[batch.mask].median())
