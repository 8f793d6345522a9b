"""A language stage as `./wallwm train` runs it, in one process of the group."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch

from wallwm_model.errors import SpecError
from wallwm_model.lexicon import Qwen
from wallwm_model.network.config import preset
from wallwm_model.network.language.config import beside
from wallwm_model.network.language.model import Language
from wallwm_model.network.language.public import load_public
from wallwm_model.network.umt5 import build_text
from wallwm_model.spec import ModelSpec
from wallwm_model.subwords import LANGUAGE_FILE
from wallwm_model.train.dataset import check_training
from wallwm_model.train.language import LanguageStage, load_stage, run
from wallwm_model.train.language_data import MomentDataset
from wallwm_model.train.language_losses import Teacher
from wallwm_model.train.language_pool import Pool
from wallwm_model.train.language_recipes import BUILT_ON, PUBLIC_STAGES, RECIPES
from wallwm_model.train.language_teacher import TokenTeacher, bundle_teacher, video_weights
from wallwm_model.train.parallel import world
from wallwm_model.train.public import WAN, language_folders

BATCH = 64  # of the validation


def run_language_stage(
    name: str, data: Path, out: Path, *, steps: int | None = None, report: Callable[..., None]
) -> LanguageStage:
    """Train one stage of the language side beside the towers in `out`, resuming what lies there.

    Args:
        steps: the recipe's if not given.
        report: as of `language.run`.

    Raises:
        SpecError: a stage that needs another one which is not in `out`, or files there of another model.
        BundleError: no trained video tower in `out`.
    """
    recipe, rank = RECIPES[name], world()[0]
    if steps is not None:
        recipe = dataclasses.replace(recipe, steps=steps)
    spec = ModelSpec.load(out / "spec.json")
    stage = LanguageStage(name, build(name, out), recipe, _teacher(name, spec, out), out)
    stage.resume()
    config = stage.language.config
    sizes = {"text_length": config.text_length, "reason_length": config.reason_length}
    if config.public:
        sizes["lexicon"] = Qwen(out / LANGUAGE_FILE)
    moments = MomentDataset(data, **sizes)
    check_training(moments.samples)
    batches = MomentDataset(data, held_out=True, **sizes).sweep(BATCH) if rank == 0 else []
    if recipe.pool and stage.step < recipe.steps:
        moments = Pool(moments, stage.language.backbone, recipe.pool, recipe.seed, rank)
    run(stage, moments, batches, report)
    return stage


def build(name: str, out: Path) -> Language:
    """The language side at the start of stage `name`, on the weights in `out` that it builds on."""
    spec = ModelSpec.load(out / "spec.json")
    torch.manual_seed(0)
    language = Language(beside(preset(spec.preset)))
    if language.config.public:
        if name not in PUBLIC_STAGES:
            valid = ", ".join(PUBLIC_STAGES)
            raise SpecError(f"stages beside a public backbone and reader are {valid}; found {name}")
        return load_public(language, *language_folders(out))
    eyes = language.backbone.qwen.visual.patch_embed
    if name == "backbone" and hasattr(eyes, "start_from"):
        eyes.start_from(video_weights(out, ""))
    for earlier in BUILT_ON.get(name, ()):
        path = out / f"{earlier}.safetensors"
        if not path.is_file():
            raise SpecError(f"the {name} stage needs the {earlier} stage's weights at {path}; found none")
        load_stage(language, earlier, out)
    return language


def _teacher(name: str, spec: ModelSpec, out: Path) -> Teacher | None:
    if name not in PUBLIC_STAGES:
        return None
    if spec.text == "words":
        return bundle_teacher(out)
    sizes = preset(spec.preset)
    with torch.device("meta"):
        encoder = build_text(sizes, 0, 0)
    said = dataclasses.replace(spec, language="qwen", reason_length=beside(sizes).reason_length)
    return TokenTeacher(encoder.load(out / WAN), said)
