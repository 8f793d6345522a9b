"""Event demonstrations as batches: memory-mapped pictures, bucketed by length, mirrored left-right at random."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wallwm_model.captions import mirror
from wallwm_model.errors import SpecError
from wallwm_model.network.codec import GROUP
from wallwm_model.spec import ModelSpec

HELD_OUT = 0.03  # share of episodes kept for validation


@dataclass
class Batch:
    """B events whose lengths need the same number of latent frames; V cameras, D joints, T padded steps.

    Attributes:
        images: (B, V, H, W, 3) uint8 keyframes.
        future: (B, V, 4F, H, W, 3) uint8 later frames, or None.
        tokens: (B, L) int64.
        state: (B, D), actions: (B, T, D), both normalised.
        length: (B,) event lengths [steps], float.
        position: (B, 9, 3) [m], position_mask (B, 9); yaw (B, 4) [rad].
        end: (B, 2, 3) pinch points at the event's end [m].
        event: (B,) event names.
    """

    images: Tensor
    future: Tensor | None
    tokens: Tensor
    state: Tensor
    actions: Tensor
    length: Tensor
    position: Tensor
    position_mask: Tensor
    yaw: Tensor
    end: Tensor
    event: np.ndarray


class EventDataset:
    """All shards below a data folder written by `wallwm data sim`."""

    def __init__(self, folder: Path, *, held_out: bool = False):
        shards = sorted(folder.glob("**/samples.npz"))
        if not shards:
            raise SpecError(f"expected event data (samples.npz) below {folder}; found none: run `wallwm data sim`")
        self.frames = [np.load(s.parent / "frames.npy", mmap_mode="r") for s in shards]
        parts = [dict(np.load(s)) for s in shards]
        self.samples = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
        self.shard = np.concatenate([np.full(len(p["length"]), i) for i, p in enumerate(parts)])
        rank = (self.samples["seed"].astype(np.uint64) * np.uint64(2654435761)) % np.uint64(1000)
        self.rows = np.flatnonzero((rank < 1000 * HELD_OUT) == held_out)

    def __len__(self) -> int:
        return len(self.rows)

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation (D,) of states and actions, left-right symmetric."""
        length = self.samples["length"][self.rows]
        actions = self.samples["actions"][self.rows]
        valid = np.arange(actions.shape[1])[None] < length[:, None]
        values = np.concatenate([self.samples["state"][self.rows], actions[valid]])
        values = np.concatenate([values, mirror_joints(values)])
        return values.mean(0), values.std(0)

    def read_frames(self, row: int, offset: int, count: int) -> np.ndarray:
        """Frames offset .. offset + count - 1 of a sample, the last one repeated where the event has ended."""
        last = int(self.samples["n_frames"][row]) - 1
        index = int(self.samples["first"][row]) + np.minimum(np.arange(offset, offset + count), last)
        frames = self.frames[self.shard[row]]
        return frames[index[0] : index[-1] + 1][index - index[0]]


def mirror_joints(value: np.ndarray) -> np.ndarray:
    """(..., 14) joints of the left-right mirrored robot: arms swapped, rotations about x and z negated."""
    sign = np.array([-1, 1, 1, -1, 1, -1, 1], dtype=value.dtype)
    left, right = value[..., :7], value[..., 7:]
    return np.concatenate([right * sign, left * sign], axis=-1)


class Loader:
    """Endless batches. The batch of step n depends on (seed, n, rank) alone, so a resumed run sees the same."""

    def __init__(self, data: EventDataset, spec: ModelSpec, *, batch: int, seed: int, rank: int = 0):
        self.data, self.spec, self.batch, self.seed, self.rank = data, spec, batch, seed, rank
        length = data.samples["length"][data.rows]
        frames = np.ceil(length / spec.steps_per_latent).astype(int)
        self.buckets = {int(f): data.rows[frames == f] for f in np.unique(frames)}
        captions = {c for c in data.samples["caption"]}
        self.tokens = {c: spec.tokenise(c) for c in captions | {mirror(c) for c in captions}}

    def at(self, step: int, *, video: bool = False, mixed: bool = False) -> Batch:
        """The batch of one step; with `video` the later frames too; `mixed` draws from all lengths at once."""
        rng = np.random.default_rng((self.seed, step, self.rank))
        if mixed:
            rows = rng.choice(self.data.rows, self.batch)
            return self.collect(rows, self.spec.latent_frames, rng.random(self.batch) < 0.5, video=video)
        names = list(self.buckets)
        share = np.array([len(self.buckets[n]) for n in names], dtype=float)
        frames = int(rng.choice(names, p=share / share.sum()))
        rows = rng.choice(self.buckets[frames], self.batch)
        return self.collect(rows, frames, rng.random(self.batch) < 0.5, video=video)

    def sweep(self, *, video: bool = False):
        """Every sample once, not mirrored, in batches of up to `batch` (validation)."""
        for frames, rows in self.buckets.items():
            for part in np.array_split(rows, math.ceil(len(rows) / self.batch)):
                yield self.collect(part, frames, np.zeros(len(part), bool), video=video)

    def collect(self, rows: np.ndarray, frames: int, flip: np.ndarray, *, video: bool) -> Batch:
        """Assemble samples `rows`, all of `frames` latent frames, mirrored where `flip`."""
        s, steps = self.data.samples, frames * self.spec.steps_per_latent
        count = 1 + GROUP * frames if video else 1
        pictures = np.stack([self.data.read_frames(r, 0, count) for r in rows])
        pictures[flip] = pictures[flip][:, :, [0, 2, 1], :, ::-1]
        pictures = torch.from_numpy(pictures).transpose(1, 2)
        state, actions = s["state"][rows], s["actions"][rows, :steps]
        state = np.where(flip[:, None], mirror_joints(state), state)
        actions = np.where(flip[:, None, None], mirror_joints(actions), actions)
        position, mask = s["ground_xyz"][rows].copy(), s["ground_mask"][rows].copy()
        swap = [*range(7), 8, 7]
        position[flip], mask[flip] = position[flip][:, swap] * [1, -1, 1], mask[flip][:, swap]
        end = s["end_gripper"][rows].copy()
        end[flip] = end[flip][:, ::-1] * [1, -1, 1]
        yaw = np.where(flip[:, None], -s["ground_yaw"][rows], s["ground_yaw"][rows])
        captions = [mirror(c) if f else c for c, f in zip(s["caption"][rows], flip)]
        norm = self.spec.normalisation

        def tensor(value: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))

        return Batch(
            images=pictures[:, :, 0],
            future=pictures[:, :, 1:] if video else None,
            tokens=torch.from_numpy(np.stack([self.tokens[c] for c in captions])),
            state=tensor(norm.encode(state)),
            actions=tensor(norm.encode(actions)),
            length=tensor(s["length"][rows]),
            position=tensor(position),
            position_mask=torch.from_numpy(mask),
            yaw=tensor(yaw),
            end=tensor(end),
            event=s["event"][rows],
        )


