"""One process of a training of LeRobot's ACT, and what the first of them shows."""

from __future__ import annotations

import os
from pathlib import Path

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from benchmarks.peers.act.train import Settings, parameters, run
from wallwm_model.train.launch import spawned_group


def work(rank: int, size: int, data: Path, out: Path, settings: Settings) -> None:
    """Train as process `rank` of `size`."""
    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), TextColumn("{task.fields[text]}"))
    bar = Progress(TextColumn("LeRobot's ACT"), *columns, disable=rank > 0)

    def report(share: float, step: int, losses: dict[str, float], found: dict[str, float] | None) -> None:
        text = _text(losses)
        bar.update(task, completed=share, text=f"step {step} {text}")
        if found is not None:
            bar.console.print(f"step {step}, {share:.0%} of the training: {text} {_text(found)}")

    with spawned_group(rank, size, out / f".act-{os.getppid()}-rendezvous"), bar:
        task = bar.add_task("", total=1.0, text="")
        training = run(data, out, settings, report)
        if rank == 0:
            count, samples = parameters(training.policy), training.step * settings.batch * size
            bar.console.print(
                f"{count / 1e6:.1f} million parameters, {training.step} steps, {samples} samples, "
                f"{training.seconds / 60:.1f} min of CPU time per process"
            )


def _text(values: dict[str, float]) -> str:
    return " ".join(f"{key} {value:.3g}" for key, value in values.items())
