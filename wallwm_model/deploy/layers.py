"""Where a graph multiplies by weights: the layers that may be stored and computed in 8 bits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

OPERATORS = ("MatMul", "Conv")
SMALLEST = 1024  # weights; what is smaller saves nothing and is often the first or last layer


@dataclass(frozen=True)
class Layer:
    """One product with constant weights.

    Attributes:
        name: of its node, which is the network's own name for it, e.g. `model.video.dit.blocks.0.ffn.net.2`.
        operator: `MatMul`, weights (inputs, outputs), or `Conv`, weights (outputs, inputs, kernel, kernel).
        activation, weight: names of its inputs.
        key: digest of the weights: graphs that share them must decide alike.
        size: number of weights.
    """

    name: str
    operator: str
    activation: str
    weight: str
    key: str
    size: int

    @property
    def axis(self) -> int:
        """Axis of the weights that counts output channels."""
        return 1 if self.operator == "MatMul" else 0


def layers_of(model: ModelProto) -> list[Layer]:
    """The layers of a prepared graph (`prepare`), in order."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type not in OPERATORS or node.input[1] not in weights or node.input[0] in weights:
            continue
        value = numpy_helper.to_array(weights[node.input[1]])
        if (
            value.dtype != np.float32
            or value.size < SMALLEST
            or (node.op_type == "MatMul" and value.ndim != 2)
        ):
            continue
        key = hashlib.sha256(value.tobytes()).hexdigest()
        found.append(Layer(node.name, node.op_type, node.input[0], node.input[1], key, value.size))
    return found


def prepare(model: ModelProto) -> ModelProto:
    """A tidy graph as quantisation wants it, changed in place: `Gemm` becomes `MatMul` and `Add`.

    Runtimes have 8-bit kernels for `MatMul` that give float32 at once; for `Gemm` they want the bias in 32 bits.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        nodes += _unfold(node, weights) if node.op_type == "Gemm" else [node]
    tensors = list(weights.values())
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    model.graph.initializer.extend(tensor for tensor in tensors if tensor.name in used)
    return model


def _unfold(node: NodeProto, weights: dict) -> list[NodeProto]:
    """`Gemm` with constant weights as `MatMul` and `Add`; any other one as it is."""
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    plain = given.get("alpha", 1.0) == given.get("beta", 1.0) == 1.0 and not given.get("transA", 0)
    if not plain or node.input[1] not in weights:
        return [node]
    name = node.input[1]
    if given.get("transB", 0):
        turned = np.ascontiguousarray(numpy_helper.to_array(weights[name]).T)
        name = f"{name}.turned"
        weights.setdefault(name, numpy_helper.from_array(turned, name))
    biased = len(node.input) > 2
    product = f"{node.output[0]}.product" if biased else node.output[0]
    made = [helper.make_node("MatMul", [node.input[0], name], [product], name=node.name)]
    if biased:
        made.append(
            helper.make_node("Add", [product, node.input[2]], [node.output[0]], name=f"{node.name}/bias")
        )
    return made
