"""What `./wallwm data sim` does: demonstrations of the scripted expert, with a progress bar and a table."""

from __future__ import annotations

import time
from pathlib import Path

from wallwm_model.data.episode import FRAME_SIZE
from wallwm_model.sim.scene import TRAINING_SEEDS


def sim(
    out: Path, episodes: int = 2600, seed: int = TRAINING_SEEDS, task: str = "both", workers: int = 2,
    size: int = FRAME_SIZE,
) -> dict:  # fmt: skip
    """Generate (or finish) a data folder and print what is in it.

    Args:
        out: folder to write.
        episodes: how many expert episodes.
        seed: first episode's seed; training refuses those below 100000, which are kept for evaluation.
        task: `pick_place`, `handover` or `both`.
        workers: processes.
        size: side of the pictures [px].

    Returns:
        The content of the folder's `meta.json`.

    Raises:
        ConfigError: wrong argument, or the folder holds other data.
    """
    from rich import progress as bars
    from rich.console import Console

    from wallwm_model.data.generate import SHARD_EPISODES, generate

    console = Console()
    started = time.monotonic()
    columns = (
        bars.TextColumn("{task.description}"), bars.BarColumn(), bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(), bars.TimeRemainingColumn(),
    )  # fmt: skip
    with bars.Progress(*columns, console=console) as progress:
        bar = progress.add_task("episodes", total=episodes)

        def on_shard(done: int, total: int, summary: dict) -> None:
            progress.update(bar, completed=episodes if done == total else done * SHARD_EPISODES)

        meta = generate(out, episodes, seed, task, workers, on_shard=on_shard, size=size)
        progress.update(bar, completed=episodes)
    console.print(_table(meta))
    minutes = (time.monotonic() - started) / 60
    done = ", ".join(f"{name} {row[0]}/{row[1]}" for name, row in meta["tasks"].items())
    console.print(f"{meta['samples']} samples in {out} after {minutes:.1f} min; expert's tasks done: {done}")
    return meta


def _table(meta: dict):
    """Samples, expert success and lengths of each event."""
    from rich.table import Table

    table = Table("event", "samples", "done, undisturbed", "done, disturbed start", "steps min/median/max")
    for name, (count, done, tried, saved, pushed) in meta["events"].items():
        least, median, most = meta["lengths"][name]
        steps = f"{least} / {median} / {most}"
        table.add_row(name, f"{count}", f"{done}/{tried}", f"{saved}/{pushed}", steps)
    return table
