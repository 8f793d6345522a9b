"""Event demonstrations as training batches: bucketed by length, mirrored left-right at random."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wallwm_model.captions import mirror
from wallwm_model.data.mirror import mirror_sample
from wallwm_model.data.samples import SampleSet
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
    """A data folder split by episode into what is trained on and what is held out.

    Attributes:
        samples: all of the folder's samples.
        rows: which of them belong here.
    """

    def __init__(self, folder: Path, *, held_out: bool = False):
        self.samples = SampleSet(folder)
        self.columns = self.samples.columns
        rank = (self.columns["seed"].astype(np.uint64) * np.uint64(2654435761)) % np.uint64(1000)
        self.rows = np.flatnonzero((rank < 1000 * HELD_OUT) == held_out)

    def __len__(self) -> int:
        return len(self.rows)

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation (D,) of states and actions, left-right symmetric."""
        chosen = {k: self.columns[k][self.rows] for k in ("state", "actions")}
        valid = np.arange(chosen["actions"].shape[1])[None] < self.columns["length"][self.rows][:, None]
        values = [x for s in (chosen, mirror_sample(chosen)) for x in (s["state"], s["actions"][valid])]
        return np.concatenate(values).mean(0), np.concatenate(values).std(0)

    def batch(self, rows: np.ndarray, frames: int) -> dict[str, np.ndarray]:
        """Samples `rows` with their first `frames` pictures, the last one repeated where an event has ended."""
        clips = (self.samples.frames(row) for row in rows)
        pictures = np.stack([clip[np.minimum(np.arange(frames), len(clip) - 1)] for clip in clips])
        return {k: column[rows] for k, column in self.columns.items()} | {"frames": pictures}


class Loader:
    """Endless batches. The batch of step n depends on (seed, n, rank) alone, so a resumed run sees the same."""

    def __init__(self, data: EventDataset, spec: ModelSpec, *, batch: int, seed: int, rank: int = 0):
        self.data, self.spec, self.batch, self.seed, self.rank = data, spec, batch, seed, rank
        frames = np.ceil(data.columns["length"][data.rows] / spec.steps_per_latent).astype(int)
        self.buckets = {int(f): data.rows[frames == f] for f in np.unique(frames)}
        captions = {str(c) for c in data.columns["caption"]}
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

    def sweep(self, *, video: bool = False) -> Iterator[Batch]:
        """Every sample once, not mirrored, in batches of up to `batch` (validation)."""
        for frames, rows in self.buckets.items():
            for part in np.array_split(rows, math.ceil(len(rows) / self.batch)):
                yield self.collect(part, frames, np.zeros(len(part), bool), video=video)

    def collect(self, rows: np.ndarray, latents: int, flip: np.ndarray, *, video: bool) -> Batch:
        """Assemble samples `rows`, none longer than `latents` latent frames, mirrored where `flip`."""
        steps = latents * self.spec.steps_per_latent
        plain = self.data.batch(rows, 1 + GROUP * latents if video else 1)
        mirrored = mirror_sample(plain)
        s = {k: np.where(flip.reshape(-1, *[1] * (v.ndim - 1)), mirrored[k], v) for k, v in plain.items()}
        pictures = torch.from_numpy(s["frames"]).transpose(1, 2)
        norm = self.spec.normalisation
        return Batch(
            images=pictures[:, :, 0],
            future=pictures[:, :, 1:] if video else None,
            tokens=torch.from_numpy(np.stack([self.tokens[str(c)] for c in s["caption"]])),
            state=torch.from_numpy(norm.encode(s["state"])),
            actions=torch.from_numpy(norm.encode(s["actions"][:, :steps])),
            length=torch.from_numpy(s["length"].astype(np.float32)),
            position=torch.from_numpy(s["ground_xyz"].astype(np.float32)),
            position_mask=torch.from_numpy(s["ground_mask"]),
            yaw=torch.from_numpy(s["ground_yaw"].astype(np.float32)),
            end=torch.from_numpy(s["end_gripper"].astype(np.float32)),
            event=s["event"],
        )
