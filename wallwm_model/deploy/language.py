"""The language side on its way into a bundle: trained parts put together, graphs, specification."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from onnx import ModelProto

from wallwm_model.deploy.tracing import trace
from wallwm_model.errors import BundleError
from wallwm_model.network.config import NetworkConfig
from wallwm_model.network.language.config import beside
from wallwm_model.network.language.graphs import Explain, Reason
from wallwm_model.network.language.model import Language
from wallwm_model.network.language.public import load_public
from wallwm_model.spec import CONDITIONERS, SOURCES, ModelSpec
from wallwm_model.train.language import load_stage
from wallwm_model.train.language_recipes import PUBLIC_STAGES, STAGES
from wallwm_model.train.public import language_folders
from wallwm_model.wording import vocabulary

PART = "language."  # before the names of its weights in a bundle


def load_language(folder: Path, network: NetworkConfig) -> Language | None:
    """All stages' weights, rounded to what fp16 can hold, so that all engines agree; None if there are none.

    Raises:
        BundleError: some stages are there and others are missing.
        SpecError: weights of another architecture, or public ones that are gone.
    """
    config = beside(network)
    needed = PUBLIC_STAGES if config.public else STAGES
    found = [stage for stage in needed if (folder / f"{stage}.safetensors").is_file()]
    if not found:
        return None
    if missing := [stage for stage in needed if stage not in found]:
        raise BundleError(
            f"a language side needs the stages {', '.join(needed)}; {folder} lacks {', '.join(missing)}: "
            f"train them, or take away the others"
        )
    language = Language(config)
    if config.public:
        load_public(language, *language_folders(folder))
    for stage in needed:
        load_stage(language, stage, folder)
    return language.half().float().eval().requires_grad_(False)


def reasoning(spec: ModelSpec, language: Language) -> ModelSpec:
    """The specification of a model that has this language side.

    Raises:
        BundleError: a language side of other words or pictures than the model's.
    """
    config, camera = language.config, spec.cameras[0]
    words = () if config.public else vocabulary()
    pictures = (len(spec.cameras), camera.height, camera.width)
    checks = [("pictures", pictures, (config.views, config.side, config.side))]
    if not config.public:
        checks += [
            ("caption length", spec.caption_length, config.text_length),
            ("first words", spec.vocabulary, words[: len(spec.vocabulary)]),
        ]
    for name, wanted, found in checks:
        if wanted != found:
            raise BundleError(f"{name} of the language side must be {wanted}, as the model's; found {found}")
    return dataclasses.replace(
        spec,
        sources=SOURCES if "unified" in spec.modes else spec.sources,
        conditioners=CONDITIONERS,
        words=words,
        language="qwen" if config.public else "words",
        language_length=config.text_length if config.public else 0,
        reason_length=config.reason_length,
    )


def trace_language(language: Language, horizon: int) -> dict[str, ModelProto]:
    """Graph name -> ONNX, with the weights still inside; `horizon` [steps] scales the remaining time."""
    config, side = language.config, language.config.side
    tokens = torch.zeros(1, config.text_length, dtype=torch.int64)
    tokens[0, 0] = 1
    looked = {"images": torch.zeros(1, config.views, side, side, 3, dtype=torch.uint8), "tokens": tokens}
    said = {
        "latents": torch.zeros(1, config.latents, config.backbone.width),
        "tokens": torch.zeros(1, config.reason_length, dtype=torch.int64),
    }
    names = ["vlm", "staircase", "latents", "caption", "remaining"]
    return {
        "reason": trace(Reason(language, horizon), looked, names),
        "explain": trace(Explain(language), said, ["logits"]),
    }
