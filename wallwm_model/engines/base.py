"""The engine protocol: arrays in, arrays out. No torch, no ROS."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from wallwm_model.spec import ModelSpec
from wallwm_model.thought import Stop

Route = Literal["words", "vlm", "staircase"]

@dataclass(frozen=True)
class Look:
    """All that one chunk is made from.

    Attributes:
        images: (V, H, W, 3) uint8 keyframes, in the order of `spec.cameras`.
        state: (D,) normalised joint state, float32.
        tokens: (L,) int64 word ids of the event's caption or of the task's instruction.
        mask: (V*P, V*P) bool, which patches may attend to each other across views; None: all.
        history: (V, n, H, W, 3) uint8 earlier pictures, oldest first (`spec.history_pictures`); None: event window.
        chunk: index of the chunk in its task, counted from 1; 0: unknown, or event mode.
        route: how the tokens become text features: from the `words` alone (the T5 path), read beside the
            pictures by the `vlm` conditioner, or replaced by what the `staircase` branch reasons from both.
    """

    images: np.ndarray = field(repr=False)
    state: np.ndarray = field(repr=False)
    tokens: np.ndarray
    mask: np.ndarray | None = field(default=None, repr=False)
    history: np.ndarray | None = field(default=None, repr=False)
    chunk: int = 0
    route: Route = "words"


@dataclass(frozen=True)
class Context:
    """What one look at the world gives: read by every denoising step of one chunk.

    Attributes:
        tensors: named arrays for the `act` graph (keys and values of every action layer), and for reading.
        state: (D,) normalised joint state.
        remaining_steps: the model's own estimate of the present event's remaining length [action steps].
        latents: (K_c, W) f32 reasoning of the route `staircase`, for `explain`; None on other routes.
        next_event: caption of the event that comes next, as the language side reads the look; empty on the
            route `words`.
    """

    tensors: dict[str, np.ndarray] = field(repr=False)
    state: np.ndarray
    remaining_steps: float
    latents: np.ndarray | None = field(default=None, repr=False)
    next_event: str = ""


class Engine(Protocol):
    """One loaded model.

    `observe` runs the video tower once; `act` denoises one chunk from it.

    Attributes:
        why: the reason for this engine, if one chose it.
        batches: its graphs take several robots' rows at once.
    """

    spec: ModelSpec
    name: str
    why: str = ""
    batches: bool = False

    def observe(self, look: Look) -> Context:
        """Look at the world once."""

    def act(
        self, context: Context, steps: int, euler_steps: int, seed: int, prefix: np.ndarray | None = None
    ) -> np.ndarray:
        """Context -> normalised actions (steps, D) float32; 1 <= steps <= spec.horizon.

        Args:
            prefix: (d, D) normalised actions already committed, d < steps: the chunk begins with exactly these.
        """

    def imagine(self, look: Look, euler_steps: int, seed: int) -> np.ndarray:
        """Predicted video, as long as a fixed chunk: (V, 4 * spec.imagined_frames, H, W, 3) uint8."""

    def explain(self, latents: np.ndarray, stop: Stop = lambda: False) -> str:
        """Reasoning latents (K_c, W) in words; empty if `stop`, asked before each word, says so."""

    def waits_s(self) -> dict[str, float]:
        """Of the calls since the last look began, what a remote engine waited for, `network` and `queue` [s]."""
        return {}

    def close(self) -> None:
        """Release the engine's resources."""
