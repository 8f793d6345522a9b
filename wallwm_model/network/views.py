"""How the tokens of several views regroup for cross-view attention, and which of them may attend to which.

Masks become finite biases on the attention logits: exp(-1e4) is exactly zero beside any real logit, a row
that is masked as a whole stays finite, and exported graphs agree on every backend.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from wallwm_model.errors import SpecError

Rotary = tuple[Tensor, Tensor]
FORBIDDEN = -1e4


class ViewLayout:
    """How a batch of single-view sequences regroups into one sequence per latent frame, and back.

    A sequence holds `extras` tokens and the keyframe's patches, which form one group, then the patches of
    every other latent frame, which form one group each.

    Args:
        first, patches: tokens per view in the first group and in each later one.
        ropes: rotations of the first group and of the later ones.
        biases: added to the attention logits of the first group (B, 1, V*first or 1, V*first) and of the
            later ones (B*F, 1, V*patches or 1, V*patches); None adds none.
        within: added to the logits of the within-view attention (B*V, 1, 1, S); None adds none.
    """

    def __init__(
        self,
        views: int,
        first: int,
        patches: int,
        ropes: tuple[Rotary, Rotary],
        biases: tuple[Tensor | None, Tensor | None] = (None, None),
        within: Tensor | None = None,
    ):
        self.views, self.first, self.patches, self.ropes = views, first, patches, ropes
        self.biases, self.within = biases, within

    def join(self, tokens: Tensor) -> list[tuple[Tensor, Rotary, Tensor | None]]:
        """(B*V, S, D) -> groups [(B, V*first, D)] and, with later frames, (B*F, V*patches, D)."""
        head = rearrange(tokens[:, : self.first], "(b v) s d -> b (v s) d", v=self.views)
        groups = [(head, self.ropes[0], self.biases[0])]
        if tokens.shape[1] > self.first:
            rest = rearrange(
                tokens[:, self.first :], "(b v) (f p) d -> (b f) (v p) d", v=self.views, p=self.patches
            )
            groups.append((rest, self.ropes[1], self.biases[1]))
        return groups

    def split(self, groups: list[Tensor]) -> Tensor:
        """The inverse of `join`, without rotations and biases."""
        parts = [rearrange(groups[0], "b (v s) d -> (b v) s d", v=self.views)]
        if len(groups) > 1:
            batch = groups[0].shape[0]
            parts.append(
                rearrange(groups[1], "(b f) (v p) d -> (b v) (f p) d", b=batch, v=self.views, p=self.patches)
            )
        return torch.cat(parts, dim=1)


def bias(allowed: Tensor) -> Tensor:
    """True or 1 where attention may go -> 0 there, `FORBIDDEN` elsewhere."""
    return (1 - allowed.float()) * FORBIDDEN


def sight_biases(masks: Tensor, views: int, extras: int) -> tuple[Tensor, Tensor]:
    """Masks (B, F, V*P, V*P) -> additive biases of a `ViewLayout`; extra tokens attend to everything."""
    whole = bias(masks)
    grid = rearrange(whole[:, 0], "b (v p) (w q) -> b v p w q", v=views, w=views)
    first = rearrange(F.pad(grid, (extras, 0, 0, 0, extras, 0)), "b v p w q -> b 1 (v p) (w q)")
    return first, rearrange(whole[:, 1:], "b f p q -> (b f) 1 p q")


def border_biases(valid: Tensor, extras: int) -> tuple[Tensor, Tensor, Tensor]:
    """Valid tokens (B, V, F, P) -> biases on the keys of the first group, of the later ones and within views.

    The extra tokens of a view count as long as its keyframe shows anything.
    """
    extra = valid[:, :, 0].any(-1, keepdim=True).expand(-1, -1, extras)
    head = torch.cat([extra, valid[:, :, 0]], dim=2)
    within = rearrange(torch.cat([head, valid[:, :, 1:].flatten(2)], dim=2), "b v s -> (b v) 1 1 s")
    first = rearrange(head, "b v s -> b 1 1 (v s)")
    return bias(first), bias(rearrange(valid[:, :, 1:], "b v f p -> (b f) 1 1 (v p)")), bias(within)


def valid_tokens(lengths: Tensor, frames: int, grid: tuple[int, int], sizes: Tensor | None = None) -> Tensor:
    """Which tokens show something: not padding in time, not beyond the picture's border.

    Args:
        lengths: (B, V) int64, latent frames that each view really has; 0 for a camera that is missing.
        frames: latent frames of the padded video, F.
        grid: rows and columns of tokens of the padded picture.
        sizes: (B, V, 2) int64, rows and columns of tokens that each view really has; None: all of them.

    Returns:
        (B, V, F, P) bool, P = rows * columns.

    Raises:
        SpecError: a length or size outside of the padded video.
    """
    rows, columns = grid
    limits = [("lengths", lengths, frames)]
    if sizes is not None:
        limits += [("sizes' rows", sizes[..., 0], rows), ("sizes' columns", sizes[..., 1], columns)]
    for name, values, limit in limits:
        if bool((values < 0).any() | (values > limit).any()):
            found = f"{int(values.min())}..{int(values.max())}"
            raise SpecError(f"{name} of the views must be in 0..{limit}; found {found}")
    device = lengths.device
    time = torch.arange(frames, device=device) < lengths[..., None]
    inside = torch.ones(*lengths.shape, rows, columns, dtype=torch.bool, device=device)
    if sizes is not None:
        down = torch.arange(rows, device=device) < sizes[..., :1]
        right = torch.arange(columns, device=device) < sizes[..., 1:]
        inside = down[..., :, None] & right[..., None, :]
    return time[..., None] & inside.flatten(2)[:, :, None]


def check_inputs(
    config: Any,
    views: int,
    latents: Tensor,
    timestep: Tensor,
    text: Tensor,
    masks: Tensor | None,
    valid: Tensor | None,
) -> None:
    """Do the inputs of `MultiViewWan.forward` fit the model (its diffusers config) and each other?

    Raises:
        SpecError: naming the first one that does not, the shape expected and the one found.
    """
    p_h, p_w = config.patch_size[1:]
    shape = tuple(latents.shape)
    fits = len(shape) == 6 and shape[1:3] == (views, config.in_channels) and shape[3] > 0
    if not fits or shape[4] % p_h or shape[5] % p_w:
        raise SpecError(
            f"latents must be (B, {views}, {config.in_channels}, F, h, w) with h a multiple of {p_h} and w "
            f"of {p_w}; found shape {shape}"
        )
    batch, _, _, frames, height, width = shape
    patches = (height // p_h) * (width // p_w)
    for name, tensor, allowed in (
        ("timestep", timestep, [(batch,), (batch, frames * patches)]),
        ("text", text, [(batch, text.shape[1] if text.ndim > 1 else 1, config.text_dim)]),
        ("masks", masks, [(batch, frames, views * patches, views * patches)]),
        ("valid", valid, [(batch, views, frames, patches)]),
    ):
        if tensor is not None and tuple(tensor.shape) not in allowed:
            expected = " or ".join(str(shape) for shape in allowed)
            raise SpecError(f"{name} must have shape {expected}; found {tuple(tensor.shape)}")
