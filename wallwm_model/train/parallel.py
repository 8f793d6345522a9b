"""Data parallel training over gloo or NCCL, and Muon whose matrices have one owner rank each."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors


def world() -> tuple[int, int]:
    """(rank, number of processes); (0, 1) outside a process group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Average gradients over all processes in one message; a missing gradient counts as zero."""
    _, size = world()
    if size == 1:
        return
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = _flatten_dense_tensors(grads)
    dist.all_reduce(flat)
    for p, g in zip(parameters, _unflatten_dense_tensors(flat / size, grads)):
        p.grad = g.clone()


def owners(parameters: list[nn.Parameter], size: int) -> list[int]:
    """Longest-processing-time assignment of matrices to ranks by the cost of their Newton-Schulz steps."""
    cost = [p.shape[0] * p.shape[1] * min(p.shape) for p in parameters]
    load, owner = [0] * size, [0] * len(parameters)
    for i in sorted(range(len(parameters)), key=lambda i: -cost[i]):
        owner[i] = min(range(size), key=lambda r: load[r])
        load[owner[i]] += cost[i]
    return owner


class Optimiser:
    """Muon for matrices inside the towers, AdamW for all else (DMuon, method.md section 8).

    Every matrix has one owner, who alone orthogonalises its update and then sends the new weight round.
    """

    def __init__(self, named: list[tuple[str, nn.Parameter]], *, muon_lr: float, adam_lr: float):
        rank, size = world()
        self.matrices = [p for n, p in named if p.ndim == 2 and is_hidden_matrix(n)]
        chosen = {id(p) for p in self.matrices}
        self.others = [p for _, p in named if id(p) not in chosen]
        self.owner = owners(self.matrices, size)
        owned = [p for p, o in zip(self.matrices, self.owner) if o == rank]
        self.muon = torch.optim.Muon(owned, lr=muon_lr, momentum=0.95, weight_decay=0.01)
        self.adam = torch.optim.AdamW(self.others, lr=adam_lr, betas=(0.9, 0.98), weight_decay=0.01)
        self.base = (muon_lr, adam_lr)

    def step(self, scale: float) -> None:
        """Average gradients, clip, step at `scale` times the base learning rates, share the owned weights."""
        everything = self.matrices + self.others
        average_gradients(everything)
        nn.utils.clip_grad_norm_(everything, 1.0)
        for optimiser, base in zip((self.muon, self.adam), self.base):
            for group in optimiser.param_groups:
                group["lr"] = base * scale
            optimiser.step()
        self._share()
        for p in everything:
            p.grad = None

    @torch.no_grad()
    def _share(self) -> None:
        _, size = world()
        for rank in range(size if size > 1 else 0):
            owned: list[Tensor] = [p.data for p, o in zip(self.matrices, self.owner) if o == rank]
            flat = _flatten_dense_tensors(owned)
            dist.broadcast(flat, src=rank)
            for p, new in zip(owned, _unflatten_dense_tensors(flat, owned)):
                p.copy_(new)

    def state_dict(self) -> dict:
        """This rank's optimiser state."""
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        """Inverse of `state_dict`; the number of processes must be the same."""
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])


def is_hidden_matrix(name: str) -> bool:
    """Whether Muon may take a 2-D parameter: not tables, embeddings, inputs or outputs."""
    kept = ("embed.", "queries", "view_angles", "table", "frame.", "position", "proj_out", "patch_embedding")
    outputs = ("action.out.", ".out.weight", "remaining.3", "progress", "modulation", "time_proj")
    return not any(k in name for k in kept + outputs)
