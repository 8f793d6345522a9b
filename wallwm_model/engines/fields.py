"""Reading the fields of a message that somebody else wrote: each is checked before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from wallwm_model.errors import WireError

Body = Mapping[Any, Any]


def array(
    body: Body, name: str, shape: tuple[int | None, ...], dtype: type, *, optional: bool = False
) -> Any:
    """An array of this dtype and shape (None: any size), finite if of real numbers.

    Raises:
        WireError: missing, of another dtype or shape, or not finite.
    """
    value = body.get(name)
    if value is None and optional:
        return None
    sizes = ", ".join("any" if size is None else str(size) for size in shape)
    expected = f"{name} must be an array ({sizes}) of {np.dtype(dtype)}"
    if not isinstance(value, np.ndarray):
        raise WireError(f"{expected}; found {_kind(value)}")
    fits = len(shape) == value.ndim and all(
        s in (None, found) for s, found in zip(shape, value.shape, strict=True)
    )
    if not fits or value.dtype != dtype:
        raise WireError(f"{expected}; found {value.shape} of {value.dtype}")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise WireError(f"{expected}, finite; found values that are not")
    return value


def whole(body: Body, name: str, low: int, high: int, default: int | None = None) -> int:
    """A whole number from `low` to `high`; WireError otherwise."""
    value = body.get(name, default)
    if isinstance(value, np.integer):
        value = int(value)
    if type(value) is not int or not low <= value <= high:
        found = value if type(value) is int else _kind(value)
        raise WireError(f"{name} must be a whole number, {low} to {high}; found {found}")
    return value


def number(body: Body, name: str) -> float:
    """A finite number; WireError otherwise."""
    value = body.get(name)
    if isinstance(value, (bool, str, bytes)) or not isinstance(value, (int, float, np.number)):
        raise WireError(f"{name} must be a number; found {_kind(value)}")
    if not np.isfinite(value):
        raise WireError(f"{name} must be finite; found {value}")
    return float(value)


def text(body: Body, name: str, default: str | None = None, valid: tuple[str, ...] = ()) -> str:
    """Text, one of `valid` where they are given; WireError otherwise."""
    value = body.get(name, default)
    if not isinstance(value, str):
        raise WireError(f"{name} must be text; found {_kind(value)}")
    if valid and value not in valid:
        raise WireError(f"{name} must be one of {', '.join(valid)}; found {value!r:.60}")
    return value


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
