"""Predicted video of held-out events, through the real engine, beside what happened. Needs the training environment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from wallwm_model.engines.base import Engine, Look
from wallwm_model.errors import ConfigError
from wallwm_model.eval.video_metrics import Clip
from wallwm_model.train.dataset import EventDataset, Loader


def predict(
    engine: Engine,
    data: Path,
    events: int,
    *,
    euler_steps: int = 10,
    seed: int = 0,
    report: Callable[[int], None] = lambda done: None,
) -> list[list[Clip]]:
    """Clips of all cameras, event by event, each as long as a fixed chunk.

    Args:
        data: folder written by `wallwm data sim`; only its held-out episodes are looked at.
        events: how many at most, spread evenly over all that last as long as a prediction.
        report: told how many are done.

    Raises:
        ConfigError: no event that lasts so long.
    """
    spec = engine.spec
    found = EventDataset(data, held_out=True)
    loader = Loader(found, spec, batch=1, seed=seed)
    rows = loader.starts[found.table.left[loader.starts] >= spec.imagined_frames * spec.steps_per_latent]
    if not len(rows):
        raise ConfigError(f"held-out events of {spec.chunk_steps} steps or more are needed; {data} has none")
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, min(events, len(rows))).round().astype(int))]
    clips = []
    for done, row in enumerate(chosen.tolist(), 1):
        clips.append(_clips(engine, loader, row, euler_steps, seed))
        report(done)
    return clips


def _clips(engine: Engine, loader: Loader, row: int, euler_steps: int, seed: int) -> list[Clip]:
    off, on = np.array([False]), np.array([True])
    batch = loader.collect_chunks(np.array([row]), off, atomic=on, counted=off, video=True)
    caption = str(loader.data.columns["caption"][loader.data.table.sample[row]])
    images, truth = batch.images[0].numpy(), batch.future[0].numpy()
    look = Look(images, batch.state[0].numpy(), batch.tokens[0].numpy())
    predicted = engine.imagine(look, euler_steps, seed)
    return [
        Clip(f"{caption}, {camera.name}", images[view], truth[view], predicted[view])
        for view, camera in enumerate(engine.spec.cameras)
    ]
