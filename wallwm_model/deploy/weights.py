"""One file of fp16 weights for all graphs of a bundle, and for further training.

The file is a safetensors file: graphs point at byte ranges in it (ONNX external data), so a weight that several
graphs share, or that training loads back, is stored once.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

LARGE = 256  # elements; smaller constants stay inside their graph, in fp32
FOLDED = "graph."  # names of constants that export computed from weights, e.g. transposed matrices


class WeightFile:
    """Collects the weights of several graphs.

    Args:
        state: name -> weight of the model; all of them go into the file.
    """

    def __init__(self, state: dict[str, Tensor]):
        self._tensors = {name: value.detach().half().contiguous() for name, value in state.items()}
        self._known = {_key(value.numpy()): name for name, value in self._tensors.items()}
        self._same: dict[str, str] = {}
        self._users: list[tuple[TensorProto, str]] = []

    def add(self, state: dict[str, Tensor]) -> None:
        """The weights of another part; a large one that is stored already is not stored again."""
        for name, value in state.items():
            half = value.detach().half().contiguous()
            stored = self._known.setdefault(_key(half.numpy()), name)
            if stored != name and half.numel() >= LARGE:
                self._same[name] = stored
            else:
                self._tensors[name] = half

    def take(self, graph: onnx.ModelProto) -> onnx.ModelProto:
        """Move a graph's large weights out; a Cast stands behind each, which runtimes fold at load.

        Computed constants that fp16 cannot hold exactly stay inside. The graph is complete after `save`.
        """
        restored = []
        for tensor in graph.graph.initializer:
            value = numpy_helper.to_array(tensor)
            if value.dtype != np.float32 or value.size < LARGE:
                continue
            half = value.astype(np.float16)
            if np.array_equal(half.astype(np.float32), value):
                restored += self._move(tensor, half)
        nodes = list(graph.graph.node)
        del graph.graph.node[:]
        graph.graph.node.extend([*restored, *nodes])
        return graph

    def _move(self, tensor: TensorProto, half: np.ndarray) -> list[onnx.NodeProto]:
        """Point an initializer at the file; the nodes that give its value under its old name."""
        name, turned = tensor.name, half.ndim == 2 and _key(half) not in self._known
        turned = turned and _key(np.ascontiguousarray(half.T)) in self._known
        stored = self._store(np.ascontiguousarray(half.T) if turned else half)
        shape = half.T.shape if turned else half.shape
        tensor.Clear()
        tensor.name, tensor.data_type = f"{name}.fp16", TensorProto.FLOAT16
        tensor.dims.extend(shape)
        self._users.append((tensor, stored))
        if not turned:
            return [helper.make_node("Cast", [f"{name}.fp16"], [name], to=TensorProto.FLOAT)]
        return [
            helper.make_node("Cast", [f"{name}.fp16"], [f"{name}.fp32"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", [f"{name}.fp32"], [name], perm=[1, 0]),
        ]

    def _store(self, value: np.ndarray) -> str:
        key = _key(value)
        if key not in self._known:
            name = f"{FOLDED}{len(self._tensors)}"
            self._tensors[name] = torch.from_numpy(np.ascontiguousarray(value))
            self._known[key] = name
        return self._known[key]

    def save(self, path: Path) -> None:
        """Write the file and point every graph taken at its byte ranges."""
        save_file(self._tensors, path, metadata=self._same)
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
        for tensor, stored in self._users:
            first, last = header[stored]["data_offsets"]
            tensor.data_location = TensorProto.EXTERNAL
            where = {"location": path.name, "offset": 8 + size + first, "length": last - first}
            for key, value in where.items():
                tensor.external_data.add(key=key, value=str(value))


def read_part(path: Path, part: str) -> dict[str, Tensor]:
    """Weights of a bundle's file whose names begin with `part`, without it, in fp32."""
    with safe_open(path, "pt") as file:
        stored = {name: name for name in file.keys()} | (file.metadata() or {})
        return {
            name.removeprefix(part): file.get_tensor(place).float()
            for name, place in stored.items()
            if name.startswith(part)
        }


def _key(value: np.ndarray) -> tuple:
    return value.shape, value.tobytes()
