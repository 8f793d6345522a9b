"""`./wallwm distill nano --steps 2`: a student of a trained model that needs fewer denoising steps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    model: Annotated[str, typer.Argument(help="Whose training; it names the default folders.")] = "nano",
    steps: Annotated[int, typer.Option(min=1, max=50, help="Denoising steps of the student.")] = 2,
    teacher: Annotated[
        Path | None, typer.Option(help="Folder written by `wallwm train`; default runs/train-MODEL.")
    ] = None,
    data: Annotated[Path, typer.Option(help="Folder written by `wallwm data sim`.")] = Path("data/sim"),
    out: Annotated[
        Path | None, typer.Option(help="Where the student goes; default runs/distill-MODEL-STEPS.")
    ] = None,
    updates: Annotated[
        int | None, typer.Option(min=1, help="Updates of the student; the recipe's if not given.")
    ] = None,
    action_loss: Annotated[
        bool, typer.Option(help="Keep the loss on demonstrations beside distribution matching.")
    ] = True,
    processes: Annotated[int, typer.Option(min=1, help="Data-parallel processes of one thread each.")] = 2,
) -> None:
    """Distil a trained model to few denoising steps; run again to resume where it stopped."""
    from wallwm_model.train.distill_run import distill

    distill(
        teacher or Path(f"runs/train-{model}"),
        data,
        out or Path(f"runs/distill-{model}-{steps}"),
        euler_steps=steps,
        updates=updates,
        processes=processes,
        action_loss=action_loss,
    )
