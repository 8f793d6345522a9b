"""Weights of single training stages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from wallwm_model.errors import SpecError
from wallwm_model.network.checkpoint import check_shapes


def read_stage(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The tensors of one stage's file.

    Args:
        shapes: name -> shape of all that it must hold.

    Raises:
        SpecError: no such file, a damaged one, or other tensors in it.
    """
    found = _read(path)
    check_shapes(
        {k: tuple(v) for k, v in shapes.items()}, {k: tuple(v.shape) for k, v in found.items()}, str(path)
    )
    return found


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise SpecError(f"{path} must be a readable safetensors file; found: {error}") from None
