"""Layers in 8 bits, as QuantizeLinear and DequantizeLinear of the standard domain, scales baked in.

    activation -> QuantizeLinear -> DequantizeLinear ------------> MatMul or Conv -> as before
    weights, 8 bits -----------> DequantizeLinear (per channel) ->

Weights have a scale per output channel, or one per output channel and block of inputs; activations have one
scale per tensor, from calibration. What a runtime makes of the pattern is its own affair: TensorRT and OpenVINO
compute in 8 bits, ONNX Runtime does so for int8, and all of them may compute in float32 with the rounded values.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import ml_dtypes
import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from wallwm_model.deploy.layers import Layer, layers_of
from wallwm_model.errors import BundleError

Range = tuple[float, float]


@dataclass(frozen=True)
class Scheme:
    """One 8-bit format.

    Attributes:
        name: as in `--precision`.
        kind: the numpy type of weights and activations.
        top: largest magnitude.
        opset: of graphs with it.
        block: inputs that share a scale of the weights; 0: all.
    """

    name: str
    kind: type
    top: float
    opset: int
    block: int = 0

    def round(self, value: np.ndarray) -> np.ndarray:
        """Float values in units of their scale -> the nearest 8-bit ones, saturated."""
        value = np.clip(value, -self.top, self.top)
        return (np.rint(value) if self.kind is np.int8 else value).astype(self.kind)


# Scales per block would be allowed from opset 21 on, but neither OpenVINO nor TensorRT takes them for these
# types (docs/engines.md). ONNX Runtime 1.32 fails on int8 of opset 21, where it turns it into uint8; opset 20
# has all that int8 needs.
SCHEMES = {
    "fp8": Scheme("fp8", ml_dtypes.float8_e4m3fn, 448.0, 21),
    "int8": Scheme("int8", np.int8, 127.0, 20),
}


def quantise(
    model: ModelProto, chosen: Collection[str], ranges: Mapping[str, Range], scheme: Scheme
) -> ModelProto:
    """A copy of a prepared graph in which the chosen layers are of 8 bits.

    Args:
        chosen: names of layers.
        ranges: tensor name -> least and greatest value seen, for the chosen layers' activations.

    Raises:
        BundleError: a chosen layer is not there, or its activation was not calibrated.
    """
    layers = {layer.name: layer for layer in layers_of(model) if layer.name in chosen}
    if missing := [name for name in chosen if name not in layers]:
        raise BundleError(f"layers to quantise must be in the graph; {missing[0]} is not")
    out = ModelProto()
    out.CopyFrom(model)
    out.opset_import[0].version = max(scheme.opset, out.opset_import[0].version)
    values = {t.name: numpy_helper.to_array(t) for t in out.graph.initializer}
    tensors: dict[str, np.ndarray] = {}
    nodes: list[NodeProto] = []
    for node in out.graph.node:
        layer = layers.get(node.name)
        if layer is not None:
            node.input[0] = _activation(layer, ranges, scheme, tensors, nodes)
            node.input[1] = _weight(layer, values[layer.weight], scheme, tensors, nodes)
        nodes.append(node)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in out.graph.initializer if tensor.name in used]
    del out.graph.node[:], out.graph.initializer[:]
    out.graph.node.extend(nodes)
    out.graph.initializer.extend([*kept, *(numpy_helper.from_array(v, k) for k, v in tensors.items())])
    return out


def _activation(
    layer: Layer, ranges: Mapping[str, Range], scheme: Scheme, tensors: dict, nodes: list[NodeProto]
) -> str:
    """Quantise a layer's input, once for all layers that read it; the name of what they read instead."""
    name = layer.activation
    if name not in ranges:
        raise BundleError(f"the input of layer {layer.name} must have been calibrated; {name} was not")
    done = f"{name}.dequantised"
    if f"{name}.scale" not in tensors:
        least, greatest = ranges[name]
        scale = max(-least, greatest, 1e-6) / scheme.top
        tensors[f"{name}.scale"] = np.array(scale, np.float32)
        tensors[f"{name}.zero"] = np.zeros((), scheme.kind)
        given = [f"{name}.scale", f"{name}.zero"]
        nodes.append(
            helper.make_node("QuantizeLinear", [name, *given], [f"{name}.quantised"], name=f"{name}/q")
        )
        nodes.append(
            helper.make_node("DequantizeLinear", [f"{name}.quantised", *given], [done], name=f"{name}/dq")
        )
    return done


def _weight(layer: Layer, value: np.ndarray, scheme: Scheme, tensors: dict, nodes: list[NodeProto]) -> str:
    """Replace a layer's weights by their 8-bit form; the name of what is read instead."""
    name = layer.weight
    done = f"{name}.dequantised"
    if f"{name}.scale" not in tensors:
        blocked = scheme.block and layer.operator == "MatMul"
        rounded, scale = (by_block if blocked else by_channel)(value, layer.axis, scheme)
        tensors[f"{name}.{scheme.name}"], tensors[f"{name}.scale"] = rounded, scale
        tensors[f"{name}.zero"] = np.zeros(scale.shape, scheme.kind)
        given = [f"{name}.{scheme.name}", f"{name}.scale", f"{name}.zero"]
        more = {"axis": 0, "block_size": scheme.block} if blocked else {"axis": layer.axis}
        nodes.append(helper.make_node("DequantizeLinear", given, [done], name=f"{layer.name}/weight", **more))
    return done


def by_channel(value: np.ndarray, axis: int, scheme: Scheme) -> tuple[np.ndarray, np.ndarray]:
    """Weights -> 8-bit weights of the same shape, scales (outputs,) f32."""
    others = tuple(i for i in range(value.ndim) if i != axis)
    scale = np.maximum(np.abs(value).max(others, keepdims=True), 1e-12) / scheme.top
    return scheme.round(value / scale), scale.ravel().astype(np.float32)


def by_block(value: np.ndarray, axis: int, scheme: Scheme) -> tuple[np.ndarray, np.ndarray]:
    """Weights (inputs, outputs) -> 8-bit weights, scales (blocks of inputs, outputs) f32."""
    starts = range(0, len(value), scheme.block)
    greatest = np.stack([np.abs(value[i : i + scheme.block]).max(0) for i in starts])
    scale = (np.maximum(greatest, 1e-12) / scheme.top).astype(np.float32)
    return scheme.round(value / scale.repeat(scheme.block, 0)[: len(value)]), scale


def eight_bit(model: ModelProto) -> int:
    """How many weights of a graph are stored in 8 bits."""
    kinds = (TensorProto.FLOAT8E4M3FN, TensorProto.INT8)
    return sum(
        int(np.prod(t.dims)) for t in model.graph.initializer if t.data_type in kinds and len(t.dims) > 1
    )
