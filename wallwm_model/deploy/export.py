"""Export a trained model as an engine bundle: ONNX graphs over one file of weights, specification, hashes.

| graph | in | out |
|---|---|---|
| text | tokens (1, L) int64 | text (1, L, width) |
| observe | images (1, V, H, W, 3) uint8, text (1, n, width), mask (1, V*P, V*P), chunk (1,) int64 | video, remaining (1,), positions (1, 9, 3) |
| observe_past | as observe, and history (1, V, 4*M, H, W, 3) uint8 | as observe |
| imagine | images, text, mask, noisy (1, V, C, F, h, w), t (1,) | velocity, as noisy |
| decode | images, latents (1, V, C, F, h, w) | pictures (1, V, 4*F, H, W, 3) in [0, 1] |
| act | noisy (1, T, D), t (1, T), video, state (1, D), window (1,) int64 | clean (1, T, D) |
| act_16 ... | as act, T fixed, and steps (1,) int64, the chunk's own length | clean (1, T, D) |
| reason | images, tokens (1, L) int64 | vlm (1, L, width), staircase (1, K_c, width), latents (1, K_c, W), caption (1, L, words), remaining (1,) |
| explain | latents, tokens (1, M) int64 | logits (1, M, words) |

With `batch`, 1 stands for any number of robots in `text`, `observe` and `act`; `video` has them in its second axis.

`reason` and `explain` are there where the language side was trained too; `act_16` and so on instead of `act` where
lengths were asked for.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from onnx import ModelProto
from torch import nn

from wallwm_model.bundle import LARGEST, WEIGHTS, read_manifest, verify, verify_graphs
from wallwm_model.deploy.language import PART, load_language, reasoning, trace_language
from wallwm_model.deploy.lengths import ANY_LENGTH, ActOfLength, Shapes, check_lengths
from wallwm_model.deploy.source import read_graphs
from wallwm_model.deploy.tracing import trace
from wallwm_model.deploy.weights import FOLDED, read_part
from wallwm_model.deploy.writing import Options, Say, Source, write, write_graphs
from wallwm_model.errors import BundleError
from wallwm_model.network.language.model import Language
from wallwm_model.network.model import Act, Decode, Imagine, Observe, WallWM
from wallwm_model.spec import ModelSpec
from wallwm_model.train import language_recipes
from wallwm_model.train.loop import beginning, load_stage
from wallwm_model.train.recipes import PARTS

AS_TRAINED = Options()


def load_trained(folder: Path) -> tuple[WallWM, ModelSpec]:
    """The averaged weights of all stages, rounded to what fp16 can hold, so that all engines agree.

    Raises:
        BundleError: a stage that every model needs is missing.
        SpecError: weights of another architecture.
    """
    spec = ModelSpec.load(folder / "spec.json")
    model = beginning(spec, folder)
    for stage in PARTS:
        if not load_stage(model, stage, folder) and stage in ("video", "action"):
            raise BundleError(f"export needs the weights of the {stage} stage in {folder}; found none")
    return model.half().float().eval().requires_grad_(False), spec


def export(
    trained: Path,
    out: Path,
    options: Options = AS_TRAINED,
    shapes: Shapes = ANY_LENGTH,
    say: Say = lambda text: None,
    **facts,
) -> None:
    """Write the bundle of the model in folder `trained`; `facts` go into its manifest."""
    source = from_training(trained, shapes, say)
    out.mkdir(parents=True, exist_ok=True)
    for stage in (*PARTS, *language_recipes.STAGES):
        if (trained / f"{stage}.png").is_file():
            shutil.copy(trained / f"{stage}.png", out / f"loss-{stage}.png")
    write(source, out, options, say, **facts)


def convert(
    bundle: Path,
    out: Path,
    options: Options,
    shapes: Shapes = ANY_LENGTH,
    say: Say = lambda text: None,
    **facts,
) -> None:
    """Write a finished bundle anew: in another precision, with other steps, or with other graphs (see `export`).

    Raises:
        BundleError: the bundle is altered, is of 8 bits already, or is the folder to write.
    """
    if out.resolve() == bundle.resolve():
        raise BundleError(f"a bundle must be converted into another folder; found {out} twice")
    said = read_manifest(bundle)
    kept = {key: said[key] for key in ("training", "distillation") if key in said}
    source = from_bundle(bundle)
    if shapes != ANY_LENGTH:
        from wallwm_model.engines.torch_engine import read_network

        say("tracing the graphs")
        model, language = read_network(bundle, source.spec)
        source = source_of(model, source.spec, language, shapes)
    write(source, out, options, say, **kept, **facts)


def from_training(
    trained: Path, shapes: Shapes = ANY_LENGTH, say: Say = lambda text: None
) -> Source:
    """The trained model as graphs.

    Raises:
        BundleError, SpecError: weights that are missing or of another architecture.
    """
    model, spec = load_trained(trained)
    language = load_language(trained, model.config)
    if language is not None:
        spec = reasoning(spec, language)
    say("tracing the graphs")
    return source_of(model, spec, language, shapes)


def source_of(
    model: WallWM, spec: ModelSpec, language: Language | None = None, shapes: Shapes = ANY_LENGTH
) -> Source:
    """A model in memory as graphs, with its weights.

    Raises:
        BundleError: a model that was trained to read more than the engines give it, or one too large for graphs.
    """
    if spec.time_map != "keyframe":
        raise BundleError(
            f"the action tower of a bundle must read keyframes; found a model trained with time_map {spec.time_map}"
        )
    check_lengths(shapes.lengths, spec)
    check_size({"text": model.video.captions, "observe": model.video, "act": model.action, "reason": language})
    graphs, said = trace_graphs(model, spec, shapes), {}
    if language is not None:
        graphs |= trace_language(language, spec.horizon)
        said = {f"{PART}{name}": value for name, value in language.state_dict().items()}
    return Source(spec, graphs, model.state_dict(), said)


def check_size(parts: dict[str, nn.Module | None]) -> None:
    """Raises BundleError if the weights in a graph, here by its name, would be more than a protobuf may have."""
    for name, module in parts.items():
        size = 4 * sum(p.numel() for p in module.parameters()) if module is not None else 0
        if size > LARGEST[".onnx"]:
            raise BundleError(
                f"weights of the {name} graph may have {LARGEST['.onnx'] / 1e9:.1f} GB while it is traced, in fp32; "
                f"found {size / 1e9:.1f} GB: presets of Wan's full sizes cannot be exported yet"
            )


def from_bundle(folder: Path) -> Source:
    """A finished bundle as graphs.

    Raises:
        BundleError: it is altered, or of 8 bits already.
    """
    spec = verify(folder)
    if any(graph.weights["int8"] or graph.weights["fp8"] for graph in verify_graphs(folder).values()):
        raise BundleError(f"a bundle of 8 bits cannot be converted; {folder} is one: start from fp32 or bf16")
    state = {k: v for k, v in read_part(folder / WEIGHTS, "").items() if not k.startswith(FOLDED)}
    said = {name: value for name, value in state.items() if name.startswith(PART)}
    own = {name: value for name, value in state.items() if name not in said}
    return Source(spec, read_graphs(folder), own, said)


def export_graphs(model: WallWM, spec: ModelSpec, out: Path, language: Language | None = None) -> None:
    """All graphs of a model and the file of weights that they share, in float32."""
    write_graphs(source_of(model, spec, language), out)


def trace_graphs(model: WallWM, spec: ModelSpec, shapes: Shapes = ANY_LENGTH) -> dict[str, ModelProto]:
    """Graph name -> ONNX, with the weights still inside; text and chunk length are dynamic axes."""
    return trace_acting(model, spec, shapes) | trace_imagining(model, spec)


def trace_acting(model: WallWM, spec: ModelSpec, shapes: Shapes = ANY_LENGTH) -> dict[str, ModelProto]:
    """The graphs that a chunk comes of, which may take any number of robots."""
    camera, views = spec.cameras[0], len(spec.cameras)
    looked, length = a_look(model, spec), any_text(spec)
    tokens = torch.zeros(1, spec.caption_length, dtype=torch.int64)
    tokens[0, 0] = 1
    seen = ["video", "remaining", "positions"]
    graphs = {
        "text": trace(model.video.captions, {"tokens": tokens}, ["text"], batch=shapes.batch),
        "observe": trace(Observe(model, spec.horizon, past=False), looked, seen, length, batch=shapes.batch),
    }
    if "unified" in spec.modes:
        past = torch.zeros(1, views, spec.history_pictures, camera.height, camera.width, 3, dtype=torch.uint8)
        whole = Observe(model, spec.horizon, past=True)
        graphs["observe_past"] = trace(whole, looked | {"history": past}, seen, length, batch=shapes.batch)
    return graphs | trace_act(model, spec, shapes)


def trace_imagining(model: WallWM, spec: ModelSpec) -> dict[str, ModelProto]:
    """The graphs that predict video, for one robot."""
    looked, (channels, *size) = a_look(model, spec), spec.latent
    latents = torch.zeros(1, len(spec.cameras), channels, spec.imagined_frames, *size)
    seen_first = {name: looked[name] for name in ("images", "text", "mask")}
    dreamed = seen_first | {"noisy": latents, "t": torch.ones(1)}
    decoded = {"images": looked["images"], "latents": latents}
    return {
        "imagine": trace(Imagine(model), dreamed, ["velocity"], any_text(spec)),
        "decode": trace(Decode(model), decoded, ["pictures"]),
    }


def any_text(spec: ModelSpec) -> dict[str, dict]:
    """The dynamic axis of an encoded text, see `trace`."""
    return {"text": {1: torch.export.Dim("words", min=2, max=max(64, spec.caption_length))}}


def a_look(model: WallWM, spec: ModelSpec) -> dict[str, torch.Tensor]:
    """What goes into the `observe` graph, of the right shapes."""
    camera, views, patches = spec.cameras[0], len(spec.cameras), spec.patches[0] * spec.patches[1]
    tokens = torch.ones(1, spec.caption_length, dtype=torch.int64)
    return {
        "images": torch.zeros(1, views, camera.height, camera.width, 3, dtype=torch.uint8),
        "text": model.video.captions(tokens),
        "mask": torch.ones(1, views * patches, views * patches),
        "chunk": torch.zeros(1, dtype=torch.int64),
    }


def trace_act(model: WallWM, spec: ModelSpec, shapes: Shapes) -> dict[str, ModelProto]:
    """The `act` graph, or one for each length; they read as many tokens as either window has."""
    joints = len(spec.joints)
    longest = {2: torch.export.Dim("read", min=2, max=4096)}
    steps = torch.export.Dim("steps", min=2, max=spec.horizon)
    video = Observe(model, spec.horizon, past=False)(*a_look(model, spec).values())[0]

    def acted(count: int) -> dict:
        return {
            "noisy": torch.zeros(1, count, joints),
            "t": torch.ones(1, count),
            "video": video,
            "state": torch.zeros(1, joints),
            "window": torch.zeros(1, dtype=torch.int64),
        }

    if not shapes.lengths:
        axes = {"noisy": {1: steps}, "t": {1: steps}, "video": longest}
        return {"act": trace(Act(model), acted(24), ["clean"], axes, batch=shapes.batch)}
    axes = {"video": longest} if "unified" in spec.modes else {}
    graphs = {}
    for count in shapes.lengths:
        told = acted(count) | {"steps": torch.full((1,), count)}
        graphs[f"act_{count}"] = trace(ActOfLength(model), told, ["clean"], axes, batch=shapes.batch)
    return graphs
