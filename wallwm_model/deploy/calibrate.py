"""How large activations become: the graphs are run on observations, and the extremes of each tensor are kept."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import ModelProto

from wallwm_model.deploy.layers import layers_of
from wallwm_model.deploy.quantise import Range
from wallwm_model.deploy.sessions import Inputs, session


def ranges(model: ModelProto, inputs: Sequence[Inputs]) -> dict[str, Range]:
    """Tensor name -> least and greatest value, of every activation that a layer reads."""
    wanted = list(dict.fromkeys(layer.activation for layer in layers_of(model)))
    watched, given = ModelProto(), {value.name for value in model.graph.input}
    watched.CopyFrom(model)
    there = given | {value.name for value in model.graph.output}
    for name in wanted:
        if name not in there:
            watched.graph.output.add().name = name
    run, found = session(watched, optimised=False), {}
    for one in inputs:
        values = one | run(one)
        for name in wanted:
            least, greatest = float(values[name].min()), float(values[name].max())
            before = found.get(name, (least, greatest))
            found[name] = min(least, before[0]), max(greatest, before[1])
    return found
