"""Where things are and will be: heads of the video tower, and what they say."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Grounding:
    """Where things are and will be, as the query tokens see it.

    Attributes:
        position: (B, slots, 3) cubes, pads, grippers in the normalised world frame.
        yaw: (B, cubes) of every cube [rad].
        end: (B, 2, 3) pinch points of both grippers when the event ends, normalised.
    """

    position: Tensor
    yaw: Tensor
    end: Tensor


@dataclass
class Sight:
    """Where things are: position (B, slots, 3), normalised world frame; yaw (B, cubes) [rad]."""

    position: Tensor
    yaw: Tensor


class Objects(nn.Module):
    """Key points of all views -> places of all things, and one context token for each.

    The tokens stand beside the caption's words in the text cross-attention, so that a word like "red"
    can be looked up in space.
    """

    def __init__(self, points: int, slots: int, cubes: int, text_width: int):
        super().__init__()
        self.slots, self.cubes = slots, cubes
        self.hidden = nn.Linear(points, 256)
        self.out = nn.Linear(256, slots * 3 + cubes)
        self.slot_embed = nn.Embedding(slots, text_width)
        self.place_embed = nn.Linear(4, text_width)

    def forward(self, points: Tensor) -> tuple[Sight, Tensor]:
        """(B, points) -> Sight, tokens (B, slots, text_width)."""
        flat = self.out(nn.functional.silu(self.hidden(points)))
        position, yaw = flat.split([self.slots * 3, self.cubes], dim=-1)
        position = position.unflatten(-1, (self.slots, 3))
        turned = nn.functional.pad(yaw, (0, self.slots - self.cubes))[..., None]
        tokens = self.slot_embed.weight + self.place_embed(torch.cat([position, turned], dim=-1))
        return Sight(position, yaw), tokens


class GroundingHead(nn.Module):
    """Query tokens of all views -> positions. One per depth, so that early layers learn places too."""

    def __init__(self, width: int, slots: int, cubes: int):
        super().__init__()
        self.slots, self.cubes = slots, cubes
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, 160)
        self.out = nn.Linear(160, slots * 3 + cubes + 6)

    def forward(self, queries: Tensor) -> Grounding:
        """(B, V*Q*D) -> Grounding."""
        flat = self.out(nn.functional.silu(self.hidden(self.norm(queries))))
        position, yaw, end = flat.split([self.slots * 3, self.cubes, 6], dim=-1)
        return Grounding(position.unflatten(-1, (self.slots, 3)), yaw, end.unflatten(-1, (2, 3)))
