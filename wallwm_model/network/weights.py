"""Weights of single training stages, laid over a model."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file

from wallwm_model.errors import SpecError
from wallwm_model.network.model import WallWM


def load_weights(model: WallWM, path: Path) -> None:
    """Overlay the weights of one stage.

    Raises:
        SpecError: the file has a weight that the model lacks, or one of another shape.
    """
    found, own = load_file(path), model.state_dict()
    for name, value in found.items():
        if name not in own or own[name].shape != value.shape:
            expected = tuple(own[name].shape) if name in own else "no such weight"
            raise SpecError(
                f"weights of {path} must fit the model {model.config.layers} layers deep and "
                f"{model.config.width} wide: {name} is {tuple(value.shape)}, expected {expected}"
            )
    model.load_state_dict(found, strict=False)
