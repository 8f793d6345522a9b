"""The whole model: a video tower that knows the world, an action tower that reads it, a language side that reasons."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wallwm_model.errors import SpecError
from wallwm_model.network.action import WINDOWS, ActionTower, Timing
from wallwm_model.network.checks import expect, expect_batches
from wallwm_model.network.codec import GROUP
from wallwm_model.network.config import NetworkConfig
from wallwm_model.network.world import VideoTower
from wallwm_model.spec import ModelSpec

SLOTS = 9  # four cubes, three pads, two pinch points
CUBES = 4
WORLD_CENTRE = (0.3, 0.0, 0.1)  # of the table's workspace [m], world frame
WORLD_SCALE = 0.15  # [m]


class WallWM(nn.Module):
    """One set of weights for both modes: `video` and `action`.

    Args:
        awaiting: leave what a public checkpoint holds on the meta device, see `presets.load_public`.

    Raises:
        SpecError: a specification that these sizes cannot serve.
    """

    def __init__(self, config: NetworkConfig, spec: ModelSpec, *, awaiting: bool = False):
        super().__init__()
        check_spec(config, spec)
        self.config = config
        words, length = len(spec.vocabulary), spec.caption_length
        self.video = VideoTower(config, words, length, SLOTS, CUBES, awaiting=awaiting)
        self.action = ActionTower(config, len(spec.joints), spec.horizon, spec.steps_per_latent)


class Observe(nn.Module):
    """The `observe` graph: pictures and text features -> keys and values for every action layer.

    With `past` the graph takes earlier pictures too (the observation-centred window); without, it is the
    event-centric one.
    """

    def __init__(self, model: WallWM, horizon: int, *, past: bool):
        super().__init__()
        self.model, self.horizon, self.past = model, horizon, past

    def forward(
        self, images: Tensor, text: Tensor, mask: Tensor, chunk: Tensor, history: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Keys and values of one chunk.

        Args:
            images: (1, V, H, W, 3) uint8.
            text: (1, L, text_width) from the `text` or the `reason` graph.
            mask: (1, V*P, V*P) float, 1 where patches may attend to each other.
            chunk: (1,) int64 index of the chunk in its task, from 1; 0: unknown, or event mode.
            history: (1, V, 4*M, H, W, 3) uint8 earlier pictures, oldest first.

        Returns:
            video (layers, 1, N, 2*width), remaining (1,) [steps], positions (1, slots, 3) [m], world frame.

        Raises:
            SpecError: inputs of another shape, type or range, history missing or not asked for.
        """
        patches = self.model.config.views * self.model.config.patches
        expect("mask", mask, ("B", patches, patches), low=0, high=1)
        if (history is not None) != self.past:
            wants, found = ("needs", "none") if self.past else ("takes no", "some")
            raise SpecError(f"this window {wants} pictures of the past; found {found}")
        keyframes = network_pictures(images)
        past = encode_history(self.model, images, history) if self.past else None
        masks = mask[:, None].expand(-1, 1 + (past.shape[3] if self.past else 0), -1, -1)
        world = self.model.video(keyframes, text, history=past, masks=masks)
        return (
            self.model.action.read_video(world.states, world.tau, chunk, world.groundings[-1].end),
            world.remaining * self.horizon,
            denormalise(world.sight.position),
        )


class Act(nn.Module):
    """The `act` graph: one denoising step of a chunk."""

    def __init__(self, model: WallWM):
        super().__init__()
        self.model = model

    def forward(self, noisy: Tensor, t: Tensor, video: Tensor, state: Tensor, window: Tensor) -> Tensor:
        """One step.

        Args:
            noisy: (1, T, D); a committed prefix is clean.
            t: (1, T) noise level of every step; 0 for the prefix.
            video: from `Observe`.
            state: (1, D) normalised.
            window: (1,) int64 index into `WINDOWS`.

        Returns:
            (1, T, D) the estimate of the clean chunk.
        """
        timing = Timing(torch.ones_like(t[:, 0]) * noisy.shape[1], window)
        return self.model.action(noisy, t, video, state, timing, None)


class Imagine(nn.Module):
    """The `imagine` graph: one denoising step of the future video."""

    def __init__(self, model: WallWM):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, text: Tensor, mask: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        """One step.

        Args:
            images, text, mask: as in `Observe`; the keyframe's mask serves every latent frame.
            noisy: (1, V, C, F, h, w) noisy future latents.
            t: (1,) their noise level.

        Returns:
            The velocity, noise - clean, like `noisy`.
        """
        masks = mask[:, None].expand(-1, 1 + noisy.shape[3], -1, -1)
        return self.model.video(network_pictures(images), text, noisy=noisy, t=t, masks=masks).velocity


class Decode(nn.Module):
    """The `decode` graph: future latents -> pictures."""

    def __init__(self, model: WallWM):
        super().__init__()
        self.codec, self.config = model.video.codec, model.config

    def forward(self, images: Tensor, latents: Tensor) -> Tensor:
        """images (1, V, H, W, 3) uint8 keyframes, latents (1, V, C, F, h, w) -> (1, V, 4*F, H, W, 3) in [0, 1].

        Raises:
            SpecError: inputs of another shape or type.
        """
        views, image = self.config.views, self.config.image
        channels, *size = self.config.latent
        expect("images", images, (1, views, image, image, 3), "uint8")
        expect("latents", latents, (1, views, channels, "F", *size))
        keyframe = network_pictures(images)[0][:, :, None]
        whole = torch.cat([self.codec.encode(keyframe), latents[0]], dim=2)
        video = self.codec.decode(whole, keyframe)[:, :, 1:]
        return (video.permute(0, 2, 3, 4, 1)[None] + 1) / 2


def check_spec(config: NetworkConfig, spec: ModelSpec) -> None:
    """Raises SpecError unless a network of these sizes can serve this specification."""
    sizes = {(camera.height, camera.width) for camera in spec.cameras}
    for name, wanted, found in (
        ("cameras", config.views, len(spec.cameras)),
        ("pictures", {(config.image, config.image)}, sizes),
        ("patches", config.grid, tuple(spec.patches)),
        ("latent", config.latent, tuple(spec.latent)),
        ("text encoder", config.text, spec.text),
    ):
        if wanted != found:
            raise SpecError(f"{name} of model {spec.name} must be {wanted}, as its network's; found {found}")
    if not 0 <= spec.history <= config.history:
        raise SpecError(f"history of model {spec.name} must be 0..{config.history}; found {spec.history}")


def encode_history(model: WallWM, images: Tensor, history: Tensor) -> Tensor:
    """Earlier pictures (B, V, 4*M, H, W, 3) uint8 -> clean latents (B, V, C, M, h, w).

    The codec wants a first frame; the keyframe stands in for it and its latent is dropped.

    Raises:
        SpecError: pictures that are not uint8, or of other sizes than the keyframes.
    """
    expect("images", images, ("B", "V", "H", "W", 3), "uint8")
    views, *size = images.shape[1:]
    expect("history", history, ("B", views, "n", *size), "uint8")
    expect_batches(images=images, history=history)
    if history.shape[2] % GROUP:
        found = history.shape[2]
        raise SpecError(f"history must have a multiple of {GROUP} pictures per camera; found {found}")
    clips = torch.cat([images[:, :, None], history], dim=2)
    video = network_pictures(clips).flatten(0, 1).transpose(1, 2)
    return model.video.codec.encode(video)[:, :, 1:].unflatten(0, images.shape[:2])


def normalise(position: Tensor) -> Tensor:
    """World positions (..., 3) [m] -> about unit range."""
    return (position - position.new_tensor(WORLD_CENTRE)) / WORLD_SCALE


def denormalise(position: Tensor) -> Tensor:
    """The inverse of `normalise`."""
    return position * WORLD_SCALE + position.new_tensor(WORLD_CENTRE)


def network_pictures(images: Tensor) -> Tensor:
    """(..., H, W, 3) uint8 -> (..., 3, H, W) float32 in [-1, 1].

    Raises:
        SpecError: pictures of another type or with other channels.
    """
    expect("pictures", images, (*map(str, images.shape[:-1]), 3), "uint8")
    return images.movedim(-1, -3).float() / 127.5 - 1


__all__ = ["WINDOWS", "Act", "Decode", "Imagine", "Observe", "Timing", "WallWM"]
