"""What each stage minimises (method.md, sections 2, 3 and 6) and what it reports on held-out episodes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wallwm_model.flow import euler
from wallwm_model.network.model import WORLD_SCALE, WallWM, network_pictures, normalise
from wallwm_model.network.world import Grounding, Sight, World
from wallwm_model.spec import ModelSpec
from wallwm_model.train.dataset import Batch
from wallwm_model.train.kinematics import pinch_points

REACH_SCALE = 0.03  # gripper error that counts as one unit [m]


def sight_loss(found: Sight | Grounding, batch: Batch) -> Tensor:
    """Huber distance of positions and cube yaws, of what is there."""
    mask = batch.position_mask[..., None].float()
    place = F.smooth_l1_loss(found.position, normalise(batch.position), beta=0.05, reduction="none")
    cubes = batch.position_mask[:, : batch.yaw.shape[1]].float()
    yaw = F.smooth_l1_loss(found.yaw, batch.yaw, beta=0.05, reduction="none")
    return (place * mask).sum() / (3 * mask.sum()) + (yaw * cubes).sum() / cubes.sum()


def grounding_loss(found: Grounding, batch: Batch) -> Tensor:
    """As `sight_loss`, and the pinch points at the event's end."""
    end = F.smooth_l1_loss(found.end, normalise(batch.end), beta=0.05)
    return sight_loss(found, batch) + 2 * end


def world_loss(world: World, batch: Batch, horizon: int) -> dict[str, Tensor]:
    """Sight, grounding at every depth, and the remaining time (Huber)."""
    losses = [grounding_loss(g, batch) for g in world.groundings]
    remaining = F.smooth_l1_loss(world.remaining, batch.length / horizon, beta=0.05)
    grounding = losses[-1] + 0.3 * sum(losses[:-1])
    return {"sight": sight_loss(world.sight, batch), "grounding": grounding, "remaining": 2 * remaining}


def video_loss(model: WallWM, batch: Batch, horizon: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Stage 1: with later frames also the flow-matching loss on their latents, C* = noise - z0."""
    keyframes = network_pictures(batch.images)
    if batch.future is None:
        return world_loss(model.video(keyframes, batch.tokens), batch, horizon)
    clean = encode(model, batch)
    t = torch.sigmoid(torch.randn(len(clean), generator=generator) + 0.5)
    noise = torch.randn(clean.shape, generator=generator)
    level = t[:, None, None, None, None, None]
    world = model.video(keyframes, batch.tokens, (1 - level) * clean + level * noise, t)
    video = F.mse_loss(world.velocity, noise - clean)
    return world_loss(world, batch, horizon) | {"video": 0.3 * video}


def encode(model: WallWM, batch: Batch) -> Tensor:
    """Later frames of a batch -> clean latents (B, V, C, F, h, w)."""
    video = torch.cat([batch.images[:, :, None], batch.future], dim=2)
    video = network_pictures(video).flatten(0, 1).transpose(1, 2)
    latents = model.video.codec.encode(video)[:, :, 1:]
    return latents.unflatten(0, batch.images.shape[:2])


def action_loss(
    model: WallWM, batch: Batch, spec: ModelSpec, draws: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Stage 2: `draws` noise levels reuse one forward of the frozen video tower."""
    with torch.no_grad():
        states = model.video(network_pictures(batch.images), batch.tokens).states
    video = model.action.read_video(states).repeat_interleave(draws, dim=1)
    clean, state, length = (
        x.repeat_interleave(draws, dim=0) for x in (batch.actions, batch.state, batch.length)
    )
    t = torch.rand(len(clean), generator=generator).clamp(min=1e-3)
    noise = torch.randn(clean.shape, generator=generator)
    noisy = (1 - t)[:, None, None] * clean + t[:, None, None] * noise
    valid = torch.arange(clean.shape[1])[None] < length[:, None]
    found = model.action(noisy, t, video, state, length, valid[:, None, None])
    weight = valid.float() / valid.sum(1, keepdim=True) / len(clean)
    joints = (F.smooth_l1_loss(found, clean, beta=0.1, reduction="none").mean(-1) * weight).sum()
    error = (pinch(found, spec) - pinch(clean, spec)) / REACH_SCALE
    reach = (F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.1, reduction="none").mean((-1, -2)) * weight).sum()
    return {"joints": 3 * joints, "reach": reach}


def pinch(normal: Tensor, spec: ModelSpec) -> Tensor:
    """Normalised joints (..., D) -> pinch points (..., 2, 3) [m], world frame."""
    norm = spec.normalisation
    value = normal * normal.new_tensor(norm.std) + normal.new_tensor(norm.mean)
    return pinch_points(value)


@torch.no_grad()
def validate_video(model: WallWM, batches: list[Batch], horizon: int) -> dict[str, float]:
    """Median errors on held-out events: cubes and event ends [mm], remaining time [steps]."""
    cube, end, remaining = [], [], []
    for batch in batches:
        world = model.video(network_pictures(batch.images), batch.tokens)
        found = world.groundings[-1]
        error = (world.sight.position - normalise(batch.position)).norm(dim=-1) * WORLD_SCALE * 1e3
        cube.append(error[batch.position_mask])
        end.append(((found.end - normalise(batch.end)).norm(dim=-1) * WORLD_SCALE * 1e3).amax(-1))
        remaining.append((world.remaining * horizon - batch.length).abs())
    medians = {"place_mm": cube, "end_mm": end, "remaining_steps": remaining}
    return {k: float(torch.cat(v).median()) for k, v in medians.items()}


@torch.no_grad()
def validate_action(model: WallWM, batches: list[Batch], spec: ModelSpec) -> dict[str, float]:
    """Median and 90th percentile of the gripper error at the end of held-out events, per event type [mm]."""
    generator = torch.Generator().manual_seed(0)
    errors: dict[str, list[float]] = {}
    for batch in batches:
        states = model.video(network_pictures(batch.images), batch.tokens).states
        video = model.action.read_video(states)
        valid = torch.arange(batch.actions.shape[1])[None] < batch.length[:, None]

        def clean(x, t):
            level = torch.full((len(x),), t)
            return model.action(x, level, video, batch.state, batch.length, valid[:, None, None])

        found = euler(clean, torch.randn(batch.actions.shape, generator=generator), spec.euler_steps)
        last = batch.length.long() - 1
        rows = torch.arange(len(last))
        miss = pinch(found[rows, last], spec) - pinch(batch.actions[rows, last], spec)
        for name, value in zip(batch.event, miss.norm(dim=-1).amax(-1) * 1e3):
            errors.setdefault(str(name), []).append(float(value))
    out = {}
    for name, values in sorted(errors.items()):
        ordered = torch.tensor(values).sort().values
        out[f"{name}_mm"], out[f"{name}_p90_mm"] = float(ordered.median()), float(ordered[int(0.9 * (len(values) - 1))])
    return out
