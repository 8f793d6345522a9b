"""What each stage reports on held-out episodes."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from wallwm_model.flow import euler
from wallwm_model.network.action import Timing
from wallwm_model.network.model import WORLD_SCALE, WallWM, encode_history, network_pictures, normalise
from wallwm_model.network.world import World
from wallwm_model.spec import ModelSpec
from wallwm_model.train.dataset import Batch
from wallwm_model.train.losses import ANCHOR, encode_pictures, lengths_of, pinch


@torch.no_grad()
def validate_video(model: WallWM, batches: list[Batch], horizon: int) -> dict[str, float]:
    """Errors on held-out events, medians: places [mm], the event's end [mm], also per event type, remaining time
    [steps]; `named_error`: share of cubes, pads and grippers that are taken for others."""
    place, end, remaining, named = [], [], [], []
    for batch in batches:
        world = look(model, batch)
        miss = (world.sight.position - normalise(batch.position)).norm(dim=-1) * WORLD_SCALE * 1e3
        place.append(miss[batch.position_mask])
        miss = (world.groundings[-1].end - normalise(batch.end)).norm(dim=-1) * WORLD_SCALE * 1e3
        end.append(miss.amax(-1))
        remaining.append((world.remaining * horizon - batch.remaining).abs())
        named.append((world.named.argmax(-1) != batch.named).float().flatten())
    medians = {"place_mm": place, "end_mm": end, "remaining_steps": remaining}
    found = {k: float(torch.cat(v).median()) for k, v in medians.items()}
    found["named_error"] = float(torch.cat(named).mean())
    events, end = np.concatenate([batch.event for batch in batches]), torch.cat(end).numpy()
    return found | {f"{name}_end_mm": float(np.median(end[events == name])) for name in np.unique(events)}


def look(model: WallWM, batch: Batch, level: float | None = None) -> World:
    """The video tower on a batch as it is, with its own words; with its future at a noise level, if one is given."""
    past = None if batch.history is None else encode_history(model, batch.images, batch.history)
    keyframes, text = network_pictures(batch.images), model.video.captions(batch.tokens)
    if level is None:
        return model.video(keyframes, text, history=past)
    clean = encode_pictures(model, keyframes, network_pictures(batch.future).transpose(2, 3))
    noise = torch.randn(clean.shape, generator=torch.Generator(clean.device).manual_seed(0))
    noisy, t = (1 - level) * clean + level * noise, torch.full(clean.shape[:1], level)
    lengths = lengths_of(batch.shown, clean)
    return model.video(keyframes, text, history=past, noisy=noisy, t=t, lengths=lengths, read_future=True)


@torch.no_grad()
def validate_action(
    model: WallWM, batches: list[Batch], spec: ModelSpec, time_map: str
) -> dict[str, float]:
    """Median and 90th percentile of the gripper error at the end of held-out events, per event type [mm]."""
    generator = torch.Generator(next(model.parameters()).device).manual_seed(0)
    errors: dict[str, list[float]] = {}
    for batch in batches:
        timing = Timing(batch.length, batch.window)

        @cache
        def read(level: float | None) -> Tensor:
            world = look(model, batch, level)
            return model.action.read_video(world.states, world.tau, batch.chunk, world.groundings[-1].end)

        def clean(x, t):
            video = read({"keyframe": None, "anchored": ANCHOR, "symmetric": t}[time_map])
            level = torch.full(x.shape[:2], t)
            return model.action(x, level, video, batch.state, timing, batch.valid[:, None, None])

        found = euler(clean, torch.randn(batch.actions.shape, generator=generator), spec.euler_steps)
        last = batch.valid.sum(1) - 1
        rows = torch.arange(len(last))
        miss = pinch(found[rows, last], spec) - pinch(batch.actions[rows, last], spec)
        for name, value in zip(batch.event, miss.norm(dim=-1).amax(-1) * 1e3):
            errors.setdefault(str(name), []).append(float(value))
    out = {}
    for name, values in sorted(errors.items()):
        ordered = torch.tensor(values).sort().values
        out[f"{name}_mm"], out[f"{name}_p90_mm"] = float(ordered.median()), float(ordered[int(0.9 * (len(values) - 1))])
    return out
