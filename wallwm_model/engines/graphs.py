"""What all engines of the two-graph bundle share: naming of tensors, the denoising loop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wallwm_model.engines.base import Context
from wallwm_model.errors import EngineError
from wallwm_model.flow import euler
from wallwm_model.spec import ModelSpec

Graph = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


class GraphEngine:
    """An `Engine` from two callables, name -> array in and out.

    observe: images (1, V, H, W, 3) uint8, tokens (1, L) int64 -> video, remaining (1,), positions (1, 9, 3).
    act: noisy (1, T, D), t (1,), video, state (1, D) -> clean (1, T, D).
    """

    def __init__(self, name: str, spec: ModelSpec, observe: Graph, act: Graph):
        self.name, self.spec, self._observe, self._act = name, spec, observe, act

    def observe(self, images: np.ndarray, state: np.ndarray, tokens: np.ndarray, seed: int) -> Context:
        """See `Engine.observe`; `seed` is unused, since nothing is drawn here."""
        out = self._observe({"images": images[None], "tokens": tokens[None]})
        remaining = float(out["remaining"][0])
        if not np.isfinite(remaining):
            raise EngineError(f"engine {self.name} must estimate a finite remaining time; found {remaining}")
        return Context({"video": out["video"], "positions": out["positions"][0]}, state, remaining)

    def act(self, context: Context, steps: int, euler_steps: int, seed: int) -> np.ndarray:
        """See `Engine.act`."""
        if not 1 <= steps <= self.spec.horizon:
            raise EngineError(f"a chunk must have 1 to {self.spec.horizon} steps; found {steps}")
        noise = np.random.default_rng(seed).standard_normal((1, steps, len(self.spec.joints)), dtype=np.float32)
        fixed = {"video": context.tensors["video"], "state": context.state[None]}

        def clean(x: np.ndarray, t: float) -> np.ndarray:
            return self._act({"noisy": x, "t": np.array([t], np.float32), **fixed})["clean"]

        actions = euler(clean, noise, euler_steps)[0]
        if not np.isfinite(actions).all():
            raise EngineError(f"engine {self.name} must give finite actions; found non-finite values")
        return actions

    def close(self) -> None:
        """Drop both graphs."""
        self._observe = self._act = _closed


def _closed(_: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    raise EngineError("the engine is closed: load the bundle again")
