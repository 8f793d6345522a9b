"""Reasoning latents back to text, and caption logits to a caption: numpy only, around the bundle's graphs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wallwm_model.errors import EngineError
from wallwm_model.lexicon import Lexicon
from wallwm_model.thought import Stop

Graph = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


def explain(
    graph: Graph, latents: np.ndarray, lexicon: Lexicon, length: int, stop: Stop = lambda: False
) -> str:
    """The text of reasoning latents, by greedy decoding; empty if `stop` said so before it was complete.

    Args:
        graph: the `explain` graph: latents (1, K_c, W) f32, tokens (1, length) int64 -> logits (1,
            length, words).
        latents: (K_c, W) f32, from the `reason` graph.
        lexicon: of the language side.
        length: longest text [words or tokens].
        stop: asked before each word.

    Raises:
        EngineError: latents of another shape, a graph of another word list, or logits that are not finite.
    """
    if latents.ndim != 2 or latents.dtype != np.float32:
        raise EngineError(f"reasoning latents must be (K, W) float32; found {latents.shape} {latents.dtype}")
    tokens = np.zeros((1, length), np.int64)
    for index in range(length):
        if stop():
            return ""
        logits = graph({"latents": latents[None], "tokens": tokens})["logits"]
        if logits.shape != (1, length, lexicon.size) or not np.isfinite(logits[0, index]).all():
            raise EngineError(
                f"the explain graph must give finite logits {(1, length, lexicon.size)}; found {logits.shape}, "
                f"finite: {bool(np.isfinite(logits).all())}"
            )
        tokens[0, index] = logits[0, index].argmax()
        if tokens[0, index] == lexicon.end:
            break
    return lexicon.text(tokens[0])


def next_caption(logits: np.ndarray, lexicon: Lexicon) -> tuple[str, float]:
    """The caption that next-event logits (L, words) stand for, and how sure they are of its least sure word.

    Raises:
        EngineError: another word list, or logits that are not finite.
    """
    if logits.ndim != 2 or logits.shape[1] != lexicon.size or not np.isfinite(logits).all():
        raise EngineError(f"next-event logits must be finite, (L, {lexicon.size}); found {logits.shape}")
    share = np.exp(logits - logits.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    return lexicon.text(logits.argmax(1)), float(share.max(1).min())
