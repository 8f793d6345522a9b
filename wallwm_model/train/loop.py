"""The one training loop: stages that train some parts and freeze the rest, resumable to the same state.

Run through `./wallwm train nano`, which starts one process per core (gloo), or under torchrun.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from wallwm_model.errors import SpecError
from wallwm_model.network.config import preset
from wallwm_model.network.model import WallWM
from wallwm_model.network.weights import load_weights
from wallwm_model.spec import ModelSpec
from wallwm_model.train.dataset import Batch, EventDataset, Loader
from wallwm_model.train.losses import (
    Task,
    action_loss,
    look_loss,
    validate_action,
    validate_video,
    video_loss,
)
from wallwm_model.train.parallel import Optimiser, world
from wallwm_model.train.recipes import PARTS, STAGES, TrainConfig
from wallwm_model.train.sight import SightTable


def learning_rate(step: int, config: TrainConfig) -> float:
    """Warm up, stay, then fall linearly to zero: factor of the base rate."""
    falling = (config.steps - step) / max(1, config.decay * config.steps)
    return max(0.0, min(1.0, (step + 1) / config.warmup, falling))


class Stage:
    """One stage of one model: what trains, what is frozen, and its state on disk.

    Attributes:
        trained: name -> parameter of what trains; all else of the model is frozen.
        average: name -> exponential moving average of it.
    """

    def __init__(
        self, name: str, model: WallWM, spec: ModelSpec, config: TrainConfig, folder: Path,
        sight: SightTable | None = None,
    ):  # fmt: skip
        if name not in STAGES:
            raise SpecError(f"stage must be one of {', '.join(STAGES)}; found {name!r}")
        self.name, self.model, self.spec, self.config, self.folder = name, model, spec, config, folder
        self.sight = sight
        self.trained = dict(trained_parameters(model, name, config))
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for parameter in self.trained.values():
            parameter.requires_grad_(True)
        self.average = {k: p.detach().clone() for k, p in self.trained.items()}
        self.optimiser = Optimiser(
            list(self.trained.items()), muon_lr=config.muon_lr, adam_lr=config.adam_lr
        )
        self.step, self.history = 0, []

    def losses(self, loader: Loader) -> dict[str, Tensor]:
        """Losses of this step; batch and noise depend on (seed, step, rank) alone."""
        config, step = self.config, self.step
        generator = torch.Generator().manual_seed(hash((config.seed, step, world()[0])) % 2**31)
        task = Task(self.model, self.spec, config.loss, self.sight, generator)
        if self.name == "video" and step < config.look_steps:
            return look_loss(task, loader.event(step, mixed=True))
        filmed = self.name != "action" and step % config.video_every == 0
        ahead = filmed or (self.name != "video" and config.loss.time_map != "keyframe")
        unified = (step * config.unified) % 1 + config.unified >= 1 or self.name == "adapt"
        if unified:
            batch = loader.unified(step, video=ahead)
        else:
            batch = loader.event(step, video=ahead, mixed=self.name == "video" and not filmed)
        losses = {} if self.name == "video" else action_loss(task, batch)
        if self.name == "video" or filmed:
            losses |= video_loss(task, batch)
        return losses

    def advance(self, loader: Loader) -> dict[str, float]:
        """One optimiser step."""
        losses = self.losses(loader)
        sum(losses.values()).backward()
        self.optimiser.step(learning_rate(self.step, self.config))
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, fast in self.trained.items():
                self.average[name].lerp_(fast, 1 - decay)
        self.step += 1
        return {k: float(v.detach()) for k, v in losses.items()}

    @contextmanager
    def averaged(self) -> Iterator[WallWM]:
        """The model with its averaged weights, for as long as the block lasts."""
        fast = {k: p.data for k, p in self.trained.items()}
        for name, parameter in self.trained.items():
            parameter.data = self.average[name]
        try:
            yield self.model
        finally:
            for name, parameter in self.trained.items():
                parameter.data = fast[name]

    def validate(self, batches: list[Batch]) -> dict[str, float]:
        """Held-out errors of the averaged weights."""
        with self.averaged() as model:
            if self.name == "video":
                return validate_video(model, batches, self.spec.horizon)
            return validate_action(model, batches, self.spec)

    def save(self) -> None:
        """Weights as safetensors; optimiser state of every rank beside them. Written whole, then renamed."""
        rank, _ = world()
        state = self.folder / f"{self.name}-optimiser-{rank}.pt"
        torch.save(self.optimiser.state_dict(), state.with_suffix(".new"))
        state.with_suffix(".new").rename(state)
        if rank:
            return
        buffers = {k: v for k, v in self.model.named_buffers() if k.startswith("video.codec")}
        for kind, values in (("last", self.trained), ("ema", self.average)):
            path = self.folder / f"{self.name}-{kind}.safetensors"
            whole = {k: v.detach().contiguous() for k, v in (values | buffers).items()}
            save_file(whole, path.with_suffix(".new"))
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
        load_weights(self.model, self.folder / f"{self.name}-last.safetensors")
        average = load_file(self.folder / f"{self.name}-ema.safetensors")
        self.average = {k: average[k] for k in self.trained}
        rank, size = world()
        states = sorted(self.folder.glob(f"{self.name}-optimiser-*.pt"))
        if len(states) != size:
            raise SpecError(f"{self.folder} must be resumed with {len(states)} processes; found {size}")
        self.optimiser.load_state_dict(torch.load(states[rank], weights_only=True))


def trained_parameters(model: WallWM, stage: str, config: TrainConfig) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Name and parameter of everything that a stage trains."""
    for name, parameter in model.named_parameters():
        inside = any(name.startswith(f"{part}.") for part in PARTS[stage])
        if inside and not any(word in name for word in config.frozen):
            yield name, parameter


def fit_codec(model: WallWM, loader: Loader) -> None:
    """Fit the frozen video codec on a few hundred clips."""
    batches = [loader.event(10**9 + i, video=True) for i in range(8)]
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
    events = EventDataset(data)
    loader = Loader(events, stage.spec, batch=config.batch, seed=config.seed, rank=rank)
    stage.sight = SightTable(events.samples, stage.spec) if config.loss.sight else None
    held_out = Loader(EventDataset(data, held_out=True), stage.spec, batch=64, seed=0)
    batches = list(held_out.sweep()) if rank == 0 else []
    stage.resume()
    if stage.name == "video" and stage.step == 0:
        fit_codec(stage.model, Loader(events, stage.spec, batch=24, seed=config.seed))
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


def build(spec: ModelSpec, folder: Path, stage: str) -> WallWM:
    """The model at the start of a stage: on the averaged weights of the stages before it."""
    torch.manual_seed(0)
    model = WallWM(preset(spec.preset), spec)
    model.video.stems.to(memory_format=torch.channels_last)
    for earlier in STAGES[: STAGES.index(stage)]:
        path = folder / f"{earlier}-ema.safetensors"
        if path.is_file():
            load_weights(model, path)
        elif earlier in ("video", "action")[: STAGES.index(stage)]:
            raise SpecError(f"the {stage} stage needs the {earlier} stage's weights at {path}; found none")
    return model


__all__ = ["Stage", "TrainConfig", "build", "learning_rate", "run_stage"]
