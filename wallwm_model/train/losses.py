"""What each stage minimises (method.md, sections 2, 3 and 6)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from wallwm_model.network.action import Timing
from wallwm_model.network.grounding import Grounding, Sight
from wallwm_model.network.model import WallWM, normalise
from wallwm_model.network.world import World
from wallwm_model.spec import ModelSpec
from wallwm_model.train.augment import Tube, drop_captions, relight
from wallwm_model.train.dataset import Batch
from wallwm_model.train.end_effector import pose_losses, split
from wallwm_model.train.kinematics import pinch_points
from wallwm_model.train.recipes import LossConfig
from wallwm_model.train.sight import SightTable

REACH_SCALE = 0.03  # gripper error that counts as one unit [m]
# Noise level at which the anchored time map reads the video: step 45 of the 50 of training's schedule, counted from clean
# (method.md, section 3). Near noise, so that one forward is enough where no future is known.
ANCHOR = 0.9


@dataclass
class Task:
    """What every loss needs beside the batch: model, its specification, settings, view masks, random numbers."""

    model: WallWM
    spec: ModelSpec
    config: LossConfig
    sight: SightTable | None
    generator: torch.Generator

    def covisible(self, batch: Batch) -> Tensor | None:
        """(B, frames, V*P, V*P) bool, which patches see a common point; None without sight masks."""
        if self.sight is None or not self.config.sight:
            return None
        return torch.from_numpy(self.sight.masks(batch.moments, batch.flip)).to(batch.images.device)

    def masks(self, covisible: Tensor | None) -> Tensor | None:
        """Masks for the cross-view attention: a share of the samples is held to what is co-visible."""
        if covisible is None:
            return None
        free = torch.rand(len(covisible), generator=self.generator) >= self.config.sight
        return (covisible | free[:, None, None, None]).float()


def sight_loss(found: Sight | Grounding, batch: Batch) -> Tensor:
    """Huber distance of positions and cube yaws, of what is there."""
    mask = batch.position_mask[..., None].float()
    place = F.smooth_l1_loss(found.position, normalise(batch.position), beta=0.05, reduction="none")
    cubes = batch.position_mask[:, : batch.yaw.shape[1]].float()
    yaw = F.smooth_l1_loss(found.yaw, batch.yaw, beta=0.05, reduction="none")
    return (place * mask).sum() / (3 * mask.sum()) + (yaw * cubes).sum() / cubes.sum()


def naming_loss(logits: Tensor, batch: Batch) -> Tensor:
    """(B,) cross entropy of which things the words name."""
    loss = F.cross_entropy(logits.flatten(0, 1), batch.named.flatten(), reduction="none")
    return loss.unflatten(0, logits.shape[:2]).mean(1)


def world_loss(world: World, batch: Batch, horizon: int, told: Tensor) -> dict[str, Tensor]:
    """Sight; grounding at every depth; what is named, the event's end and remaining time where the text was
    `told` (B,)."""
    share = told.float() / told.float().sum().clamp(min=1)

    def grounding(found: Grounding) -> Tensor:
        end = F.smooth_l1_loss(found.end, normalise(batch.end), beta=0.05, reduction="none").mean((1, 2))
        return sight_loss(found, batch) + 2 * (end * share).sum()

    losses = [grounding(g) for g in world.groundings]
    remaining = F.smooth_l1_loss(world.remaining, batch.remaining / horizon, beta=0.05, reduction="none")
    return {
        "sight": sight_loss(world.sight, batch),
        "grounding": losses[-1] + 0.3 * sum(losses[:-1]),
        "remaining": 2 * (remaining * share).sum(),
        "named": (naming_loss(world.named, batch) * share).sum(),
    }


def look_loss(task: Task, batch: Batch) -> dict[str, Tensor]:
    """The cheap start of stage 1: key points alone must say where things are, words alone which are meant."""
    video = task.model.video
    keyframes, *_ = relight(batch, task.config.relight, task.generator)
    sight, named = video.look(keyframes, video.captions(batch.tokens))
    return {"sight": sight_loss(sight, batch), "named": naming_loss(named, batch).mean()}


def video_loss(task: Task, batch: Batch) -> dict[str, Tensor]:
    """Stage 1: with later pictures also the flow-matching loss on their latents, C* = noise - z0."""
    model, horizon = task.model, task.spec.horizon
    keyframes, history, future = relight(batch, task.config.relight, task.generator)
    text, covisible = model.video.captions(batch.tokens), task.covisible(batch)
    masks = task.masks(covisible)
    past = None if history is None else encode_pictures(model, keyframes, history)
    everyone = torch.ones(len(text), dtype=torch.bool)
    if future is None:
        return world_loss(model.video(keyframes, text, history=past, masks=masks), batch, horizon, everyone)
    told = ~drop_captions(batch.remaining, task.spec, task.generator)
    clean = encode_pictures(model, keyframes, future)
    t = torch.sigmoid(torch.randn(len(clean), generator=task.generator) + 0.5)
    noise = torch.randn(clean.shape, generator=task.generator)
    level = t[:, None, None, None, None, None]
    noisy = (1 - level) * clean + level * noise
    weight = torch.ones_like(clean)
    if covisible is not None and task.config.tube:
        tube = Tube.draw(covisible[:, 0], model.config, task.config.tube, task.generator)
        noisy, weight = tube.hide(noisy, noise), tube.weigh(weight, task.config.tube_weight)
        keyframes, past = tube.hide_conditions(keyframes, past, task.config.tube_condition, task.generator)
    text = text * told[:, None, None]
    lengths = lengths_of(batch.shown, clean)
    world = model.video(keyframes, text, history=past, noisy=noisy, t=t, masks=masks, lengths=lengths)
    video = film_loss(world.velocity, noise - clean, weight, there(clean, lengths))
    return world_loss(world, batch, horizon, told) | {"video": 0.3 * video}


def film_loss(velocity: Tensor, wanted: Tensor, weight: Tensor, counted: Tensor) -> Tensor:
    """Weighted square distance of velocities (B, V, C, F, h, w), mean over what is `counted`, bool (method.md,
    section 2)."""
    return (weight * (velocity - wanted) ** 2)[counted].mean()


def lengths_of(shown: Tensor, latents: Tensor) -> Tensor:
    """`Batch.shown` (B,) for every view of latents (B, V, ...): (B, V)."""
    return shown[:, None].expand(latents.shape[:2])


def there(latents: Tensor, lengths: Tensor) -> Tensor:
    """Which of the latents (B, V, C, F, h, w) lie in the first `lengths` (B, V) frames; bool, like them."""
    frames = torch.arange(latents.shape[3], device=latents.device) < lengths[..., None]
    return frames[:, :, None, :, None, None].expand(latents.shape)


def encode_pictures(model: WallWM, keyframes: Tensor, clip: Tensor) -> Tensor:
    """Pictures (B, V, 3, 4F, H, W) in [-1, 1] beside their keyframes -> clean latents (B, V, C, F, h, w)."""
    video = torch.cat([keyframes[:, :, :, None], clip], dim=3).flatten(0, 1)
    return model.video.codec.encode(video)[:, :, 1:].unflatten(0, keyframes.shape[:2])


def action_loss(task: Task, batch: Batch, text: Tensor | None = None) -> dict[str, Tensor]:
    """Stage 2: `draws` noise levels reuse one forward of the frozen video tower.

    Args:
        text: (B, L, text_width) features that take the place of the batch's own words.
    """
    model, config, generator = task.model, task.config, task.generator
    draws = config.draws
    clean, state, valid, length, window = (
        x.repeat_interleave(draws, dim=0)
        for x in (batch.actions, batch.state, batch.valid, batch.length, batch.window)
    )
    level = torch.rand(len(clean), generator=generator).clamp(min=1e-3)
    video = read_video(task, batch, text, level)
    committed = draw_prefix(valid, config, generator)
    t = torch.where(committed, 0.0, level[:, None])
    noise = torch.randn(clean.shape, generator=generator)
    noisy = (1 - t)[..., None] * clean + t[..., None] * noise
    found = model.action(noisy, t, video, state, Timing(length, window), valid[:, None, None])
    scored = valid & ~committed
    weight = scored.float() / scored.sum(1, keepdim=True).clamp(min=1) / len(clean)
    return chunk_losses(found, clean, level, weight, task)


def chunk_losses(found: Tensor, clean: Tensor, t: Tensor, weight: Tensor, task: Task) -> dict[str, Tensor]:
    """Distances of chunks (B, T, D) in their columns, at the gripper and, if wanted, in the DCT domain."""
    scale = t.clamp(min=0.02)[:, None, None] if task.model.action.prediction == "v" else 1.0
    joints = F.smooth_l1_loss(found / scale, clean / scale, beta=0.1, reduction="none").mean(-1)
    losses = {"joints": 3 * (joints * weight).sum()}
    if task.spec.action_space == "joint_position":
        error = (pinch(found, task.spec) - pinch(clean, task.spec)) / REACH_SCALE
        reach = F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.1, reduction="none").mean((-1, -2))
        losses["reach"] = (reach * weight).sum()
    else:
        losses |= pose_losses(found, clean, weight, task.spec)
    if task.config.dct:
        losses["dct"] = task.config.dct * dct_loss(found, clean, t, weight > 0)
    return losses


def dct_loss(found: Tensor, clean: Tensor, t: Tensor, scored: Tensor) -> Tensor:
    """(1 - t)^2 sum_j exp(-j / (T/4)) |DCT(found)_j - DCT(clean)_j|^2, mean over batch and joints (method.md, section 3).

    The report writes the noise level as t / T; here t is already in (0, 1].

    Args:
        scored: (B, T) bool; padding and committed steps count as without error.
    """
    steps = clean.shape[1]
    j, k = torch.arange(steps)[:, None], torch.arange(steps)[None]
    basis = torch.cos(math.pi / steps * (k + 0.5) * j) * math.sqrt(2 / steps)
    basis[0] /= math.sqrt(2)
    error = (basis.to(clean) @ ((found - clean) * scored[..., None])).square().mean(-1)
    falling = torch.exp(-torch.arange(steps) / (steps / 4)).to(clean)
    return ((1 - t).square() * (error * falling).sum(1)).mean()


def draw_prefix(valid: Tensor, config: LossConfig, generator: torch.Generator) -> Tensor:
    """(B, T) bool: the steps that are already committed when inference begins; at least one valid step is not."""
    most = (valid.sum(1) - 1).clamp(max=config.longest_prefix)
    count = (torch.rand(len(valid), generator=generator) * (most + 1)).long()
    count = count * (torch.rand(len(valid), generator=generator) < config.prefix)
    return torch.arange(valid.shape[1])[None] < count[:, None]


def read_video(task: Task, batch: Batch, text: Tensor | None, level: Tensor) -> Tensor:
    """Keys and values for every action layer, once per draw: (layers, B*draws, N, 2*width).

    Args:
        level: (B*draws,) noise levels of the actions; the symmetric time map gives the video the same.
    """
    model, config = task.model, task.config
    with torch.no_grad():
        keyframes, history, future = relight(batch, config.relight, task.generator)
        text = model.video.captions(batch.tokens) if text is None else text
        past = None if history is None else encode_pictures(model, keyframes, history)
        masks = task.masks(task.covisible(batch))
        if config.time_map == "keyframe":
            masks = None if masks is None else masks[:, : 1 + (0 if past is None else past.shape[3])]
            world = model.video(keyframes, text, history=past, masks=masks)
            repeats = config.draws
        else:
            world, repeats = _look_ahead(task, batch, keyframes, text, past, future, masks, level)
    chunk = batch.chunk.repeat_interleave(config.draws // repeats, dim=0)
    video = model.action.read_video(world.states, world.tau, chunk, world.groundings[-1].end)
    return video.repeat_interleave(repeats, dim=1)


def _look_ahead(task, batch, keyframes, text, past, future, masks, level) -> tuple[World, int]:
    """The video tower with the future at the anchor's noise level, or at each draw's own."""
    clean, draws = encode_pictures(task.model, keyframes, future), task.config.draws
    lengths = lengths_of(batch.shown, clean)
    if task.config.time_map == "anchored":
        t, repeats = torch.full((len(clean),), ANCHOR), draws
    else:
        t, repeats = level, 1
        clean, keyframes, text, past, masks, lengths = (
            None if x is None else x.repeat_interleave(draws, dim=0)
            for x in (clean, keyframes, text, past, masks, lengths)
        )
    share = t[:, None, None, None, None, None]
    noisy = (1 - share) * clean + share * torch.randn(clean.shape, generator=task.generator)
    world = task.model.video(
        keyframes, text, history=past, noisy=noisy, t=t, masks=masks, lengths=lengths, read_future=True
    )
    return world, repeats


def pinch(normal: Tensor, spec: ModelSpec) -> Tensor:
    """Normalised joints or poses (..., D) -> pinch points (..., 2, 3) [m], world frame."""
    if spec.action_space == "end_effector_pose":
        return split(normal, spec)[0]
    norm = spec.normalisation
    value = normal * normal.new_tensor(norm.std) + normal.new_tensor(norm.mean)
    return pinch_points(value)
