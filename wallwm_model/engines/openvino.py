"""OpenVINO on the CPU: the default where there is no GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov

from wallwm_model.bundle import graphs_in, precision_of
from wallwm_model.engines.graphs import Graph, GraphEngine
from wallwm_model.spec import ModelSpec


def load(folder: Path, spec: ModelSpec, threads: int) -> GraphEngine:
    """Compile all graphs of a verified bundle."""
    core = ov.Core()
    half = precision_of(folder) == "bf16" and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
        # Threads tied to cores would share one with the control process, however many others are free.
        "ENABLE_CPU_PINNING": False,
    }
    graphs = {
        name: _graph(core.compile_model(core.read_model(path), "CPU", settings))
        for name, path in graphs_in(folder).items()
    }
    return GraphEngine("openvino", spec, graphs)


def _graph(compiled: ov.CompiledModel) -> Graph:
    request = compiled.create_infer_request()
    names = [output.any_name for output in compiled.outputs]

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        results = request.infer(inputs, share_inputs=True)
        return {name: np.array(results[i]) for i, name in enumerate(names)}

    return run
