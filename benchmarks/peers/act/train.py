"""The training of LeRobot's ACT on our demonstrations, in the batches of our own fixed-chunk policies."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.peers.act.instructions import Instructions
from benchmarks.peers.act.policy import SPEC, WEIGHTS, build, inputs
from wallwm_model.errors import SpecError
from wallwm_model.network.model import network_pictures
from wallwm_model.spec import ModelSpec
from wallwm_model.train.augment import relight
from wallwm_model.train.cli import make_spec
from wallwm_model.train.dataset import Batch, EventDataset, Loader
from wallwm_model.train.losses import pinch
from wallwm_model.train.parallel import average_gradients, broadcast, world
from wallwm_model.train.recipes import RECIPES

STATE, PROGRESS = "training.pt", "act.json"
RECIPE = RECIPES["nano-fixed"]  # ours that ACT stands beside: same chunks, same light, same data
HELD_OUT = 6  # batches
Report = Callable[[float, int, dict[str, float], dict[str, float] | None], None]


@dataclass(frozen=True)
class Settings:
    """Attributes:
    minutes: of CPU time per process; steps: of the optimiser. Whichever is used up first ends the training.
    batch: per process.
    decay: share of the training over which the learning rate falls to zero.
    """

    minutes: float = 40.0
    steps: int | None = None
    batch: int = 16
    warmup: int = 100
    decay: float = 0.4
    validate_every: int = 200
    seed: int = 0


def specify(data: Path, out: Path) -> ModelSpec:
    """The specification beside the weights, written once: our fixed chunks, without pictures of the past.

    Raises:
        ConfigError, SpecError: no data, or damaged.
    """
    if (out / SPEC).is_file():
        return ModelSpec.load(out / SPEC)
    spec = make_spec("lerobot-act", "nano", data, stages=RECIPE.stages.values())
    spec = dataclasses.replace(
        spec, preset="act", history=0, takes_mask=False, takes_prefix=False, sources=("instruction",)
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / SPEC).write_text(spec.to_json())
    return spec


class Training:
    """ACT, its optimiser and how far it has come. All processes hold the same.

    Attributes:
        policy: LeRobot's ACTPolicy.
        step: optimiser steps done; seconds: CPU time spent on them by the first process.
    """

    def __init__(self, spec: ModelSpec, settings: Settings, out: Path) -> None:
        self.spec, self.settings, self.out = spec, settings, out
        torch.manual_seed(settings.seed)
        self.policy = build(spec)
        preset = self.policy.config.get_optimizer_preset()
        self._optimiser, self._clip = preset.build(self.policy.get_optim_params()), preset.grad_clip_norm
        self._rates = [group["lr"] for group in self._optimiser.param_groups]
        self._told = Instructions(spec)
        self.step, self.seconds, self.history = 0, 0.0, []

    def share(self) -> float:
        """How much of the training is done, from 0 to 1."""
        used = self.seconds / (60 * self.settings.minutes)
        return min(1.0, max(used, self.step / self.settings.steps if self.settings.steps else 0.0))

    def batch(self, batch: Batch, pictures: Tensor) -> dict[str, Tensor]:
        """What ACT reads and is to say; keyframes (B, V, 3, H, W) in [-1, 1]."""
        read = inputs(self.spec, pictures, batch.state, self._told(batch.tokens))
        return read | {"action": batch.actions, "action_is_pad": ~batch.valid}

    def advance(self, loader: Loader) -> dict[str, float]:
        """One optimiser step; batch and noise depend on (seed, step, rank) alone."""
        began, settings = time.process_time(), self.settings
        generator = torch.Generator().manual_seed(hash((settings.seed, self.step, world()[0])) % 2**31)
        torch.manual_seed(generator.initial_seed())  # dropout and the latent draw from the global one
        batch = loader.unified(self.step, atomic=0.0)
        light = RECIPE.stages["action"].loss.relight
        self.policy.train()
        loss, parts = self.policy(self.batch(batch, relight(batch, light, generator)[0]))
        self._optimiser.zero_grad()
        loss.backward()
        parameters = [p for p in self.policy.parameters() if p.requires_grad]
        average_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, self._clip)
        scale = min(1.0, (self.step + 1) / settings.warmup, (1 - self.share()) / settings.decay)
        for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = scale * rate
        self._optimiser.step()
        self.step += 1
        spent = torch.tensor([self.seconds + time.process_time() - began], dtype=torch.float64)
        broadcast([spent])  # so that all processes agree on when it is over
        self.seconds = float(spent)
        return parts

    @torch.no_grad()
    def validate(self, batches: list[Batch]) -> dict[str, float]:
        """Median error of the grippers' places where held-out chunks end [mm]; mean error of the targets."""
        far, off = [], []
        self.policy.eval()
        for batch in batches:
            read = self.batch(batch, network_pictures(batch.images))
            found = self.policy.predict_action_chunk(read)
            off.append((found - batch.actions).abs()[batch.valid].mean())
            rows, last = torch.arange(len(found)), batch.valid.sum(1) - 1
            miss = pinch(found[rows, last], self.spec) - pinch(batch.actions[rows, last], self.spec)
            far.append(1e3 * miss.norm(dim=-1).amax(-1))
        return {
            "chunk_end_mm": float(torch.cat(far).median()),
            "target_error": float(torch.stack(off).mean()),
        }

    def save(self) -> None:
        """All that goes on later in one file, the weights alone in another, the curves in a third."""
        weights = {k: v.contiguous() for k, v in self.policy.state_dict().items()}
        whole = {"weights": weights, "optimiser": self._optimiser.state_dict(), "history": self.history}
        whole |= {"step": self.step, "seconds": self.seconds}
        for name, write in (
            (STATE, lambda path: torch.save(whole, path)),
            (WEIGHTS, lambda path: save_file(weights, path)),
            (
                PROGRESS,
                lambda path: path.write_text(json.dumps({"step": self.step, "history": self.history})),
            ),
        ):
            new = self.out / f"{name}.new"
            write(new)
            new.rename(self.out / name)

    def resume(self) -> None:
        """Go on from what `save` left, if it did.

        Raises:
            SpecError: it is of another network.
        """
        path = self.out / STATE
        if not path.is_file():
            return
        whole = torch.load(path, weights_only=True)
        try:
            self.policy.load_state_dict(whole["weights"])
            self._optimiser.load_state_dict(whole["optimiser"])
        except (KeyError, RuntimeError, ValueError) as error:
            first = str(error).splitlines()[0]
            raise SpecError(f"{path} must be a training of this network; found another: {first}") from error
        self.step, self.seconds, self.history = whole["step"], whole["seconds"], whole["history"]


def run(data: Path, out: Path, settings: Settings, report: Report) -> Training:
    """Train until the time or the steps are used up; in one process of a group, or alone."""
    rank = world()[0]
    training = Training(ModelSpec.load(out / SPEC), settings, out)
    loader = Loader(EventDataset(data), training.spec, batch=settings.batch, seed=settings.seed, rank=rank)
    held_out = (
        Loader(EventDataset(data, held_out=True), training.spec, batch=64, seed=0) if rank == 0 else None
    )
    batches = [held_out.unified(i, atomic=0.0) for i in range(HELD_OUT)] if held_out else []
    training.resume()
    running: dict[str, float] = {}
    while training.share() < 1:
        for key, value in training.advance(loader).items():
            running[key] = 0.95 * running.get(key, value) + 0.05 * value
        found = None
        if rank == 0 and (training.step % settings.validate_every == 0 or training.share() >= 1):
            found = training.validate(batches)
            training.history.append({"step": training.step, **running, **found})
            training.save()
        report(training.share(), training.step, running, found)
    return training


def parameters(policy: nn.Module) -> int:
    """How many numbers a network learns."""
    return int(np.sum([p.numel() for p in policy.parameters()]))
