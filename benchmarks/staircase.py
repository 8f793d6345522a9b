"""Is staircase decoding faster than decoding token by token, and can its latents be read back as text?"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wallwm_model.network.language.model import Language
    from wallwm_model.train.language_data import MomentDataset

COUNTS = (4, 8, 16, 32)


def run(
    language: Language | None = None, held_out: MomentDataset | None = None, *,
    counts: tuple[int, ...] = COUNTS,
    repeats: int = 30, progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:  # fmt: skip
    """Measure on one thread of this machine.

    Args:
        language: a trained one; without it speed is measured on an untrained nano and no text is read.
        held_out: held-out moments whose text is reconstructed from the latents.
        counts: reasoning positions K_c; both ways of decoding are timed in turn, `repeats` times.
        progress: told what is being measured.

    Returns:
        staircase_speedup {K_c: ratio of the medians, after the shared prefill}, with_prefill_speedup,
        staircase_ms, tokenwise_ms, prefill_ms; with `held_out` also cot_token_accuracy, cot_exact_match,
        cot_texts.
    """
    import torch

    from wallwm_model.network.language.config import preset
    from wallwm_model.network.language.model import Language

    trained, threads = language is not None, torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        language = (language or Language(preset("nano"))).eval()
        with torch.no_grad():
            found = _speed(language, counts, repeats, progress)
            if trained and held_out is not None:
                progress("reading latents back as text")
                found |= _text(language, held_out)
    finally:
        torch.set_num_threads(threads)
    return found


def _speed(
    language: Language, counts: tuple[int, ...], repeats: int, progress: Callable[[str], None]
) -> dict[str, Any]:
    import torch

    config = language.config
    side = config.vision.image
    pictures = torch.randint(0, 255, (1, config.views, side, side, 3), dtype=torch.uint8)
    text = torch.randint(1, config.words, (1, config.text_length))
    prefix = language.prefill(pictures, text)
    prefill = _times([lambda: language.prefill(pictures, text)], repeats)[0]
    names = ("staircase_ms", "tokenwise_ms", "staircase_speedup", "with_prefill_speedup")
    found: dict[str, Any] = {name: {} for name in names}
    for count in counts:
        progress(f"decoding {count} positions")
        fast, slow = _times(
            [
                lambda: language.staircase(language.backbone, prefix, count),
                lambda: tokenwise(language, prefix, count),
            ],
            repeats,
        )  # fmt: skip
        values = (1e3 * fast, 1e3 * slow, slow / fast, (prefill + slow) / (prefill + fast))
        for name, value in zip(names, values):
            found[name][str(count)] = round(value, 3)
    return {"what": "nano language side, one thread, batch 1", "prefill_ms": round(1e3 * prefill, 3)} | found


def tokenwise(language: Language, prefix, count: int):
    """`count` latents by the same backbone one after the other, each fed with the state before it; with a
    cache.

    Feeding states back spares this side the word logits, their argmax and the table: it is the faster of the
    usual ways.
    """
    import torch

    grown, state, states = prefix.caches, language.staircase.start[None].expand(len(prefix.last), 1, -1), []
    for _ in range(count):
        state, grown = language.backbone.step(prefix, grown, state)
        states.append(state)
    return torch.cat(states, dim=1)


def _times(calls: list[Callable[[], Any]], repeats: int) -> list[float]:
    """Median time of each call [s]; they take turns, so that a busy moment of the machine hits all."""
    spent: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
    for _ in range(repeats):
        for call, times in zip(calls, spent):
            began = time.perf_counter()
            call()
            times.append(time.perf_counter() - began)
    return [median(times) for times in spent]


def _text(language: Language, held_out: MomentDataset) -> dict[str, Any]:
    import torch

    from wallwm_model.network.language.reader import greedy
    from wallwm_model.train.language_measure import accuracy

    said, wanted = [], []
    for batch in held_out.sweep(64):
        latents = language.latents(language.prefill(batch.pictures, batch.instruction))
        said.append(greedy(language.reader, language.projector(latents)))
        wanted.append(batch.reason)
    found = accuracy(torch.cat(said), torch.cat(wanted))
    texts = sum(map(len, wanted))
    return {"cot_token_accuracy": found["tokens"], "cot_exact_match": found["exact"], "cot_texts": texts}
