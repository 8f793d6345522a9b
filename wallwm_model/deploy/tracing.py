"""One torch module in standard-domain ONNX."""

from __future__ import annotations

import onnx_ir
import onnx_ir.passes.common as common
import torch
from onnx import ModelProto
from onnxscript.optimizer import fold_constants
from torch import nn

from wallwm_model.deploy.tidy import tidy
from wallwm_model.engines.together import MOST, axis_of
from wallwm_model.errors import BundleError

OPSET = 20


def trace(
    module: nn.Module, inputs: dict, outputs: list[str], axes: dict | None = None, *, batch: bool = False
) -> ModelProto:
    """The graph of a module.

    Args:
        inputs: its arguments by name, for one robot.
        axes: name -> axis -> its range, where that is dynamic.
        batch: for any number of robots, in a further dynamic axis.

    Raises:
        BundleError: the module's code does not let it have any number of robots.
    """
    axes = {name: dict((axes or {}).get(name, {})) for name in inputs}
    if batch:
        robots = torch.export.Dim("robots", min=1, max=MOST)
        for name in inputs:
            axes[name][axis_of(name)] = robots
        inputs = {name: value.repeat_interleave(2, dim=axis_of(name)) for name, value in inputs.items()}
    program = torch.onnx.export(
        module.eval(),
        tuple(inputs.values()),
        dynamo=True,
        opset_version=OPSET,
        input_names=list(inputs),
        output_names=outputs,
        dynamic_shapes=axes,
        verbose=False,
        optimize=False,
    )
    simplify(program.model)
    graph = tidy(program.model_proto)
    for value in graph.graph.input if batch else ():
        if not value.type.tensor_type.shape.dim[axis_of(value.name)].dim_param:
            raise BundleError(f"{value.name} must take any number of robots; the exporter made it take two only")
    return graph


def simplify(model: onnx_ir.Model) -> None:
    """Fold what is constant and drop what is not used, in place.

    All of the exporter's own optimiser but for its rewriting rules, which take a third of an export's time and
    which every runtime has itself.
    """
    common.InlinePass()(model)
    fold_constants(model, onnx_shape_inference=True)
    onnx_ir.passes.Sequential(
        common.RemoveUnusedNodesPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    )(model)
