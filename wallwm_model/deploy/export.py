"""Export a trained model as an engine bundle: two ONNX graphs, specification, weights, hashes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file, save_file

from wallwm_model.bundle import write_manifest
from wallwm_model.errors import BundleError
from wallwm_model.network.config import preset
from wallwm_model.network.model import Act, Observe, WallWM
from wallwm_model.spec import ModelSpec

OPSET = 20
LARGE = 256  # elements; smaller constants stay in fp32


def load_trained(folder: Path) -> tuple[WallWM, ModelSpec]:
    """The averaged weights of both stages, rounded to what fp16 can hold, so that all engines agree."""
    spec = ModelSpec.load(folder / "spec.json")
    model = WallWM(preset(spec.name), spec)
    for stage, module in (("video", model.video), ("action", model.action)):
        path = folder / f"{stage}-ema.safetensors"
        if not path.is_file():
            raise BundleError(f"export needs the weights of the {stage} stage at {path}; found none")
        module.load_state_dict(load_file(path))
    return model.half().float().eval().requires_grad_(False), spec


def export(trained: Path, out: Path, **facts) -> None:
    """Write the bundle of the model in folder `trained`; `facts` go into its manifest."""
    model, spec = load_trained(trained)
    out.mkdir(parents=True, exist_ok=True)
    (out / "spec.json").write_text(spec.to_json())
    export_graphs(model, spec, out)
    weights = {k: v.half().contiguous() for k, v in model.state_dict().items()}
    save_file(weights, out / "model.safetensors", metadata={"model": spec.name})
    for name in ("video.png", "action.png"):
        if (trained / name).is_file():
            shutil.copy(trained / name, out / f"loss-{name}")
    write_manifest(out, model=spec.name, **facts)


def export_graphs(model: WallWM, spec: ModelSpec, out: Path) -> None:
    """`observe.onnx` and `act.onnx`; the chunk length of `act` is a dynamic axis."""
    camera, joints = spec.cameras[0], len(spec.joints)
    images = torch.zeros(1, len(spec.cameras), camera.height, camera.width, 3, dtype=torch.uint8)
    tokens = torch.zeros(1, spec.caption_length, dtype=torch.int64)
    tokens[0, 0] = 1
    observe = Observe(model, spec.horizon).eval()
    video = observe(images, tokens)[0]
    steps = torch.export.Dim("steps", min=2, max=spec.horizon)
    save_graph(
        observe,
        (images, tokens),
        out / "observe.onnx",
        inputs=["images", "tokens"],
        outputs=["video", "remaining", "positions"],
    )
    save_graph(
        Act(model).eval(),
        (torch.zeros(1, 24, joints), torch.ones(1), video, torch.zeros(1, joints)),
        out / "act.onnx",
        inputs=["noisy", "t", "video", "state"],
        outputs=["clean"],
        dynamic_shapes={"noisy": {1: steps}, "t": {}, "video": {}, "state": {}},
    )


def save_graph(module, args, path: Path, *, inputs, outputs, dynamic_shapes=None) -> None:
    """Export one module in standard-domain ONNX and keep its weights in fp16."""
    program = torch.onnx.export(
        module,
        args,
        dynamo=True,
        opset_version=OPSET,
        input_names=inputs,
        output_names=outputs,
        dynamic_shapes=dynamic_shapes,
        verbose=False,
    )
    graph = halve_weights(program.model_proto)
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, path)


def halve_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store large fp32 weights as fp16 with a Cast behind them; runtimes fold the Cast at load."""
    casts = []
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype != np.float32 or value.size < LARGE:
            continue
        half = value.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), value):
            continue  # a computed constant, not a weight: keep it exact
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.fp16"))
        casts.append(helper.make_node("Cast", [f"{name}.fp16"], [name], to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
    return model
