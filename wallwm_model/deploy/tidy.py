"""A traced graph made smaller and readable for every runtime, without changing what it computes."""

from __future__ import annotations

from onnx import ModelProto, TensorProto, helper

SCOPES = "pkg.torch.onnx.name_scopes"  # where the exporter notes which modules a node came from


def tidy(model: ModelProto) -> ModelProto:
    """Name nodes by the network, drop what the exporter noted, cast pictures first; in place."""
    name_nodes(model)
    cast_pictures(model)
    return model


def name_nodes(model: ModelProto) -> None:
    """Call each node what the network calls the module that it came from; drop what else was noted of it.

    The notes are two thirds of a small bundle's graphs. Names are kept: they are how layers are told apart.
    """
    seen: dict[str, int] = {}
    for node in model.graph.node:
        scopes = [entry.value for entry in node.metadata_props if entry.key == SCOPES]
        if scopes:
            inside = [part.strip(" '\"") for part in scopes[0].strip("[]").split(",")]
            name = inside[-2] if len(inside) > 1 and inside[-2] else inside[-1]
            count = seen[name] = seen.get(name, 0) + 1
            node.name = name if count == 1 else f"{name}#{count}"
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.value_info[:], model.graph.metadata_props[:], model.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]


def cast_pictures(model: ModelProto) -> None:
    """Turn uint8 inputs to float before anything else: TensorRT does nothing with uint8 but this."""
    casts = []
    for given in model.graph.input:
        if given.type.tensor_type.elem_type != TensorProto.UINT8:
            continue
        readers = [node for node in model.graph.node if given.name in node.input]
        if all(node.op_type == "Cast" for node in readers):
            continue
        name = f"{given.name}.float"
        casts.append(helper.make_node("Cast", [given.name], [name], to=TensorProto.FLOAT, name=name))
        for node in readers:
            node.input[:] = [name if given.name == source else source for source in node.input]
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
