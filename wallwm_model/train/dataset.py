"""Demonstrations as training batches: events and fixed-length chunks, mirrored left-right at random."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wallwm_model.captions import UNSEEN_PAIRS, mirror
from wallwm_model.data.mirror import mirror_frames, mirror_sample
from wallwm_model.data.naming import named_things
from wallwm_model.data.samples import SampleSet
from wallwm_model.errors import SpecError
from wallwm_model.network.action import WINDOWS
from wallwm_model.network.codec import GROUP
from wallwm_model.sim.scene import TRAINING_SEEDS
from wallwm_model.spec import ModelSpec
from wallwm_model.train.end_effector import COLUMNS, pose_chunk
from wallwm_model.train.moments import MomentTable

HELD_OUT = 0.03  # share of episodes kept for validation
AT_START = 0.5  # share of event batches drawn from where events begin; the rest begin anywhere
ATOMIC = 0.5  # share of fixed chunks told by the present event's caption, the rest by the whole task's sentence


@dataclass
class Batch:
    """B chunks; V cameras, D joints (or columns of poses), T steps.

    Attributes:
        images: (B, V, H, W, 3) uint8 keyframes.
        history: (B, V, 4M, H, W, 3) uint8 pictures of the past, or None (event window).
        future: (B, V, 4F, H, W, 3) uint8 later pictures, or None.
        shown: (B,) int64, latent frames of the future in which some picture is known; the others are padding. None
            without a future.
        tokens: (B, L) int64 of the caption or instruction.
        state: (B, D), actions: (B, T, D), both normalised.
        valid: (B, T) bool, steps that are known.
        length: (B,) chunk length that the action tower is told [steps], float.
        remaining: (B,) steps left of the present event, float.
        window, chunk: (B,) int64, see `ActionTower`.
        position: (B, 9, 3) [m], position_mask (B, 9); yaw (B, 4) [rad].
        end: (B, 2, 3) pinch points at the event's end [m].
        named: (B, 3) int64, which cube, pad and gripper the words name, see `data.naming`.
        event: (B,) event names.
        moments: (B, 1 + M + F) rows of `SampleSet.moments` of the keyframe, past and future latent frames;
            flip: (B,) bool, whether a row is mirrored.
    """

    images: Tensor
    history: Tensor | None
    future: Tensor | None
    shown: Tensor | None
    tokens: Tensor
    state: Tensor
    actions: Tensor
    valid: Tensor
    length: Tensor
    remaining: Tensor
    window: Tensor
    chunk: Tensor
    position: Tensor
    position_mask: Tensor
    yaw: Tensor
    end: Tensor
    named: Tensor
    event: np.ndarray
    moments: np.ndarray
    flip: np.ndarray

    def to(self, device: torch.device) -> Batch:
        """The same with its tensors on `device`."""
        moved = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return dataclasses.replace(self, **moved)


class EventDataset:
    """A data folder split by episode into what is trained on and what is held out.

    Attributes:
        samples: all of the folder's samples.
        table: all places where chunks can begin.
        rows: which rows of the table belong here.
    """

    def __init__(self, folder: Path, *, held_out: bool = False):
        self.samples = SampleSet(folder)
        if not held_out:
            check_training(self.samples)
        self.columns = self.samples.columns
        self.table = MomentTable(self.samples)
        rank = (self.columns["seed"].astype(np.uint64) * np.uint64(2654435761)) % np.uint64(1000)
        unseen = (self.table.pairs[:, None] == np.array(UNSEEN_PAIRS)[None]).all(-1).any(-1)
        self.chosen = np.flatnonzero(((rank < 1000 * HELD_OUT) == held_out) & ~unseen)
        moving = np.isin(self.table.sample, self.chosen) & ~self.table.quasi_static()
        self.rows = np.flatnonzero(moving)

    def __len__(self) -> int:
        return len(self.rows)

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation (D,) of states and actions, left-right symmetric."""
        chosen = {k: self.columns[k][self.chosen] for k in ("state", "actions")}
        valid = np.arange(chosen["actions"].shape[1])[None] < self.columns["length"][self.chosen][:, None]
        values = [x for s in (chosen, mirror_sample(chosen)) for x in (s["state"], s["actions"][valid])]
        return np.concatenate(values).mean(0), np.concatenate(values).std(0)


def check_training(samples: SampleSet) -> None:
    """Raises SpecError for scenes that are kept for evaluation."""
    lowest = int(samples.columns["seed"].min())
    if lowest < TRAINING_SEEDS:
        raise SpecError(f"seeds of training data must be at least {TRAINING_SEEDS}; found {lowest}, which is held out")


def check_fit(samples: SampleSet, spec: ModelSpec) -> None:
    """Raises SpecError unless data and a specification have the same cameras, pictures, joints and rates."""
    meta, camera = samples.meta, spec.cameras[0]
    joints = COLUMNS if spec.action_space == "end_effector_pose" else tuple(meta["joints"])
    for name, wanted, found in (
        ("cameras", tuple(c.name for c in spec.cameras), tuple(meta["cameras"])),
        ("picture size", (camera.height, camera.width), (meta["frame_size"],) * 2),
        ("joints", spec.joints, joints),
        ("steps between pictures", spec.picture_steps, meta["frame_steps"]),
        ("longest event", spec.horizon, meta["horizon"]),
    ):
        if wanted != found:
            raise SpecError(f"{name} of the data must be {wanted}, as of model {spec.name}; found {found}")


class Loader:
    """Endless batches. The batch of step n depends on (seed, n, rank) alone, so a resumed run sees the same."""

    def __init__(self, data: EventDataset, spec: ModelSpec, *, batch: int, seed: int, rank: int = 0):
        check_fit(data.samples, spec)
        if batch < 1 or not len(data):
            raise SpecError(f"batches need a size of 1 or more and data; found {batch} of {len(data)}")
        self.data, self.spec, self.batch, self.seed, self.rank = data, spec, batch, seed, rank
        table = data.table
        self.starts = data.rows[table.step[data.rows] == 0]
        self.latents = np.ceil(table.left / spec.steps_per_latent).astype(int)
        said = {str(c) for c in (*np.unique(data.columns["caption"]), *np.unique(table.instructions))}
        said |= {mirror(c) for c in said}
        self.tokens = {c: spec.tokenise(c) for c in said}
        self.named = {c: named_things(c) for c in said}

    def event(self, step: int, *, video: bool = False, mixed: bool = False) -> Batch:
        """Chunks that end with their events.

        Args:
            step: of the training.
            video: load the later pictures too; then all events need the same number of latent frames.
            mixed: draw from all lengths at once.
        """
        rng = np.random.default_rng((self.seed, step, self.rank, 0))
        pool = self.starts if rng.random() < AT_START else self.data.rows
        frames = self.spec.latent_frames
        if not mixed:
            frames = int(self.latents[rng.choice(pool)])
            pool = pool[self.latents[pool] == frames]
        rows = rng.choice(pool, self.batch)
        return self.collect_events(rows, frames, rng.random(self.batch) < 0.5, video=video)

    def unified(self, step: int, *, video: bool = False, atomic: float = ATOMIC) -> Batch:
        """Chunks of fixed length with pictures of the past; a share `atomic` is told by the event's caption."""
        rng = np.random.default_rng((self.seed, step, self.rank, 1))
        rows = rng.choice(self.data.rows, self.batch)
        flip, told = rng.random(self.batch) < 0.5, rng.random(self.batch) < atomic
        known = rng.random(self.batch) < 0.5
        return self.collect_chunks(rows, flip, told, known, video=video)

    def sweep(self, *, video: bool = False, fixed: bool = False) -> Iterator[Batch]:
        """Every event once from its start, not mirrored, in batches of up to `batch` (validation).

        Args:
            fixed: as chunks of fixed length, told by their captions, for a model that knows no others.
        """
        for frames in np.unique(self.latents[self.starts]):
            rows = self.starts[self.latents[self.starts] == frames]
            for part in np.array_split(rows, math.ceil(len(rows) / self.batch)):
                everyone = np.ones(len(part), bool)
                if fixed:
                    yield self.collect_chunks(part, ~everyone, everyone, everyone, video=video)
                    continue
                yield self.collect_events(part, int(frames), ~everyone, video=video)

    def collect_events(self, rows: np.ndarray, latents: int, flip: np.ndarray, *, video: bool) -> Batch:
        """Rests of events from `rows` on, none longer than `latents` latent frames, mirrored where `flip`."""
        table = self.data.table
        steps = latents * self.spec.steps_per_latent
        actions, known = zip(*(table.event_actions(row, steps) for row in rows))
        after = table.after(rows, GROUP * latents, across=False) if video else None
        captions = self.data.columns["caption"][table.sample[rows]]
        left = table.left[rows]
        return self._collect(rows, flip, captions, np.stack(actions), np.array(known), left, after=after)

    def collect_chunks(
        self, rows: np.ndarray, flip: np.ndarray, atomic: np.ndarray, counted: np.ndarray, *, video: bool
    ) -> Batch:
        """Fixed-length chunks from `rows` on; `atomic` (B,) says which follow their event's caption only, and
        `counted` (B,) which know their chunk's index."""
        table, steps = self.data.table, self.spec.chunk_steps
        found = [
            (table.event_actions(row, steps)[0], steps) if one else table.task_actions(row, steps)
            for row, one in zip(rows, atomic)
        ]
        actions, known = zip(*found)
        sample = table.sample[rows]
        text = np.where(atomic, self.data.columns["caption"][sample], table.instructions[sample])
        past = table.before(rows, self.spec.history_pictures) if self.spec.history_pictures else None
        after = table.after(rows, steps // self.spec.picture_steps, across=~atomic) if video else None
        index = np.where(counted, table.chunk_index(rows, steps), 0)
        length = np.full(len(rows), steps)
        return self._collect(
            rows, flip, text, np.stack(actions), np.array(known), length, past=past, after=after, chunk=index
        )

    def _collect(
        self, rows, flip, text, actions, known, length, *, past=None, after=None, chunk=None
    ) -> Batch:  # fmt: skip
        data, table, norm = self.data, self.data.table, self.spec.normalisation
        sample, now = table.sample[rows], table.moment[rows]
        plain = {k: v[now] for k, v in data.samples.moments.items()}
        plain |= {"actions": actions, "caption": text, "end_gripper": data.columns["end_gripper"][sample]}
        mirrored = mirror_sample(plain)
        s = {k: np.where(flip.reshape(-1, *[1] * (v.ndim - 1)), mirrored[k], v) for k, v in plain.items()}
        if self.spec.action_space == "end_effector_pose":
            s["state"], s["actions"] = pose_chunk(s["state"], s["actions"], np.asarray(norm.mean))
        window = WINDOWS.index("event" if past is None else "observation")
        later, there = (None, None) if after is None else after
        return Batch(
            images=self._pictures(now[:, None], flip)[:, :, 0],
            history=None if past is None else self._pictures(past, flip),
            future=None if later is None else self._pictures(later, flip),
            shown=None if there is None else torch.from_numpy(-(-there // GROUP)),
            tokens=torch.from_numpy(np.stack([self.tokens[str(c)] for c in s["caption"]])),
            state=torch.from_numpy(norm.encode(s["state"])),
            actions=torch.from_numpy(norm.encode(s["actions"])),
            valid=torch.from_numpy(np.arange(actions.shape[1])[None] < known[:, None]),
            length=torch.from_numpy(length.astype(np.float32)),
            remaining=torch.from_numpy(table.left[rows].astype(np.float32)),
            window=torch.full((len(rows),), window),
            chunk=torch.from_numpy(np.zeros(len(rows), int) if chunk is None else chunk),
            position=torch.from_numpy(s["ground_xyz"].astype(np.float32)),
            position_mask=torch.from_numpy(s["ground_mask"]),
            yaw=torch.from_numpy(s["ground_yaw"].astype(np.float32)),
            end=torch.from_numpy(s["end_gripper"].astype(np.float32)),
            named=torch.from_numpy(np.stack([self.named[str(c)] for c in s["caption"]])),
            event=data.columns["event"][sample],
            moments=self._latent_moments(now, past, later),
            flip=flip,
        )

    def _pictures(self, moments: np.ndarray, flip: np.ndarray) -> Tensor:
        """(B, n) moments -> (B, V, n, H, W, 3) uint8."""
        found = self.data.samples.pictures(moments)
        found = np.where(flip[:, None, None, None, None, None], mirror_frames(found), found)
        return torch.from_numpy(found).transpose(1, 2)

    def _latent_moments(self, now: np.ndarray, past, after) -> np.ndarray:
        """The last moment of each latent frame: keyframe, past, future."""
        groups = [now[:, None], *(x[:, GROUP - 1 :: GROUP] for x in (past, after) if x is not None)]
        return np.concatenate(groups, axis=1)
