"""The keyframe's conditioning channel: precise positions that latents of stride 8 blur.

A convolutional stem with coordinate channels gives one extra feature per patch token and one key-point
token per view (spatial softmax). Fixed cameras and arm-mounted cameras have a stem each.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Stem(nn.Module):
    """(B, 3, 64, 64) in [-1, 1] -> patch features (B, 16, width) and a key-point token (B, 1, width)."""

    def __init__(self, image: int, width: int, keypoints: int):
        super().__init__()
        axis = torch.linspace(-1, 1, image)
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        self.register_buffer("coordinates", torch.stack([x, y])[None], persistent=False)
        self.fine = nn.Sequential(
            nn.Conv2d(5, 32, 5, stride=2, padding=2),
            nn.GroupNorm(4, 32),
            nn.SiLU(),
            nn.Conv2d(32, 64, 3, padding=1, stride=2),
            nn.GroupNorm(8, 64),
            nn.SiLU(),
            nn.Conv2d(64, 96, 3, padding=1),
            nn.GroupNorm(8, 96),
            nn.SiLU(),
        )
        self.coarse = nn.Sequential(
            nn.Conv2d(96, 128, 3, stride=2, padding=1),
            nn.GroupNorm(8, 128),
            nn.SiLU(),
            nn.Conv2d(128, width, 3, stride=2, padding=1),
        )
        self.maps = nn.Conv2d(96, keypoints, 1)
        self.keypoint = nn.Linear(3 * keypoints, width)
        grid = torch.linspace(-1, 1, image // 4)
        gy, gx = torch.meshgrid(grid, grid, indexing="ij")
        self.register_buffer("grid", torch.stack([gx.flatten(), gy.flatten()], dim=-1), persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        coordinates = self.coordinates.expand(image.shape[0], -1, -1, -1)
        fine = self.fine(torch.cat([image, coordinates], dim=1))
        patches = self.coarse(fine).flatten(2).transpose(1, 2)
        logits = self.maps(fine).flatten(2)
        weight = logits.softmax(-1)
        place = weight @ self.grid  # (B, K, 2): the soft arg-max of every map
        strength = (weight * logits).sum(-1)
        token = self.keypoint(torch.cat([place.flatten(1), strength.tanh()], dim=1))
        return patches, token[:, None]
