"""Data parallel training over gloo or NCCL, and Muon whose matrices have one owner rank each."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors
from torch.distributed.tensor import DTensor

from wallwm_model.errors import SpecError

CLIP = 1.0  # longest gradient that is followed in full


def world() -> tuple[int, int]:
    """(rank, number of processes); (0, 1) outside a process group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def broadcast(tensors: list[Tensor]) -> None:
    """Give all processes what the first one holds."""
    if dist.is_initialized():
        for tensor in tensors:
            dist.broadcast(tensor, src=0)


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Average gradients over all processes in one message.

    One that some processes lack counts as zero there. What no process has a gradient of stays without, so that no
    optimiser moves it, as in a training of one process.
    """
    _, size = world()
    if size == 1:
        return
    there = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32, device=parameters[0].device)
    dist.all_reduce(there, op=dist.ReduceOp.MAX)
    parameters = [p for p, anywhere in zip(parameters, there.tolist()) if anywhere]
    if not parameters:
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
    Sharded parameters, which no process holds whole, are AdamW's; it works on this process's slices as plain tensors.

    Args:
        named: what to train, by name; sharded (DTensor) or not.
        muon_lr: 0 leaves the matrices to AdamW too.
    """

    def __init__(self, named: list[tuple[str, nn.Parameter]], *, muon_lr: float, adam_lr: float):
        rank, size = world()
        self.sharded = any(isinstance(p, DTensor) for _, p in named)
        whole = not self.sharded and muon_lr > 0
        self.matrices = [p for n, p in named if whole and p.ndim == 2 and is_hidden_matrix(n)]
        chosen = {id(p) for p in self.matrices}
        self.others = [p for _, p in named if id(p) not in chosen]
        self.owner = owners(self.matrices, size)
        owned = [p for p, o in zip(self.matrices, self.owner) if o == rank]
        self.muon = torch.optim.Muon(owned, lr=muon_lr, momentum=0.95, weight_decay=0.01) if owned else None
        self.slices = self.others
        if self.sharded:
            self.slices = [nn.Parameter(p.to_local().detach()) for p in self.others]
        self.adam = torch.optim.AdamW(self.slices, lr=adam_lr, betas=(0.9, 0.98), weight_decay=0.01)
        self.base = (muon_lr, adam_lr)

    def step(self, scale: float) -> None:
        """Average gradients, clip, step at `scale` times the base learning rates, share the owned weights.

        Raises:
            SpecError: a gradient that is not finite, in all processes at once; no weight has changed.
        """
        everything = self.matrices + self.others
        if self.sharded:
            self._take_slices()
        else:
            average_gradients(everything)
            check_finite(nn.utils.clip_grad_norm_(everything, CLIP))
        for optimiser, base in zip((self.muon, self.adam), self.base):
            if optimiser is not None:
                for group in optimiser.param_groups:
                    group["lr"] = base * scale
                optimiser.step()
        self._share()
        for p in everything + self.slices:
            p.grad = None

    @torch.no_grad()
    def _take_slices(self) -> None:
        """Clipped gradients of this process's slices; FSDP has averaged them."""
        for piece, p in zip(self.slices, self.others):
            piece.data = p.to_local()  # FSDP may have moved it
            piece.grad = None if p.grad is None else p.grad.to_local()
        moved = [piece.grad for piece in self.slices if piece.grad is not None]
        total = torch.stack([grad.square().sum() for grad in moved]).sum()
        dist.all_reduce(total)
        check_finite(total)
        share = (CLIP / (total.sqrt() + 1e-6)).clamp(max=1.0)
        for grad in moved:
            grad.mul_(share)

    @torch.no_grad()
    def _share(self) -> None:
        _, size = world()
        for rank in range(size if size > 1 and self.matrices else 0):
            owned: list[Tensor] = [p.data for p, o in zip(self.matrices, self.owner) if o == rank]
            if not owned:
                continue
            flat = _flatten_dense_tensors(owned)
            dist.broadcast(flat, src=rank)
            for p, new in zip(owned, _unflatten_dense_tensors(flat, owned)):
                p.copy_(new)

    def state_dict(self) -> dict:
        """This rank's optimiser state."""
        return {"muon": {} if self.muon is None else self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        """Inverse of `state_dict`; the number of processes must be the same.

        Raises:
            SpecError: the state of another model, or of one that was divided among processes otherwise.
        """
        pairs = ((self.muon, state["muon"]), (self.adam, state["adam"]))
        for optimiser, found in pairs:
            own = [] if optimiser is None else optimiser.param_groups[0]["params"]
            stored = found["param_groups"][0]["params"] if found else []
            if len(own) != len(stored) or any(
                i in found["state"] and any(v.ndim and v.shape != p.shape for v in found["state"][i].values())
                for i, p in zip(stored, own)
            ):
                raise SpecError(
                    f"the optimiser's state must be of the {len(own)} tensors that train here, divided among "
                    f"{world()[1]} processes in the same way; found {len(stored)} tensors, or other shapes"
                )
            if optimiser is not None:
                optimiser.load_state_dict(found)


def check_finite(norm: Tensor) -> None:
    """Raises SpecError for a gradient's norm that is not finite."""
    if not bool(norm.isfinite()):
        raise SpecError(
            f"a gradient must be finite; found a norm of {float(norm)}: the training goes on from where it was last saved, "
            "with a smaller learning rate if it happens again"
        )


def is_hidden_matrix(name: str) -> bool:
    """Whether Muon may take a 2-D parameter: not tables, embeddings, inputs or outputs."""
    kept = ("embed.", "queries", "view_angles", "table", "frame.", "position", "proj_out", "patch_embedding")
    outputs = ("action.out.", ".out.weight", "remaining.3", "progress", "modulation", "time_proj")
    return not any(k in name for k in kept + outputs)
