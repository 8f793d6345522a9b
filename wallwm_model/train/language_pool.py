"""Moments whose picture tokens are computed once: nearly all that stages with a frozen backbone would spend.

At nano size the frozen convolutions take 3.3 ms of the 4.7 ms that a moment costs otherwise.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from wallwm_model.network.language.backbone import Backbone
from wallwm_model.train.language_data import MomentDataset, Moments

PART = 8  # moments that are looked at together: always the same ones, so that a resumed training sees the same


class Pool:
    """`size` moments of `data`, drawn once and looked at when first needed; every process has its own."""

    def __init__(self, data: MomentDataset, backbone: Backbone, size: int, seed: int, rank: int):
        self.data, self.backbone = data, backbone
        self.rows, self.flip = data.draw(size, np.random.default_rng((seed, rank)))
        self._parts: dict[int, Tensor] = {}

    def at_step(self, step: int, size: int, seed: int, rank: int = 0) -> Moments:
        """As `MomentDataset.at_step`, out of the pool."""
        index = np.random.default_rng((seed, step, rank)).integers(len(self.rows), size=size)
        seen = torch.stack([self._part(at // PART)[at % PART] for at in index.tolist()])
        return self.data.batch(self.rows[index], self.flip[index], seen=seen.float())

    @torch.no_grad()
    def _part(self, number: int) -> Tensor:
        """Picture tokens of one part, in half precision."""
        if number not in self._parts:
            part = slice(number * PART, (number + 1) * PART)
            device = next(self.backbone.parameters()).device
            pictures = self.data.pictures(self.rows[part], self.flip[part]).to(device)
            self._parts[number] = self.backbone.see(pictures).half().cpu()
        return self._parts[number]
