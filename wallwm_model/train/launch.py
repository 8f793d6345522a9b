"""Processes of one training: torchrun's own, those that `./wallwm train` spawns, or just this one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist

from wallwm_model.errors import SpecError

RANK, SIZE, LOCAL = "RANK", "WORLD_SIZE", "LOCAL_RANK"  # what torchrun sets


def torchrun() -> bool:
    """Was this process started by torchrun, or by anything else that speaks its environment?"""
    return RANK in os.environ and SIZE in os.environ


def device() -> torch.device:
    """Where this process computes: under torchrun its own GPU where there is one, else the CPU.

    Raises:
        SpecError: torchrun started more processes here than there are GPUs.
    """
    if not (torchrun() and torch.cuda.is_available()):
        return torch.device("cpu")
    index, count = int(os.environ.get(LOCAL, 0)), torch.cuda.device_count()
    if index >= count:
        raise SpecError(f"--nproc-per-node must be at most {count}, the GPUs here; found {index + 1}")
    return torch.device("cuda", index)


@contextmanager
def torchrun_group() -> Iterator[torch.device]:
    """The process group that torchrun describes: NCCL on GPUs, gloo on CPUs. Gives this process's device."""
    where = device()
    if where.type == "cuda":
        torch.cuda.set_device(where)
        dist.init_process_group("nccl", device_id=where)
    else:
        dist.init_process_group("gloo")
    torch.set_num_threads(1)
    # What losses draw and count with must lie beside the model.
    torch.set_default_device(where if where.type == "cuda" else None)
    try:
        yield where
    finally:
        torch.set_default_device(None)
        dist.destroy_process_group()


@contextmanager
def spawned_group(rank: int, size: int, store: Path) -> Iterator[None]:
    """The gloo group of processes spawned on this machine, which meet at the file `store`; none if alone."""
    torch.set_num_threads(1)
    if size == 1:
        yield
        return
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{store.resolve()}", rank=rank, world_size=size)
    try:
        yield
    finally:
        dist.destroy_process_group()
        if rank == 0:
            store.unlink(missing_ok=True)


def wait() -> None:
    """Until every process is here."""
    if dist.is_initialized():
        dist.barrier()
