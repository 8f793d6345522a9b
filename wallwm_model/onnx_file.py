"""What an ONNX file would make a runtime do, read without any runtime: operators, opsets, where weights lie.

Runtimes follow the paths that a file names and allocate what its shapes say. Both are checked here, before one of
them sees the file: paths must be plain names of files that the bundle lists, byte ranges must lie inside them, and
shapes must need as many bytes as there are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wallwm_model.errors import BundleError
from wallwm_model.protobuf import fields, message, numbers, text

DEEPEST = 8  # graphs inside graphs
# Field numbers of onnx.proto.
MODEL_GRAPH, MODEL_OPSET, MODEL_FUNCTION, MODEL_TRAINING = 7, 8, 25, 20
GRAPH_NODE, GRAPH_TENSOR, GRAPH_SPARSE = 1, 5, 15
NODE_OPERATOR, NODE_ATTRIBUTE, NODE_DOMAIN = 4, 5, 7
ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH, ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS, ATTRIBUTE_SPARSE = (
    5,
    6,
    10,
    11,
    (22, 23),
)
TENSOR_DIMS, TENSOR_TYPE, TENSOR_STRINGS, TENSOR_RAW, TENSOR_EXTERNAL, TENSOR_PLACE = 1, 2, 6, 9, 13, 14
TENSOR_TYPED = (4, 5, 7, 10, 11)  # float_data, int32_data, int64_data, double_data, uint64_data
# Bytes per number of each type; what is missing (strings, 4 bits) no graph of ours has.
BYTES = {
    1: 4,
    2: 1,
    3: 1,
    4: 2,
    5: 2,
    6: 4,
    7: 8,
    9: 1,
    10: 2,
    11: 8,
    12: 4,
    13: 8,
    16: 2,
    17: 1,
    18: 1,
    19: 1,
    20: 1,
}
EIGHT_BITS = {3: "int8", 17: "fp8"}
STANDARD = ("", "ai.onnx")


@dataclass
class GraphFile:
    """What a file holds.

    Attributes:
        opsets: domain -> version.
        operators: (domain, operator) -> how often.
        files: names of the files that hold its weights.
        weights: format (`int8`, `fp8`, `other`) -> numbers stored in tensors of two or more axes.
    """

    opsets: dict[str, int] = field(default_factory=dict)
    operators: Counter[tuple[str, str]] = field(default_factory=Counter)
    files: set[str] = field(default_factory=set)
    weights: Counter[str] = field(default_factory=Counter)


def read(path: Path, sizes: Mapping[str, int]) -> GraphFile:
    """Look through a graph's file.

    Args:
        sizes: name -> bytes of the files that the bundle lists; the only ones that the graph may name.

    Raises:
        BundleError: no ONNX graph, one that names other files or byte ranges, or shapes without their data.
    """
    found = GraphFile()
    try:
        seen = _model(memoryview(path.read_bytes()), found, sizes)
    except BundleError as error:
        raise BundleError(f"bundle file {path} must be a sound ONNX graph: {error}") from None
    if not seen or not found.opsets:
        raise BundleError(f"bundle file {path} must be an ONNX graph with opsets; found none")
    return found


def _model(data: memoryview, found: GraphFile, sizes: Mapping[str, int]) -> bool:
    seen = False
    for number, value in fields(data):
        if number == MODEL_GRAPH:
            _graph(message(value), found, sizes, 0)
            seen = True
        elif number == MODEL_OPSET:
            entry = dict(fields(message(value)))
            found.opsets[text(entry.get(1, memoryview(b"")))] = int(entry.get(2, 0))
        elif number in (MODEL_FUNCTION, MODEL_TRAINING):
            raise BundleError("functions and training graphs are not allowed")
    return seen


def _graph(data: memoryview, found: GraphFile, sizes: Mapping[str, int], depth: int) -> None:
    if depth > DEEPEST:
        raise BundleError(f"graphs may be nested {DEEPEST} deep; found more")
    for number, value in fields(data):
        if number == GRAPH_NODE:
            _node(message(value), found, sizes, depth)
        elif number == GRAPH_TENSOR:
            _tensor(message(value), found, sizes)
        elif number == GRAPH_SPARSE:
            raise BundleError("sparse tensors are not allowed")


def _node(data: memoryview, found: GraphFile, sizes: Mapping[str, int], depth: int) -> None:
    operator = domain = ""
    for number, value in fields(data):
        if number == NODE_OPERATOR:
            operator = text(value)
        elif number == NODE_DOMAIN:
            domain = text(value)
        elif number == NODE_ATTRIBUTE:
            for inner, part in fields(message(value)):
                if inner in (ATTRIBUTE_TENSOR, ATTRIBUTE_TENSORS):
                    _tensor(message(part), found, sizes)
                elif inner in (ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS):
                    _graph(message(part), found, sizes, depth + 1)
                elif inner in ATTRIBUTE_SPARSE:
                    raise BundleError("sparse tensors are not allowed")
    found.operators[domain, operator] += 1


def _tensor(data: memoryview, found: GraphFile, sizes: Mapping[str, int]) -> None:
    """Check that a tensor's data is where it says and as large as its shape."""
    dims: list[int] = []
    kind, raw, outside, typed, place = 0, None, [], False, 0
    for number, value in fields(data):
        if number == TENSOR_DIMS:
            dims += numbers(value)
        elif number == TENSOR_TYPE:
            kind = int(value)
        elif number == TENSOR_RAW:
            raw = len(message(value))
        elif number == TENSOR_EXTERNAL:
            outside.append(message(value))
        elif number == TENSOR_PLACE:
            place = int(value)
        elif number == TENSOR_STRINGS:
            raise BundleError("tensors of strings are not allowed")
        typed |= number in TENSOR_TYPED
    if kind not in BYTES or min(dims, default=1) < 0:
        raise BundleError(f"tensors must be of a known type and size; found type {kind}, shape {dims}")
    wanted = math.prod(dims) * BYTES[kind]
    if outside or place:
        _outside(outside, wanted, found, sizes)
    elif raw is not None and raw != wanted:
        raise BundleError(f"a tensor of shape {dims} must have {wanted} bytes; found {raw}")
    elif raw is None and (wanted > BYTES[kind] * len(data) or (wanted and not typed)):
        raise BundleError(f"a tensor of shape {dims} must have its data; found too little")
    if len(dims) > 1:
        found.weights[EIGHT_BITS.get(kind, "other")] += math.prod(dims)


def _outside(entries: list[memoryview], wanted: int, found: GraphFile, sizes: Mapping[str, int]) -> None:
    """Check where a tensor's data lies in another file."""
    given = {}
    for entry in entries:
        pair = dict(fields(entry))
        given[text(pair.get(1, memoryview(b"")))] = text(pair.get(2, memoryview(b"")))
    name = given.get("location", "")
    if Path(name).name != name or name not in sizes:
        raise BundleError(f"weights must lie in a file that the bundle lists; found the path {name!r}")
    try:
        first, length = int(given.get("offset", "0")), int(given["length"])
    except (KeyError, ValueError):
        raise BundleError(f"weights in {name} must have a byte range; found {given}") from None
    if first < 0 or length != wanted or first + length > sizes[name]:
        raise BundleError(
            f"weights of {wanted} bytes must lie inside {name} ({sizes[name]} bytes); found {first} + {length}"
        )
    found.files.add(name)
