"""One torch module in standard-domain ONNX."""

from __future__ import annotations

import torch
from onnx import ModelProto
from torch import nn

from wallwm_model.deploy.tidy import tidy

OPSET = 20


def trace(module: nn.Module, inputs: dict, outputs: list[str], axes: dict | None = None) -> ModelProto:
    """The graph of a module; `inputs` are its arguments by name, `axes` those that are dynamic."""
    program = torch.onnx.export(
        module.eval(),
        tuple(inputs.values()),
        dynamo=True,
        opset_version=OPSET,
        input_names=list(inputs),
        output_names=outputs,
        dynamic_shapes={name: (axes or {}).get(name, {}) for name in inputs},
        verbose=False,
    )
    return tidy(program.model_proto)
