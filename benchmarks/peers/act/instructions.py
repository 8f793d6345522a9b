"""Instructions for a policy without language: which task, cube, pad and arm a sentence asks for."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from wallwm_model.captions import ARMS, CUBE_COLOURS, INSTRUCTIONS, PAD_COLOURS, instruction
from wallwm_model.errors import CaptionError
from wallwm_model.spec import ModelSpec

CHOICES = (tuple(INSTRUCTIONS), CUBE_COLOURS, PAD_COLOURS, ARMS)
SIZE = sum(map(len, CHOICES))


class Instructions:
    """Word ids of instructions -> one-hot task, cube, pad and picking arm, beside one another."""

    def __init__(self, spec: ModelSpec) -> None:
        self._known = {}
        for chosen in product(*CHOICES):
            task, cube, pad, arm = chosen
            ids = spec.tokenise(instruction(task, arm=arm, cube=cube, pad=pad))
            hot = [
                float(value == one) for values, one in zip(CHOICES, chosen, strict=True) for value in values
            ]
            self._known[tuple(ids.tolist())] = torch.tensor(hot)

    def __call__(self, tokens: Tensor) -> Tensor:
        """(B, L) word ids -> (B, SIZE) float32.

        Raises:
            CaptionError: a sentence that is no task's instruction.
        """
        rows = [self._known.get(tuple(row)) for row in tokens.tolist()]
        if any(row is None for row in rows):
            wanted = " or ".join(f"{text!r}" for text in INSTRUCTIONS.values())
            raise CaptionError(f"ACT must be told a whole task, {wanted}; found another sentence")
        return torch.stack(rows)
