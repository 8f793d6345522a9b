"""The language stages: what trains, what is frozen, what is minimised (method.md, sections 4 and 6).

backbone    pre-training of the stand-in backbone (large presets load public weights instead)
reader      pre-training of the stand-in small LM on reasoning texts
vlm         stage 3: the conditioner's heads
staircase   stage 4: the staircase branch and the projector
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from wallwm_model.errors import SpecError
from wallwm_model.network.language.conditioner import Conditioner
from wallwm_model.network.language.model import Language
from wallwm_model.network.model import normalise
from wallwm_model.train.language_data import MomentDataset, Moments
from wallwm_model.train.language_measure import measure
from wallwm_model.train.parallel import Optimiser, world

STAGES = ("backbone", "reader", "vlm", "staircase")
TRAINED = {
    "backbone": ("backbone",),
    "reader": ("reader",),
    "vlm": ("conditioner",),
    "staircase": ("staircase", "projector"),
}
NOTES = (4, 8, 16)  # how many notes the reader is pre-trained with


@dataclass(frozen=True)
class LanguageRecipe:
    """One stage's recipe; `batch` is per process."""

    steps: int
    batch: int
    muon_lr: float = 0.015
    adam_lr: float = 1.5e-3
    warmup: int = 30
    decay: float = 0.5  # share of the steps over which the rate falls to zero
    validate_every: int = 250
    seed: int = 0


RECIPES = {
    "backbone": LanguageRecipe(steps=700, batch=32),
    "reader": LanguageRecipe(steps=700, batch=48),
    "vlm": LanguageRecipe(steps=600, batch=32),
    "staircase": LanguageRecipe(steps=1200, batch=32),
}
# The T5 path's features (B, L, text_width) of word ids (B, L), and which rows it understands (B,).
Teacher = Callable[[Tensor], tuple[Tensor, Tensor]]


class Probe(nn.Module):
    """Extra questions to the backbone while it is pre-trained; thrown away afterwards.

    They make its picture tokens say where things are, and its last state what comes next.
    """

    def __init__(self, language: Language, slots: int = 9):
        super().__init__()
        config = language.config
        tokens = config.views * config.picture_tokens * config.backbone.width
        self.places = nn.Sequential(
            nn.LayerNorm(tokens), nn.Linear(tokens, 128), nn.SiLU(), nn.Linear(128, 3 * slots)
        )
        self.heads = Conditioner(config)
        self.slots = slots

    def forward(self, seen: Tensor) -> Tensor:
        """Picture tokens (B, V * S, D) -> normalised positions (B, slots, 3)."""
        return self.places(seen.flatten(1)).unflatten(-1, (self.slots, 3))


class LanguageStage:
    """One stage of one language side.

    Args:
        teacher: the T5 path's features for stage `vlm`; without it nothing is aligned.
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
        self.name, self.language, self.recipe, self.teacher, self.folder = (
            name,
            language,
            recipe,
            teacher,
            folder,
        )
        language.requires_grad_(False)
        if name == "staircase":
            language.staircase.start_from(language.backbone)
        self.trained = nn.ModuleDict({part: getattr(language, part) for part in TRAINED[name]})
        self.trained.requires_grad_(True)
        if name == "backbone" and language.config.vision.stem == "keypoints":
            language.backbone.qwen.visual.patch_embed.given().requires_grad_(
                False
            )  # trained in the video tower
        self.probe = Probe(language) if name == "backbone" else nn.Module()
        parts = [
            *((n, p) for n, p in self.trained.named_parameters() if p.requires_grad),
            *self.probe.named_parameters(prefix="probe"),
        ]
        named = [(_muon_name(n), p) for n, p in parts]
        self.optimiser = Optimiser(named, muon_lr=recipe.muon_lr, adam_lr=recipe.adam_lr)
        self.step, self.history = 0, []

    def losses(self, batch: Moments) -> dict[str, Tensor]:
        """What this stage minimises."""
        return getattr(self, f"_{self.name}")(batch)

    def advance(self, batch: Moments) -> dict[str, float]:
        """One optimiser step."""
        losses = self.losses(batch)
        sum(losses.values()).backward()
        recipe = self.recipe
        falling = (recipe.steps - self.step) / max(1, recipe.decay * recipe.steps)
        self.optimiser.step(max(0.0, min(1.0, (self.step + 1) / recipe.warmup, falling)))
        self.step += 1
        return {k: float(v.detach()) for k, v in losses.items()}

    def _backbone(self, batch: Moments) -> dict[str, Tensor]:
        backbone = self.language.backbone
        prefix = backbone.prefill(batch.pictures, batch.instruction)
        hidden = backbone.read(prefix, backbone.embed(batch.reason[:, :-1]))
        logits = backbone.words(torch.cat([prefix.last[:, None], hidden], dim=1))
        outlook = self.probe.heads(prefix, batch.instruction)
        error = F.smooth_l1_loss(self.probe(prefix.seen), normalise(batch.xyz), beta=0.05, reduction="none")
        mask = batch.mask[..., None].float()
        return {
            "text": words_loss(logits, batch.reason),
            "caption": words_loss(outlook.caption, batch.caption, padding=True),
            "remaining": F.smooth_l1_loss(outlook.remaining, batch.remaining, beta=0.05),
            "places": (error * mask).sum() / (3 * mask.sum()),
        }

    def _reader(self, batch: Moments) -> dict[str, Tensor]:
        reader = self.language.reader
        counts = [count for count in NOTES if count <= self.language.config.most_latents]
        count = counts[self.step % len(counts)]
        return {"text": words_loss(reader(reader.notes(batch.reason, count), batch.reason), batch.reason)}

    def _vlm(self, batch: Moments) -> dict[str, Tensor]:
        text = torch.where(
            (torch.arange(len(batch.caption)) % 2 == 0)[:, None], batch.instruction, batch.caption
        )
        with torch.no_grad():
            prefix = self.language.prefill(batch.pictures, text)
        outlook, asked = (
            self.language.outlook(prefix, text),
            slice(0, None, 2),
        )  # a caption says what comes next
        losses = {
            "caption": words_loss(outlook.caption[asked], batch.caption[asked], padding=True),
            "remaining": 2 * F.smooth_l1_loss(outlook.remaining, batch.remaining, beta=0.05),
        }
        if self.teacher is not None:
            with torch.no_grad():
                wanted, known = self.teacher(text)
            losses["align"] = F.mse_loss(outlook.features[known], wanted[known])
        return losses

    def _staircase(self, batch: Moments) -> dict[str, Tensor]:
        language = self.language
        with torch.no_grad():
            prefix = language.prefill(batch.pictures, batch.instruction)
        logits = language.reader(language.projector(language.latents(prefix)), batch.reason)
        return {"text": words_loss(logits, batch.reason)}

    @torch.no_grad()
    def validate(self, batches: list[Moments]) -> dict[str, float]:
        """Held-out figures of this stage's own task."""
        sums: dict[str, list[float]] = {}
        for batch in batches:
            for key, value in measure(self.name, self.language, batch, self.probe).items():
                sums.setdefault(key, []).append(value * len(batch.reason))
        count = sum(len(batch.reason) for batch in batches)
        return {key: sum(values) / count for key, values in sums.items()}

    def save(self) -> None:
        """Weights of what trains, and the optimiser's state; written whole, then renamed."""
        rank, _ = world()
        state = {"optimiser": self.optimiser.state_dict(), "probe": self.probe.state_dict()}
        _replace(self.folder / f"{self.name}-optimiser-{rank}.pt", lambda path: torch.save(state, path))
        if rank:
            return
        weights = {k: v.contiguous() for k, v in self.trained.state_dict().items()}
        _replace(self.folder / f"{self.name}.safetensors", lambda path: save_file(weights, path))
        progress = json.dumps({"step": self.step, "history": self.history})
        _replace(self.folder / f"{self.name}.json", lambda path: path.write_text(progress))

    def resume(self) -> None:
        """Go on from `save`'s files, if there are any; with the same number of processes."""
        path = self.folder / f"{self.name}.json"
        if not path.is_file():
            return
        progress = json.loads(path.read_text())
        self.step, self.history = progress["step"], progress["history"]
        self.trained.load_state_dict(load_file(self.folder / f"{self.name}.safetensors"))
        state = torch.load(self.folder / f"{self.name}-optimiser-{world()[0]}.pt", weights_only=True)
        self.optimiser.load_state_dict(state["optimiser"])
        self.probe.load_state_dict(state["probe"])


def run(
    stage: LanguageStage, data: MomentDataset, held_out: list[Moments], report: Callable[..., None]
) -> None:
    """Train one stage to its last step; validate, and save where it has a folder, every `validate_every`
    steps.

    `report(step, losses, found)` is called after each step; `found` holds held-out figures, or None.
    """
    recipe, rank = stage.recipe, world()[0]
    while stage.step < recipe.steps:
        losses = stage.advance(data.at_step(stage.step, recipe.batch, recipe.seed, rank))
        found = None
        if stage.step % recipe.validate_every == 0 or stage.step == recipe.steps:
            found = stage.validate(held_out)
            stage.history.append({"step": stage.step, **losses, **found})
            if stage.folder is not None:
                stage.save()
        report(stage.step, losses, found)


def load_stage(language: Language, name: str, weights: dict[str, Tensor]) -> None:
    """Put the weights that a stage has trained into a language side.

    Raises:
        SpecError: weights of another architecture.
    """
    own = {
        k: v
        for part in TRAINED[name]
        for k, v in getattr(language, part).state_dict(prefix=f"{part}.").items()
    }
    wrong = [
        k
        for k in own.keys() | weights.keys()
        if k not in own or k not in weights or own[k].shape != weights[k].shape
    ]
    if wrong:
        sizes = [tuple(x[wrong[0]].shape) if wrong[0] in x else "nothing" for x in (own, weights)]
        raise SpecError(f"weights of stage {name} must fit: {wrong[0]} is {sizes[1]}, expected {sizes[0]}")
    language.load_state_dict(weights, strict=False)


def words_loss(logits: Tensor, tokens: Tensor, *, padding: bool = False) -> Tensor:
    """Cross-entropy of (B, M, words) against (B, M); with `padding` the words after the end count too."""
    return F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), ignore_index=-100 if padding else 0)


def _muon_name(name: str) -> str:
    """Tables are not for Muon; transformers calls them otherwise than `is_hidden_matrix` expects."""
    return (
        name.replace("embed_tokens.", "embed.")
        .replace("staircase.start", "queries")
        .replace("staircase.steps", "queries")
    )


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    write(path.with_suffix(".new"))
    path.with_suffix(".new").rename(path)
