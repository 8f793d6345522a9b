"""Read a data folder back: columns in memory, pictures memory-mapped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from wallwm_model.data.generate import FORMAT
from wallwm_model.errors import ConfigError


class SampleSet:
    """All samples of a data folder: N events with F moments (picture times) in all.

    Attributes:
        meta: content of `meta.json`.
        columns: name -> array over the N samples: actions, length, caption, event, follows ...; `first` and
            `n_frames` say which moments are a sample's; state and ground_* are those of its first moment.
        moments: name -> array over the F moments: state, ground_xyz, ground_mask, ground_yaw.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "meta.json"
        if not path.is_file():
            raise ConfigError(f"expected a finished data folder with meta.json at {folder}; found none")
        self.meta = json.loads(path.read_text())
        if self.meta.get("format") != FORMAT:
            raise ConfigError(f"data must have format {FORMAT}; found {self.meta.get('format')} in {folder}")
        shards = [folder / name for name in self.meta["shards"]]
        self._frames = [np.load(shard / "frames.npy", mmap_mode="r") for shard in shards]
        self._offset = np.cumsum([0, *(len(frames) for frames in self._frames)])
        samples = [_load(shard / "samples.npz") for shard in shards]
        for part, offset in zip(samples, self._offset):
            part["first"] = part["first"] + offset
        self.columns = _join(samples)
        self.moments = _join([_load(shard / "moments.npz") for shard in shards])
        self.columns |= {name: values[self.columns["first"]] for name, values in self.moments.items()}

    def __len__(self) -> int:
        return len(self.columns["length"])

    def frames(self, index: int) -> np.ndarray:
        """(n_frames, 3, side, side, 3) uint8: the key frame, then one every `frame_steps` steps, then the end."""
        first, count = int(self.columns["first"][index]), int(self.columns["n_frames"][index])
        return self.pictures(np.arange(first, first + count))

    def pictures(self, moments: np.ndarray) -> np.ndarray:
        """(..., 3, side, side, 3) uint8 pictures at the moments (...,) given."""
        shard = np.searchsorted(self._offset, moments, side="right") - 1
        found = [self._frames[s][m - self._offset[s]] for s, m in zip(shard.ravel(), moments.ravel())]
        return np.stack(found).reshape(*moments.shape, *found[0].shape)

    def key_frames(self, indices: np.ndarray) -> np.ndarray:
        """(B, 3, side, side, 3) uint8 pictures at the start of some samples."""
        return self.pictures(self.columns["first"][indices])

    def sample(self, index: int) -> dict:
        """One sample as a dict, its pictures under `frames`."""
        return {key: column[index] for key, column in self.columns.items()} | {"frames": self.frames(index)}


def _load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as columns:
        return dict(columns)


def _join(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
