"""An empty torchvision: LeRobot's package imports it for transforms that its asynchronous loop never calls.

The public builds of torchvision belong to CUDA builds of torch, which are not wanted here.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Unused:
    """May be subclassed, as LeRobot does; nothing may be called."""

    def __call__(self, *_: object, **__: object) -> None:
        raise NotImplementedError("this is not torchvision, only its names")


def install() -> None:
    """Put the names that LeRobot's imports look up where it finds them; nothing if torchvision is there."""
    if "torchvision" in sys.modules:
        return
    for name in (
        "torchvision",
        "torchvision.transforms",
        "torchvision.transforms.functional",
        "torchvision.transforms.v2",
        "torchvision.transforms.v2.functional",
    ):
        module = ModuleType(name)
        module.__spec__, module.__path__ = ModuleSpec(name, None, is_package=True), []
        sys.modules[name] = module
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, module)
    sys.modules["torchvision.transforms.v2"].Transform = _Unused
