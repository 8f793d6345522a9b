"""`./wallwm train nano`: the video stage, then the action stage with the video tower frozen; on request others.

Under torchrun: `torchrun --nproc-per-node 2 -m wallwm_model.train nano`, with the same arguments.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

STAGES = (
    "Stages to run, in order, joined by commas: video, action, adapt; "
    "backbone, reader, vlm, staircase for the language side."
)
WEIGHTS = "Folder of the public Wan checkpoint that wan2.1-1.3b or wan2.2-5b starts from; needed once."
QWEN = "Folder of the public {} for the language side of those models; needed once."


def command(
    model: Annotated[str, typer.Argument(help="Which model to train.")] = "nano",
    data: Annotated[Path, typer.Option(help="Folder written by `wallwm data sim`.")] = Path("data/sim"),
    out: Annotated[Path | None, typer.Option(help="Where weights, plots and progress go; runs/train-MODEL.")] = None,
    stages: Annotated[str, typer.Option(help=STAGES)] = "video,action",
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps; the recipe's if not given.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Data-parallel processes of one thread each.")] = 2,
    weights: Annotated[Path | None, typer.Option(help=WEIGHTS)] = None,
    backbone: Annotated[Path | None, typer.Option(help=QWEN.format("Qwen2.5-VL-3B"))] = None,
    reader: Annotated[Path | None, typer.Option(help=QWEN.format("Qwen2.5-0.5B"))] = None,
    shard: Annotated[bool, typer.Option(help="Spread one model over all processes (FSDP).")] = False,
) -> None:
    """Train a model; run again to resume where it stopped."""
    from wallwm_model.train.cli import train
    from wallwm_model.train.public import PublicWeights

    out = out or Path("runs") / f"train-{model}"
    asked = tuple(stages.split(","))
    public = PublicWeights(weights, backbone, reader)
    train(model, data, out, stages=asked, steps=steps, processes=processes, sharded=shard, weights=public)
