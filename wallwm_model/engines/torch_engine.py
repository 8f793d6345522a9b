"""The network itself as an engine, for development: slower than the others on a CPU, and the one that is right.

Alone in this room it imports torch and the network. It reads `model.safetensors`, so a bundle of 8 bits, which
holds what its graphs need and nothing else, has none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from wallwm_model.bundle import WEIGHTS, precision_of
from wallwm_model.deploy.language import PART
from wallwm_model.deploy.weights import read_part
from wallwm_model.engines.graphs import Graph, GraphEngine
from wallwm_model.errors import EngineError, SpecError
from wallwm_model.network.config import preset
from wallwm_model.network.language.config import beside
from wallwm_model.network.language.graphs import Explain, Reason
from wallwm_model.network.language.model import Language
from wallwm_model.network.model import Act, Decode, Imagine, Observe, WallWM
from wallwm_model.spec import ModelSpec


def load(
    folder: Path,
    spec: ModelSpec,
    threads: int,
    *,
    device: str = "",
    compiled: bool = False,
    fp8: bool = False,
) -> GraphEngine:
    """The network of a verified bundle of 16 bits.

    Args:
        device: `cpu` or `cuda`; empty: the GPU if there is one.
        compiled: through `torch.compile`; the first calls then take minutes.
        fp8: linear layers in FP8, for GPUs that have it (`torch_fp8`).

    Raises:
        EngineError: a bundle of 8 bits, weights of another network, or FP8 where there is none.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(threads)
    model, language = read_network(folder, spec)
    model = model.to(device)
    if fp8:
        from wallwm_model.engines.torch_fp8 import convert

        convert(model)
    return engine_of(model, None if language is None else language.to(device), spec, compiled=compiled)


def engine_of(
    model: WallWM, language: Language | None, spec: ModelSpec, *, compiled: bool = False
) -> GraphEngine:
    """A network in memory as an engine, on the device where it lies."""
    device = str(next(model.parameters()).device)
    parts = _parts(model, spec) | (_said(language, spec) if language is not None else {})
    graphs = {name: _graph(torch.compile(p) if compiled else p, o, device) for name, (p, o) in parts.items()}
    return GraphEngine("torch", spec, graphs)


def read_network(folder: Path, spec: ModelSpec) -> tuple[WallWM, Language | None]:
    """Both sides of the model with the bundle's weights, in float32, ready to be run.

    Raises:
        EngineError: a bundle of 8 bits, or weights of another network.
    """
    name = precision_of(folder)
    if name not in ("fp32", "bf16"):
        raise EngineError(
            f"engine torch needs a bundle of fp32 or bf16; {folder} is of {name}, for inference only"
        )
    model = WallWM(preset(spec.preset), spec)
    _fill(model, read_part(folder / WEIGHTS, ""), folder)
    if not spec.reasons:
        return model.eval().requires_grad_(False), None
    language = Language(beside(model.config))
    _fill(language, read_part(folder / WEIGHTS, PART), folder)
    return model.eval().requires_grad_(False), language.eval().requires_grad_(False)


def _fill(module: nn.Module, stored: dict[str, torch.Tensor], folder: Path) -> None:
    wanted = module.state_dict()
    wrong = [k for k, v in wanted.items() if k not in stored or stored[k].shape != v.shape]
    if wrong:
        raise EngineError(
            f"engine torch needs weights of the present network; {folder} lacks {wrong[0]} or has it in another shape: "
            "it was exported from an earlier one"
        )
    module.load_state_dict({name: stored[name].to(value.dtype) for name, value in wanted.items()})


def _parts(model: WallWM, spec: ModelSpec) -> dict[str, tuple[nn.Module, list[str]]]:
    """Graph name -> module and the names of its outputs, as `deploy/export.py` traces them."""
    seen = ["video", "remaining", "positions"]
    return {
        "text": (model.video.captions, ["text"]),
        "observe": (Observe(model, spec.horizon, past=False), seen),
        "observe_past": (Observe(model, spec.horizon, past=True), seen),
        "imagine": (Imagine(model), ["velocity"]),
        "decode": (Decode(model), ["pictures"]),
        "act": (Act(model), ["clean"]),
    }


def _said(language: Language, spec: ModelSpec) -> dict[str, tuple[nn.Module, list[str]]]:
    reason = ["vlm", "staircase", "latents", "caption", "remaining"]
    return {"reason": (Reason(language, spec.horizon), reason), "explain": (Explain(language), ["logits"])}


def _graph(module: nn.Module, names: list[str], device: str) -> Graph:
    @torch.inference_mode()
    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = {
            name: torch.from_numpy(np.ascontiguousarray(value)).to(device) for name, value in inputs.items()
        }
        try:
            out = module(*given.values()) if len(given) == 1 else module(**given)
        except SpecError as error:
            raise EngineError(f"the network does not take what it is given: {error}") from error
        values = out if isinstance(out, tuple) else (out,)
        return {name: value.float().cpu().numpy() for name, value in zip(names, values)}

    return run
