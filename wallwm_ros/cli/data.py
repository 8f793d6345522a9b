"""`./wallwm data sim`: demonstrations of the scripted expert in the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make training data.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Make training data."""


@app.command("sim")
def sim(
    out: Annotated[Path, typer.Option(help="Folder to write; the same command resumes it.")] = Path("data/sim"),
    episodes: Annotated[int, typer.Option(min=1, help="Expert episodes.")] = 2600,
    seed: Annotated[int, typer.Option(help="First seed; those below 100000 are held out.")] = 100_000,
    task: Annotated[str, typer.Option(help="pick_place, handover or both.")] = "both",
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    size: Annotated[int, typer.Option(help="Side of a picture [px], the model's; 32 to 1024.")] = 64,
) -> None:
    """Captioned event demonstrations with recovery, in random scenes."""
    from wallwm_model.data import cli

    cli.sim(out, episodes, seed, task, workers, size)
