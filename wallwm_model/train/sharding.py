"""Fully sharded training (FSDP2) for models whose weights and optimiser state do not fit one process.

Every process keeps a slice of every parameter; a block is put together when it is used and let go afterwards.
Files hold whole weights, laid out as those of an unsharded training.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from wallwm_model.errors import SpecError
from wallwm_model.network.model import WallWM

T = TypeVar("T")


class Whole(nn.Module):
    """The outermost module of a sharded model. A loss calls into the towers in many places and orders; FSDP
    wants all that to happen inside one forward."""

    def __init__(self, model: WallWM):
        super().__init__()
        self.model = model

    def forward(self, function: Callable[[], T]) -> T:
        return function()


def shard(model: WallWM) -> Whole:
    """Shard a model's parameters over all processes, in place; what is frozen must be frozen already.

    Raises:
        SpecError: there is no group of processes to share it.
    """
    if not dist.is_initialized() or dist.get_world_size() < 2:
        raise SpecError("sharding needs at least 2 processes: use torchrun or --processes 2; found 1")
    # A warning about in-place work on what a module returns; nothing here does any.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
    kind = next(model.parameters()).device.type
    mesh = init_device_mesh(kind, (dist.get_world_size(),))
    model.video.stems.to(memory_format=torch.contiguous_format)
    video, action = model.video, model.action
    for unit in (*video.dit.blocks, *action.blocks, video.captions, video.codec, video, action):
        if any(True for _ in unit.parameters()):
            fully_shard(unit, mesh=mesh)
    # FSDP gathers weights around `forward` alone, unless told of other ways in.
    for block in action.blocks:
        register_fsdp_forward_method(block, "read_video")
    register_fsdp_forward_method(action, "read_video")
    register_fsdp_forward_method(video, "look")
    if isinstance(video.codec, FSDPModule):
        for name in ("encode", "decode"):
            register_fsdp_forward_method(video.codec, name)
    whole = Whole(model)
    fully_shard(whole, mesh=mesh)
    return whole


def local(tensor: Tensor) -> Tensor:
    """This process's slice, sharing memory; of an unsharded tensor all of it."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def gather(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole tensors by name, on the CPU of the first process; the others must ask too, and get nothing."""
    found = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach()
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if not dist.is_initialized() or dist.get_rank() == 0:
            found[name] = whole.cpu().contiguous()
    return found


@torch.no_grad()
def put(target: Tensor, value: Tensor) -> None:
    """Copy a whole `value` into a tensor that may be sharded; no process sends anything."""
    if isinstance(target, DTensor):
        mesh, placements = target.device_mesh, target.placements
        value = distribute_tensor(value.to(target.device), mesh, placements, src_data_rank=None)
    local(target).copy_(local(value))
