"""The ResNet-18 that LeRobot's ACT sees with, in half the channels, and the names it asks torchvision for.

The public builds of torchvision belong to CUDA builds of torch, which are not wanted here; and the stock
network alone is larger than our whole nano. Layers and their names are torchvision's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

from torch import Tensor, nn
from torch.nn.functional import relu

from benchmarks.peers import stand_in

BACKBONE = "resnet18_half"  # its name in ACT's configuration
WIDTH = 32  # channels of the first layer; the stock network has 64
GROUP = 16  # channels that are normalised together, as in LeRobot's Diffusion Policy


class Block(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2016, figure 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = _norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = _norm(outputs)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), _norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        found = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu(found + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Sequential):
    """Pictures (B, 3, H, W) -> features (B, 8 * width, H / 32, W / 32); `fc` says how many, and is no layer.

    ACT freezes the batch norms of its pretrained backbone. One from random numbers has no statistics to
    freeze; it normalises groups of channels, as LeRobot's Diffusion Policy does where it trains from scratch.
    """

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = _norm(width)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for i, (inputs, outputs) in enumerate(((1, 1), (1, 2), (2, 4), (4, 8)), start=1):
            blocks = (
                Block(inputs * width, outputs * width, min(i, 2)),
                Block(outputs * width, outputs * width, 1),
            )
            self.add_module(f"layer{i}", nn.Sequential(*blocks))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.fc = SimpleNamespace(in_features=8 * width)


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(channels // GROUP, channels)


class LastLayer(nn.Module):
    """torchvision's IntermediateLayerGetter, as ACT uses it: the last layer's features, by name."""

    def __init__(self, network: ResNet18, return_layers: dict[str, str]) -> None:
        super().__init__()
        self.network, (self._name,) = network, return_layers.values()

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """See `ResNet18`."""
        return {self._name: self.network(pictures)}


@contextmanager
def as_torchvision() -> Iterator[None]:
    """While LeRobot is imported: what it looks up in torchvision is found, and is from here."""
    hidden = {name: sys.modules.pop(name) for name in _loaded()}
    stand_in.install()
    models, ops = ModuleType("torchvision.models"), ModuleType("torchvision.ops")
    models._utils, ops.misc = ModuleType("torchvision.models._utils"), ModuleType("torchvision.ops.misc")
    models._utils.IntermediateLayerGetter = LastLayer
    ops.misc.FrozenBatchNorm2d = None  # see `ResNet18`
    setattr(models, BACKBONE, lambda **_: ResNet18())
    for module in (models, models._utils, ops, ops.misc):
        sys.modules[module.__name__] = module
    sys.modules["torchvision"].models, sys.modules["torchvision"].ops = models, ops
    try:
        yield
    finally:
        for name in _loaded():
            del sys.modules[name]
        sys.modules.update(hidden)


def _loaded() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] == "torchvision"]
