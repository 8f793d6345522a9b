"""The engine protocol: arrays in, arrays out. No torch, no ROS."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from wallwm_model.spec import ModelSpec


@dataclass(frozen=True)
class Context:
    """What one look at the world gives: read by every denoising step of one chunk.

    Attributes:
        tensors: named arrays for the `act` graph (keys and values of every action layer).
        state: (D,) normalised joint state.
        remaining_steps: the model's own estimate of the event's remaining length [action steps].
    """

    tensors: dict[str, np.ndarray] = field(repr=False)
    state: np.ndarray
    remaining_steps: float


class Engine(Protocol):
    """One loaded model.

    `observe` runs the video tower once; `act` denoises one chunk from it.
    """

    spec: ModelSpec
    name: str

    def observe(self, images: np.ndarray, state: np.ndarray, tokens: np.ndarray, seed: int) -> Context:
        """(V, H, W, 3) uint8, (D,) normalised float32, (L,) int64 word ids -> Context."""

    def act(self, context: Context, steps: int, euler_steps: int, seed: int) -> np.ndarray:
        """Context -> normalised actions (steps, D) float32; 1 <= steps <= spec.horizon."""

    def close(self) -> None:
        """Release the engine's resources."""
