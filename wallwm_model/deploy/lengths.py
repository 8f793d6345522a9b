"""The `act` graph for one fixed length: shorter chunks are padded, and told how long they really are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wallwm_model.errors import ConfigError
from wallwm_model.network.model import Timing, WallWM
from wallwm_model.spec import ModelSpec


@dataclass(frozen=True)
class Shapes:
    """What the graphs can take.

    Attributes:
        lengths: of the chunks that get an `act` graph of their own; none: one graph for all.
        batch: graphs take several robots at once, for a server.
    """

    lengths: tuple[int, ...] = ()
    batch: bool = False


ANY_LENGTH = Shapes()


class ActOfLength(nn.Module):
    """One denoising step of a chunk that stands in a longer frame. What lies behind its end changes nothing."""

    def __init__(self, model: WallWM):
        super().__init__()
        self.model = model

    def forward(
        self, noisy: Tensor, t: Tensor, video: Tensor, state: Tensor, window: Tensor, steps: Tensor
    ) -> Tensor:
        """As `Act`, with T the frame's length and `steps` (1,) int64 the chunk's own."""
        inside = torch.arange(noisy.shape[1], device=noisy.device)[None] < steps[:, None]
        timing = Timing(steps.to(noisy.dtype), window)
        return self.model.action(noisy, t, video, state, timing, inside[:, None, None])


def check_lengths(lengths: tuple[int, ...], spec: ModelSpec) -> None:
    """Raises ConfigError unless the lengths rise and end at the horizon, so that every chunk finds a frame."""
    rising = list(lengths) == sorted(set(lengths)) and min(lengths, default=1) >= 1
    if lengths and (not rising or lengths[-1] != spec.horizon):
        raise ConfigError(
            f"lengths must rise and end with the horizon, {spec.horizon} steps; found {lengths}"
        )
