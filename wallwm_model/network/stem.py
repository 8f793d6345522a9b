"""The keyframe's conditioning channel: precise positions that latents of stride 8 blur.

A convolutional stem with coordinate channels gives one extra feature per patch token, key points at two
resolutions (spatial softmax) and a token that carries them. Fixed and arm-mounted cameras have a stem each.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Stem(nn.Module):
    """(B, 3, S, S) in [-1, 1] -> patch features (B, (S / stride)^2, width), a key-point token (B, 1, width) and
    the key points themselves (B, 6 * keypoints): x, y in [-1, 1] and strength, at strides 4 and 2.

    Args:
        image: side of the pictures, S [px].
        stride: side of a patch [px], a power of 2 from 8 up.
    """

    def __init__(self, image: int, width: int, keypoints: int, stride: int):
        super().__init__()
        axis = torch.linspace(-1, 1, image)
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        self.register_buffer("coordinates", torch.stack([x, y])[None], persistent=False)
        self.edge = nn.Sequential(nn.Conv2d(5, 32, 5, stride=2, padding=2), nn.GroupNorm(4, 32), nn.SiLU())
        self.fine = nn.Sequential(
            nn.Conv2d(32, 64, 3, padding=1, stride=2),
            nn.GroupNorm(8, 64),
            nn.SiLU(),
            nn.Conv2d(64, 96, 3, padding=1),
            nn.GroupNorm(8, 96),
            nn.SiLU(),
        )
        self.coarse = nn.Sequential()
        channels = 96
        for _ in range(int(math.log2(stride // 8))):
            self.coarse.extend([nn.Conv2d(channels, 128, 3, stride=2, padding=1), nn.GroupNorm(8, 128), nn.SiLU()])
            channels = 128
        self.coarse.append(nn.Conv2d(channels, width, 3, stride=2, padding=1))
        self.maps = nn.Conv2d(96, keypoints, 1)
        self.sharp_maps = nn.Sequential(
            nn.Conv2d(32, 48, 3, padding=1), nn.GroupNorm(8, 48), nn.SiLU(), nn.Conv2d(48, keypoints, 1)
        )
        self.keypoint = nn.Linear(6 * keypoints, width)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        edge = self.edge(torch.cat([image, self.coordinates.expand(image.shape[0], -1, -1, -1)], dim=1))
        fine = self.fine(edge)
        patches = self.coarse(fine).flatten(2).transpose(1, 2)
        points = torch.cat([soft_argmax(self.maps(fine)), soft_argmax(self.sharp_maps(edge))], dim=1)
        return patches, self.keypoint(points)[:, None], points


def soft_argmax(maps: Tensor) -> Tensor:
    """(B, K, h, w) logits -> (B, 3K): where each map points, x then y in [-1, 1], and how clearly."""
    x = torch.linspace(-1, 1, maps.shape[3], device=maps.device)
    y = torch.linspace(-1, 1, maps.shape[2], device=maps.device)
    weight = maps.flatten(2).softmax(-1).unflatten(2, maps.shape[2:])
    strength = (weight * maps).sum((2, 3)).tanh()
    return torch.cat([weight.sum(2) @ x, weight.sum(3) @ y, strength], dim=1)
