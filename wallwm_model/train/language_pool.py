"""Moments whose picture tokens are computed once: nearly all that stages with a frozen backbone would spend.

At nano size the frozen convolutions take 3.3 ms of the 4.7 ms that a moment costs otherwise.
"""

from __future__ import annotations

import numpy as np
import torch

from wallwm_model.network.language.backbone import Backbone
from wallwm_model.train.language_data import MomentDataset, Moments

PART = 64  # moments that are looked at together


class Pool:
    """`size` moments of `data`, drawn once; every process has its own."""

    @torch.no_grad()
    def __init__(self, data: MomentDataset, backbone: Backbone, size: int, seed: int, rank: int):
        self.data = data
        self.rows, self.flip = data.draw(size, np.random.default_rng((seed, rank)))
        parts = np.array_split(np.arange(size), -(-size // PART))
        device = next(backbone.parameters()).device
        pictures = (data.pictures(self.rows[part], self.flip[part]).to(device) for part in parts)
        self.seen = torch.cat([backbone.see(part).half().cpu() for part in pictures])

    def at_step(self, step: int, size: int, seed: int, rank: int = 0) -> Moments:
        """As `MomentDataset.at_step`, out of the pool."""
        index = np.random.default_rng((seed, step, rank)).integers(len(self.rows), size=size)
        return self.data.batch(self.rows[index], self.flip[index], seen=self.seen[index].float())
