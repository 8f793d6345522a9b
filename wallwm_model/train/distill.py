"""Distillation: a student that acts, and imagines, in few steps; the action loss on demonstrations is kept.

Three models take part. The teacher is the averaged weights of the training before, and stays as it is. The student
begins as its copy and takes the few steps of its own schedules, one for actions and one for video. The follower,
another copy, learns to denoise what the student samples, several times for each step of the student
(two-time-scale updates, arXiv 2405.14867). As in training, no gradient of actions enters the video tower.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from wallwm_model.errors import SpecError
from wallwm_model.flow import schedule
from wallwm_model.network.action import Timing
from wallwm_model.network.model import WallWM
from wallwm_model.network.world import World
from wallwm_model.spec import ModelSpec
from wallwm_model.train.augment import relight
from wallwm_model.train.dataset import Batch, Loader
from wallwm_model.train.files import replace_file
from wallwm_model.train.loop import Stage, learning_rate, trained_parameters
from wallwm_model.train.losses import (
    Task,
    chunk_losses,
    draw_prefix,
    encode_pictures,
    lengths_of,
    there,
    world_loss,
)
from wallwm_model.train.matching import add_noise, draw_levels, matching_loss, simulate
from wallwm_model.train.parallel import Optimiser, world
from wallwm_model.train.recipes import TrainConfig, within
from wallwm_model.train.sharding import gather
from wallwm_model.train.sight import SightTable


@dataclass(frozen=True)
class DistillConfig(TrainConfig):
    """One distillation.

    Attributes:
        euler_steps, video_steps: of the student, for actions and for video.
        follower_updates: of the follower, for each of the student.
        follower_lr: its learning rate.
        action_weight: of the loss on demonstrations; 0 matches distributions alone.
    """

    euler_steps: int = 2
    video_steps: int = 4
    follower_updates: int = 5
    follower_lr: float = 3e-4
    action_weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        within(self, 1, None, "euler_steps", "video_steps", "follower_updates")
        within(self, 0, None, "follower_lr", "action_weight")
        if self.loss.time_map != "keyframe":
            raise SpecError(f"time_map of a distillation must be keyframe; found {self.loss.time_map!r}")


# Far from where training began, so at a fine-tuning's rates; AdamW, whose small steps do not disturb what is learnt.
RECIPE = DistillConfig(
    steps=400, batch=20, muon_lr=0.0, adam_lr=2e-4, warmup=20, ema=0.99, validate_every=100, decay=0.5
)


@dataclass(frozen=True)
class Seen:
    """What all three models look at: pictures as relit, words, pictures of the past and of the future, how many latent
    frames of that are there (`Batch.shown`), view masks of all frames."""

    keyframes: Tensor
    text: Tensor
    past: Tensor | None
    future: Tensor | None
    shown: Tensor | None
    masks: Tensor | None

    @classmethod
    def of(cls, task: Task, batch: Batch) -> Seen:
        """One draw of light and masks; words and codec are the same in all three models."""
        with torch.no_grad():
            keyframes, history, future = relight(batch, task.config.relight, task.generator)
            past = None if history is None else encode_pictures(task.model, keyframes, history)
            text = task.model.video.captions(batch.tokens)
            return cls(keyframes, text, past, future, batch.shown, task.masks(task.covisible(batch)))

    def world(self, model: WallWM, noisy: Tensor | None = None, t: Tensor | None = None) -> World:
        """One pass of a model's video tower, over the future too where it is given."""
        frames = 1 + (0 if self.past is None else self.past.shape[3])
        frames += 0 if noisy is None else noisy.shape[3]
        masks = None if self.masks is None else self.masks[:, :frames]
        lengths = None if noisy is None else lengths_of(self.shown, noisy)
        return model.video(
            self.keyframes, self.text, history=self.past, noisy=noisy, t=t, masks=masks, lengths=lengths
        )


class Chunks:
    """Action chunks of one batch, `draws` of each sample, with a prefix that is committed in some."""

    def __init__(self, batch: Batch, config: DistillConfig, generator: torch.Generator) -> None:
        draws = config.loss.draws
        self.draws, self.index = draws, batch.chunk
        self.clean, self.state, self.valid, length, window = (
            x.repeat_interleave(draws, dim=0)
            for x in (batch.actions, batch.state, batch.valid, batch.length, batch.window)
        )
        self.timing = Timing(length, window)
        self.committed = draw_prefix(self.valid, config.loss, generator)
        self.scored = (self.valid & ~self.committed)[..., None].float().expand_as(self.clean)

    def hold(self, x: Tensor) -> Tensor:
        """Put the committed steps back."""
        return torch.where(self.committed[..., None], self.clean, x)

    def denoiser(self, model: WallWM, seen: World) -> Callable[[Tensor, Tensor | float], Tensor]:
        """(x_t, levels (B*draws,) or one for all) -> clean chunk, by the model's action tower over what was seen."""
        tower = model.action
        keys = tower.read_video(seen.states, seen.tau, self.index, seen.groundings[-1].end)
        keys = keys.repeat_interleave(self.draws, dim=1)

        def predict(x: Tensor, t: Tensor | float) -> Tensor:
            level = torch.as_tensor(t, dtype=x.dtype, device=x.device).expand(len(x))
            levels = torch.where(self.committed, 0.0, level[:, None])
            return tower(x, levels, keys, self.state, self.timing, self.valid[:, None, None])

        return predict


class Distillation(Stage):
    """The stage `distill`: what `run_stage` trains, saves and resumes.

    Attributes:
        teacher: the model as it was at the start; follower: denoises what the student samples.
    """

    def __init__(
        self, model: WallWM, spec: ModelSpec, config: DistillConfig, folder: Path, sight: SightTable | None = None
    ) -> None:  # fmt: skip
        self.teacher = copy.deepcopy(model).requires_grad_(False)
        self.follower = copy.deepcopy(model).requires_grad_(False)
        student = dataclasses.replace(spec, euler_steps=config.euler_steps)
        super().__init__("distill", model, student, config, folder, sight)
        self.follows = dict(trained_parameters(self.follower, "distill", config))
        for parameter in self.follows.values():
            parameter.requires_grad_(True)
        self.chaser = Optimiser(list(self.follows.items()), muon_lr=0.0, adam_lr=config.follower_lr)

    def losses(self, loader: Loader) -> dict[str, Tensor]:
        """Losses of the student, after several updates of the follower."""
        task, filmed = self.task(), self.step % self.config.video_every == 0
        draw = loader.unified if self.unified else loader.event
        batch = draw(self.step, video=filmed).to(task.generator.device)
        seen = Seen.of(task, batch)
        losses = self._act(task, batch, seen)
        if filmed:
            losses |= self._film(task, batch, seen)
        return losses

    def _act(self, task: Task, batch: Batch, seen: Seen) -> dict[str, Tensor]:
        """Losses of the student's action tower."""
        config, generator = self.config, task.generator
        chunks = Chunks(batch, config, generator)
        with torch.no_grad():
            own, taught = seen.world(self.model), seen.world(self.teacher)
            teach = chunks.denoiser(self.teacher, taught)
        student = chunks.denoiser(self.model, own)
        levels = [float(t) for t in schedule(config.euler_steps)]
        stop = int(torch.randint(config.euler_steps, (1,), generator=generator))
        noise = torch.randn(chunks.clean.shape, generator=generator)
        x = simulate(student, noise, levels[: stop + 1], chunks.hold)
        sample = student(x, levels[stop])
        self._follow(
            sample.detach(), chunks.scored, lambda: chunks.denoiser(self.follower, own), task, chunks.hold
        )
        t = draw_levels(len(sample), generator)
        with torch.no_grad():
            noisy = chunks.hold(add_noise(sample.detach(), t[:, None, None], generator))
            real, fake = teach(noisy, t), chunks.denoiser(self.follower, own)(noisy, t)
        losses = {"match": matching_loss(sample, real, fake, chunks.scored)}
        if config.action_weight:
            losses |= self._demonstrated(task, chunks, student, levels[:-1])
        return losses

    def _demonstrated(self, task: Task, chunks: Chunks, student, levels: list[float]) -> dict[str, Tensor]:
        """The action loss on demonstrations, at the noise levels that the student's sampler visits."""
        chosen = torch.randint(len(levels), (len(chunks.clean),), generator=task.generator)
        t = torch.tensor(levels)[chosen]
        found = student(chunks.hold(add_noise(chunks.clean, t[:, None, None], task.generator)), t)
        weight = chunks.scored[..., 0] / chunks.scored[..., 0].sum(1, keepdim=True).clamp(min=1) / len(found)
        losses = chunk_losses(found, chunks.clean, t, weight, task)
        return {name: self.config.action_weight * loss for name, loss in losses.items()}

    def _film(self, task: Task, batch: Batch, seen: Seen) -> dict[str, Tensor]:
        """Losses of the student's video tower: matching on latents, and what keeps it seeing where things are."""
        config, generator = self.config, task.generator
        clean = encode_pictures(self.model, seen.keyframes, seen.future)
        levels = [float(t) for t in schedule(config.video_steps)]
        stop = int(torch.randint(config.video_steps, (1,), generator=generator))

        def denoiser(model: WallWM) -> Callable[[Tensor, Tensor | float], Tensor]:
            def predict(x: Tensor, t: Tensor | float) -> Tensor:
                level = torch.as_tensor(t, dtype=x.dtype, device=x.device).expand(len(x))
                return x - level.view(-1, 1, 1, 1, 1, 1) * seen.world(model, x, level).velocity

            return predict

        student = denoiser(self.model)
        noise = torch.randn(clean.shape, generator=generator)
        sample = student(simulate(student, noise, levels[: stop + 1], lambda x: x), levels[stop])
        weight = there(sample, lengths_of(batch.shown, sample)).float()
        self._follow(sample.detach(), weight, lambda: denoiser(self.follower), task, lambda x: x)
        t = draw_levels(len(sample), generator)
        with torch.no_grad():
            noisy = add_noise(sample.detach(), t.view(-1, 1, 1, 1, 1, 1), generator)
            real, fake = denoiser(self.teacher)(noisy, t), denoiser(self.follower)(noisy, t)
        told = torch.ones(len(sample), dtype=torch.bool)
        kept = world_loss(seen.world(self.model), batch, self.spec.horizon, told)
        return {"match_video": matching_loss(sample, real, fake, weight)} | kept

    def _follow(self, sample: Tensor, weight: Tensor, denoiser, task: Task, hold) -> None:
        """Teach the follower to denoise the student's samples."""
        scale = learning_rate(self.step, self.config)
        for _ in range(self.config.follower_updates):
            t = draw_levels(len(sample), task.generator)
            level = t.view(-1, *[1] * (sample.ndim - 1))
            found = denoiser()(hold(add_noise(sample, level, task.generator)), t)
            # An estimate of x_0 that is off by e is a velocity that is off by e / t.
            error = weight * ((found - sample) / level.clamp(min=0.1)).square()
            (error.sum() / weight.sum().clamp(min=1e-6)).backward()
            self.chaser.step(scale)

    def save(self) -> None:
        """As every stage, and the follower beside it."""
        rank, _ = world()
        replace_file(self.folder / f"distill-follower-{rank}.pt", partial(torch.save, self.chaser.state_dict()))
        if rank == 0:
            replace_file(self.folder / "distill-follower.safetensors", partial(save_file, gather(self.follows)))
        super().save()

    def resume(self) -> None:
        """As every stage."""
        super().resume()
        path = self.folder / "distill-follower.safetensors"
        if self.step and path.is_file():
            rank, _ = world()
            found = load_file(path)
            with torch.no_grad():
                for name, parameter in self.follows.items():
                    parameter.copy_(found[name])
            state = torch.load(self.folder / f"distill-follower-{rank}.pt", weights_only=True)
            self.chaser.load_state_dict(state)
