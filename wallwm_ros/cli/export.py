"""`./wallwm export`: trained weights -> engine bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from wallwm_model.errors import ConfigError


def command(
    trained: Annotated[Path, typer.Option(help="Folder written by `wallwm train`.")] = Path("runs/train-nano"),
    bundle: Annotated[
        Path | None, typer.Option(help="A finished bundle to write anew, instead of a training.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the bundle goes.")] = Path("runs/bundle-nano"),
    precision: Annotated[str, typer.Option(help="fp32, bf16, fp8 or int8, see docs/engines.md.")] = "fp32",
    steps: Annotated[int, typer.Option(min=0, help="Denoising steps; 0: as trained.")] = 0,
    lengths: Annotated[
        str, typer.Option(help="Fixed lengths of chunks, joined by commas; none: one graph for all.")
    ] = "",
    batch: Annotated[
        bool, typer.Option("--batch", help="Graphs of several robots, for a server; a tenth slower for one.")
    ] = False,
    data: Annotated[
        Path | None, typer.Option(help="Held-out data to calibrate 8 bits on; fresh scenes if not given.")
    ] = None,
    observations: Annotated[int, typer.Option(min=1, help="How many moments to calibrate on.")] = 24,
    error: Annotated[
        float, typer.Option(help="Largest error of chunks in 8 bits, in units of a joint's spread.")
    ] = 0.01,
    facts: Annotated[Path | None, typer.Option(help="JSON of further facts for the manifest.")] = None,
) -> None:
    """Export an engine bundle: ONNX graphs, specification, weights, SHA-256 of each."""
    from rich.console import Console

    from wallwm_model.deploy.export import convert, export
    from wallwm_model.deploy.lengths import Shapes
    from wallwm_model.deploy.writing import Options

    options = Options(precision, steps, data, observations, error)
    more = json.loads(facts.read_text()) if facts else {}
    with Console(stderr=True).status("") as status:
        make, source = (export, trained) if bundle is None else (convert, bundle)
        make(source, out, options, Shapes(_lengths(lengths), batch), status.update, **more)
    typer.echo(f"bundle written to {out}")


def _lengths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part)
    except ValueError:
        raise ConfigError(f"--lengths must be numbers joined by commas, as 16,32,64; found {text!r}") from None
