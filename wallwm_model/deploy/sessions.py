"""Graphs in memory as an engine: what export measures with. ONNX Runtime, on one thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnxruntime as ort
from onnx import ModelProto

from wallwm_model.engines.graphs import GraphEngine
from wallwm_model.spec import ModelSpec

Inputs = dict[str, np.ndarray]
Graph = Callable[[Inputs], Inputs]


def session(model: ModelProto, *, optimised: bool = True) -> Graph:
    """A graph as a function. Rounding to 8 bits is computed as written, in float32, whatever kernels there are.

    Args:
        optimised: open a few times slower and run a little faster.
    """
    options = ort.SessionOptions()
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    opened = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in opened.get_outputs()]
    return lambda inputs: dict(zip(names, opened.run(None, inputs)))


def engine_of(graphs: Mapping[str, Graph], spec: ModelSpec) -> GraphEngine:
    """The graphs behind the engine protocol."""
    return GraphEngine("export", spec, graphs)


class Recorder:
    """Keeps what goes into each graph while an engine runs.

    Args:
        most: inputs kept per graph; later ones are passed on without being kept.
    """

    def __init__(self, graphs: Mapping[str, Graph], most: int):
        self.inputs: dict[str, list[Inputs]] = {name: [] for name in graphs}
        self._most = most
        self.graphs = {name: self._watched(name, graph) for name, graph in graphs.items()}

    def _watched(self, name: str, graph: Graph) -> Graph:
        def run(inputs: Inputs) -> Inputs:
            if len(self.inputs[name]) < self._most:
                self.inputs[name].append(dict(inputs))
            return graph(inputs)

        return run
