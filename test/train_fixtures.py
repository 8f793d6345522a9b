"""A small data folder of random pictures, shared by the training tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from wallwm_model.captions import caption, event_of
from wallwm_model.data.generate import FORMAT
from wallwm_model.sim.robot import CAMERAS, HOME, JOINTS


def write_data(folder: Path) -> Path:
    """Episodes of random pictures in the layout that `wallwm data sim` writes; every second event follows."""
    rng, n = np.random.default_rng(0), 42
    out = folder / "shard_0000"
    out.mkdir(parents=True)
    length = rng.integers(8, 60, n).astype(np.int16)
    n_frames = (1 + np.ceil(length / 4)).astype(np.int16)
    moments = int(n_frames.sum())
    names = ["reach", "lift", "retract"]
    captions = [caption(names[i % 3], arm=rng.choice(["left", "right"]), cube="red") for i in range(n)]
    np.save(out / "frames.npy", rng.integers(0, 255, (moments, 3, 64, 64, 3), dtype=np.uint8))
    np.savez(
        out / "moments.npz",
        state=(HOME + 0.05 * rng.standard_normal((moments, 14))).astype(np.float32),
        ground_xyz=rng.standard_normal((moments, 9, 3)).astype(np.float32),
        ground_mask=np.ones((moments, 9), bool),
        ground_yaw=np.zeros((moments, 4), np.float32),
    )
    np.savez(
        out / "samples.npz",
        actions=rng.standard_normal((n, 64, 14)).astype(np.float32).cumsum(axis=1),
        length=length,
        n_frames=n_frames,
        first=np.concatenate([[0], np.cumsum(n_frames[:-1])]).astype(np.int64),
        caption=np.array(captions),
        event=np.array([event_of(c) for c in captions]),
        task=np.array(["pick_place"] * n),
        seed=100_000 + np.arange(n) // 3,
        follows=np.arange(n) % 3 > 0,
        disturbed=np.zeros(n, bool),
        end_gripper=rng.standard_normal((n, 2, 3)).astype(np.float32),
    )
    body = {
        "format": FORMAT, "shards": [out.name], "frame_steps": 4, "cameras": CAMERAS, "frame_size": 64,
        "joints": JOINTS, "step_s": 0.05, "horizon": 64,
    }  # fmt: skip
    (out.parent / "meta.json").write_text(json.dumps(body))
    return out.parent
