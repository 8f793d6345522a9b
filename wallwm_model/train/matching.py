"""Distribution-matching distillation (DMD, arXiv 2311.18828 and 2405.14867), for any tensor that a flow denoises.

A student that samples in few steps is pushed from where its samples crowd to where its teacher's data lies: by
the difference of two denoisers on the noised sample, the teacher and a "fake" one that follows the student.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SMALLEST_GAP = 0.05  # of samples that agree with the teacher: their push is not blown up further
LOWEST, HIGHEST = 0.02, 0.98  # noise levels at which samples are compared

Predict = Callable[[Tensor, float], Tensor]


def simulate(predict: Predict, x: Tensor, levels: list[float], hold: Callable[[Tensor], Tensor]) -> Tensor:
    """Where the sampler of `flow.euler` comes to from noise `x`, at the last of the levels; no gradient.

    Args:
        predict: (x_t, t) -> estimate of the clean x_0.
        levels: noise levels from 1 on, falling.
        hold: puts back what is known of x_0.
    """
    x = hold(x)
    with torch.no_grad():
        for t, following in zip(levels[:-1], levels[1:]):
            clean = predict(x, t)
            x = hold(clean + following / t * (x - clean))
    return x


def matching_loss(sample: Tensor, real: Tensor, fake: Tensor, weight: Tensor) -> Tensor:
    """A loss whose gradient is the difference of the two denoisers' estimates, over the distance to the teacher's.

    Args:
        sample: (B, ...) of the student, with gradient.
        real, fake: (B, ...) what teacher and follower make of the noised sample.
        weight: like `sample`, 0 where nothing counts.
    """
    with torch.no_grad():
        counted = weight.flatten(1).sum(1).clamp(min=1e-6)
        gap = (weight * (sample - real).abs()).flatten(1).sum(1) / counted
        push = (fake - real) / gap.clamp(min=SMALLEST_GAP).view(-1, *[1] * (sample.ndim - 1))
        goal = sample - push
    return 0.5 * (weight * (sample - goal).square()).sum() / weight.sum().clamp(min=1e-6)


def draw_levels(count: int, generator: torch.Generator) -> Tensor:
    """(count,) noise levels at which samples are compared."""
    return LOWEST + (HIGHEST - LOWEST) * torch.rand(count, generator=generator)


def add_noise(clean: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
    """x_t = (1 - t) x_0 + t noise; t is broadcast to the shape of `clean`."""
    noise = torch.randn(clean.shape, generator=generator)
    return (1 - t) * clean + t * noise
