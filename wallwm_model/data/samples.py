"""Read a data folder back: columns in memory, pictures memory-mapped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from wallwm_model.data.generate import FORMAT
from wallwm_model.errors import ConfigError


class SampleSet:
    """All samples of a data folder.

    Attributes:
        meta: content of `meta.json`.
        columns: name -> array over all N samples: state, actions, length, caption, event ...
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "meta.json"
        if not path.is_file():
            raise ConfigError(f"expected a finished data folder with meta.json at {folder}; found none")
        self.meta = json.loads(path.read_text())
        if self.meta.get("format") != FORMAT:
            raise ConfigError(f"data must have format {FORMAT}; found {self.meta.get('format')} in {folder}")
        self._frames, parts = [], []
        for name in self.meta["shards"]:
            self._frames.append(np.load(folder / name / "frames.npy", mmap_mode="r"))
            with np.load(folder / name / "samples.npz") as columns:
                parts.append(dict(columns))
        self.columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        self._shard = np.repeat(np.arange(len(parts)), [len(part["length"]) for part in parts])

    def __len__(self) -> int:
        return len(self._shard)

    def frames(self, index: int) -> np.ndarray:
        """(n_frames, 3, 64, 64, 3) uint8: the key frame, then one every `frame_steps` steps, then the end."""
        first, count = int(self.columns["first"][index]), int(self.columns["n_frames"][index])
        return self._frames[self._shard[index]][first : first + count]

    def key_frames(self, indices: np.ndarray) -> np.ndarray:
        """(B, 3, 64, 64, 3) uint8 pictures at the start of some samples."""
        first = self.columns["first"]
        return np.stack([self._frames[self._shard[i]][first[i]] for i in indices])

    def sample(self, index: int) -> dict:
        """One sample as a dict, its pictures under `frames`."""
        return {key: column[index] for key, column in self.columns.items()} | {"frames": self.frames(index)}
