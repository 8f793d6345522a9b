"""What the language side takes over from a trained video tower: text features to align to, and its eyes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

from wallwm_model.errors import BundleError
from wallwm_model.network.caption import CaptionEncoder
from wallwm_model.spec import ModelSpec
from wallwm_model.wording import vocabulary


class EncoderTeacher:
    """Features of an encoder with a word list of its own.

    Args:
        encoder: ids (B, L) of `known` -> features (B, L, text_width).
        known: the encoder's words, in id order.
        words: the language side's.
    """

    def __init__(self, encoder: nn.Module, known: tuple[str, ...], words: tuple[str, ...] = vocabulary()):
        self.encoder = encoder.eval().requires_grad_(False)
        ids = {word: i for i, word in enumerate(known)}
        self.ids = torch.tensor([ids.get(word, -1) for word in words])

    @torch.no_grad()
    def __call__(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L) ids -> features (B, L, text_width), and which rows hold known words only (B,)."""
        ids = self.ids[text]
        return self.encoder(ids.clamp(min=0)), (ids >= 0).all(1)


class TokenTeacher:
    """Features of a frozen UMT5 for texts in the language side's own ids, read and written anew in UMT5's.

    Word k of one need not be word k of the other; the conditioner's mixing layer has to learn that. What is longer in
    UMT5's ids is left out: the conditioner has nothing there.

    Args:
        encoder: ids (B, L) -> features (B, L, text_width).
        spec: of the model, with both tokenizers.
    """

    def __init__(self, encoder: nn.Module, spec: ModelSpec):
        self.encoder, self.spec = encoder.eval().requires_grad_(False), spec

    @torch.no_grad()
    def __call__(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """See `EncoderTeacher`; every row is understood."""
        said = [self.spec.lexicon.text(row) for row in text.tolist()]
        ids = torch.from_numpy(np.stack([self.spec.tokenise(words) for words in said])).to(text.device)
        wanted = self.encoder(ids)[:, : text.shape[1]] * (text != 0)[..., None]
        return wanted, torch.ones(len(text), dtype=torch.bool, device=text.device)


def bundle_teacher(folder: Path) -> EncoderTeacher:
    """The caption encoder of a trained model: of its bundle, or of a training folder's averaged weights.

    Raises:
        BundleError: the folder holds no trained model, or no caption encoder of its specification's words.
    """
    weights = video_weights(folder, "captions.")
    known = json.loads((folder / "spec.json").read_text())["vocabulary"]
    if "embed.weight" not in weights or len(weights["embed.weight"]) != len(known):
        raise BundleError(
            f"{folder} must hold a caption encoder of the {len(known)} words of its specification; found none"
        )
    words, width = weights["embed.weight"].shape
    depth = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("layers.layers."))
    encoder = CaptionEncoder(words, weights["position"].shape[1], width, depth)
    encoder.load_state_dict(weights)
    return EncoderTeacher(encoder, tuple(known))


def video_weights(folder: Path, part: str) -> dict[str, Tensor]:
    """Weights of a trained video tower whose names start with `part`, without it.

    Raises:
        BundleError: the folder holds neither a bundle nor a finished video stage.
    """
    names = ("model.safetensors", "video-ema.safetensors")
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise BundleError(f"a trained video tower needs {' or '.join(names)} in {folder}; found neither")
    with safe_open(path, "pt") as file:
        found = {name.removeprefix("video."): name for name in file.keys()}
        return {
            k.removeprefix(part): file.get_tensor(v).float() for k, v in found.items() if k.startswith(part)
        }
