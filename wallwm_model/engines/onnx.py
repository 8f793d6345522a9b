"""ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort

from wallwm_model.bundle import graphs_in
from wallwm_model.engines.graphs import Graph, GraphEngine
from wallwm_model.spec import ModelSpec


def load(folder: Path, spec: ModelSpec, threads: int) -> GraphEngine:
    """Open a session for each graph of a verified bundle."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # Sessions that spin would take the cores from the control process.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    graphs = {
        name: _graph(ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))
        for name, path in graphs_in(folder).items()
    }
    return GraphEngine("onnx", spec, graphs)


def _graph(session: ort.InferenceSession) -> Graph:
    names = [output.name for output in session.get_outputs()]

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(None, inputs)))

    return run
