"""The language stages: what each of them trains, and their settings."""

from __future__ import annotations

from dataclasses import dataclass

from wallwm_model.train.recipes import within

# backbone    pre-training of the stand-in backbone
# reader      pre-training of the stand-in small LM on reasoning texts; public models take the place of both
# vlm         stage 3: the conditioner's heads
# staircase   stage 4: the staircase branch and the projector
# All else is frozen (method.md, section 6); the backbone's eyes are the video tower's and never train here.
PARTS = {
    "backbone": ("backbone",),
    "reader": ("reader",),
    "vlm": ("conditioner",),
    "staircase": ("staircase", "projector"),
}
STAGES = tuple(PARTS)
BUILT_ON = {"vlm": ("backbone",), "staircase": ("backbone", "reader")}  # weights that a stage reads
PUBLIC_STAGES = ("vlm", "staircase")  # what is left to train where backbone and reader are public models
NOTES = (4, 8, 16)  # how many notes the reader is pre-trained with


@dataclass(frozen=True)
class LanguageRecipe:
    """One stage's settings; `batch` is per process.

    Attributes:
        decay: share of the steps over which the learning rate falls to zero.
        pool: moments per process of which the frozen backbone's picture tokens are kept, so that they are
            computed once; 0 reads new pictures in every step.
    """

    steps: int
    batch: int
    muon_lr: float = 0.015
    adam_lr: float = 1.5e-3
    warmup: int = 30
    decay: float = 0.5
    validate_every: int = 500
    pool: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        within(self, 1, None, "steps", "batch", "warmup", "validate_every")
        within(self, 0, None, "muon_lr", "adam_lr", "pool", "seed")
        within(self, 0, 1, "decay")


RECIPES = {
    "backbone": LanguageRecipe(steps=2200, batch=24),
    "reader": LanguageRecipe(steps=700, batch=32),
    "vlm": LanguageRecipe(steps=1000, batch=32, pool=6000),
    "staircase": LanguageRecipe(steps=2000, batch=32, pool=6000),
}
