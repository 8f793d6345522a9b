"""Linear layers in FP8 E4M3 on a GPU: weights per output channel, activations per token, scaled as they come.

Torch's own product of scaled matrices does it, on GPUs of compute capability 8.9 or more. The model stays in float32
around it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wallwm_model.errors import EngineError

TOP = 448.0
ALIGNED = 16  # both sides of a matrix must be multiples of this
WHOLE = (
    nn.TransformerEncoderLayer,
    nn.MultiheadAttention,
)  # modules that read their parts' weights themselves


class Fp8Linear(nn.Module):
    """A linear layer with weights in FP8.

    Args:
        linear: the layer, on the GPU; both of its sizes multiples of 16.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        weight, self.scale = scaled(linear.weight.data)  # (outputs, inputs), (outputs, 1)
        self.weight, self.bias = weight.t(), linear.bias  # column-major, as the product wants it

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs), type of the input."""
        rows, scale = scaled(x.flatten(0, -2))
        out = torch._scaled_mm(
            rows, self.weight, scale_a=scale, scale_b=self.scale.t().contiguous(), out_dtype=torch.bfloat16
        )
        out = out.to(x.dtype)
        return (out if self.bias is None else out + self.bias).unflatten(0, x.shape[:-1])


def scaled(rows: Tensor) -> tuple[Tensor, Tensor]:
    """(n, m) -> FP8 values, scales (n, 1) f32 by which they are to be multiplied."""
    scale = rows.abs().amax(-1, keepdim=True).float().clamp(min=1e-12) / TOP
    return (rows.float() / scale).clamp(-TOP, TOP).to(torch.float8_e4m3fn), scale


def fits(linear: nn.Linear) -> bool:
    """Whether a layer's sizes suit the GPU's FP8 products."""
    return linear.in_features % ALIGNED == 0 and linear.out_features % ALIGNED == 0


def convert(model: nn.Module) -> int:
    """Replace the linear layers of a model on a GPU, in place; how many were.

    Raises:
        EngineError: the GPU has no FP8, or the model is not on one.
    """
    device = next(model.parameters()).device
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 9):
        raise EngineError(f"FP8 needs a GPU of compute capability 8.9 or more; the model is on {device}")
    found = [
        (parent, name, child)
        for parent in model.modules()
        if not isinstance(parent, WHOLE)
        for name, child in parent.named_children()
        if type(child) is nn.Linear and fits(child)
    ]
    for parent, name, child in found:
        setattr(parent, name, Fp8Linear(child))
    return len(found)
