"""Flow matching on the straight path x_t = (1 - t) x_0 + t noise: noise levels, losses, sampler.

Numpy here is enough: the sampler runs at run time. Training draws its noise levels from `noise_levels`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wallwm_model.errors import SpecError


def schedule(steps: int) -> np.ndarray:
    """Noise levels of an Euler sampler: (steps + 1,) from 1 to 0.

    Raises:
        SpecError: fewer than one step.
    """
    if steps < 1:
        raise SpecError(f"a sampler needs at least 1 step; found {steps}")
    return np.linspace(1.0, 0.0, steps + 1, dtype=np.float32)


def euler(
    predict_clean: Callable[[np.ndarray, float], np.ndarray],
    noise: np.ndarray,
    steps: int,
    committed: np.ndarray | None = None,
) -> np.ndarray:
    """Integrate the flow from `noise` to a clean sample.

    Args:
        predict_clean: (x_t, t) -> estimate of x_0, any shape.
        noise: x_1, standard normal.
        steps: Euler steps; with one, the first estimate is the answer.
        committed: (d, D) first rows of the answer (..., T, D), which are known and stay as they are.

    Returns:
        x_0, shape of `noise`.
    """
    known = 0 if committed is None else len(committed)
    x = noise.copy() if known else noise
    if known:
        x[..., :known, :] = committed
    levels = schedule(steps)
    for t, following in zip(levels[:-1], levels[1:]):
        clean = predict_clean(x, float(t))
        velocity = (x - clean) / t  # v = noise - x_0
        x = x + (following - t) * velocity
        if known:
            x[..., :known, :] = committed
    return x
