"""Weights of single training stages, laid over a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from wallwm_model.errors import SpecError
from wallwm_model.network.checkpoint import check_shapes
from wallwm_model.network.model import WallWM


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


def load_weights(model: WallWM, path: Path) -> None:
    """Overlay the weights of one stage.

    Raises:
        SpecError: no such file, a damaged one, one without weights, or with a weight that the model lacks or
            has in another shape.
    """
    found, own = _read(path), model.state_dict()
    if not found:
        raise SpecError(f"weights of {path} must be those of a training stage; found no tensor")
    for name, value in found.items():
        if name not in own or own[name].shape != value.shape:
            expected = tuple(own[name].shape) if name in own else "no such weight"
            raise SpecError(
                f"weights of {path} must fit the model {model.config.layers} layers deep and "
                f"{model.config.width} wide: {name} is {tuple(value.shape)}, expected {expected}"
            )
    model.load_state_dict(found, strict=False)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise SpecError(f"{path} must be a readable safetensors file; found: {error}") from None
