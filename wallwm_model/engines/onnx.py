"""ONNX Runtime: on the CPU, or through its CUDA and TensorRT providers with data that stays on the GPU."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime as ort

from wallwm_model.bundle import graphs_in, precision_of
from wallwm_model.engines.bound import BoundGraph
from wallwm_model.engines.cache import cache_folder
from wallwm_model.engines.graphs import Graph, GraphEngine
from wallwm_model.errors import EngineError
from wallwm_model.spec import ModelSpec

NAMES = {"cpu": "onnx", "cuda": "onnx-cuda", "tensorrt": "onnx-tensorrt"}


def load(folder: Path, spec: ModelSpec, threads: int, device: str = "cpu") -> GraphEngine:
    """Open a session for each graph of a verified bundle.

    Args:
        device: `cpu`, or the GPU by `cuda` or `tensorrt`.

    Raises:
        EngineError: ONNX Runtime fell back to the CPU.
    """
    eight = precision_of(folder) in ("fp8", "int8")
    graphs = {}
    for name, path in graphs_in(folder).items():
        session = ort.InferenceSession(
            str(path), _options(threads, eight), providers=_providers(device, folder),
            disabled_optimizers=["MatMulAddFusion"] if eight and device == "cpu" else None,
        )  # fmt: skip
        if device != "cpu" and session.get_providers()[0] == "CPUExecutionProvider":
            raise EngineError(f"ONNX Runtime must run {path.name} on the GPU; it fell back to the CPU")
        graphs[name] = _graph(session) if device == "cpu" else BoundGraph(session, "cuda")
    return GraphEngine(NAMES[device], spec, graphs)


def _options(threads: int, eight: bool) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    # Threads that spin, or are tied to a core, would take it from the control process.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def _providers(device: str, folder: Path) -> list:
    """Execution providers, best first."""
    cuda = ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC", "do_copy_in_default_stream": "1"})
    if device == "cpu":
        return ["CPUExecutionProvider"]
    if device == "cuda":
        return [cuda, "CPUExecutionProvider"]
    cache = os.fspath(cache_folder("onnx-tensorrt"))
    built = {
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": cache,
        "trt_engine_cache_prefix": folder.resolve().name,
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": cache,
        "trt_int8_enable": "True",
        "trt_fp16_enable": "False",
    }
    return [("TensorrtExecutionProvider", built), cuda, "CPUExecutionProvider"]


def _graph(session: ort.InferenceSession) -> Graph:
    names = [output.name for output in session.get_outputs()]

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(None, inputs)))

    return run
