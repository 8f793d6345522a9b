"""The whole model: a video tower that knows the world and an action tower that reads it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wallwm_model.network.action import ActionTower
from wallwm_model.network.config import NetworkConfig
from wallwm_model.network.world import VideoTower
from wallwm_model.spec import ModelSpec

SLOTS = 9  # four cubes, three pads, two pinch points
CUBES = 4


class WallWM(nn.Module):
    """One set of weights: `video` and `action`."""

    def __init__(self, config: NetworkConfig, spec: ModelSpec):
        super().__init__()
        self.config = config
        self.video = VideoTower(config, len(spec.vocabulary), spec.caption_length, SLOTS, CUBES)
        self.action = ActionTower(config, len(spec.joints), spec.horizon, spec.steps_per_latent)


class Observe(nn.Module):
    """The `observe` graph: pictures and words -> keys and values for every action layer, remaining length."""

    def __init__(self, model: WallWM, horizon: int):
        super().__init__()
        self.model, self.horizon = model, horizon

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """images (1, V, H, W, 3) uint8, tokens (1, L) int64.

        Returns:
            video (layers, 1, N, 2*width), remaining (1,) [steps], positions (1, slots, 3) [m], world frame.
        """
        world = self.model.video(network_pictures(images), tokens)
        remaining = world.remaining * self.horizon
        return (
            self.model.action.read_video(world.states),
            remaining,
            denormalise(world.sight.position),
        )


class Act(nn.Module):
    """The `act` graph: one denoising step of a chunk."""

    def __init__(self, model: WallWM):
        super().__init__()
        self.model = model

    def forward(self, noisy: Tensor, t: Tensor, video: Tensor, state: Tensor) -> Tensor:
        """noisy (1, T, D), t (1,), video from `Observe`, state (1, D) -> clean estimate (1, T, D)."""
        length = torch.ones_like(t) * noisy.shape[1]
        return self.model.action(noisy, t, video, state, length, None)


WORLD_CENTRE = (0.3, 0.0, 0.1)  # of the table's workspace [m], world frame
WORLD_SCALE = 0.15  # [m]


def normalise(position: Tensor) -> Tensor:
    """World positions (..., 3) [m] -> about unit range."""
    return (position - position.new_tensor(WORLD_CENTRE)) / WORLD_SCALE


def denormalise(position: Tensor) -> Tensor:
    """The inverse of `normalise`."""
    return position * WORLD_SCALE + position.new_tensor(WORLD_CENTRE)


def network_pictures(images: Tensor) -> Tensor:
    """(..., H, W, 3) uint8 -> (..., 3, H, W) float32 in [-1, 1]."""
    return images.movedim(-1, -3).float() / 127.5 - 1
