"""One language stage: what trains, what is frozen, its state on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from wallwm_model.errors import SpecError
from wallwm_model.network.language.model import Language
from wallwm_model.network.weights import read_stage
from wallwm_model.train.files import replace_file
from wallwm_model.train.language_data import MomentDataset, Moments
from wallwm_model.train.language_losses import LanguageTask, Probe, Teacher
from wallwm_model.train.language_measure import measure
from wallwm_model.train.language_recipes import PARTS, STAGES, LanguageRecipe
from wallwm_model.train.parallel import Optimiser, world


class LanguageStage:
    """One stage of one language side.

    Args:
        teacher: the T5 path's features for the stages `vlm` and `staircase`; without it nothing is aligned.
        folder: where `save` and `resume` keep weights and optimiser state; None keeps nothing.

    Raises:
        SpecError: no such stage.
    """

    def __init__(
        self,
        name: str,
        language: Language,
        recipe: LanguageRecipe,
        teacher: Teacher | None = None,
        folder: Path | None = None,
    ):
        if name not in STAGES:
            raise SpecError(f"stage must be one of {', '.join(STAGES)}; found {name!r}")
        self.name, self.language, self.recipe, self.folder = name, language, recipe, folder
        language.requires_grad_(False)
        if name == "staircase":
            language.staircase.start_from(language.backbone)
        self.trained = nn.ModuleDict({part: getattr(language, part) for part in PARTS[name]})
        self.trained.requires_grad_(True)
        if name == "backbone" and language.config.vision.stem == "keypoints":
            language.backbone.qwen.visual.patch_embed.given().requires_grad_(False)
        self.probe = Probe(language) if name == "backbone" else nn.Module()
        self.task = LanguageTask(language, teacher, self.probe)
        parts = [
            *((n, p) for n, p in self.trained.named_parameters() if p.requires_grad),
            *self.probe.named_parameters(prefix="probe"),
        ]
        named = [(_muon_name(n), p) for n, p in parts]
        self.optimiser = Optimiser(named, muon_lr=recipe.muon_lr, adam_lr=recipe.adam_lr)
        self.step, self.history = 0, []

    def losses(self, batch: Moments) -> dict[str, Tensor]:
        """What this stage minimises."""
        return self.task.losses(self.name, batch, self.step)

    def advance(self, batch: Moments) -> dict[str, float]:
        """One optimiser step."""
        losses = self.losses(batch)
        sum(losses.values()).backward()
        recipe = self.recipe
        falling = (recipe.steps - self.step) / max(1, recipe.decay * recipe.steps)
        self.optimiser.step(max(0.0, min(1.0, (self.step + 1) / recipe.warmup, falling)))
        self.step += 1
        return {k: float(v.detach()) for k, v in losses.items()}

    @torch.no_grad()
    def validate(self, batches: list[Moments]) -> dict[str, float]:
        """Held-out figures of this stage's own task."""
        sums: dict[str, list[float]] = {}
        for batch in batches:
            for key, value in measure(self.name, self.task, batch).items():
                sums.setdefault(key, []).append(value * len(batch.reason))
        count = sum(len(batch.reason) for batch in batches)
        return {key: sum(values) / count for key, values in sums.items()}

    def save(self) -> None:
        """Weights of what trains, and the optimiser's state; written whole, then renamed."""
        rank, _ = world()
        state = {"optimiser": self.optimiser.state_dict(), "probe": self.probe.state_dict()}
        replace_file(self.folder / f"{self.name}-optimiser-{rank}.pt", lambda path: torch.save(state, path))
        if rank:
            return
        weights = {k: v.contiguous() for k, v in self.trained.state_dict().items()}
        replace_file(self.folder / f"{self.name}.safetensors", lambda path: save_file(weights, path))
        progress = json.dumps({"step": self.step, "history": self.history})
        replace_file(self.folder / f"{self.name}.json", lambda path: path.write_text(progress))

    def resume(self) -> None:
        """Go on from `save`'s files, if there are any.

        Raises:
            SpecError: they are of another number of processes, or of another model.
        """
        path = self.folder / f"{self.name}.json"
        if not path.is_file():
            return
        (rank, size), states = world(), list(self.folder.glob(f"{self.name}-optimiser-*.pt"))
        if len(states) != size:
            raise SpecError(f"{self.folder} must be resumed with {len(states)} processes; found {size}")
        progress = json.loads(path.read_text())
        load_stage(self.language, self.name, self.folder)
        path, device = self.folder / f"{self.name}-optimiser-{rank}.pt", next(self.language.parameters()).device
        state = torch.load(path, map_location=device, weights_only=True)
        self.optimiser.load_state_dict(state["optimiser"])
        self.probe.load_state_dict(state["probe"])
        self.step, self.history = progress["step"], progress["history"]


def run(
    stage: LanguageStage, data: MomentDataset, held_out: list[Moments], report: Callable[..., None]
) -> None:
    """Train one stage to its last step; validate, and save if it has a folder, every `validate_every` steps.

    Args:
        held_out: batches to validate on; the first process alone needs them.
        report: `report(step, losses, found)` is called after each step; `found`: held-out figures, or None.
    """
    recipe, rank, running = stage.recipe, world()[0], {}
    device = next(stage.language.parameters()).device
    held_out = [batch.to(device) for batch in held_out]
    while stage.step < recipe.steps:
        losses = stage.advance(data.at_step(stage.step, recipe.batch, recipe.seed, rank).to(device))
        for key, value in losses.items():
            running[key] = 0.95 * running.get(key, value) + 0.05 * value
        found = None
        if stage.step % recipe.validate_every == 0 or stage.step == recipe.steps:
            found = stage.validate(held_out) if held_out else {}
            stage.history.append({"step": stage.step, **running, **found})
            if stage.folder is not None:
                stage.save()
        report(stage.step, running, found)


def load_stage(language: Language, name: str, folder: Path) -> None:
    """Put the weights that stage `name` has left in `folder` into a language side.

    Raises:
        SpecError: no such file, a damaged one, or weights of another architecture.
    """
    own = {
        k: v for part in PARTS[name] for k, v in getattr(language, part).state_dict(prefix=f"{part}.").items()
    }
    shapes = {k: v.shape for k, v in own.items()}
    language.load_state_dict(read_stage(folder / f"{name}.safetensors", shapes), strict=False)


def _muon_name(name: str) -> str:
    """Tables and outputs are not for Muon; here they are called otherwise than `is_hidden_matrix` expects."""
    other = ("embed_tokens.", "staircase.start", "staircase.steps", "staircase.keep", "remaining.2")
    return "queries" if any(part in name for part in other) else name
