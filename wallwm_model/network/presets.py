"""The large presets: how stock Wan weights become a multi-view tower, and what their sizes should come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed
from torch import Tensor, nn

from wallwm_model.errors import SpecError
from wallwm_model.network.checkpoint import Weights, assign, check_shapes, shapes_of, sub_folder
from wallwm_model.network.config import NetworkConfig
from wallwm_model.network.model import WallWM
from wallwm_model.network.video import MultiViewWan

NEW = ("cross_view", "view_angles")  # parts of the names that stock Wan does not have
# What a mixed-precision model keeps in float32: diffusers' own list for Wan, and our branch's modulation.
FLOAT32 = ("time_embedder", "scale_shift_table", "norm1", "norm2", "norm3", "cross_view_table", "view_angles")


def build_tower(config: NetworkConfig, device: str | torch.device = "cpu") -> MultiViewWan:
    """The multi-view DiT of a preset, untrained; `meta` builds its shapes only."""
    with torch.device(device):
        return MultiViewWan(views=config.views, **config.wan)


def is_new(name: str) -> bool:
    """Does a tensor of this name belong to the cross-view branch, which stock Wan lacks?"""
    return any(part in name for part in NEW)


def load_wan(
    tower: MultiViewWan,
    source: Path | Mapping[str, Tensor],
    *,
    dtype: torch.dtype | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MultiViewWan:
    """Fill a tower with a stock Wan checkpoint; the cross-view branch starts as a closed copy of each block's
    within-view attention, so that the tower equals the stock model.

    Args:
        tower: on any device; tensors on `meta` are created as they are read.
        source: a state dict in diffusers' layout, or a local folder of safetensors (one file, or shards and
            their index; a whole pipeline's folder too).
        dtype: of the weights, except those that Wan keeps in float32; None leaves the source's.
        progress: called with the tensors read so far and their number.

    Raises:
        SpecError: the folder is no checkpoint, or one of another architecture.
    """
    weights = Weights(sub_folder(source, "transformer")) if isinstance(source, Path) else source
    if isinstance(weights, Weights):
        found = weights.shapes()
    else:
        found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    expected = {name: shape for name, shape in shapes_of(tower).items() if not is_new(name)}
    check_shapes(expected, found, str(source) if isinstance(source, Path) else "a stock Wan state dict")
    for done, name in enumerate(expected):
        assign(tower, name, _cast(name, weights[name], dtype))
        if progress is not None:
            progress(done + 1, len(expected))
    for block in tower.blocks:
        _create(block)
        block.reset_cross_view()
    if tower.view_angles.is_meta:
        tower.view_angles = nn.Parameter(tower.first_angles(tower.views, tower.rope.t_dim))
    if tower.rope.freqs_cos.is_meta:  # computed, not stored
        config = tower.config
        tower.rope = WanRotaryPosEmbed(config.attention_head_dim, config.patch_size, config.rope_max_seq_len)
    return tower


def load_public(
    model: WallWM, folder: Path, *, progress: Callable[[int, int], None] | None = None
) -> WallWM:
    """Fill a model's DiT, codec and text encoder from the folder of a public Wan pipeline, in diffusers' layout.

    Args:
        model: as `WallWM(..., awaiting=True)` makes it, or any of the same sizes.
        folder: with `transformer`, `vae` and `text_encoder`. The DiT becomes float32; the frozen rest, where it
            awaited its weights, keeps the type of its files.
        progress: see `load_wan`.

    Raises:
        SpecError: a preset that has no public weights, or a folder without them.
    """
    video = model.video
    if not model.config.public:
        raise SpecError("only presets of Wan's sizes start from public weights; this one trains from nothing")
    load_wan(video.dit, folder, dtype=torch.float32, progress=progress)
    video.codec.load(folder)
    video.captions.load(folder)
    return model


def _cast(name: str, value: Tensor, dtype: torch.dtype | None) -> Tensor:
    if dtype is None:
        return value
    return value.to(torch.float32 if any(part in name for part in FLOAT32) else dtype)


def _create(block: nn.Module) -> None:
    """Give a block's cross-view parameters memory, alike to the within-view ones that they will copy."""
    like = {
        "cross_view_out.weight": block.attn1.to_out[0].weight,
        "cross_view_table": block.scale_shift_table,
    }
    for name, parameter in list(block.named_parameters()):
        if is_new(name) and parameter.is_meta:
            model = like.get(name)
            if model is None:
                model = block.get_parameter(name.replace("cross_view", "attn1", 1))
            assign(block, name, torch.empty(parameter.shape, dtype=model.dtype, device=model.device))


def parameters(model: nn.Module) -> int:
    """Number of trainable and frozen numbers in a model, tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def new_parameters(tower: MultiViewWan) -> int:
    """Those of the cross-view branch, with its table of cameras."""
    return sum(parameter.numel() for name, parameter in tower.named_parameters() if is_new(name))
