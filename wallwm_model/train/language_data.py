"""Moments of demonstrations as batches for the language stages: pictures, words, times, places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wallwm_model.captions import UNSEEN_PAIRS, mirror
from wallwm_model.data.mirror import mirror_frames, mirror_sample
from wallwm_model.data.reasoning import Story, reason
from wallwm_model.data.samples import SampleSet
from wallwm_model.errors import SpecError
from wallwm_model.lexicon import Lexicon, WordList
from wallwm_model.sim.scene import sample_scene
from wallwm_model.wording import vocabulary

HELD_OUT = 0.03  # share of episodes kept for validation, the same ones as for the towers
CLEAR = 0.75  # later than this share of an event, pictures look like the next one
KEY_SHARE = 0.5  # of training moments that are the start of an event


@dataclass
class Moments:
    """B moments.

    Attributes:
        pictures: (B, V, H, W, 3) uint8.
        instruction, caption: (B, L) int64; reason: (B, M) int64 with its end.
        remaining: (B,) remaining steps of the event / horizon.
        xyz: (B, 9, 3) [m] and mask (B, 9): where things are.
        seen: (B, V * S, D) picture tokens of the frozen backbone, where they are known; no pictures then.
    """

    pictures: Tensor | None
    instruction: Tensor
    caption: Tensor
    reason: Tensor
    remaining: Tensor
    xyz: Tensor
    mask: Tensor
    seen: Tensor | None = None

    def to(self, device: torch.device) -> Moments:
        """The same on `device`."""
        moved = {name: value.to(device) for name, value in vars(self).items() if value is not None}
        return replace(self, **moved)


class Texts:
    """Texts as ids, and their mirror images beside them: (2, length), each encoded once."""

    def __init__(self, lexicon: Lexicon, text_length: int, reason_length: int):
        self._lexicon, self._lengths, self._known = lexicon, (text_length, reason_length), {}

    def caption(self, text: str) -> np.ndarray:
        """Of a caption or an instruction."""
        return self._both(text, self._lexicon.caption, self._lengths[0])

    def reason(self, text: str) -> np.ndarray:
        """Of a reasoning text."""
        return self._both(text, self._lexicon.reason, self._lengths[1])

    def _both(self, text: str, encode: Callable, length: int) -> np.ndarray:
        if (text, length) not in self._known:
            self._known[text, length] = np.array([encode(side, length) for side in (text, mirror(text))], np.int64)
        return self._known[text, length]


class MomentDataset:
    """Every clear moment of a data folder, in words.

    Args:
        lexicon: what the texts are made of; None: the list of words.
        text_length, reason_length: see `LanguageConfig`.

    Attributes:
        start: rows that are the start of an event.
    """

    def __init__(
        self, folder: Path, *, held_out: bool = False, text_length: int = 16, reason_length: int = 44,
        lexicon: Lexicon | None = None,
    ):  # fmt: skip
        self.samples = SampleSet(folder)
        columns, moments, meta = self.samples.columns, self.samples.moments, self.samples.meta
        self.horizon, every = meta["horizon"], meta["frame_steps"]
        rank = (columns["seed"].astype(np.uint64) * np.uint64(2654435761)) % np.uint64(1000)
        texts, stories, rows = Texts(lexicon or WordList(vocabulary()), text_length, reason_length), {}, []
        for row in np.flatnonzero((rank < 1000 * HELD_OUT) == held_out):
            key = (str(columns["task"][row]), int(columns["seed"][row]))
            if key not in stories:
                stories[key] = Story(sample_scene(*key))
            story, length, caption = stories[key], int(columns["length"][row]), str(columns["caption"][row])
            if (story.scene.cube, story.scene.pad) in UNSEEN_PAIRS:
                continue
            instruction, wanted = texts.caption(story.instruction()), texts.caption(caption)
            for frame in range(int(columns["n_frames"][row]) - 1):
                if frame * every > CLEAR * length:
                    break
                at = int(columns["first"][row]) + frame
                said = reason(story.at(caption, moments["ground_xyz"][at], moments["state"][at]))
                rows.append((at, frame, length - frame * every, instruction, wanted, texts.reason(said)))
        if not rows:
            whose = "held-out tasks" if held_out else "tasks to train on"
            raise SpecError(f"language stages need moments of {whose}; found none in {folder}")
        at, frame, remaining, instruction, caption, said = zip(*rows)
        self.at, self.remaining = np.array(at), np.array(remaining, np.float32) / self.horizon
        self.texts = tuple(np.array(x, np.int64) for x in (instruction, caption, said))  # (N, 2, length) each
        self.start = np.flatnonzero(np.array(frame) == 0)

    def __len__(self) -> int:
        return len(self.at)

    def batch(self, rows: np.ndarray, flip: np.ndarray, *, seen: Tensor | None = None) -> Moments:
        """Moments `rows`, mirrored left-right where `flip`; their pictures only if they were not `seen`."""
        at, truth = self.at[rows], self.samples.moments
        places = {k: truth[k][at] for k in ("ground_xyz", "ground_mask")}
        mirrored = mirror_sample(places)
        places = {
            k: np.where(flip.reshape(-1, *[1] * (v.ndim - 1)), mirrored[k], v) for k, v in places.items()
        }
        texts = (torch.from_numpy(text[rows, flip.astype(np.int64)]) for text in self.texts)
        return Moments(
            None if seen is not None else self.pictures(rows, flip),
            *texts,
            torch.from_numpy(self.remaining[rows]),
            torch.from_numpy(places["ground_xyz"].astype(np.float32)),
            torch.from_numpy(places["ground_mask"]),
            seen,
        )

    def pictures(self, rows: np.ndarray, flip: np.ndarray) -> Tensor:
        """(B, V, H, W, 3) uint8."""
        found = self.samples.pictures(self.at[rows])
        found = np.where(flip[:, None, None, None, None], mirror_frames(found), found)
        return torch.from_numpy(np.ascontiguousarray(found))

    def draw(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Rows and whether they are mirrored; a share of them are starts of events."""
        anywhere, start = rng.integers(len(self), size=size), rng.choice(self.start, size)
        return np.where(rng.random(size) < KEY_SHARE, start, anywhere), rng.random(size) < 0.5

    def at_step(self, step: int, size: int, seed: int, rank: int = 0) -> Moments:
        """The training batch of one step; depends on (seed, step, rank) alone."""
        return self.batch(*self.draw(size, np.random.default_rng((seed, step, rank))))

    def sweep(self, size: int, *, starts: bool = True) -> list[Moments]:
        """Every start of an event, or every moment, once and not mirrored (validation)."""
        rows = self.start if starts else np.arange(len(self))
        parts = np.array_split(rows, max(1, -(-len(rows) // size)))
        return [self.batch(part, np.zeros(len(part), bool)) for part in parts]
