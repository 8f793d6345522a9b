"""What comes into a network is checked there: nothing is silently broadcast, cut or reinterpreted."""

from __future__ import annotations

import torch
from torch import Tensor

from wallwm_model.errors import SpecError


def expect(
    name: str,
    tensor: Tensor,
    shape: tuple[int | str, ...],
    kind: str = "float",
    *,
    low: float | None = None,
    high: float | None = None,
) -> None:
    """Is this a tensor of this shape, kind and range? Says nothing while a graph is being exported.

    Args:
        shape: sizes; a word stands for any size, at least 1.
        kind: `float` (any floating-point type) or a type's name, e.g. `uint8`.
        low, high: bounds of the values, themselves included; None: not looked at.

    Raises:
        SpecError: what was expected and what was found.
    """
    if torch.compiler.is_exporting():
        return
    found = tuple(tensor.shape)
    fits = len(found) == len(shape) and all(
        size == wanted or (isinstance(wanted, str) and size > 0) for size, wanted in zip(found, shape)
    )
    right = tensor.is_floating_point() if kind == "float" else tensor.dtype == getattr(torch, kind)
    if not (fits and right):
        wanted = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
        dtype = str(tensor.dtype).removeprefix("torch.")
        raise SpecError(f"{name} must be ({wanted}) {kind}; found {found} {dtype}")
    for bound, inside in ((low, torch.ge), (high, torch.le)):
        if bound is not None and not bool(inside(tensor, bound).all()):  # not a number is not inside
            span = f"{'' if low is None else f'{low:g}'}..{'' if high is None else f'{high:g}'}"
            raise SpecError(f"{name} must lie in {span}; found {tensor.min():g}..{tensor.max():g}")


def expect_batches(**tensors: Tensor | None) -> None:
    """Do all tensors that are there have the same number of rows?"""
    if torch.compiler.is_exporting():
        return
    rows = {name: len(tensor) for name, tensor in tensors.items() if tensor is not None}
    if len(set(rows.values())) > 1:
        said = ", ".join(f"{name} {count}" for name, count in rows.items())
        raise SpecError(f"all inputs must have the same number of rows; found {said}")
