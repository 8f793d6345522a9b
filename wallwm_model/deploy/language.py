"""The language side on its way into a bundle: trained parts put together, and its two graphs.

| graph | in | out |
|---|---|---|
| reason | images (1, V, H, W, 3) uint8, tokens (1, L) int64 | see `graphs.Reason` |
| explain | latents (1, K_c, width), tokens (1, M) int64 | logits (1, M, words) |
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from onnx import ModelProto
from safetensors.torch import load_file

from wallwm_model.deploy.export import trace
from wallwm_model.deploy.weights import WeightFile
from wallwm_model.errors import BundleError
from wallwm_model.network.language.config import preset
from wallwm_model.network.language.graphs import Explain, Reason
from wallwm_model.network.language.model import Language
from wallwm_model.train.language import STAGES, load_stage


def load_language(folder: Path, name: str = "nano") -> Language:
    """All stages' weights, rounded to what fp16 can hold, so that all engines agree.

    Raises:
        BundleError: a stage is missing.
        SpecError: weights of another architecture.
    """
    language = Language(preset(name))
    for stage in STAGES:
        path = folder / f"{stage}.safetensors"
        if not path.is_file():
            raise BundleError(f"the language side needs the weights of stage {stage} at {path}; found none")
        load_stage(language, stage, load_file(path))
    return language.half().float().eval().requires_grad_(False)


def trace_language(language: Language, horizon: int) -> dict[str, ModelProto]:
    """Graph name -> ONNX, with the weights still inside; `horizon` [steps] scales the remaining time."""
    config, side = language.config, language.config.vision.image
    tokens = torch.zeros(1, config.text_length, dtype=torch.int64)
    tokens[0, 0] = 1
    looked = {"images": torch.zeros(1, config.views, side, side, 3, dtype=torch.uint8), "tokens": tokens}
    said = {
        "latents": torch.zeros(1, config.latents, config.text_width),
        "tokens": torch.zeros(1, config.reason_length, dtype=torch.int64),
    }
    return {
        "reason": trace(Reason(language, horizon), looked, ["latents", "features", "atomic", "remaining"]),
        "explain": trace(Explain(language), said, ["logits"]),
    }


def export_language(language: Language, out: Path, horizon: int) -> None:
    """Write `reason.onnx`, `explain.onnx` and the weights that they share, `language.safetensors`."""
    weights, graphs = WeightFile(language.state_dict()), trace_language(language, horizon)
    for graph in graphs.values():
        onnx.checker.check_model(graph, full_check=True)
        weights.take(graph)
    weights.save(out / "language.safetensors")
    for name, graph in graphs.items():
        (out / f"{name}.onnx").write_bytes(graph.SerializeToString())
