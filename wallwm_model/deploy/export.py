"""Export a trained model as an engine bundle: ONNX graphs over one file of weights, specification, hashes.

| graph | in | out |
|---|---|---|
| text | tokens (1, L) int64 | text (1, L, width) |
| observe | images (1, V, H, W, 3) uint8, text (1, n, width), mask (1, V*P, V*P), chunk (1,) int64 | video, remaining (1,), positions (1, 9, 3) |
| observe_past | as observe, and history (1, V, 4*M, H, W, 3) uint8 | as observe |
| imagine | images, text, mask, noisy (1, V, C, F, h, w), t (1,) | velocity, as noisy |
| decode | images, latents (1, V, C, F, h, w) | pictures (1, V, 4*F, H, W, 3) in [0, 1] |
| act | noisy (1, T, D), t (1, T), video, state (1, D), window (1,) int64 | clean (1, T, D) |
| reason | images, tokens (1, L) int64 | vlm (1, L, width), staircase (1, K_c, width), latents (1, K_c, W), caption (1, L, words), remaining (1,) |
| explain | latents, tokens (1, M) int64 | logits (1, M, words) |

`reason` and `explain` are there where the language side was trained too.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import torch
from onnx import ModelProto

from wallwm_model.bundle import WEIGHTS, write_manifest
from wallwm_model.deploy.language import PART, load_language, reasoning, trace_language
from wallwm_model.deploy.tracing import trace
from wallwm_model.deploy.weights import WeightFile
from wallwm_model.errors import BundleError
from wallwm_model.network.config import preset
from wallwm_model.network.language.model import Language
from wallwm_model.network.model import Act, Decode, Imagine, Observe, WallWM
from wallwm_model.network.weights import load_weights
from wallwm_model.spec import ModelSpec
from wallwm_model.train import language_recipes
from wallwm_model.train.recipes import PARTS


def load_trained(folder: Path) -> tuple[WallWM, ModelSpec]:
    """The averaged weights of all stages, rounded to what fp16 can hold, so that all engines agree.

    Raises:
        BundleError: a stage that every model needs is missing.
    """
    spec = ModelSpec.load(folder / "spec.json")
    model = WallWM(preset(spec.preset), spec)
    for stage in PARTS:
        path = folder / f"{stage}-ema.safetensors"
        if path.is_file():
            load_weights(model, path)
        elif stage in ("video", "action"):
            raise BundleError(f"export needs the weights of the {stage} stage at {path}; found none")
    return model.half().float().eval().requires_grad_(False), spec


def export(trained: Path, out: Path, **facts) -> None:
    """Write the bundle of the model in folder `trained`; `facts` go into its manifest."""
    model, spec = load_trained(trained)
    language = load_language(trained, model.config)
    if language is not None:
        spec = reasoning(spec, language)
    out.mkdir(parents=True, exist_ok=True)
    (out / "spec.json").write_text(spec.to_json())
    export_graphs(model, spec, out, language)
    for stage in (*PARTS, *language_recipes.STAGES):
        if (trained / f"{stage}.png").is_file():
            shutil.copy(trained / f"{stage}.png", out / f"loss-{stage}.png")
    write_manifest(out, model=spec.name, **facts)


def export_graphs(model: WallWM, spec: ModelSpec, out: Path, language: Language | None = None) -> None:
    """All graphs of a model and the file of weights that they share."""
    weights, graphs = WeightFile(model.state_dict()), trace_graphs(model, spec)
    if language is not None:
        weights.add({f"{PART}{name}": value for name, value in language.state_dict().items()})
        graphs |= trace_language(language, spec.horizon)
    for graph in graphs.values():
        onnx.checker.check_model(graph, full_check=True)
        weights.take(graph)
    weights.save(out / WEIGHTS)
    for name, graph in graphs.items():
        (out / f"{name}.onnx").write_bytes(graph.SerializeToString())


def trace_graphs(model: WallWM, spec: ModelSpec) -> dict[str, ModelProto]:
    """Graph name -> ONNX, with the weights still inside; text and chunk length are dynamic axes."""
    camera, views, joints = spec.cameras[0], len(spec.cameras), len(spec.joints)
    words, patches = spec.caption_length, spec.patches[0] * spec.patches[1]
    tokens = torch.zeros(1, words, dtype=torch.int64)
    tokens[0, 0] = 1
    looked = {
        "images": torch.zeros(1, views, camera.height, camera.width, 3, dtype=torch.uint8),
        "text": model.video.captions(tokens),
        "mask": torch.ones(1, views * patches, views * patches),
        "chunk": torch.zeros(1, dtype=torch.int64),
    }
    seen = ["video", "remaining", "positions"]
    length = {"text": {1: torch.export.Dim("words", min=2, max=64)}}
    graphs = {
        "text": trace(model.video.captions, {"tokens": tokens}, ["text"]),
        "observe": trace(Observe(model, spec.horizon, past=False), looked, seen, length),
    }
    if "unified" in spec.modes:
        past = torch.zeros(1, views, spec.history_pictures, camera.height, camera.width, 3, dtype=torch.uint8)
        whole = Observe(model, spec.horizon, past=True)
        graphs["observe_past"] = trace(whole, looked | {"history": past}, seen, length)
    tokens_read = torch.export.Dim("read", min=2, max=4096)
    acted = {
        "noisy": torch.zeros(1, 24, joints),
        "t": torch.ones(1, 24),
        "video": Observe(model, spec.horizon, past=False)(*looked.values())[0],
        "state": torch.zeros(1, joints),
        "window": torch.zeros(1, dtype=torch.int64),
    }
    side = camera.height // model.config.latent_stride
    latents = torch.zeros(1, views, model.config.latent_channels, spec.imagined_frames, side, side)
    seen_first = {name: looked[name] for name in ("images", "text", "mask")}
    dreamed = seen_first | {"noisy": latents, "t": torch.ones(1)}
    graphs["imagine"] = trace(Imagine(model), dreamed, ["velocity"], length)
    decoded = {"images": looked["images"], "latents": latents}
    graphs["decode"] = trace(Decode(model), decoded, ["pictures"])
    steps = torch.export.Dim("steps", min=2, max=spec.horizon)
    axes = {"noisy": {1: steps}, "t": {1: steps}, "video": {2: tokens_read}}
    graphs["act"] = trace(Act(model), acted, ["clean"], axes)
    return graphs
