"""One file of weights for all graphs of a bundle, and for further training.

The file is a safetensors file: graphs point at byte ranges in it (ONNX external data), so a weight that several
graphs share, or that training loads back, is stored once. Weights are of 16 bits there; those of quantised layers
are of 8.
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
HALVES = {
    torch.float16: ("fp16", TensorProto.FLOAT16),
    torch.bfloat16: ("bf16", TensorProto.BFLOAT16),
}
EIGHTS = {TensorProto.FLOAT8E4M3FN: torch.float8_e4m3fn, TensorProto.INT8: torch.int8}


class WeightFile:
    """Collects the weights of several graphs.

    Args:
        state: name -> weight of the model; all of them go into the file.
        half: of which 16 bits; float32 weights that these hold exactly are stored in them. Small ones of the
            state are always of fp16, since graphs hold them as constants of float32.
    """

    def __init__(self, state: dict[str, Tensor], half: torch.dtype = torch.float16):
        self._half = half
        self._tensors = {name: self._sized(value) for name, value in state.items()}
        self._known = {_key(value): name for name, value in self._tensors.items()}
        self._same: dict[str, str] = {}
        self._users: list[tuple[TensorProto, str]] = []

    @property
    def numbers(self) -> int:
        """How many weights the file holds."""
        return sum(value.numel() for value in self._tensors.values())

    def add(self, state: dict[str, Tensor]) -> None:
        """The weights of another part; a large one that is stored already is not stored again."""
        for name, value in state.items():
            half = self._sized(value)
            stored = self._known.setdefault(_key(half), name)
            if stored != name and half.numel() >= LARGE:
                self._same[name] = stored
            else:
                self._tensors[name] = half

    def _sized(self, value: Tensor) -> Tensor:
        """A weight of the state as it is stored."""
        return value.detach().to(self._half if value.numel() >= LARGE else torch.float16).contiguous()

    def take(self, graph: onnx.ModelProto) -> onnx.ModelProto:
        """Move a graph's large weights out; a Cast stands behind those of 16 bits, which runtimes fold at load.

        Computed constants that 16 bits cannot hold exactly stay inside. The graph is complete after `save`.
        """
        restored = []
        for tensor in graph.graph.initializer:
            if np.prod(tensor.dims) < LARGE:
                continue
            if tensor.data_type in EIGHTS:
                self._move_eight(tensor)
            elif tensor.data_type == TensorProto.FLOAT:
                value = torch.from_numpy(numpy_helper.to_array(tensor).copy())
                half = value.to(self._half)
                if torch.equal(half.float(), value):
                    restored += self._move(tensor, half)
        nodes = list(graph.graph.node)
        del graph.graph.node[:]
        graph.graph.node.extend([*restored, *nodes])
        return graph

    def _move_eight(self, tensor: TensorProto) -> None:
        raw = numpy_helper.to_array(tensor).view(np.uint8).copy()
        stored = self._store(torch.from_numpy(raw).view(EIGHTS[tensor.data_type]), tensor.name)
        tensor.ClearField("raw_data")
        self._users.append((tensor, stored))

    def _move(self, tensor: TensorProto, half: Tensor) -> list[onnx.NodeProto]:
        """Point an initializer at the file; the nodes that give its value under its old name."""
        word, kind = HALVES[self._half]
        name, turned = tensor.name, half.ndim == 2 and _key(half) not in self._known
        turned = turned and _key(half.T.contiguous()) in self._known
        stored = self._store(half.T.contiguous() if turned else half)
        shape = half.T.shape if turned else half.shape
        tensor.Clear()
        tensor.name, tensor.data_type = f"{name}.{word}", kind
        tensor.dims.extend(shape)
        self._users.append((tensor, stored))
        if not turned:
            return [helper.make_node("Cast", [f"{name}.{word}"], [name], to=TensorProto.FLOAT)]
        return [
            helper.make_node("Cast", [f"{name}.{word}"], [f"{name}.fp32"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", [f"{name}.fp32"], [name], perm=[1, 0]),
        ]

    def _store(self, value: Tensor, name: str = "") -> str:
        key = _key(value)
        if key not in self._known:
            if not name or name in self._tensors:
                name = f"{FOLDED}{len(self._tensors)}"
            self._tensors[name] = value.contiguous()
            self._known[key] = name
        return self._known[key]

    def save(self, path: Path) -> None:
        """Write the file and point every graph taken at its byte ranges."""
        save_file(self._tensors, path, metadata=self._same)
        path.chmod(0o644)  # the node may run as another user than the one who exported
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


def _key(value: Tensor) -> tuple:
    return value.dtype, tuple(value.shape), value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
