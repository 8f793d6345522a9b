"""The graphs of a finished bundle, read back with their weights inside, so that they can be made anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper

from wallwm_model.bundle import graphs_in
from wallwm_model.deploy.tidy import tidy


def read_graphs(folder: Path) -> dict[str, ModelProto]:
    """Graph name -> ONNX with float32 weights inside, of a verified bundle of float32 or bfloat16."""
    return {name: tidy(restore(onnx.load(path))) for name, path in graphs_in(folder).items()}


def restore(model: ModelProto) -> ModelProto:
    """Undo in place what `WeightFile.take` did: weights in float32 under their own names."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes, half = [], {name: v for name, v in values.items() if name.endswith((".fp16", ".bf16"))}
    for node in model.graph.node:
        source = half.get(node.input[0]) if node.input else None
        if source is None or node.op_type not in ("Cast", "Transpose"):
            nodes.append(node)
        elif node.op_type == "Cast":
            half[node.output[0]] = values[node.output[0]] = source.astype(np.float32)
        else:
            order = helper.get_attribute_value(node.attribute[0])
            values[node.output[0]] = np.ascontiguousarray(source.transpose(order))
    used = {name for node in nodes for name in node.input}
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in values.items() if k in used)
    return model
