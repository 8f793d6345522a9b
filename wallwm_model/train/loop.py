"""The one training loop: stages that train some parts and freeze the rest, resumable to the same state.

Run through `./wallwm train nano`, which starts one process per core (gloo), or under torchrun, on GPUs (NCCL)
or CPUs (gloo): `torchrun --nproc-per-node 2 -m wallwm_model.train nano`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from wallwm_model.errors import SpecError
from wallwm_model.network.codec import PatchCodec
from wallwm_model.network.config import preset
from wallwm_model.network.model import WallWM
from wallwm_model.network.presets import load_public
from wallwm_model.network.weights import read_stage
from wallwm_model.spec import ModelSpec
from wallwm_model.train.dataset import Batch, EventDataset, Loader
from wallwm_model.train.files import replace_file
from wallwm_model.train.losses import (
    Task,
    action_loss,
    look_loss,
    video_loss,
)
from wallwm_model.train.parallel import Optimiser, broadcast, world
from wallwm_model.train.public import WAN
from wallwm_model.train.recipes import PARTS, TrainConfig
from wallwm_model.train.sharding import gather, local, put, shard
from wallwm_model.train.sight import SightTable
from wallwm_model.train.validate import validate_action, validate_video


def learning_rate(step: int, config: TrainConfig) -> float:
    """Warm up, stay, then fall linearly to zero: factor of the base rate."""
    falling = (config.steps - step) / max(1, config.decay * config.steps)
    return max(0.0, min(1.0, (step + 1) / config.warmup, falling))


class Stage:
    """One stage of one model: what trains, what is frozen, and its state on disk.

    Attributes:
        trained: name -> parameter of what trains; all else of the model is frozen.
        average: name -> exponential moving average of it.
        sharded: whether parameters and averages are spread over all processes (FSDP); then every process must
            take part in advancing, validating and saving.

    Raises:
        SpecError: no such stage, or nothing to shard over.
    """

    def __init__(
        self, name: str, model: WallWM, spec: ModelSpec, config: TrainConfig, folder: Path,
        sight: SightTable | None = None, sharded: bool = False,
    ):  # fmt: skip
        if name not in PARTS:
            raise SpecError(f"stage must be one of {', '.join(PARTS)}; found {name!r}")
        self.name, self.model, self.spec, self.config, self.folder = name, model, spec, config, folder
        self.sight, self.sharded = sight, sharded
        model.requires_grad_(False)
        for _, parameter in trained_parameters(model, name, config):
            parameter.requires_grad_(True)
        self._whole = shard(model) if sharded else None
        self.trained = dict(trained_parameters(model, name, config))
        self.average = {k: p.detach().clone() for k, p in self.trained.items()}
        self.optimiser = Optimiser(
            list(self.trained.items()), muon_lr=config.muon_lr, adam_lr=config.adam_lr
        )
        self.step, self.history = 0, []

    def task(self) -> Task:
        """What this step's losses need; its random numbers depend on (seed, step, rank) alone."""
        device = next(self.model.parameters()).device
        seed = hash((self.config.seed, self.step, world()[0])) % 2**31
        generator = torch.Generator(device).manual_seed(seed)
        return Task(self.model, self.spec, self.config.loss, self.sight, generator)

    @property
    def unified(self) -> bool:
        """Whether this step's batch has fixed-length chunks: `config.unified` of them, evenly spread."""
        share = self.config.unified
        return (self.step * share) % 1 + share >= 1

    @property
    def looks_ahead(self) -> bool:
        """Whether its action tower reads features of later pictures."""
        return self.name != "video" and self.config.loss.time_map != "keyframe"

    def losses(self, loader: Loader) -> dict[str, Tensor]:
        """Losses of this step; batch and noise depend on (seed, step, rank) alone."""
        config, step, task = self.config, self.step, self.task()
        device = task.generator.device
        if self.name == "video" and step < config.look * config.steps:
            return look_loss(task, loader.event(step, mixed=True).to(device))
        filmed = self.name != "action" and step % config.video_every == 0
        ahead = filmed or self.looks_ahead
        if self.unified or self.name == "adapt":
            batch = loader.unified(step, video=ahead)
        else:
            batch = loader.event(step, video=ahead, mixed=self.name == "video" and not filmed)
        batch = batch.to(device)
        losses = {} if self.name == "video" else action_loss(task, batch)
        if self.name == "video" or filmed:
            losses |= video_loss(task, batch)
        return losses

    def advance(self, loader: Loader) -> dict[str, float]:
        """One optimiser step."""
        with self._autocast():
            losses = self._run(lambda: self.losses(loader))
        sum(losses.values()).backward()
        self.optimiser.step(learning_rate(self.step, self.config))
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, fast in self.trained.items():
                local(self.average[name]).lerp_(local(fast), 1 - decay)
        self.step += 1
        return {k: float(v.detach()) for k, v in losses.items()}

    @contextmanager
    def averaged(self) -> Iterator[WallWM]:
        """The model with its averaged weights, for as long as the block lasts."""
        with torch.no_grad():
            fast = {k: local(p).clone() for k, p in self.trained.items()}
            for name, parameter in self.trained.items():
                local(parameter).copy_(local(self.average[name]))
            try:
                yield self.model
            finally:
                for name, parameter in self.trained.items():
                    local(parameter).copy_(fast[name])

    def validate(self, batches: list[Batch]) -> dict[str, float]:
        """Held-out errors of the averaged weights."""
        with self.averaged() as model:
            if self.name == "video":
                return self._run(lambda: validate_video(model, batches, self.spec.horizon))
            return self._run(lambda: validate_action(model, batches, self.spec, self.config.loss.time_map))

    def _autocast(self) -> torch.autocast:
        """Without its cache of rounded weights: a distillation updates its follower inside."""
        device, half = next(self.model.parameters()).device.type, self.config.precision == "bf16"
        return torch.autocast(device, torch.bfloat16, enabled=half, cache_enabled=False)

    def _run(self, function: Callable[[], dict]) -> dict:
        """Whatever uses the model; a sharded one wants to know when it begins and ends."""
        return self._whole(function) if self.sharded else function()

    def save(self) -> None:
        """Weights as safetensors; optimiser state of every rank beside them. Written whole, then renamed."""
        rank, _ = world()
        replace_file(self.folder / f"{self.name}-optimiser-{rank}.pt", partial(torch.save, self.optimiser.state_dict()))
        for kind, values in (("last", self.trained), ("ema", self.average)):
            whole = gather(self._kept | values)
            if rank == 0:
                replace_file(self.folder / f"{self.name}-{kind}.safetensors", partial(save_file, whole))
        if rank == 0:
            progress = {"step": self.step, "history": self.history, "sharded": self.sharded}
            replace_file(self.folder / f"{self.name}.json", lambda new: new.write_text(json.dumps(progress)))

    def resume(self) -> None:
        """Go on from `save`'s files, if there are any.

        Raises:
            SpecError: they are of another model, of another number of processes, or sharded otherwise.
        """
        path = self.folder / f"{self.name}.json"
        if not path.is_file():
            return
        progress = json.loads(path.read_text())
        rank, size = world()
        states = list(self.folder.glob(f"{self.name}-optimiser-*.pt"))
        states.sort(key=lambda state: int(state.stem.rpartition("-")[2]))
        if len(states) != size:
            raise SpecError(f"{self.folder} must be resumed with {len(states)} processes; found {size}")
        if progress.get("sharded", False) != self.sharded:
            was, now = ("unsharded", "sharded") if self.sharded else ("sharded", "unsharded")
            raise SpecError(f"{self.folder} must be resumed {was}, as it was begun; found {now}")
        wanted = {k: v.shape for k, v in self._kept.items()}
        last, average = (
            read_stage(self.folder / f"{self.name}-{kind}.safetensors", wanted) for kind in ("last", "ema")
        )
        for name, target in self._kept.items():
            put(target, last[name])
        for name, target in self.average.items():
            put(target, average[name])
        device = next(self.model.parameters()).device
        self.optimiser.load_state_dict(torch.load(states[rank], map_location=device, weights_only=True))
        self.step, self.history = progress["step"], progress["history"]

    @property
    def _kept(self) -> dict[str, Tensor]:
        return stage_tensors(self.model, self.name)


def stage_tensors(model: WallWM, stage: str) -> dict[str, Tensor]:
    """Name -> tensor of all that a stage's file holds: its parts of the model, and the codec as fitted at the start.

    A frozen text encoder is no part of it: its weights stay in the public checkpoint.
    """
    frozen = "video.captions" if model.config.text == "umt5" else None
    parts = tuple(f"{part}." for part in PARTS[stage] if part != frozen)
    codec = {k: v for k, v in model.named_buffers() if k.startswith("video.codec")}
    return codec | {
        name: parameter
        for name, parameter in model.named_parameters()
        if f"{name}.".startswith(parts)  # a part may be one parameter
    }


def trained_parameters(model: WallWM, stage: str, config: TrainConfig) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Name and parameter of everything that a stage trains."""
    for name, tensor in stage_tensors(model, stage).items():
        if isinstance(tensor, torch.nn.Parameter) and not any(word in name for word in config.frozen):
            yield name, tensor


def load_stage(model: WallWM, stage: str, folder: Path) -> bool:
    """Lay the averaged weights of a stage over a model; whether `folder` has any.

    Raises:
        SpecError: a damaged file, or one of another architecture.
    """
    path = folder / f"{stage}-ema.safetensors"
    if not path.is_file():
        return False
    shapes = {k: v.shape for k, v in stage_tensors(model, stage).items()}
    model.load_state_dict(read_stage(path, shapes), strict=False)
    return True


def fit_codec(model: WallWM, loader: Loader) -> None:
    """Fit the frozen video codec on a few hundred clips."""
    batches = [loader.event(10**9 + i, video=True) for i in range(8)]
    first = torch.cat([b.images.flatten(0, 1) for b in batches])
    group = torch.cat([b.future[:, :, :4].flatten(0, 1) for b in batches])

    def pictures(x: Tensor) -> Tensor:
        return x.movedim(-1, 1).float().to(model.video.codec.first_mean.device) / 127.5 - 1

    model.video.codec.fit(pictures(first)[:, :, None], pictures(group))


def run_stage(
    stage: Stage, data: Path, *, report: Callable[[int, dict[str, float], dict[str, float] | None], None]
) -> None:
    """Train one stage to its last step, saving at every validation."""
    config, (rank, _) = stage.config, world()
    events = EventDataset(data)
    loader = Loader(events, stage.spec, batch=config.batch, seed=config.seed, rank=rank)
    stage.sight = SightTable(events.samples, stage.spec) if config.loss.sight else None
    many = min(64, 8 * config.batch)  # without gradients there is room for more
    held_out = Loader(EventDataset(data, held_out=True), stage.spec, batch=many, seed=0)
    device = next(stage.model.parameters()).device
    # A sharded model is put together by all processes, so all of them validate, on the same batches.
    sweep = held_out.sweep(video=stage.looks_ahead, fixed="event" not in stage.spec.modes)
    batches = [b.to(device) for b in sweep] if rank == 0 or stage.sharded else []
    stage.resume()
    if stage.name == "video" and stage.step == 0 and isinstance(stage.model.video.codec, PatchCodec):
        if rank == 0:
            fit_codec(stage.model, Loader(events, stage.spec, batch=24, seed=config.seed))
        broadcast(list(stage.model.video.codec.buffers()))
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
    model = beginning(spec, folder)
    model.video.stems.to(memory_format=torch.channels_last)
    before = tuple(PARTS)[: tuple(PARTS).index(stage)]
    for earlier in before:
        if not load_stage(model, earlier, folder) and earlier in ("video", "action"):
            raise SpecError(f"the {stage} stage needs the {earlier} stage's weights in {folder}; found none")
    return model


def beginning(spec: ModelSpec, folder: Path) -> WallWM:
    """The model of a training in `folder` before its first step, the same one every time.

    Raises:
        SpecError: a preset of Wan's sizes whose public weights are not in `folder`, see `train.cli.prepare`.
    """
    torch.manual_seed(0)
    config = preset(spec.preset)
    if not config.public:
        return WallWM(config, spec)
    return load_public(WallWM(config, spec, awaiting=True), folder / WAN)


__all__ = ["Stage", "TrainConfig", "beginning", "build", "learning_rate", "run_stage"]
