"""Public checkpoints: folders of sharded safetensors, checked against the model before they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from wallwm_model.errors import SpecError

SHOWN = 3  # names listed in an error before "and N more"


class Weights:
    """Named tensors in the safetensors files of one folder; nothing is read before it is asked for.

    Raises:
        SpecError: the folder has no safetensors, lacks a file its index names, or a file is damaged.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._files = {name: file for file in _files(folder) for name in self._open(file).keys()}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every tensor."""
        handles = {file: self._open(file) for file in set(self._files.values())}
        return {name: tuple(handles[file].get_slice(name).get_shape()) for name, file in self._files.items()}

    def __getitem__(self, name: str) -> Tensor:
        return self._open(self._files[name]).get_tensor(name)

    def _open(self, file: Path):
        try:
            return safe_open(file, framework="pt")
        except (SafetensorError, OSError) as error:
            raise SpecError(f"{file} must be a readable safetensors file; found: {error}") from None


def sub_folder(folder: Path, name: str) -> Path:
    """The folder of one component: `folder/name` of a whole pipeline, else `folder` itself."""
    return folder / name if (folder / name).is_dir() else folder


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise SpecError(f"a checkpoint must be a folder with *.safetensors; found no folder {folder}")
    for index in sorted(folder.glob("*.safetensors.index.json")):
        files = [folder / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            names = ", ".join(missing)
            raise SpecError(f"{folder} must hold every file that {index.name} names; missing {names}")
        return files
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise SpecError(f"a checkpoint must be a folder with *.safetensors; found none in {folder}")
    return files


def check_shapes(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], what: str
) -> None:
    """Do two sets of names and shapes agree?

    Raises:
        SpecError: one sentence with the missing, unexpected and misshapen tensors.
    """
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    wrong = [
        f"{name} {found[name]} instead of {expected[name]}"
        for name in expected
        if name in found and tuple(found[name]) != tuple(expected[name])
    ]
    parts = [("missing", missing), ("not expected", unexpected), ("of another shape", wrong)]
    said = [f"{len(names)} {kind}: {listed(names)}" for kind, names in parts if names]
    if said:
        size, all_said = len(expected), "; ".join(said)
        raise SpecError(f"{what} must hold the {size} tensors of this architecture; found {all_said}")


def listed(names: list[str]) -> str:
    """The first few of some names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def assign(model: nn.Module, name: str, value: Tensor) -> None:
    """Put `value` where parameter or buffer `name` is; if that is still on the meta device, on the default device."""
    owner, _, leaf = name.rpartition(".")
    module = model.get_submodule(owner)
    old = getattr(module, leaf)
    if not old.is_meta:
        with torch.no_grad():
            old.copy_(value)
        return
    value = value.to(torch.get_default_device())
    kept = nn.Parameter(value, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else value
    setattr(module, leaf, kept)


def read_weights(model: nn.Module, folder: Path, *, tied: frozenset[str] | set[str] = frozenset()) -> None:
    """All weights of a model from one folder, in the model's dtype (the file's, where it is on meta).

    Args:
        tied: names of one and the same tensor; the folder may hold any of them.

    Raises:
        SpecError: see `Weights` and `check_shapes`.
    """
    weights = Weights(folder)
    found = weights.shapes()
    stand_in = next((name for name in sorted(tied) if name in found), None)
    source = {name: stand_in if name in tied and stand_in else name for name in (*model.state_dict(), *found)}
    shapes = {name: found[place] for name, place in source.items() if place in found}
    check_shapes(shapes_of(model), shapes, str(folder))
    for name in model.state_dict():
        assign(model, name, weights[source[name]])


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor in a model's state dict."""
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
