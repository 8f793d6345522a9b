"""LPIPS 0.1 with AlexNet features: how different two pictures look to people; 0 is alike, lower is better.

Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018. The weights
lie beside this file in float16: torchvision's AlexNet features and the published linear heads (NOTICE). On
the authors' example pictures they give .722 and .138, the figures that the original prints.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from wallwm_model.errors import ConfigError

WEIGHTS = Path(__file__).with_name("lpips_alex.safetensors")
CHANNELS, KERNELS = (64, 192, 384, 256, 256), (11, 5, 3, 3, 3)
SMALLEST = 35  # px; below it a pooling layer has nothing left


class Lpips(nn.Module):
    """The distance of two batches of pictures."""

    def __init__(self) -> None:
        super().__init__()
        before = (3, *CHANNELS[:-1])
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, k, stride=4 if k == 11 else 1, padding=k // 2 if k < 11 else 2)
            for i, o, k in zip(before, CHANNELS, KERNELS)
        )
        self.heads = nn.ParameterList(torch.zeros(channels) for channels in CHANNELS)
        # The mean and deviation of ImageNet, for pictures in [-1, 1].
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188])[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450])[:, None, None], persistent=False)
        self.load_state_dict({name: value.float() for name, value in load_file(WEIGHTS).items()})
        self.requires_grad_(False).eval()

    def features(self, pictures: Tensor) -> list[Tensor]:
        """(N, 3, H, W) in [-1, 1] -> five maps of unit vectors (N, C, h, w)."""
        hidden, found = (pictures - self.shift) / self.scale, []
        for layer, conv in enumerate(self.convs):
            if layer in (1, 2):
                hidden = F.max_pool2d(hidden, 3, 2)
            hidden = F.relu(conv(hidden))
            found.append(hidden / (hidden.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """(N, 3, H, W) twice, in [-1, 1] -> (N,).

        Raises:
            ConfigError: other shapes, or pictures too small for the features.
        """
        if one.shape != other.shape or one.ndim != 4 or one.shape[1] != 3 or min(one.shape[2:]) < SMALLEST:
            raise ConfigError(
                f"LPIPS compares two (N, 3, H, W) of one size, at least {SMALLEST} px; "
                f"found {tuple(one.shape)} and {tuple(other.shape)}"
            )
        pairs = zip(self.features(one), self.features(other), self.heads)
        return sum(((a - b).square() * head[:, None, None]).sum(1).mean((1, 2)) for a, b, head in pairs)


@lru_cache(maxsize=1)
def lpips() -> Lpips:
    """The one instance; its weights are read once."""
    return Lpips()
