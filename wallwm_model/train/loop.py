"""The one training loop: two stages, resumable to the same state, plain data parallel.

Run through `./wallwm train nano`, which starts one process per core (gloo) or, on GPUs, under torchrun.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from wallwm_model.errors import SpecError
from wallwm_model.network.config import preset
from wallwm_model.network.model import WallWM
from wallwm_model.spec import ModelSpec
from wallwm_model.train.dataset import Batch, EventDataset, Loader
from wallwm_model.train.losses import action_loss, validate_action, validate_video, video_loss
from wallwm_model.train.parallel import Optimiser, world

STAGES = ("video", "action")


@dataclass(frozen=True)
class TrainConfig:
    """One stage's recipe; `batch` is per process."""

    steps: int
    batch: int
    muon_lr: float = 0.015
    adam_lr: float = 1.5e-3
    warmup: int = 50
    decay: float = 0.4  # share of the steps over which the rate falls to zero
    ema: float = 0.998
    draws: int = 4  # noise levels per observation (stage 2)
    video_every: int = 8  # every n-th batch of stage 1 carries video; the others ground the keyframe
    validate_every: int = 250
    seed: int = 0


RECIPES = {
    "nano": {
        "video": TrainConfig(steps=1500, batch=32),
        "action": TrainConfig(steps=1600, batch=24),
    },
}


def learning_rate(step: int, config: TrainConfig) -> float:
    """Warm up, stay, then fall linearly to zero: factor of the base rate."""
    falling = (config.steps - step) / max(1, config.decay * config.steps)
    return max(0.0, min(1.0, (step + 1) / config.warmup, falling))


class Stage:
    """One stage of one model: what trains, what is frozen, and its state on disk."""

    def __init__(self, name: str, model: WallWM, spec: ModelSpec, config: TrainConfig, folder: Path):
        if name not in STAGES:
            raise SpecError(f"stage must be one of {', '.join(STAGES)}; found {name!r}")
        self.name, self.model, self.spec, self.config, self.folder = name, model, spec, config, folder
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        self.trained = model.video if name == "video" else model.action
        for parameter in self.trained.parameters():
            parameter.requires_grad_(True)
        self.ema = copy.deepcopy(self.trained).requires_grad_(False)
        named = [(f"{name}.{n}", p) for n, p in self.trained.named_parameters()]
        self.optimiser = Optimiser(named, muon_lr=config.muon_lr, adam_lr=config.adam_lr)
        self.step, self.history = 0, []

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of this stage; their noise depends on (seed, step, rank) alone."""
        generator = torch.Generator().manual_seed(hash((self.config.seed, self.step, world()[0])) % 2**31)
        if self.name == "video":
            return video_loss(self.model, batch, self.spec.horizon, generator)
        return action_loss(self.model, batch, self.spec, self.config.draws, generator)

    def advance(self, loader: Loader) -> dict[str, float]:
        """One optimiser step."""
        video = self.name == "video" and self.step % self.config.video_every == 0
        keyframes_only = self.name == "video" and not video
        losses = self.losses(loader.at(self.step, video=video, mixed=keyframes_only))
        sum(losses.values()).backward()
        self.optimiser.step(learning_rate(self.step, self.config))
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for slow, fast in zip(self.ema.parameters(), self.trained.parameters()):
                slow.lerp_(fast, 1 - decay)
        self.step += 1
        return {k: float(v.detach()) for k, v in losses.items()}

    def validate(self, batches: list[Batch]) -> dict[str, float]:
        """Held-out errors of the averaged weights."""
        shown = copy.copy(self.model)
        shown._modules = dict(self.model._modules) | {self.name: self.ema}
        if self.name == "video":
            return validate_video(shown, batches, self.spec.horizon)
        return validate_action(shown, batches, self.spec)

    def save(self) -> None:
        """Weights as safetensors; optimiser state of every rank beside them. Written whole, then renamed."""
        rank, _ = world()
        state = self.folder / f"{self.name}-optimiser-{rank}.pt"
        torch.save(self.optimiser.state_dict(), state.with_suffix(".new"))
        state.with_suffix(".new").rename(state)
        if rank:
            return
        for kind, module in (("last", self.trained), ("ema", self.ema)):
            path = self.folder / f"{self.name}-{kind}.safetensors"
            save_file({k: v.contiguous() for k, v in module.state_dict().items()}, path.with_suffix(".new"))
            path.with_suffix(".new").rename(path)
        progress = {"step": self.step, "history": self.history}
        (self.folder / f"{self.name}.json").write_text(json.dumps(progress))

    def resume(self) -> None:
        """Go on from `save`'s files, if there are any."""
        path = self.folder / f"{self.name}.json"
        if not path.is_file():
            return
        progress = json.loads(path.read_text())
        self.step, self.history = progress["step"], progress["history"]
        self.trained.load_state_dict(load_file(self.folder / f"{self.name}-last.safetensors"))
        self.ema.load_state_dict(load_file(self.folder / f"{self.name}-ema.safetensors"))
        rank, size = world()
        states = sorted(self.folder.glob(f"{self.name}-optimiser-*.pt"))
        if len(states) != size:
            raise SpecError(f"{self.folder} must be resumed with {len(states)} processes; found {size}")
        self.optimiser.load_state_dict(torch.load(states[rank], weights_only=True))


def fit_codec(model: WallWM, loader: Loader) -> None:
    """Fit the frozen video codec on a few hundred clips."""
    batches = [loader.at(10**9 + i, video=True) for i in range(8)]
    first = torch.cat([b.images.flatten(0, 1) for b in batches])
    group = torch.cat([b.future[:, :, :4].flatten(0, 1) for b in batches])

    def pictures(x: Tensor) -> Tensor:
        return x.movedim(-1, 1).float() / 127.5 - 1

    model.video.codec.fit(pictures(first)[:, :, None], pictures(group))


def run_stage(
    stage: Stage, data: Path, *, report: Callable[[int, dict[str, float], dict[str, float] | None], None]
) -> None:
    """Train one stage to its last step, saving at every validation."""
    config, (rank, _) = stage.config, world()
    loader = Loader(EventDataset(data), stage.spec, batch=config.batch, seed=config.seed, rank=rank)
    held_out = Loader(EventDataset(data, held_out=True), stage.spec, batch=64, seed=0)
    batches = list(held_out.sweep()) if rank == 0 else []
    stage.resume()
    if stage.name == "video" and stage.step == 0:
        fit_codec(stage.model, Loader(EventDataset(data), stage.spec, batch=24, seed=config.seed))
        stage.ema.codec.load_state_dict(stage.model.video.codec.state_dict())
    running: dict[str, float] = {}
    while stage.step < config.steps:
        began = time.perf_counter()
        losses = stage.advance(loader)
        seconds = time.perf_counter() - began
        for key, value in losses.items():
            running[key] = 0.95 * running.get(key, value) + 0.05 * value
        found = None
        if stage.step % config.validate_every == 0 or stage.step == config.steps:
            found = stage.validate(batches) if batches else {}
            stage.history.append({"step": stage.step, **running, **found})
            stage.save()
        report(stage.step, running | {"seconds": seconds}, found)


def build(name: str, spec: ModelSpec, folder: Path, stage: str) -> WallWM:
    """The model at the start of a stage: stage 2 starts on stage 1's averaged weights."""
    torch.manual_seed(0)
    model = WallWM(preset(name), spec)
    model.video.stems.to(memory_format=torch.channels_last)
    if stage == "action":
        path = folder / "video-ema.safetensors"
        if not path.is_file():
            raise SpecError(f"the action stage needs the video stage's weights at {path}; found none")
        model.video.load_state_dict(load_file(path))
    return model
